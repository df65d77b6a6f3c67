//! W3C trace context and request ids.
//!
//! A valid `traceparent` is kept and the upstream gets the same trace id with a span of our own; anything else starts
//! a new trace. Nothing here touches the heap: ids are inline arrays of ASCII. Spans are not recorded or exported.

use http::HeaderMap;

/// `00-` trace id `-` span id `-` flags.
const TRACEPARENT_LENGTH: usize = 55;
/// The flag `sampled`: an id that starts here asks the services behind to record.
const SAMPLED: u8 = 1;
/// The flags that the specification defines (sampled, random trace id); others must be sent as zero.
const KNOWN_FLAGS: u8 = 3;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Lower-case hexadecimal text of fixed length.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hex<const N: usize>([u8; N]);

/// The id of a whole trace.
pub type TraceId = Hex<32>;
/// The id of one hop.
pub type SpanId = Hex<16>;
/// A `traceparent` header value.
pub type Traceparent = Hex<TRACEPARENT_LENGTH>;

impl<const N: usize> Hex<N> {
    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("")
    }

    /// The text's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// `text` if it is exactly `N` lower-case hexadecimal digits, not all zero.
    fn parse(text: &[u8]) -> Option<Self> {
        let digits: [u8; N] = text.try_into().ok()?;
        let valid = digits.iter().all(|&digit| lower_hex(digit)) && digits.iter().any(|&digit| digit != b'0');
        valid.then_some(Self(digits))
    }

    /// The last `N` digits of `value`.
    fn from_number(value: u128) -> Self {
        let mut digits = [b'0'; N];
        let mut rest = value;
        for digit in digits.iter_mut().rev() {
            *digit = HEX[(rest & 0x0f) as usize];
            rest >>= 4;
        }
        Self(digits)
    }
}

impl<const N: usize> std::fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<const N: usize> std::fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The trace that a request belongs to, and our own span in it (B12b; W3C Trace Context, section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    trace_id: TraceId,
    span_id: SpanId,
    flags: u8,
    inherited: bool,
}

impl Trace {
    /// The trace that the request's headers name, or a new one when they name none, several, or one that is not valid.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all("traceparent").iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Self::parse(value.as_bytes()).unwrap_or_else(Self::start),
            _ => Self::start(),
        }
    }

    /// A new trace: random ids, `sampled`.
    pub fn start() -> Self {
        Self { trace_id: Hex::from_number(fastrand::u128(1..)), span_id: new_span(), flags: SAMPLED, inherited: false }
    }

    /// Reads a `traceparent` value. Version 00 must have exactly its four fields; a later version may have more, as
    /// the specification asks. `None` when it is not valid.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (head, more) = value.split_at_checked(TRACEPARENT_LENGTH)?;
        let (version, rest) = field(head, 2)?;
        let (trace_id, rest) = field(rest, 32)?;
        let (parent_id, flags) = field(rest, 16)?;
        let version = hex_byte(version)?;
        if version == 0xff || !more.is_empty() && (version == 0 || more.first() != Some(&b'-')) {
            return None;
        }
        SpanId::parse(parent_id)?;
        Some(Self {
            trace_id: TraceId::parse(trace_id)?,
            span_id: new_span(),
            flags: hex_byte(flags)? & KNOWN_FLAGS,
            inherited: true,
        })
    }

    /// The trace's id.
    pub fn trace_id(&self) -> &TraceId {
        &self.trace_id
    }

    /// Our own span: the parent of whatever the upstream does.
    pub fn span_id(&self) -> &SpanId {
        &self.span_id
    }

    /// Whether the trace came with the request. If so its `tracestate` is passed on untouched; else a `tracestate`
    /// belongs to nothing and must be removed.
    pub fn inherited(&self) -> bool {
        self.inherited
    }

    /// The header value for the upstream: version 00, the same trace, our span as the parent.
    pub fn traceparent(&self) -> Traceparent {
        let mut value = *b"00-00000000000000000000000000000000-0000000000000000-00";
        value[3..35].copy_from_slice(self.trace_id.as_bytes());
        value[36..52].copy_from_slice(self.span_id.as_bytes());
        value[54] = HEX[usize::from(self.flags & 0x0f)];
        Hex(value)
    }
}

/// The id of one request: `X-Request-ID` as it came, or one of our own (B12b).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    length: u8,
    text: [u8; Self::LONGEST],
}

impl RequestId {
    /// Bytes of the longest id that is kept.
    pub const LONGEST: usize = 128;
    /// Bytes of an id of our own.
    const OWN: usize = 32;

    /// The request's own id when it has exactly one that is acceptable, else a new one made at `wall_millis`.
    pub fn from_headers(headers: &HeaderMap, wall_millis: u64) -> Self {
        let mut values = headers.get_all("x-request-id").iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Self::parse(value.as_bytes()).unwrap_or_else(|| Self::generate(wall_millis)),
            _ => Self::generate(wall_millis),
        }
    }

    /// Keeps an id of 1 to 128 bytes made of ASCII letters, digits and `-_.~:/+=@|#`. Whatever has a meaning in a log,
    /// a header list, a shell or a page (quotes, commas, semicolons, blanks, angle brackets ...) is refused.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let acceptable = |&byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~:/+=@|#".contains(&byte);
        if value.is_empty() || !value.iter().all(acceptable) {
            return None;
        }
        let mut text = [0; Self::LONGEST];
        text.get_mut(..value.len())?.copy_from_slice(value);
        Some(Self { length: u8::try_from(value.len()).ok()?, text })
    }

    /// A new id: a UUID of version 7 without hyphens, so that ids sort by time.
    pub fn generate(wall_millis: u64) -> Self {
        const VERSION_7: u128 = 0x7 << 76;
        const VARIANT: u128 = 0b10 << 62;
        // 48 bits of time, then random bits but for the six of version and variant.
        let random = fastrand::u128(..) & !(u128::MAX << 80) & !(0xf << 76) & !(0b11 << 62);
        let id = Hex::<{ Self::OWN }>::from_number(u128::from(wall_millis) << 80 | VERSION_7 | VARIANT | random);
        let mut text = [0; Self::LONGEST];
        text[..Self::OWN].copy_from_slice(id.as_bytes());
        Self { length: 32, text }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or("")
    }

    /// The text's bytes: always a valid header value.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Debug for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

fn new_span() -> SpanId {
    SpanId::from_number(u128::from(fastrand::u64(1..)))
}

/// Splits a field of `length` bytes and the hyphen behind it from `text`.
fn field(text: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    let (field, rest) = text.split_at_checked(length)?;
    Some((field, rest.strip_prefix(b"-")?))
}

/// The value of exactly two lower-case hexadecimal digits.
fn hex_byte(text: &[u8]) -> Option<u8> {
    let [high, low] = text else { return None };
    Some(digit(*high)? << 4 | digit(*low)?)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

fn lower_hex(byte: u8) -> bool {
    digit(byte).is_some()
}

#[cfg(test)]
mod tests;
