//! Durations and sizes as people write them: `200ms`, `5s`, `100MiB`.

use std::time::Duration;

/// Reads `250us`, `200ms`, `5s`, `2m`, `1h`. A bare number counts milliseconds. `None` when it is none of these.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let micros = match unit {
        "us" => 1.0,
        "" | "ms" => 1e3,
        "s" => 1e6,
        "m" | "min" => 60e6,
        "h" => 3600e6,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * micros / 1e6).ok()
}

/// Reads a number of bytes: `512`, `64KB` (1000), `64KiB` (1024), `100MiB`, `1GiB`. `None` when it is none of these.
pub fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some((number * factor) as u64)
}

fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_written() {
        assert_eq!(duration("200ms"), Some(Duration::from_millis(200)));
        assert_eq!(duration("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(duration("250us"), Some(Duration::from_micros(250)));
        assert_eq!(duration("20"), Some(Duration::from_millis(20)));
        assert_eq!(duration("20 parsecs"), None);
        assert_eq!(duration(""), None);
    }

    #[test]
    fn sizes_read_as_written() {
        assert_eq!(size("512"), Some(512));
        assert_eq!(size("100MiB"), Some(100 << 20));
        assert_eq!(size("64KB"), Some(64_000));
        assert_eq!(size("-1"), None);
    }
}
