//! Any X-Forwarded-For: an untrusted peer is the client whatever it says, and a trusted one is believed only up to the
//! first address that is not trusted.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;
use sluicegate::proxy::headers::client_address;

fuzz_target!(|bytes: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|&byte| byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append("x-forwarded-for", value);
        }
    }
    let [trusted, stranger] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(192, 0, 2, 1)].map(IpAddr::V4);
    let nets: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"].iter().filter_map(|net| net.parse().ok()).collect();
    assert_eq!(client_address(stranger, &headers, &nets), stranger);
    let found = client_address(trusted, &headers, &nets);
    assert_eq!(found, found.to_canonical());
    // Another proxy of ours behind these, which adds this peer, finds the same client.
    headers.append("x-forwarded-for", HeaderValue::from_static("10.0.0.1"));
    let behind = client_address(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), &headers, &nets);
    assert!(behind == found || nets.iter().any(|net| net.contains(&behind)), "{behind} is not {found}");
});
