//! LZNT1: the first two bytes say how much is wanted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use undelfs_ntfs::lznt1::decompress;

fuzz_target!(|data: &[u8]| {
    let Some((len, packed)) = data.split_first_chunk::<2>() else { return };
    let mut out = vec![0; usize::from(u16::from_le_bytes(*len)) * 2];
    let _ = decompress(packed, &mut out);
});
