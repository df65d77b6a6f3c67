//! Who listens on an address, as far as the caller may know (proc(5)).

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// The state of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";
/// The flags of a listening socket in `/proc/net/unix` (`__SO_ACCEPTCON`).
const UNIX_LISTEN: &str = "00010000";
/// The most processes looked at.
const MAX_PROCESSES: usize = 65_536;

/// A process that holds an address.
pub(super) struct Holder {
    pub(super) pid: u32,
    pub(super) name: String,
}

/// The process that stands in the way of listening on `address`.
pub(super) fn of(address: SocketAddr) -> Option<Holder> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listeners(&table, address))
        .collect();
    process_with(&inodes)
}

/// The process that listens on the unix socket at `path`.
pub(super) fn of_unix(path: &Path) -> Option<Holder> {
    process_with(&unix_listeners(&fs::read_to_string("/proc/net/unix").ok()?, path))
}

/// The first process that has one of the sockets `inodes` open.
fn process_with(inodes: &[String]) -> Option<Holder> {
    let processes = fs::read_dir("/proc").ok()?.take(MAX_PROCESSES).filter_map(Result::ok);
    processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).find_map(|pid| {
        let directory = Path::new("/proc").join(pid.to_string());
        let links = fs::read_dir(directory.join("fd")).ok()?.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let mut links = links;
        links.find(|link| inodes.iter().any(|inode| link.as_os_str() == format!("socket:[{inode}]").as_str()))?;
        let name = fs::read_to_string(directory.join("comm")).ok()?;
        Some(Holder { pid, name: name.trim_end().to_owned() })
    })
}

/// The inodes of listening sockets in a table that meet `address`: the same port, and the same address or a wildcard.
fn listeners(table: &str, address: SocketAddr) -> Vec<String> {
    let row = |line: &str| {
        let mut fields = line.split_whitespace();
        let (local, state) = (fields.nth(1)?, fields.nth(1)?);
        let (host, port) = local.split_once(':')?;
        let host = parse_address(host)?;
        let meets = host == address.ip() || host.is_unspecified() || address.ip().is_unspecified();
        let port = u16::from_str_radix(port, 16).ok()?;
        (state == LISTEN && port == address.port() && meets).then(|| fields.nth(5).map(str::to_owned))?
    };
    table.lines().skip(1).filter_map(row).collect()
}

/// The inodes of listening sockets at `path`.
fn unix_listeners(table: &str, path: &Path) -> Vec<String> {
    let row = |line: &str| {
        // Num RefCount Protocol Flags Type St Inode Path. A path may have spaces in it; the inode may have some before.
        let mut rest = line;
        let mut fields = std::iter::from_fn(|| {
            let (field, after) = rest.trim_start().split_once(' ')?;
            rest = after;
            Some(field)
        });
        let (flags, inode) = (fields.nth(3)?, fields.nth(2)?);
        (flags == UNIX_LISTEN && Path::new(rest) == path).then(|| inode.to_owned())
    };
    table.lines().skip(1).filter_map(row).collect()
}

/// An address as the kernel prints it: 32-bit words in the machine's byte order.
fn parse_address(text: &str) -> Option<IpAddr> {
    let word = |index: usize| {
        let digits = text.get(index * 8..index * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    match text.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(IpAddr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C000 01 00000000:00000000 00:00000000 00000000  1000        0 4343 1 0 100 0 0 10 0
   2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4444 1 0 100 0 0 10 0
";

    #[test]
    fn only_a_listener_on_the_port_stands_in_the_way() {
        let inodes = |text: &str| listeners(TABLE, text.parse().unwrap());
        assert_eq!(inodes("127.0.0.1:8080"), ["4242"]);
        assert_eq!(inodes("0.0.0.0:8080"), ["4242"]);
        assert_eq!(inodes("10.0.0.1:80"), ["4444"]);
        assert!(inodes("10.0.0.1:8080").is_empty());
        assert!(inodes("127.0.0.1:81").is_empty());
    }

    #[test]
    fn only_a_listener_at_the_path_stands_in_the_way() {
        let table = "\
Num       RefCount Protocol Flags    Type St Inode Path
00000000065bb46f: 00000003 00000000 00000000 0001 03 1578003
0000000000000001: 00000002 00000000 00010000 0001 01  1059 /run/a b.sock
0000000000000002: 00000003 00000000 00000000 0001 03 1577508 /run/a b.sock
0000000000000003: 00000002 00000000 00010000 0001 01 1577509 /run/other.sock
";
        assert_eq!(unix_listeners(table, Path::new("/run/a b.sock")), ["1059"]);
        assert_eq!(unix_listeners(table, Path::new("/run/other.sock")), ["1577509"]);
        assert!(unix_listeners(table, Path::new("/run")).is_empty());
    }

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        assert_eq!(parse_address("0100007F"), Some("127.0.0.1".parse().unwrap()));
        assert_eq!(parse_address("00000000000000000000000001000000"), Some("::1".parse().unwrap()));
        assert_eq!(parse_address("0000000000000000FFFF00000100007F"), Some("127.0.0.1".parse().unwrap()));
        assert_eq!(parse_address("xyz"), None);
    }
}
