use sha2::{Digest, Sha256};
use undelfs_source::ErrorKind;
use undelfs_volume::Error;
use zeroize::Zeroizing;

use crate::{
    Guid, RecoveryPassword,
    cipher::Method,
    datum::{Dataset, Datum, Value, role},
    information::Information,
    secret::Secret,
};

/// Something that may unlock a volume.
#[derive(Debug, Clone)]
pub enum Key {
    /// A password, as UTF-8.
    Password(Secret),
    /// A recovery password.
    RecoveryPassword(RecoveryPassword),
    /// The content of a startup key file.
    StartupKey(StartupKey),
    /// A key package: what of the metadata is needed to make use of a recovery password.
    Package(Secret),
    /// The volume master key, 32 bytes.
    VolumeMasterKey(Secret),
    /// The full volume encryption key, with its cipher where that is known.
    VolumeEncryptionKey(Option<Method>, Secret),
}

impl Key {
    /// A key package, as `manage-bde -KeyPackage` writes it or as Active Directory keeps it.
    ///
    /// # Errors
    /// When it is none.
    pub fn package(bytes: Vec<u8>) -> Result<Self, Error> {
        let bytes = Secret::new(bytes);
        match package(bytes.expose()) {
            Some(_) => Ok(Self::Package(bytes)),
            None => Err(refused("the key package holds no BitLocker key; is it the right file?")),
        }
    }

    /// A volume master key: 32 bytes, or 64 hexadecimal digits.
    ///
    /// # Errors
    /// When it has another length.
    pub fn volume_master_key(bytes: Vec<u8>) -> Result<Self, Error> {
        let key = binary(bytes);
        if key.expose().len() == 32 {
            return Ok(Self::VolumeMasterKey(key));
        }
        Err(refused("a volume master key has 32 bytes, or 64 hexadecimal digits"))
    }

    /// A full volume encryption key: 16, 32 or 64 bytes as the metadata hold it, or hexadecimal digits. The form that
    /// dislocker keeps, the cipher's number in two bytes and 64 bytes of key, is known too.
    ///
    /// # Errors
    /// When it has another length.
    pub fn volume_encryption_key(bytes: Vec<u8>) -> Result<Self, Error> {
        let key = binary(bytes);
        let bytes = key.expose();
        if let (66, Some((code, rest))) = (bytes.len(), bytes.split_first_chunk::<2>())
            && let Some(method) = Method::from_code(u16::from_le_bytes(*code))
        {
            let key = Secret::copy(rest.get(..method.key_len()).unwrap_or_default());
            return Ok(Self::VolumeEncryptionKey(Some(method), key));
        }
        if Method::ALL.iter().any(|method| method.key_len() == bytes.len()) {
            return Ok(Self::VolumeEncryptionKey(None, key));
        }
        Err(refused(
            "a full volume encryption key has 16, 32 or 64 bytes, or twice as many hexadecimal digits",
        ))
    }

    /// What a message calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Password(_) => "the password",
            Self::RecoveryPassword(_) => "the recovery password",
            Self::StartupKey(_) => "the startup key",
            Self::Package(_) => "the key package",
            Self::VolumeMasterKey(_) => "the volume master key",
            Self::VolumeEncryptionKey(..) => "the full volume encryption key",
        }
    }

    /// What is stretched, for those keys that are.
    pub(crate) fn hash(&self) -> Option<Zeroizing<[u8; 32]>> {
        match self {
            Self::Password(text) => {
                let text = Zeroizing::new(String::from_utf8_lossy(text.expose()).into_owned());
                // Growing would leave copies behind.
                let mut units = Zeroizing::new(Vec::with_capacity(text.len().saturating_mul(4)));
                units.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
                let once = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(&*units)));
                Some(Zeroizing::new(Sha256::digest(*once).into()))
            }
            Self::RecoveryPassword(password) => Some(password.hash()),
            _ => None,
        }
    }
}

fn refused(reason: &str) -> Error {
    Error::Refused { kind: ErrorKind::KeyNeeded, reason: reason.to_owned() }
}

