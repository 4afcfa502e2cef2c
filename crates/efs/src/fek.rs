//! The file encryption key: what all streams of a file are encrypted with.

use std::fmt;

use undelfs_source::bytes::u32_at;
use zeroize::Zeroizing;

/// A cipher of EFS, with its `ALG_ID` in `wincrypt.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// DESX, 0x6604: Windows 2000, and the default of Windows XP before Service Pack 1.
    Desx,
    /// Triple DES, 0x6603: Windows XP and 2003 by choice.
    TripleDes,
    /// AES-256, 0x6610: the default since Windows XP Service Pack 1.
    Aes256,
    /// AES-192, 0x660F.
    Aes192,
    /// AES-128, 0x660E.
    Aes128,
}

impl Algorithm {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Desx, Self::TripleDes, Self::Aes256, Self::Aes192, Self::Aes128];

    /// Its `ALG_ID`.
    pub fn id(self) -> u32 {
        match self {
            Self::Desx => 0x6604,
            Self::TripleDes => 0x6603,
            Self::Aes256 => 0x6610,
            Self::Aes192 => 0x660F,
            Self::Aes128 => 0x660E,
        }
    }

    /// Bytes of its key.
    pub fn key_len(self) -> usize {
        match self {
            Self::Desx | Self::Aes128 => 16,
            Self::TripleDes | Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Desx => "DESX",
            Self::TripleDes => "3DES",
            Self::Aes256 => "AES-256",
            Self::Aes192 => "AES-192",
            Self::Aes128 => "AES-128",
        })
    }
}

/// The file encryption key of a file.
#[derive(Clone)]
pub struct Fek {
    algorithm: Algorithm,
    key: Zeroizing<Vec<u8>>,
}

/// Why something that was unwrapped is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoFek {
    /// It has not the form of one: it was wrapped for somebody else.
    Form,
    /// It has the form, and an algorithm that is not known.
    Algorithm(u32),
}

impl Fek {
    /// A key of `algorithm`; `None` where it has not the right length.
    pub fn new(algorithm: Algorithm, key: &[u8]) -> Option<Self> {
        (key.len() == algorithm.key_len()).then(|| Self { algorithm, key: Zeroizing::new(key.to_vec()) })
    }

    /// Reads what was unwrapped: length of the key in bytes, its entropy (in bytes by Windows, in bits by MS-EFSR
    /// 2.2.2.1.5, and of no use), `ALG_ID`, a reserved word, the key.
    pub(crate) fn parse(blob: &[u8]) -> Result<Self, NoFek> {
        /// Longest that Windows takes, in bytes.
        const MAX: usize = 1086;
        let key = blob.get(16..).filter(|_| blob.len() <= MAX).ok_or(NoFek::Form)?;
        let length = u32_at(blob, 0).and_then(|length| usize::try_from(length).ok());
        if length != Some(key.len()) || u32_at(blob, 12) != Some(0) || key.is_empty() {
            return Err(NoFek::Form);
        }
        let id = u32_at(blob, 8).ok_or(NoFek::Form)?;
        let known = Algorithm::ALL.into_iter().find(|algorithm| algorithm.id() == id);
        known.and_then(|algorithm| Self::new(algorithm, key)).ok_or(NoFek::Algorithm(id))
    }

    /// The cipher.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }
}

impl fmt::Debug for Fek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fek({})", self.algorithm)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn blob(id: u32, key: &[u8]) -> Vec<u8> {
        let head = [key.len() as u32, key.len() as u32, id, 0];
        head.into_iter().flat_map(u32::to_le_bytes).chain(key.iter().copied()).collect()
    }

    #[test]
    fn a_key_has_the_length_of_its_cipher() {
        for algorithm in Algorithm::ALL {
            let key = vec![0x5A; algorithm.key_len()];
            let fek = Fek::parse(&blob(algorithm.id(), &key)).unwrap();
            assert_eq!((fek.algorithm(), fek.key()), (algorithm, &key[..]));
            assert_eq!(
                Fek::parse(&blob(algorithm.id(), &key[1..])).unwrap_err(),
                NoFek::Algorithm(algorithm.id())
            );
            assert!(!format!("{fek:?}").contains("90"));
        }
        assert_eq!(Fek::parse(&blob(0x6601, &[1; 8])).unwrap_err(), NoFek::Algorithm(0x6601));
    }

    #[test]
    fn what_was_unwrapped_with_the_wrong_key_is_no_key() {
        let good = blob(0x6610, &[1; 32]);
        for cut in 0..good.len() {
            assert_eq!(Fek::parse(&good[..cut]).unwrap_err(), NoFek::Form);
        }
        let mut bad = good.clone();
        bad[12] = 1;
        assert_eq!(Fek::parse(&bad).unwrap_err(), NoFek::Form);
    }
}
