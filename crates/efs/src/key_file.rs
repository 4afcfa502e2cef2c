//! Files with private keys: PKCS#12, PEM and DER.

use p12_keystore::{Pkcs12Archive, error::Error as Pkcs12Error};
use pkcs8::{EncryptedPrivateKeyInfoRef, der::Decode};
use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use crate::{entry::Thumbprint, key::PrivateKey};

/// Why a file gives no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKeyFile {
    /// The password is wrong, or one is needed.
    #[error("the key file is protected by a password, and the one that was tried is not it")]
    Password,
    /// It holds no RSA private key.
    #[error("{0}")]
    NoKey(String),
}

fn no_key(reason: impl Into<String>) -> BadKeyFile {
    BadKeyFile::NoKey(reason.into())
}

/// The private keys in a file: PKCS#12 (`.pfx`, `.p12`), PEM or DER. `password` opens it where it is protected; without
/// one it is tried with the empty password.
///
/// # Errors
/// [`BadKeyFile::Password`] where another password is needed, [`BadKeyFile::NoKey`] where there is no RSA private key.
pub fn load(bytes: &[u8], password: Option<&str>) -> Result<Vec<PrivateKey>, BadKeyFile> {
    let password = password.unwrap_or_default();
    let keys = match find(bytes, b"-----BEGIN ").map(|_| pem(bytes, password)) {
        Some(keys) => keys?,
        None if is_pkcs12(bytes) => pkcs12(bytes, password)?,
        None => der(bytes, password)?.into_iter().collect(),
    };
    if keys.is_empty() {
        return Err(no_key(
            "there is no RSA private key in it; export the certificate with its private key, as a .pfx file",
        ));
    }
    Ok(keys)
}

fn thumbprint(certificate: &[u8]) -> Thumbprint {
    Thumbprint(Sha1::digest(certificate).into())
}

/// Whether it begins as a PFX does: a sequence whose first element is the version, 3 (RFC 7292).
fn is_pkcs12(bytes: &[u8]) -> bool {
    let head = bytes.get(..16).unwrap_or(bytes);
    let content = match head {
        [0x30, len, rest @ ..] if *len < 0x80 => rest,
        [0x30, len, rest @ ..] => rest.get(usize::from(len & 0x7F)..).unwrap_or_default(),
        _ => return false,
    };
    content.starts_with(&[2, 1, 3, 0x30])
}

fn pkcs12(bytes: &[u8], password: &str) -> Result<Vec<PrivateKey>, BadKeyFile> {
    let archive = Pkcs12Archive::from_pkcs12(bytes, password).map_err(|error| match error {
        Pkcs12Error::MacError(_) | Pkcs12Error::UnpadError | Pkcs12Error::Pkcs5Error(_) => {
            BadKeyFile::Password
        }
        Pkcs12Error::UnsupportedEncryptionScheme => no_key(
            "it is protected in a way that is not known; convert it with `openssl pkcs12`, or export it anew",
        ),
        // The key is derived of UTF-16 by Windows, of UCS-2 by the standard, which has no such characters.
        _ if password.chars().any(|c| c > '\u{FFFF}') => no_key(
            "its password has a character that cannot be used here; convert it to one with another password",
        ),
        other => no_key(format!("it is no PKCS#12 file that can be read: {other}")),
    })?;
    let keys = archive.keys.iter().filter_map(|bag| {
        let own =
            archive.certs.iter().filter(|certificate| match (&bag.local_key_id, &certificate.local_key_id) {
                (Some(key), Some(certificate)) => key.as_ref() == certificate.as_slice(),
                // Without identifiers any of them may be.
                _ => true,
            });
        let own: Vec<Thumbprint> = own.map(|certificate| thumbprint(certificate.cert.as_der())).collect();
        Some(PrivateKey::from_der(bag.key.as_der())?.with(&own))
    });
    Ok(keys.collect())
}

fn der(bytes: &[u8], password: &str) -> Result<Option<PrivateKey>, BadKeyFile> {
    match EncryptedPrivateKeyInfoRef::from_der(bytes) {
        Ok(encrypted) => decrypt(&encrypted, password),
        Err(_) => Ok(PrivateKey::from_der(bytes)),
    }
}

fn decrypt(
    encrypted: &EncryptedPrivateKeyInfoRef<'_>,
    password: &str,
) -> Result<Option<PrivateKey>, BadKeyFile> {
    /// Most rounds of PBKDF2, and most memory of scrypt in bytes: what a file asks for is not done without a bound.
    const MAX_ROUNDS: u32 = 10_000_000;
    const MAX_MEMORY: u64 = 1 << 30;
    use pkcs8::pkcs5::{EncryptionScheme, pbes2::Kdf};
    let unknown =
        || no_key("its private key is protected in a way that is not known; convert it to a .pfx file");
    let EncryptionScheme::Pbes2(scheme) = &encrypted.encryption_algorithm else { return Err(unknown()) };
    let bounded = match &scheme.kdf {
        Kdf::Pbkdf2(kdf) => kdf.iteration_count <= MAX_ROUNDS,
        Kdf::Scrypt(kdf) => {
            let memory = kdf.cost_parameter.saturating_mul(u64::from(kdf.block_size)).saturating_mul(128);
            memory <= MAX_MEMORY && kdf.parallelization <= 16
        }
        _ => false,
    };
    if !bounded {
        return Err(unknown());
    }
    let plain = encrypted.decrypt(password).map_err(|_| BadKeyFile::Password)?;
    Ok(PrivateKey::from_der(plain.as_bytes()))
}

/// Blocks of PEM (RFC 7468) with whatever text between them, as OpenSSL writes.
fn pem(bytes: &[u8], password: &str) -> Result<Vec<PrivateKey>, BadKeyFile> {
    let mut keys = Vec::new();
    let mut certificates = Vec::new();
    let mut rest = bytes;
    let mut unread = 0_u32;
    while let Some(begin) = find(rest, b"-----BEGIN ") {
        let from = rest.get(begin..).unwrap_or_default();
        let label = from.get(11..).and_then(|label| label.get(..find(label, b"-----")?)).unwrap_or_default();
        let close = [b"-----END ", label, b"-----"].concat();
        let Some(end) = find(from, &close).map(|end| end.saturating_add(close.len())) else {
            return Err(no_key("its PEM block has no end"));
        };
        let (block, after) = from.split_at_checked(end).unwrap_or((from, &[]));
        rest = after;
        if find(block, b"Proc-Type: 4,ENCRYPTED").is_some() {
            return Err(no_key(
                "its private key is protected in OpenSSL's old way; convert it with `openssl pkcs8 -topk8`",
            ));
        }
        let Ok((label, content)) = pem_rfc7468::decode_vec(block) else {
            unread = unread.saturating_add(1);
            continue;
        };
        let content = Zeroizing::new(content);
        match label {
            "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => {
                certificates.push(thumbprint(&content))
            }
            "PRIVATE KEY" | "RSA PRIVATE KEY" => keys.extend(PrivateKey::from_der(&content)),
            "ENCRYPTED PRIVATE KEY" => keys.extend(der(&content, password)?),
            _ => {}
        }
    }
    if keys.is_empty() && unread > 0 {
        return Err(no_key(format!("{unread} of its PEM blocks cannot be decoded")));
    }
    Ok(keys.into_iter().map(|key| key.with(&certificates)).collect())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len().max(1)).position(|window| window == what)
}