/// `bytes`, or what they say in hexadecimal digits, with or without a line end.
fn binary(bytes: Vec<u8>) -> Secret {
    let bytes = Zeroizing::new(bytes);
    let text = bytes.trim_ascii();
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let decoded: Option<Vec<u8>> = match text.as_chunks::<2>() {
        (pairs, []) if text.len() >= 32 => pairs
            .iter()
            .map(|[high, low]| u8::try_from(digit(high)?.checked_mul(16)?.checked_add(digit(low)?)?).ok())
            .collect(),
        _ => None,
    };
    decoded.map_or_else(|| Secret::copy(&bytes), Secret::new)
}

/// The dataset of a key package: it stands alone, or in a copy of a metadata block.
pub(crate) fn package(bytes: &[u8]) -> Option<Dataset> {
    /// How far from the begin the dataset may stand.
    const LIMIT: usize = 256;
    let usable = |set: &Dataset| set.fvek().is_some() && set.of(role::VMK).next().is_some();
    if let Ok(block) = Information::parse(bytes, 0) {
        return Some(block.dataset).filter(usable);
    }
    let places = (0..LIMIT).step_by(4).filter_map(|at| bytes.get(at..));
    places.filter_map(Dataset::parse).find(usable)
}

/// The key of a startup key file.
#[derive(Debug, Clone)]
pub struct StartupKey {
    /// Identifies the protector that it opens.
    pub identifier: Guid,
    pub(crate) key: Secret,
}

impl StartupKey {
    /// Reads the content of a `.BEK` file.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let set = Dataset::parse(bytes);
        let datums = set.iter().flat_map(|set| set.of(role::STARTUP_KEY));
        let mut keys = datums.filter_map(|datum: &Datum| match datum.value {
            Value::External { identifier } => Some(Self { identifier, key: datum.key()?.clone() }),
            _ => None,
        });
        keys.next().ok_or_else(|| refused("the startup key file holds no BitLocker key; is it a .BEK file?"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::datum::samples::{dataset, datum};

    #[test]
    fn a_startup_key_file_gives_its_identifier_and_key() {
        let key = datum(0, 1, &[&[2, 0x20, 0, 0][..], &[0x5A; 32]].concat());
        let body = [&[9; 16][..], &[0; 8], &key].concat();
        let file = dataset([9; 16], 1, 0, &datum(6, 9, &body));
        let parsed = StartupKey::parse(&file).unwrap();
        assert_eq!((parsed.identifier, parsed.key.expose()), (Guid([9; 16]), &[0x5A; 32][..]));
        for cut in 0..file.len() {
            assert!(StartupKey::parse(&file[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn raw_keys_are_bytes_or_hexadecimal_digits_of_the_right_length() {
        let hex = "4eb949c473f0edfc379ad041670ddb9c4da0abdb4482a2c8bb47250493aa1ed5\n";
        let Key::VolumeEncryptionKey(None, key) = Key::volume_encryption_key(hex.into()).unwrap() else {
            panic!()
        };
        assert_eq!(key.expose()[..2], [0x4E, 0xB9]);
        assert!(Key::volume_master_key(hex.into()).is_ok());
        assert!(Key::volume_master_key(vec![1; 31]).is_err());
        for (len, good) in [(15, false), (16, true), (32, true), (48, false), (64, true)] {
            assert_eq!(Key::volume_encryption_key(vec![0xFF; len]).is_ok(), good, "{len}");
        }
        let mut dislocker = vec![0x04, 0x80];
        dislocker.resize(66, 7);
        let key = Key::volume_encryption_key(dislocker).unwrap();
        let Key::VolumeEncryptionKey(Some(Method::Aes128Xts), key) = key else { panic!() };
        assert_eq!(key.expose(), [7; 32]);
    }

    #[test]
    fn no_key_shows_in_debug_output() {
        let keys = [
            Key::Password(Secret::new(b"hunter2".to_vec())),
            Key::volume_master_key(vec![0xC1; 32]).unwrap(),
        ];
        let shown = format!("{keys:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("193") && !shown.contains("104"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_startup_key_or_a_package_or_not(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            let _ = StartupKey::parse(&bytes);
            let _ = Key::package(bytes);
        }
    }
}
