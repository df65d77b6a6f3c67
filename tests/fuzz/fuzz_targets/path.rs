//! Any text as a path: what is forwarded is in normal form already, and a backend cannot read more segments into it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate::route::path::NormalPath;

fuzz_target!(|raw: &str| {
    let Ok(path) = NormalPath::parse(raw) else {
        return;
    };
    let forward = path.forward();
    assert!(forward.starts_with('/') && path.matching().starts_with('/'));
    assert!(forward.bytes().all(|byte| byte.is_ascii_graphic()), "{forward:?} cannot be sent");
    assert_eq!(forward.matches('/').count(), path.matching().matches('/').count());
    let again = NormalPath::parse(forward);
    assert_eq!(again.as_ref().map(NormalPath::forward), Ok(forward));
    assert_eq!(again.as_ref().map(NormalPath::matching), Ok(path.matching()));
});
