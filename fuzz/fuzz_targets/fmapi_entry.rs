//! The structure that callers of the C library give back: nothing in it is read outside of it, and only what the library
//! wrote itself is believed.
#![no_main]

use fmapi::info::{FIXED, MAX_SIZE, TOKEN, Token, token_of, token_offset};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(at) = token_offset(data) {
        let size = u32::from_ne_bytes(data[..4].try_into().unwrap()) as usize;
        assert!(at >= FIXED && at + TOKEN <= size && size <= MAX_SIZE);
    }
    let _ = token_of(data);
    // The checksum would hide what comes behind it.
    let Some((fields, rest)) = data.split_first_chunk::<20>() else { return };
    let mut token = b"undelfs\x01".to_vec();
    token.extend_from_slice(fields);
    token.extend_from_slice(&crc32fast::hash(&token).to_le_bytes());
    let parsed = Token::parse(&token).expect("a sound token");
    assert_eq!(parsed.handle.to_le_bytes(), fields[..8]);
    assert_eq!(parsed.position.to_le_bytes(), fields[8..16]);
    assert_eq!(parsed.record.to_le_bytes(), fields[16..]);
    if let Some(bit) = rest.first() {
        token[usize::from(bit / 8)] ^= 1 << (bit % 8);
        assert_eq!(Token::parse(&token), None);
    }
});
