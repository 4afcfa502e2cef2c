use std::fmt;

use crate::{
    Guid,
    datum::{Dataset, Datum, Value, role},
};

/// What opens a key protector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProtectorKind {
    /// Nothing is needed: protection is suspended.
    ClearKey,
    /// The computer's security chip.
    Tpm,
    /// The security chip and a startup key file.
    TpmAndStartupKey,
    /// The security chip and a PIN.
    TpmAndPin,
    /// The security chip, a PIN and a startup key file.
    TpmAndPinAndStartupKey,
    /// A startup key file, `.BEK`, also that which Windows keeps for unlocking by itself.
    StartupKey,
    /// 48 digits.
    RecoveryPassword,
    /// A smart card or another certificate.
    Certificate,
    /// A password.
    Password,
    /// Anything else, by its number.
    Other(u16),
}

impl ProtectorKind {
    /// The kind with this number. Source: the documentation of libbde; 0x1000 by volumes that Windows made.
    pub fn from_code(code: u16) -> Self {
        // The low byte is a priority among protectors of a kind.
        match code & 0xFF00 {
            0x0000 => Self::ClearKey,
            0x0100 => Self::Tpm,
            0x0200 => Self::StartupKey,
            0x0300 => Self::TpmAndStartupKey,
            0x0400 | 0x0500 => Self::TpmAndPin,
            0x0600 | 0x0700 => Self::TpmAndPinAndStartupKey,
            0x0800 => Self::RecoveryPassword,
            0x1000 => Self::Certificate,
            0x2000 => Self::Password,
            other => Self::Other(other),
        }
    }

    /// Whether a key for it can be given here.
    pub fn can_be_opened(self) -> bool {
        matches!(self, Self::ClearKey | Self::StartupKey | Self::RecoveryPassword | Self::Password)
    }
}

/// What it is, with the name that `manage-bde` prints where that differs.
impl fmt::Display for ProtectorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClearKey => "Clear Key",
            Self::Tpm => "TPM",
            Self::TpmAndStartupKey => "TPM And Startup Key",
            Self::TpmAndPin => "TPM And PIN",
            Self::TpmAndPinAndStartupKey => "TPM And PIN And Startup Key",
            Self::StartupKey => "startup key (External Key)",
            Self::RecoveryPassword => "recovery password (Numerical Password)",
            Self::Certificate => "smart card (Certificate Based)",
            Self::Password => "password",
            Self::Other(code) => return write!(f, "unknown protector 0x{code:04X}"),
        })
    }
}

/// One way to unlock a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protector {
    /// What opens it.
    pub kind: ProtectorKind,
    /// Its identifier, which is also the name of a startup key file and stands beside a printed recovery password.
    pub identifier: Guid,
}

impl fmt::Display for Protector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.identifier)
    }
}

/// The protectors of a dataset, each with its datum.
pub(crate) fn protectors(dataset: &Dataset) -> impl Iterator<Item = (Protector, &Datum)> {
    dataset.of(role::VMK).filter_map(|datum| match datum.value {
        Value::Protector { identifier, protection } => {
            Some((Protector { kind: ProtectorKind::from_code(protection), identifier }, datum))
        }
        _ => None,
    })
}
