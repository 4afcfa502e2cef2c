//! Whatever a content begins with, it is of a kind or of none, and its begin alone decides.
#![no_main]

use libfuzzer_sys::fuzz_target;
use undelfs_restore::content_kind;

fuzz_target!(|data: &[u8]| {
    let kind = content_kind(data);
    assert_eq!(kind, content_kind(&data[..data.len().min(4096)]));
    assert!(kind.is_none() || data.len() >= 2);
});
