//! Opening what was sealed with AES-CCM, and making keys of passwords.

use ccm::{
    Ccm,
    aead::{AeadInOut, KeyInit},
    consts::{U12, U16},
};
use sha2::{Digest, Sha256};
use undelfs_volume::filesystem::Watch;
use zeroize::{Zeroize, Zeroizing};

use crate::{
    datum::{Datum, Sealed},
    secret::Secret,
};

/// How often a password is hashed.
pub(crate) const ROUNDS: u64 = 1 << 20;

/// The datum that was sealed with the 32 bytes of `key`; `None` where the key does not fit.
pub(crate) fn unseal(sealed: &Sealed, key: &[u8]) -> Option<Datum> {
    let cipher = Ccm::<aes::Aes256, U16, U12>::new_from_slice(key).ok()?;
    let mut data = Zeroizing::new(sealed.data.clone());
    cipher
        .decrypt_inout_detached(&sealed.nonce.into(), &[], data.as_mut_slice().into(), &sealed.mac.into())
        .ok()?;
    Datum::first(&data)
}

/// Makes a key of the hash of a password and a protector's salt: [`ROUNDS`] times SHA-256 over the last hash, the
/// password's hash, the salt and a counter. `None` when `watch` cancelled it.
pub(crate) fn stretch(hash: &[u8; 32], salt: &[u8; 16], watch: &dyn Watch) -> Option<Secret> {
    const STEP: u64 = 1 << 14;
    let mut input = Zeroizing::new([0u8; 88]);
    let (last, rest) = input.split_at_mut(32);
    let (user, rest) = rest.split_at_mut(32);
    let (salt_part, counter) = rest.split_at_mut(16);
    user.copy_from_slice(hash);
    salt_part.copy_from_slice(salt);
    let mut hasher = Sha256::new();
    for round in 0..ROUNDS {
        counter.copy_from_slice(&round.to_le_bytes());
        hasher.update(&*last);
        hasher.update(&*user);
        hasher.update(&*salt_part);
        hasher.update(&*counter);
        let mut digest = hasher.finalize_reset();
        last.copy_from_slice(&digest);
        digest.zeroize();
        if round % STEP == 0 {
            watch.advance(STEP);
            if watch.cancelled() {
                return None;
            }
        }
    }
    Some(Secret::copy(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_key_opens_with_its_key_only() {
        let inner = crate::datum::samples::datum(3, 1, &[&[3, 0x20, 0, 0][..], &[0x5A; 32]].concat());
        let cipher = Ccm::<aes::Aes256, U16, U12>::new(&[7; 32].into());
        let mut data = inner.clone();
        let nonce = [9; 12];
        let mac = cipher.encrypt_inout_detached(&nonce.into(), &[], data.as_mut_slice().into()).unwrap();
        let sealed = Sealed { nonce, mac: mac.into(), data };
        assert_eq!(unseal(&sealed, &[7; 32]).unwrap().role, 3);
        assert!(unseal(&sealed, &[8; 32]).is_none());
        assert!(unseal(&sealed, &[7; 16]).is_none());
        let mut changed = sealed.clone();
        changed.data[20] ^= 1;
        assert!(unseal(&changed, &[7; 32]).is_none());
    }
}
