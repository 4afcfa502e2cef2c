//! Key protectors: the ways in which a volume master key is kept in the metadata.

use super::{
    datum::{self, Guid, Nonces, key_type, kind, role},
    keys,
};

/// Which Windows lays the volume out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Windows {
    /// Windows Vista: version 1 metadata, whose first 16 sectors stay plain.
    Vista,
    /// Windows 7: version 2 metadata.
    Seven,
    /// Windows 10: version 2 metadata with more datums, and AES-XTS.
    Ten,
    /// Windows 11: its `.BEK` files also say which volume they are for.
    Eleven,
}

impl Windows {
    /// The number by which the metadata tells who wrote it.
    pub(super) fn build(self) -> Option<u32> {
        match self {
            Self::Vista | Self::Seven => None,
            Self::Ten => Some(18_363),
            Self::Eleven => Some(22_000),
        }
    }
}

/// A way to unlock the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protector {
    /// The key stands in clear in the metadata: protection is suspended.
    ClearKey,
    /// A password.
    Password(String),
    /// A recovery password: eight groups of six digits.
    RecoveryPassword(String),
    /// A startup or recovery key in a `.BEK` file.
    StartupKey,
    /// A TPM that nobody has.
    Tpm,
    /// A TPM that nobody has, with a PIN.
    TpmPin,
    /// A TPM that nobody has, with a startup key.
    TpmStartupKey,
    /// A smart card that nobody has.
    SmartCard,
}

impl Protector {
    /// The code in the metadata.
    pub fn code(&self) -> u16 {
        match self {
            Self::ClearKey => 0x0000,
            Self::Tpm => 0x0100,
            Self::StartupKey => 0x0200,
            Self::TpmStartupKey => 0x0300,
            Self::TpmPin => 0x0500,
            Self::RecoveryPassword(_) => 0x0800,
            Self::SmartCard => 0x1000,
            Self::Password(_) => 0x2000,
        }
    }
}

/// A protector of a made volume.
#[derive(Debug, Clone)]
pub struct MadeProtector {
    /// What it is.
    pub protector: Protector,
    /// Its identifier.
    pub id: Guid,
    /// Bytes of the `.BEK` file of a startup key.
    pub bek: Option<Vec<u8>>,
    /// Its datum in the metadata.
    pub(super) datum: Vec<u8>,
}

impl MadeProtector {
    /// Name that Windows gives the `.BEK` file.
    pub fn bek_name(&self) -> String {
        format!("{}.BEK", self.id)
    }
}

/// Makes datums of protectors.
#[derive(Debug)]
pub(super) struct Maker<'a> {
    pub(super) windows: Windows,
    pub(super) volume: Guid,
    pub(super) vmk: &'a [u8; 32],
    pub(super) nonces: &'a mut Nonces,
    pub(super) rng: &'a mut fastrand::Rng,
}

