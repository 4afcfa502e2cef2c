//! Entries of the key lists: who can decrypt a file, and its key as that one's certificate has wrapped it.

use std::fmt;

use undelfs_source::bytes::{array, u32_at};

use crate::{sid::Sid, text::utf16};

/// Which of the two key lists of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// The data decryption field: users.
    Users,
    /// The data recovery field: recovery agents.
    Recovery,
}

impl List {
    /// `DDF` or `DRF`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Users => "DDF",
            Self::Recovery => "DRF",
        }
    }
}

/// SHA-1 of a certificate in DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Thumbprint(pub [u8; 20]);

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The file encryption key as an entry holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrapped {
    /// By the RSA key of the certificate, PKCS#1 v1.5, the last byte first.
    Rsa(Vec<u8>),
    /// By AES-256 with a key made of a signature, as for smart cards: how is not published.
    Signature,
    /// In a form of metadata version 2 (Windows 7 and later, with elliptic curves), which is not published in full.
    Newer,
    /// In a way that has an unknown number.
    Unknown(u32),
}

/// One who can decrypt the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The list that it stands in.
    pub list: List,
    /// The user.
    pub owner: Option<Sid>,
    /// The certificate.
    pub thumbprint: Option<Thumbprint>,
    /// Name of the key container on the user's machine.
    pub container: Option<String>,
    /// Name of the cryptographic provider that has the container.
    pub provider: Option<String>,
    /// The user's name for people, such as `me(me@HOST)`.
    pub name: Option<String>,
    /// The file encryption key.
    pub wrapped: Wrapped,
}

/// For people: `user me(me@HOST), S-1-5-…, certificate 1b3f…`.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.list {
            List::Users => "user",
            List::Recovery => "recovery agent",
        })?;
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        if let Some(owner) = &self.owner {
            write!(f, ", {owner}")?;
        }
        match &self.thumbprint {
            Some(thumbprint) => write!(f, ", certificate {thumbprint}"),
            None => f.write_str(", certificate not known"),
        }
    }
}

/// An entry of MS-EFSR 2.2.2.1.2 and the public key information in it. `None` where it contradicts itself.
pub(crate) fn parse(entry: &[u8], list: List) -> Option<Entry> {
    let from = |bytes: &'_ [u8], at: u32| -> Option<usize> {
        usize::try_from(at).ok().filter(|at| *at <= bytes.len())
    };
    let key = entry.get(from(entry, u32_at(entry, 4)?)?..)?;
    let len = usize::try_from(u32_at(entry, 8)?).ok()?;
    let start = from(entry, u32_at(entry, 12)?)?;
    let wrapped = entry.get(start..start.checked_add(len)?)?;
    let wrapped = match u32_at(entry, 16)? {
        0 => Wrapped::Rsa(wrapped.to_vec()),
        1 => Wrapped::Signature,
        other => Wrapped::Unknown(other),
    };
    let key = key.get(..usize::try_from(u32_at(key, 0)?).ok()?)?;
    let owner = match u32_at(key, 4)? {
        0 => None,
        at => key.get(from(key, at)?..).and_then(Sid::parse),
    };
    let mut found =
        Entry { list, owner, thumbprint: None, container: None, provider: None, name: None, wrapped };
    /// A certificate's thumbprint names the key; others name a key container alone.
    const CERTIFICATE: u32 = 3;
    if u32_at(key, 8)? != CERTIFICATE {
        return Some(found);
    }
    let len = usize::try_from(u32_at(key, 12)?).ok()?;
    let start = from(key, u32_at(key, 16)?)?;
    let certificate = key.get(start..start.checked_add(len)?)?;
    let at = from(certificate, u32_at(certificate, 0)?)?;
    if u32_at(certificate, 4)? == 20 {
        found.thumbprint = array(certificate, at).map(Thumbprint);
    }
    let text = |at: usize| {
        let at = u32_at(certificate, at).filter(|at| *at != 0)?;
        Some(utf16(certificate.get(from(certificate, at)?..)?)).filter(|text| !text.is_empty())
    };
    (found.container, found.provider, found.name) = (text(8), text(12), text(16));
    Some(found)
}
