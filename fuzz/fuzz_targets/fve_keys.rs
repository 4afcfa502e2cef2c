//! Key files and what is typed as keys: any bytes are a key or an error, which shows nothing of them.
#![no_main]

#[allow(dead_code, reason = "each target uses a part of it")]
mod fve;

use fve::made;
use libfuzzer_sys::fuzz_target;
use undelfs_bitlocker::{BitLocker, Key, RecoveryPassword, StartupKey};

fuzz_target!(|data: &[u8]| {
    raw_keys(data);
    let text = String::from_utf8_lossy(data);
    recovery_password(&text);
    let Some((switches, bytes)) = data.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if switches & 1 == 1 && bytes.len() >= made::DATASET {
        // A dataset that stands alone, as in a .BEK file, with possible sizes.
        let mut block = [&[0; made::HEADER][..], &bytes].concat();
        made::repair_datums(&mut block[made::HEADER + made::DATASET..]);
        if switches & 2 == 2 {
            let head = made::HEADER + made::DATASET;
            block.splice(head..head, made::clear_key(&made::key(0x8004, &made::FVEK[..32])));
        }
        made::repair_dataset(&mut block);
        bytes = match switches & 4 {
            4 => made::block(block, true),
            _ => block.split_off(made::HEADER),
        };
    }
    match StartupKey::parse(&bytes) {
        Ok(key) => drop(format!("{key:?}")),
        Err(error) => drop(error.to_string()),
    }
    if let Ok(package) = Key::package(bytes) {
        let keys = [package, Key::volume_master_key(made::VMK.to_vec()).expect("32 bytes")];
        let empty: &[u8] = &[0; 4096];
        let opened =
            BitLocker::open(std::sync::Arc::new(empty.to_vec()), u64::MAX, &()).expect("nobody cancels");
        assert!(opened.facts().is_none());
        let _ = opened.unlock(&keys, &());
    }
});

/// Raw keys are the same as bytes and as digits.
fn raw_keys(bytes: &[u8]) {
    let digits: Vec<u8> = bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect();
    let given = Key::volume_master_key(bytes.to_vec());
    if bytes.len() == 32 {
        let Ok(Key::VolumeMasterKey(key)) = Key::volume_master_key(digits.clone()) else {
            panic!("{} digits are no master key", digits.len());
        };
        assert_eq!(key.expose(), bytes);
    }
    if let Ok(Key::VolumeMasterKey(key)) = given {
        assert_eq!(key.expose().len(), 32);
    }
    if let Ok(Key::VolumeEncryptionKey(method, key)) = Key::volume_encryption_key(bytes.to_vec()) {
        let len = key.expose().len();
        assert!(method.map_or([16, 32, 64].contains(&len), |method| method.key_len() == len));
    }
    if [16, 32, 64, 66].contains(&bytes.len())
        && let Ok(Key::VolumeEncryptionKey(_, by_digits)) = Key::volume_encryption_key(digits)
    {
        assert!(bytes.len() == 66 || by_digits.expose() == bytes);
    }
}

/// A recovery password is told however its groups are separated, and no message shows one of its groups.
fn recovery_password(text: &str) {
    match RecoveryPassword::parse(text) {
        Ok(password) => {
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            assert_eq!(digits.len(), 48);
            assert!(RecoveryPassword::parse(&digits).is_ok());
            assert!(!format!("{password:?}").contains(&digits[..6]));
        }
        Err(error) => {
            let error = error.to_string();
            let groups = text.split(|c: char| !c.is_ascii_digit()).filter(|group| group.len() > 3);
            // The largest possible group stands in one of the messages.
            for group in groups.filter(|group| !"720885".contains(group)) {
                assert!(!error.contains(group), "{error}");
            }
        }
    }
}