impl Maker<'_> {
    /// Makes the datum of `protector`.
    pub(super) fn make(&mut self, protector: &Protector) -> MadeProtector {
        let id = Guid::random(self.rng);
        let mut bek = None;
        let properties = match protector {
            Protector::ClearKey => {
                let key = datum::random(self.rng);
                [datum::key(key_type::CLEAR, &key), self.master_key(&key)].concat()
            }
            Protector::Password(password) => self.password(password),
            Protector::RecoveryPassword(password) => self.recovery_password(password),
            Protector::StartupKey => {
                let key = datum::random(self.rng);
                bek = Some(self.bek(id, &key));
                [self.name_of_external_key(), self.used_key(key_type::EXTERNAL, &key), self.master_key(&key)]
                    .concat()
            }
            Protector::Tpm => [self.tpm_blob(), self.unknown_key()].concat(),
            Protector::TpmPin => [self.pin(), self.tpm_blob(), self.unknown_key()].concat(),
            Protector::TpmStartupKey => {
                [self.used_key(key_type::EXTERNAL, &[0; 32]), self.tpm_blob(), self.unknown_key()].concat()
            }
            Protector::SmartCard => self.smart_card(),
        };
        let (time, code) = (self.nonces.time.to_le_bytes(), protector.code().to_le_bytes());
        let datum = datum::datum(role::VMK, kind::VMK, &[&id.0, &time, &[0; 2], &code, &properties]);
        MadeProtector { protector: protector.clone(), id, bek, datum }
    }

    /// The volume master key, boxed for the protector's key.
    fn master_key(&mut self, key: &[u8; 32]) -> Vec<u8> {
        let content = datum::key(key_type::VMK, self.vmk);
        datum::boxed(role::PROPERTY, key, self.nonces.next(), &content)
    }

    /// The volume master key, boxed for a key that nobody has.
    fn unknown_key(&mut self) -> Vec<u8> {
        let key = datum::random(self.rng);
        self.master_key(&key)
    }

    /// The protector's own key, boxed for the volume master key, with which Windows can copy the protector.
    fn own_key(&mut self, role: u16, key_type: u16, key: &[u8]) -> Vec<u8> {
        datum::boxed(role, self.vmk, self.nonces.next(), &datum::key(key_type, key))
    }

    fn used_key(&mut self, key_type: u16, key: &[u8]) -> Vec<u8> {
        let own = self.own_key(role::PROPERTY, key_type, key);
        datum::datum(role::PROPERTY, kind::USE, &[&datum::key_head(key_type), &own])
    }

    fn password(&mut self, password: &str) -> Vec<u8> {
        let salt = datum::random(self.rng);
        let key = keys::stretch(&keys::of_password(password), &salt);
        let own = self.own_key(role::PROPERTY, key_type::PASSWORD_HASH, &key);
        let head = datum::key_head(key_type::PASSWORD);
        [datum::datum(role::PROPERTY, kind::STRETCH, &[&head, &salt, &own]), self.master_key(&key)].concat()
    }

    fn recovery_password(&mut self, password: &str) -> Vec<u8> {
        let (salt, secret) = (datum::random(self.rng), keys::of_recovery_password(password));
        let key = keys::stretch(&keys::of_recovery_key(&secret), &salt);
        let own = if self.windows < Windows::Ten {
            self.own_key(role::PROPERTY, key_type::RECOVERY, &secret)
        } else {
            let secret = self.own_key(role::RECOVERY_KEY, key_type::RECOVERY, &secret);
            [secret, self.own_key(role::RECOVERY_HASH, key_type::RECOVERY_HASH, &key)].concat()
        };
        let head = datum::key_head(key_type::RECOVERY);
        let mut bytes = datum::datum(role::PROPERTY, kind::STRETCH, &[&head, &salt, &own]);
        bytes.extend(self.master_key(&key));
        if self.windows >= Windows::Ten {
            let time = self.nonces.time.to_le_bytes();
            bytes.extend(datum::datum(role::PROPERTY, kind::BACKUP, &[&time, &time, &[8, 0, 2, 0]]));
        }
        bytes
    }

    fn name_of_external_key(&self) -> Vec<u8> {
        if self.windows < Windows::Ten { Vec::new() } else { datum::text(role::PROPERTY, "ExternalKey") }
    }

    /// The file that holds a startup key.
    fn bek(&mut self, id: Guid, key: &[u8; 32]) -> Vec<u8> {
        let time = self.nonces.time;
        let volume = match self.windows {
            Windows::Eleven => datum::datum(role::VOLUME, kind::IDENTIFIER, &[&self.volume.0]),
            _ => Vec::new(),
        };
        let key = datum::key(key_type::EXTERNAL, key);
        let name = datum::text(role::PROPERTY, "ExternalKey");
        let properties: [&[u8]; 5] = [&id.0, &time.to_le_bytes(), &name, &volume, &key];
        let external = datum::datum(role::EXTERNAL_KEY, kind::EXTERNAL, &properties);
        datum::dataset(id, 1, 0, time, &external)
    }

    fn tpm_blob(&mut self) -> Vec<u8> {
        const REGISTERS: u32 = 1 << 7 | 1 << 11;
        let sealed: [u8; 220] = datum::random(self.rng);
        datum::datum(role::PROPERTY, kind::TPM_BLOB, &[&REGISTERS.to_le_bytes(), &sealed])
    }

    fn pin(&mut self) -> Vec<u8> {
        let salt: [u8; 16] = datum::random(self.rng);
        datum::datum(role::PROPERTY, kind::STRETCH, &[&datum::key_head(key_type::PIN), &salt])
    }

    fn smart_card(&mut self) -> Vec<u8> {
        let (encrypted, modulus): ([u8; 256], [u8; 256]) = (datum::random(self.rng), datum::random(self.rng));
        let thumbprint: [u8; 20] = datum::random(self.rng);
        let numbers = |numbers: &[u32]| -> Vec<u8> { numbers.iter().flat_map(|n| n.to_le_bytes()).collect() };
        // BCRYPT_RSAKEY_BLOB of a public key: magic, bits, sizes of exponent, modulus and primes.
        let public = [b"RSA1".to_vec(), numbers(&[2048, 3, 256, 0, 0]), vec![1, 0, 1]].concat();
        let certificate = [b"gsin".to_vec(), numbers(&[37, 2, 20])].concat();
        let key = datum::random(self.rng);
        [
            datum::datum(role::PROPERTY, kind::ASYMMETRIC, &[&encrypted]),
            datum::datum(role::PUBLIC_KEY, kind::PUBLIC_KEY, &[&public, &modulus]),
            datum::datum(role::PROPERTY, kind::CERTIFICATE, &[&certificate, &thumbprint, &[0]]),
            self.used_key(key_type::SMART_CARD, &key),
            self.master_key(&key),
        ]
        .concat()
    }
}
