use proptest::prelude::*;

use super::{des_cbc, *};

fn cipher(algorithm: Algorithm, key: &[u8]) -> Cipher {
    Cipher::new(&Fek::new(algorithm, key).unwrap()).unwrap()
}

fn count(from: u8, len: usize) -> Vec<u8> {
    (from..).take(len).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// First and last block of an encrypted unit of zeros.
fn ends(cipher: &Cipher, offset: u64, block: usize) -> [String; 2] {
    let mut unit = [0; UNIT];
    cipher.encrypt(&mut unit, offset);
    let ends = [hex(&unit[..block]), hex(&unit[UNIT - block..])];
    cipher.decrypt(&mut unit, offset);
    assert_eq!(unit, [0; UNIT]);
    ends
}

#[test]
fn aes_gives_what_was_worked_out_from_files_of_windows() {
    let cipher = cipher(Algorithm::Aes256, &count(0, 32));
    let cases = [
        (0, "cd11644d4f8fe315bc69bb3a7dd740b2", "e28bd42078b05d2d3a568ee39d838c36"),
        (512, "bace950612a4eaeae9ef41aac5b8ff9f", "264e6fa6eeea5bb6dc9fe984677366f3"),
    ];
    for (offset, first, last) in cases {
        assert_eq!(ends(&cipher, offset, 16), [first, last], "at {offset}");
    }
    assert_eq!(ends(&cipher, 1 << 32, 16)[0], "6016c2dc5623d93157156d487e7ec7e5");
}

#[test]
fn triple_des_gives_what_openssl_gives() {
    let cipher = cipher(Algorithm::TripleDes, &count(1, 24));
    assert_eq!(ends(&cipher, 0, 8), ["db3f668a503ace3d", "fefd930136acda0b"]);
}

#[test]
fn desx_expands_its_key_and_turns_des_round_as_ntfs_3g_does() {
    let key =
        [0xA1, 0xF9, 0xE0, 0xB2, 0x53, 0x23, 0x9E, 0x8F, 0x0F, 0x91, 0x45, 0xD9, 0x8E, 0x20, 0xEC, 0x30];
    let (des, inner, outer) = des_cbc::expand(&key);
    assert_eq!(hex(&*des), "27d19309cb78931f");
    assert_eq!(hex(&outer.to_le_bytes()), "edda4c476049db8d");
    assert_eq!(hex(&inner.to_le_bytes()), "75f6a01ac0ca281e");
    let cipher = cipher(Algorithm::Desx, &count(0, 16));
    assert_eq!(ends(&cipher, 0, 8), ["e46d5d7cc8deb548", "df3381f98c8e2bc9"]);
    assert_eq!(ends(&cipher, 512, 8), ["519223d6fb0f95ab", "e28a7ed7700e944f"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn many_units_at_once_are_the_same_as_one_by_one(
        which in 0..Algorithm::ALL.len(), key: [u8; 32], units in 1_usize..40, first: u32,
    ) {
        let algorithm = Algorithm::ALL[which];
        let cipher = cipher(algorithm, &key[..algorithm.key_len()]);
        let offset = u64::from(first) * UNIT as u64;
        let plain: Vec<u8> = (0..units * UNIT).map(|index| (index * 7 + index / 300) as u8).collect();
        let mut all = plain.clone();
        cipher.encrypt(&mut all, offset);
        let mut single = all.clone();
        for (index, unit) in single.chunks_mut(UNIT).enumerate() {
            cipher.decrypt(unit, offset + (index * UNIT) as u64);
        }
        cipher.decrypt(&mut all, offset);
        prop_assert!(all == plain && single == plain);
    }
}
