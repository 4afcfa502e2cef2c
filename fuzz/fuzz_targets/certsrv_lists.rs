//! Tagged lists and restore maps: any bytes are one or an error; what is read is written again as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use undelfs_certsrv::{
    RestoreMap,
    list::{decode, encode},
};

fuzz_target!(|data: &[u8]| {
    if let Ok(entries) = decode(data, "the list") {
        let again = encode(entries.iter().map(|(tag, path)| (Some(*tag), path.as_str())));
        let again: Vec<u8> = again.into_iter().flat_map(u16::to_le_bytes).collect();
        // Text that is no Unicode is replaced.
        if entries.iter().all(|(_, path)| !path.contains('\u{FFFD}')) {
            assert!(again == data);
        }
        assert!(decode(&again, "the list").is_ok_and(|own| own == entries));
    }
    if let Ok(map) = RestoreMap::parse(data) {
        assert_eq!(RestoreMap::parse(&map.to_bytes()).expect("its own bytes"), map);
    }
});
