//! One line of the access log as bytes. Nothing is allocated.

use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use super::{AccessRecord, mask};
use crate::config::AccessFormat;
use crate::config::limit::MICROS;
use crate::observe::escape::{self, Escape};
use crate::observe::timestamp;

mod ai;

/// Bytes of path and query together, before escaping.
const URI_MOST: usize = 8 * 1024;
/// Bytes of User-Agent and of Referer, before escaping.
const HEADER_MOST: usize = 512;
/// Bytes of any other text that a client chose: host, method, server name.
const TEXT_MOST: usize = 256;

/// Appends the line and its line feed.
pub(super) fn write(buf: &mut Vec<u8>, format: AccessFormat, record: &AccessRecord<'_>) {
    match format {
        AccessFormat::Json => json(buf, record),
        AccessFormat::Combined => combined(buf, record),
    }
}

fn json(buf: &mut Vec<u8>, record: &AccessRecord<'_>) {
    buf.extend_from_slice(b"{\"ts\":\"");
    timestamp::rfc3339(buf, record.wall_millis);
    buf.push(b'"');
    text(buf, b",\"request_id\":\"", record.request_id);
    text(buf, b",\"trace_id\":\"", record.trace_id);
    address(buf, b",\"client\":\"", record.client);
    address(buf, b",\"peer\":\"", record.peer);
    optional(buf, b",\"caller\":\"", record.caller);
    text(buf, b",\"listener\":\"", record.listener);
    json_request(buf, record);
    number(buf, b",\"status\":", record.status);
    number(buf, b",\"bytes_in\":", record.bytes_in);
    number(buf, b",\"bytes_out\":", record.bytes_out);
    millis(buf, b",\"duration_ms\":", Some(record.duration));
    optional(buf, b",\"route\":\"", record.route);
    json_upstream(buf, record);
    if let Some(record) = record.ai {
        ai::json(buf, record);
    }
    optional(buf, b",\"error\":\"", record.error);
    optional(buf, b",\"limit\":\"", record.limit);
    if let Some(lack) = &record.lack {
        for (key, units) in [(&b",\"limit_wanted\":"[..], lack.wanted), (b",\"limit_left\":", lack.left)] {
            if lack.money {
                buf.extend_from_slice(key);
                decimal(buf, units.into(), MICROS);
            } else {
                number(buf, key, units);
            }
        }
    }
    text(buf, b",\"termination\":\"", record.termination.as_str());
    if let Some(agent) = record.user_agent {
        buf.extend_from_slice(b",\"user_agent\":\"");
        escape::json(buf, escape::truncate(agent, HEADER_MOST));
        buf.push(b'"');
    }
    if let Some(referer) = record.referer {
        buf.extend_from_slice(b",\"referer\":\"");
        mask::url(buf, Escape::Json, escape::truncate(referer, HEADER_MOST));
        buf.push(b'"');
    }
    buf.extend_from_slice(b"}\n");
}

fn json_request(buf: &mut Vec<u8>, record: &AccessRecord<'_>) {
    text(buf, b",\"method\":\"", record.method);
    text(buf, b",\"host\":\"", record.host);
    let (path, query) = uri(record);
    buf.extend_from_slice(b",\"path\":\"");
    escape::json(buf, path);
    buf.push(b'"');
    if let Some(query) = query {
        buf.extend_from_slice(b",\"query\":\"");
        mask::query(buf, Escape::Json, query);
        buf.push(b'"');
    }
    text(buf, b",\"protocol\":\"", record.protocol.as_str());
    if let Some(tls) = &record.tls {
        text(buf, b",\"tls_version\":\"", tls.version);
        text(buf, b",\"tls_cipher\":\"", tls.cipher);
        optional(buf, b",\"sni\":\"", tls.sni);
    }
}

fn json_upstream(buf: &mut Vec<u8>, record: &AccessRecord<'_>) {
    optional(buf, b",\"pool\":\"", record.pool);
    optional(buf, b",\"member\":\"", record.member);
    optional(buf, b",\"cache\":\"", record.cache);
    number(buf, b",\"attempts\":", record.attempts);
    if !record.retry_reasons.is_empty() {
        buf.extend_from_slice(b",\"retried\":\"");
        for (n, reason) in record.retry_reasons.iter().enumerate() {
            if n > 0 {
                buf.push(b',');
            }
            buf.extend_from_slice(reason.as_str().as_bytes());
        }
        buf.push(b'"');
    }
    millis(buf, b",\"connect_ms\":", record.connect_time);
    millis(buf, b",\"first_byte_ms\":", record.first_byte);
    millis(buf, b",\"upstream_ms\":", record.upstream_time);
    if let Some(status) = record.upstream_status {
        number(buf, b",\"upstream_status\":", status);
    }
}

