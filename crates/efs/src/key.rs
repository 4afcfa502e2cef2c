use std::fmt;

use pkcs8::DecodePrivateKey;
use rsa::{Pkcs1v15Encrypt, RsaPrivateKey, pkcs1::DecodeRsaPrivateKey, traits::PublicKeyParts};
use zeroize::Zeroizing;

use crate::{
    entry::Thumbprint,
    fek::{Fek, NoFek},
};

/// An RSA private key, and the certificates that stood with it.
#[derive(Clone)]
pub struct PrivateKey {
    key: RsaPrivateKey,
    certificates: Vec<Thumbprint>,
}

impl PrivateKey {
    /// A key in DER: PKCS#8 or PKCS#1. `None` where it is neither, or no RSA key.
    pub(crate) fn from_der(der: &[u8]) -> Option<Self> {
        let key =
            RsaPrivateKey::from_pkcs8_der(der).ok().or_else(|| RsaPrivateKey::from_pkcs1_der(der).ok())?;
        Some(Self { key, certificates: Vec::new() })
    }

    /// Says that the key is that of these certificates.
    pub(crate) fn with(mut self, certificates: &[Thumbprint]) -> Self {
        self.certificates.extend_from_slice(certificates);
        self
    }

    /// The certificates that stood with the key, of which one is its own.
    pub fn certificates(&self) -> &[Thumbprint] {
        &self.certificates
    }

    /// Size of the modulus in bytes, which is that of what the key has wrapped.
    pub(crate) fn size(&self) -> usize {
        self.key.size()
    }

    /// Unwraps a file encryption key, which is stored with its last byte first.
    pub(crate) fn unwrap(&self, wrapped: &[u8]) -> Result<Fek, NoFek> {
        if wrapped.len() != self.size() {
            return Err(NoFek::Form);
        }
        let turned: Vec<u8> = wrapped.iter().rev().copied().collect();
        let blob = self.key.decrypt(Pkcs1v15Encrypt, &turned).map(Zeroizing::new);
        Fek::parse(&blob.map_err(|_| NoFek::Form)?)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.size().saturating_mul(8);
        write!(f, "PrivateKey({bits} bits, certificates {:?})", self.certificates)
    }
}
