//! Names come back from every form that they are shown in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use undelfs_ntfs::name;
use undelfs_restore::{
    names::{escape, unescape},
    windows,
};

fuzz_target!(|data: &[u8]| {
    let shown = escape(data);
    assert!(!shown.contains(&b'/') && !shown.contains(&0));
    assert_eq!(unescape(&shown), data);
    let units: Vec<u16> = data.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
    let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    assert_eq!(name::to_utf16(&name::to_wtf8(&bytes)), units);
    let _ = name::to_utf16(data);

    // Longer ones may be cut.
    let tree = escape(&name::to_wtf8(&bytes)).into_owned();
    let on_windows = windows::names::shown(&tree);
    assert!(on_windows.len() <= windows::names::NAME_MAX);
    if units.len() <= windows::names::NAME_MAX / 3 {
        assert_eq!(windows::names::tree_name(&on_windows), tree);
    }
    let (pattern, rest) = units.split_at(units.len().min(40));
    let _ = windows::pattern::matches(pattern, rest);
    let _ = windows::reparse::symlink(data);
});