fn combined(buf: &mut Vec<u8>, record: &AccessRecord<'_>) {
    address_text(buf, record.client);
    buf.extend_from_slice(b" - ");
    user(buf, record.caller.unwrap_or("-"));
    buf.extend_from_slice(b" [");
    timestamp::clf(buf, record.wall_millis);
    buf.extend_from_slice(b"] \"");
    escape::nginx(buf, escape::truncate(record.method.as_bytes(), TEXT_MOST));
    buf.push(b' ');
    let (path, query) = uri(record);
    escape::nginx(buf, path);
    if let Some(query) = query {
        buf.push(b'?');
        mask::query(buf, Escape::Nginx, query);
    }
    buf.push(b' ');
    buf.extend_from_slice(record.protocol.as_str().as_bytes());
    number(buf, b"\" ", record.status);
    number(buf, b" ", record.bytes_out);
    buf.extend_from_slice(b" \"");
    mask::url(buf, Escape::Nginx, escape::truncate(record.referer.unwrap_or(b"-"), HEADER_MOST));
    buf.extend_from_slice(b"\" \"");
    escape::nginx(buf, escape::truncate(record.user_agent.unwrap_or(b"-"), HEADER_MOST));
    buf.extend_from_slice(b"\" \"");
    escape::nginx(buf, escape::truncate(record.host.as_bytes(), TEXT_MOST));
    buf.push(b'"');
    combined_more(buf, record);
    buf.push(b'\n');
}

fn combined_more(buf: &mut Vec<u8>, record: &AccessRecord<'_>) {
    let words = [Some(record.request_id), Some(record.trace_id), record.route, record.pool, record.member];
    for word in words {
        buf.push(b' ');
        escape::nginx(buf, word.filter(|word| !word.is_empty()).unwrap_or("-").as_bytes());
    }
    number(buf, b" ", record.attempts);
    buf.push(b' ');
    decimal(buf, record.duration.as_micros(), 1_000_000);
    buf.push(b' ');
    match record.upstream_time {
        Some(time) => decimal(buf, time.as_micros(), 1_000_000),
        None => buf.push(b'-'),
    }
    match record.upstream_status {
        Some(status) => number(buf, b" ", status),
        None => buf.extend_from_slice(b" -"),
    }
    buf.push(b' ');
    buf.extend_from_slice(record.termination.as_str().as_bytes());
}

/// A name in a column that ends at a space.
fn user(buf: &mut Vec<u8>, name: &str) {
    for (n, part) in escape::truncate(name.as_bytes(), TEXT_MOST).split(|byte| *byte == b' ').enumerate() {
        if n > 0 {
            buf.extend_from_slice(b"\\x20");
        }
        escape::nginx(buf, part);
    }
}

/// Path and query, cut to [`URI_MOST`] together.
fn uri<'a>(record: &AccessRecord<'a>) -> (&'a [u8], Option<&'a [u8]>) {
    let path = escape::truncate(record.path.as_bytes(), URI_MOST);
    let query = record.query.map(|query| escape::truncate(query.as_bytes(), URI_MOST - path.len()));
    (path, query)
}

/// A key and its quoted text. `key` brings the comma, the colon and the opening quote.
fn text(buf: &mut Vec<u8>, key: &[u8], text: &str) {
    buf.extend_from_slice(key);
    escape::json(buf, escape::truncate(text.as_bytes(), TEXT_MOST));
    buf.push(b'"');
}

fn optional(buf: &mut Vec<u8>, key: &[u8], value: Option<&str>) {
    if let Some(value) = value {
        text(buf, key, value);
    }
}

fn number(buf: &mut Vec<u8>, key: &[u8], value: impl itoa::Integer) {
    buf.extend_from_slice(key);
    buf.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A key and milliseconds with three decimals.
fn millis(buf: &mut Vec<u8>, key: &[u8], time: Option<Duration>) {
    if let Some(time) = time {
        buf.extend_from_slice(key);
        decimal(buf, time.as_micros(), 1_000);
    }
}

/// `value / unit` with as many decimals as `unit`, a power of ten, has zeros.
fn decimal(buf: &mut Vec<u8>, value: u128, unit: u64) {
    let value = u64::try_from(value).unwrap_or(u64::MAX);
    number(buf, b"", value / unit);
    buf.push(b'.');
    let mut rest = value % unit;
    let mut place = unit / 10;
    while place > 0 {
        buf.push(b'0' + u8::try_from(rest / place).unwrap_or(0));
        rest %= place;
        place /= 10;
    }
}

fn address(buf: &mut Vec<u8>, key: &[u8], address: IpAddr) {
    buf.extend_from_slice(key);
    address_text(buf, address);
    buf.push(b'"');
}

fn address_text(buf: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            for (n, octet) in [a, b, c, d].into_iter().enumerate() {
                number(buf, if n == 0 { b"" } else { b"." }, octet);
            }
        }
        // Writing to a Vec cannot fail.
        IpAddr::V6(address) => drop(write!(buf, "{address}")),
    }
}
