//! Volumes that Windows encrypted: the test images of cryptsetup and of dissect.fve.
//!
//! `cargo xtask samples` fetches both sets, `cargo xtask test` does so before the tests. Their makers wiped the
//! free space and most of the files out of them, so that what is left of a file system is its begin; what
//! matters here is that every byte of the volume is the one that Windows and others read there.

pub mod oracle;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use crate::tools;

/// Environment variable that names the folder of the samples.
pub const VARIABLE: &str = "UNDELFS_SAMPLES";

/// Password of every volume of the dissect.fve set that has one.
const PASSWORD: &str = "password12!@";

/// One volume of a set.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Name of the image without its extension.
    pub name: String,
    /// The image, which holds the bare volume, or the begin of it where the set cut it short.
    pub image: PathBuf,
    /// Every key that the set gives for it.
    pub keys: Vec<Key>,
    /// The key protectors that the set states, a part of those that the volume has.
    pub protectors: Vec<Protector>,
    /// SHA-256 of the whole decrypted volume as the set states it: as Windows presents the volume, so with zeros
    /// in place of the metadata blocks and of the relocated begin of the volume.
    pub sha256: Option<String>,
    /// Cipher as cryptsetup writes it, empty where the set does not state it.
    pub cipher: String,
}

/// A key as a user has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// None: the volume holds a clear key, or is not encrypted.
    Nothing,
    /// A password.
    Password(String),
    /// The 48 digits.
    RecoveryPassword(String),
    /// A `.BEK` file.
    StartupKey(PathBuf),
    /// The full volume encryption key in hexadecimal.
    Fvek(&'static str),
}

impl Key {
    /// The command line's words for it; files that are needed are made in `dir`.
    pub fn arguments(&self, dir: &Path) -> Vec<OsString> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Password(password) => vec!["--password".into(), password.into()],
            Self::RecoveryPassword(digits) => vec!["--recovery-password".into(), digits.into()],
            Self::StartupKey(path) => vec!["--bek".into(), path.into()],
            Self::Fvek(digits) => {
                let path = dir.join(format!("{}.fvek", &digits[..16]));
                fs::write(&path, bytes_of(digits)).expect("a key file");
                vec!["--fvek".into(), path.into()]
            }
        }
    }
}

/// Kind and identifier of a key protector.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Protector {
    /// How it protects the volume master key.
    pub kind: Kind,
    /// Its identifier in small letters, without braces.
    pub identifier: String,
}

/// How a key protector protects the volume master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// With a key that stands beside it.
    ClearKey,
    /// With a password.
    Password,
    /// With the 48 digits.
    RecoveryPassword,
    /// With a `.BEK` file.
    StartupKey,
    /// With a key pair on a smart card.
    SmartCard,
}

impl Kind {
    /// What people call it: a text names the kind when it has one of these, in small letters.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::ClearKey => &["clear key"],
            Self::Password => &["password", "passphrase"],
            Self::RecoveryPassword => &["recovery password", "numerical password"],
            Self::StartupKey => &["startup key", "external key"],
            Self::SmartCard => &["smart card"],
        }
    }
}

/// The folder of a set of samples.
///
/// # Panics
/// When there is none: a test without its volumes proves nothing.
pub fn set(name: &str) -> PathBuf {
    let dir = std::env::var_os(VARIABLE).map(|samples| PathBuf::from(samples).join(name));
    dir.filter(|dir| dir.is_dir()).unwrap_or_else(|| {
        panic!(
            "the test images {name} are missing: run `cargo xtask samples` and put the folder that it prints into \
             {VARIABLE}, or run `cargo xtask test`, which does"
        )
    })
}

/// The volume called `name` of either set.
///
/// # Panics
/// When neither set has it.
pub fn sample(name: &str) -> Sample {
    let mut all = cryptsetup().into_iter().chain(dissect());
    all.find(|sample| sample.name == name).unwrap_or_else(|| panic!("no set has a volume {name}"))
}

/// A volume of Windows 7 with two shadow copies, of dfvfs; unpacked into `dir`.
///
/// # Panics
/// When it is missing: a test without its volume proves nothing.
pub fn shadow_copies(dir: &Path) -> PathBuf {
    let packed = set("dfvfs").join("vsstest.qcow2");
    let image = dir.join("vsstest.img");
    tools::succeed(tools::tool("qemu-img").args(["convert", "-O", "raw"]).arg(packed).arg(&image));
    image
}

