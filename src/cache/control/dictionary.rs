//! Dictionaries of structured fields (RFC 8941, section 4.2.2), as far as directives need them.

use http::HeaderValue;

/// The value of a key, as far as a directive can have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    /// A key alone, or `?1`.
    True,
    /// A whole number that is not negative.
    Integer(u64),
    /// Anything else that is well-formed.
    Other,
}

/// The members of a dictionary that may stand on several lines, the last of a name alone; `None` when it is none.
pub fn parse<'a>(lines: impl Iterator<Item = &'a HeaderValue>) -> Option<Vec<(String, Member)>> {
    let lines: Vec<&str> = lines.map(|line| line.to_str().ok()).collect::<Option<_>>()?;
    let text = lines.join(",");
    let mut rest = Reader { rest: text.trim_matches(' ').as_bytes() };
    let mut members: Vec<(String, Member)> = Vec::new();
    while !rest.is_empty() {
        let key = rest.key()?;
        let member = if rest.eat(b'=') { rest.item_or_list()? } else { Member::True };
        rest.parameters()?;
        members.retain(|(known, _)| *known != key);
        members.push((key, member));
        rest.blanks();
        if rest.is_empty() {
            break;
        }
        if !rest.eat(b',') {
            return None;
        }
        rest.blanks();
        if rest.is_empty() {
            return None;
        }
    }
    Some(members)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn skip(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.skip();
        }
        found
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.skip();
        }
    }

    fn take(&mut self, fits: impl Fn(u8) -> bool) -> &[u8] {
        let end = self.rest.iter().position(|&byte| !fits(byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn key(&mut self) -> Option<String> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'*') {
            return None;
        }
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte);
        String::from_utf8(self.take(fits).to_vec()).ok()
    }

    fn item_or_list(&mut self) -> Option<Member> {
        if !self.eat(b'(') {
            return self.bare();
        }
        loop {
            self.blanks();
            if self.eat(b')') {
                return Some(Member::Other);
            }
            self.bare()?;
            self.parameters()?;
            if !matches!(self.peek(), Some(b' ' | b')')) {
                return None;
            }
        }
    }

    fn bare(&mut self) -> Option<Member> {
        match self.peek()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b':' => {
                self.skip();
                self.take(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
                self.eat(b':').then_some(Member::Other)
            }
            b'?' => {
                self.skip();
                if self.eat(b'1') {
                    return Some(Member::True);
                }
                self.eat(b'0').then_some(Member::Other)
            }
            byte if byte.is_ascii_alphabetic() || byte == b'*' => {
                self.take(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte));
                Some(Member::Other)
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Member> {
        let negative = self.eat(b'-');
        let digits = std::str::from_utf8(self.take(|byte| byte.is_ascii_digit())).ok()?;
        if digits.is_empty() || digits.len() > 15 {
            return None;
        }
        let number = digits.parse().ok()?;
        if !self.eat(b'.') {
            return Some(if negative { Member::Other } else { Member::Integer(number) });
        }
        let decimals = self.take(|byte| byte.is_ascii_digit()).len();
        (1..=3).contains(&decimals).then_some(Member::Other)
    }

    fn string(&mut self) -> Option<Member> {
        self.skip();
        loop {
            let byte = self.peek()?;
            self.skip();
            match byte {
                b'"' => return Some(Member::Other),
                b'\\' if matches!(self.peek(), Some(b'"' | b'\\')) => self.skip(),
                b' '..=b'~' if byte != b'\\' => {}
                _ => return None,
            }
        }
    }

    fn parameters(&mut self) -> Option<()> {
        while self.eat(b';') {
            self.blanks();
            self.key()?;
            if self.eat(b'=') {
                self.bare()?;
            }
        }
        Some(())
    }
}
