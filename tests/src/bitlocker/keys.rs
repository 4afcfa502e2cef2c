//! From what a user has to the keys of a volume.

use sha2::{Digest, Sha256};

/// Rounds of [`stretch`] on every volume.
const ROUNDS: u64 = 0x10_0000;

/// The key that `secret` becomes with a protector's salt: a chain of a million SHA-256.
pub(super) fn stretch(secret: &[u8; 32], salt: &[u8; 16]) -> [u8; 32] {
    let mut block = [0; 88];
    block[32..64].copy_from_slice(secret);
    block[64..80].copy_from_slice(salt);
    for round in 0..ROUNDS {
        block[80..].copy_from_slice(&round.to_le_bytes());
        let hash: [u8; 32] = Sha256::digest(block).into();
        block[..32].copy_from_slice(&hash);
    }
    let mut key = [0; 32];
    key.copy_from_slice(&block[..32]);
    key
}

/// What a password is before it is stretched.
pub(super) fn of_password(password: &str) -> [u8; 32] {
    let units: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
    Sha256::digest(Sha256::digest(units)).into()
}

/// The 16 bytes that a recovery password writes as eight numbers, each times eleven.
///
/// # Panics
/// When it is none.
pub(super) fn of_recovery_password(password: &str) -> [u8; 16] {
    let groups: Vec<u32> = password.split('-').map(|group| group.parse().expect("six digits")).collect();
    assert!(groups.len() == 8 && groups.iter().all(|group| group % 11 == 0), "{password}");
    let mut key = [0; 16];
    for (bytes, group) in key.chunks_exact_mut(2).zip(groups) {
        bytes.copy_from_slice(&u16::try_from(group / 11).expect("a group below 720896").to_le_bytes());
    }
    key
}

/// What a recovery password is before it is stretched.
pub(super) fn of_recovery_key(key: &[u8; 16]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// A recovery password: eight groups of six digits.
pub fn recovery_password(seed: u64) -> String {
    let mut rng = fastrand::Rng::with_seed(seed);
    let groups: Vec<String> = (0..8).map(|_| format!("{:06}", u32::from(rng.u16(..)) * 11)).collect();
    groups.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn secrets_of_volumes_made_by_windows_become_their_keys() {
        let password = of_password("password12!@");
        assert_eq!(hex(&password), "13619bc65aa48e435f886990fd217df64076017f03bbade46df0173973dd7dd1");
        let salt =
            [0x22, 0xc7, 0x0d, 0x02, 0xf0, 0x91, 0x55, 0x05, 0xda, 0xdf, 0xb0, 0x73, 0x64, 0x2b, 0x9d, 0x8d];
        let stretched = stretch(&password, &salt);
        assert_eq!(hex(&stretched), "32d2f0454e5e32952969b219fd35aa53655e985fc6c12b7d96e3f36a54018c1c");
        let key = of_recovery_password("131450-120197-153989-250338-511368-495572-680944-381546");
        assert_eq!(hex(&key), "ae2eaf2aaf36e65898b5fcafd0f17e87");
        let secret = of_recovery_key(&key);
        assert_eq!(hex(&secret), "46d6fa199af4c3ea0af0d8d95dc1d14c20f3db7cdd4340a018ae29744c475926");
    }

    #[test]
    fn a_made_recovery_password_has_eight_groups_that_can_be_read_back() {
        for seed in 0..100 {
            let password = recovery_password(seed);
            assert_eq!(password.len(), 55, "{password}");
            of_recovery_password(&password);
        }
    }
}