/// The set of cryptsetup: complete volumes, with the SHA-256 that cryptsetup reads of most of them.
pub fn cryptsetup() -> Vec<Sample> {
    let dir = set("cryptsetup");
    let text = fs::read_to_string(dir.join("images.conf")).expect("the list of cryptsetup's images");
    let mut sections: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    let mut name = "";
    for line in text.lines() {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name = section;
        } else if let Some((key, value)) = line.split_once('=').filter(|(_, value)| !value.is_empty()) {
            sections.entry(name).or_default().insert(key, value);
        }
    }
    sections.into_iter().map(|(name, values)| cryptsetup_sample(&dir, name, &values)).collect()
}

fn cryptsetup_sample(dir: &Path, name: &str, values: &BTreeMap<&str, &str>) -> Sample {
    let text = |key: &str| values.get(key).map(|value| (*value).to_owned());
    let startup_key = |guid: String| Key::StartupKey(dir.join(format!("{}.BEK", guid.to_uppercase())));
    let mut keys: Vec<Key> = Vec::new();
    keys.extend(text("PW").map(Key::Password));
    keys.extend(text("RP").map(Key::RecoveryPassword));
    keys.extend(text("SK_VMK_GUID").map(startup_key));
    if name.contains("clearkey") {
        keys.push(Key::Nothing);
    }
    let kinds = [
        ("PW_VMK_GUID", Kind::Password),
        ("RP_VMK_GUID", Kind::RecoveryPassword),
        ("SK_VMK_GUID", Kind::StartupKey),
        ("SC_VMK_GUID", Kind::SmartCard),
    ];
    let protectors = kinds
        .into_iter()
        .filter_map(|(key, kind)| text(key).map(|identifier| Protector { kind, identifier }))
        .collect();
    Sample {
        image: dir.join(format!("{name}.img")),
        name: name.to_owned(),
        keys,
        protectors,
        sha256: text("SHA256SUM"),
        cipher: text("CIPHER").unwrap_or_default(),
    }
}

/// The set of dissect.fve: volumes cut short after the last metadata block.
pub fn dissect() -> Vec<Sample> {
    let dir = set("dissect");
    let password = || Key::Password(PASSWORD.to_owned());
    let recovery = |digits: &str| Key::RecoveryPassword(digits.to_owned());
    let startup_key = |name: &str| Key::StartupKey(dir.join(name));
    let sets: [(&str, Vec<Key>); 14] = [
        ("aes_128", vec![password(), Key::Fvek("84c3a3157e5f21dee140005220bc940e")]),
        (
            "aes_256",
            vec![password(), Key::Fvek("dd3885ef9948c8dc6ad1b54a6c4a4b6fb74b44d1d9775ac7ed186c35f1b59022")],
        ),
        (
            "aes_128_diffuser",
            vec![
                password(),
                Key::Fvek(concat!(
                    "10730f695df62a49cd3aa1b1c9ae3edf2229c338a3740830e2b19d2b83f9cada",
                    "268af0e0613921085edc89e1b804de354fd265acf4e5c410b47764bb9565666b"
                )),
            ],
        ),
        (
            "aes_256_diffuser",
            vec![
                password(),
                Key::Fvek(concat!(
                    "3a600625f8fd5cc506cf8b30c8ca0600cc32f0c6b54c140789f7518c4fb5c71b",
                    "a272f34f1a920d5be247298b5d233ce6199023c24d0aefec28717232f9894d1f"
                )),
            ],
        ),
        (
            "aes-xts_128",
            vec![password(), Key::Fvek("4eb949c473f0edfc379ad041670ddb9c4da0abdb4482a2c8bb47250493aa1ed5")],
        ),
        (
            "aes-xts_256",
            vec![
                password(),
                Key::Fvek(concat!(
                    "c74002df41f5eadeee2549fc009233a2a510726ce08736aba2f84a52ac6e7bbc",
                    "56b8a824a4dc26cf9c4c2926386319d17427998e045ebfdc789e328e0dc97da4"
                )),
            ],
        ),
        (
            "recovery_password",
            vec![password(), recovery("284867-596541-514998-422114-660297-261613-215424-199408")],
        ),
        ("recovery_key", vec![password(), startup_key("recovery_key.bek")]),
        ("startup_key", vec![password(), startup_key("startup_key.bek")]),
        ("suspended", vec![Key::Nothing]),
        ("decrypted", vec![Key::Nothing]),
        ("vista", vec![recovery("517506-503998-044583-576191-587004-635965-501270-087802")]),
        (
            "win7_partial",
            vec![recovery("131450-120197-153989-250338-511368-495572-680944-381546"), Key::Nothing],
        ),
        ("eow_partial", vec![password()]),
    ];
    let of = |(name, keys): (&str, Vec<Key>)| Sample {
        name: name.to_owned(),
        image: dir.join(format!("{name}.bin")),
        keys,
        protectors: Vec::new(),
        sha256: None,
        cipher: String::new(),
    };
    sets.into_iter().map(of).collect()
}

fn bytes_of(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("digits"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal digits")).collect()
}
