//! What the registry of a machine says of its CA.

use std::panic::{AssertUnwindSafe, catch_unwind};

use regf::RegistryHive;

use crate::{
    Places,
    authority::{CaFile, DEFAULT_FOLDER},
    windows_path::expand,
};

/// Largest hive that is read, in bytes. That of a server has some 20 MB.
pub(crate) const MAX_HIVE: u64 = 256 << 20;

/// What `CertSvc\Configuration` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Configuration {
    /// The name of the CA.
    pub(crate) active: String,
    pub(crate) places: Places,
    pub(crate) computer: Option<String>,
}

impl Configuration {
    /// Reads the SYSTEM hive.
    ///
    /// # Errors
    /// Why there is nothing to read, as a sentence.
    pub(crate) fn read(file: &CaFile) -> Result<Self, String> {
        let path = &file.path;
        let size = usize::try_from(file.size().min(MAX_HIVE)).unwrap_or(0);
        let bytes = file.begin(size).map_err(|error| format!("{path}: {error}"))?;
        // What the crate does with damaged bytes is not ours to promise.
        let parsed = catch_unwind(AssertUnwindSafe(|| Self::parse(bytes)));
        match parsed {
            Ok(Ok(configuration)) => Ok(configuration),
            Ok(Err(error)) => Err(format!("{path} names no certification authority: {error}")),
            Err(_) => Err(format!("{path} is damaged")),
        }
    }

    /// The same, of the bytes of a hive.
    pub(crate) fn parse(bytes: Vec<u8>) -> regf::Result<Self> {
        let hive = RegistryHive::from_bytes(bytes)?;
        let set = hive.open_key("Select").and_then(|key| key.value("Current")?.dword_data()).unwrap_or(1);
        let set = format!("ControlSet{:03}", set.min(999));
        let key = hive.open_key(&format!(r"{set}\Services\CertSvc\Configuration"))?;
        let text = |name: &str| {
            let text = key.value(name).and_then(|value| value.string_data()).ok()?;
            let text = text.trim_end_matches(['\0', '\\']).to_owned();
            (!text.is_empty()).then_some(text)
        };
        let folder = |name: &str| text(name).map(|path| expand(&path));
        let database = folder("DBDirectory").unwrap_or_else(|| DEFAULT_FOLDER.to_owned());
        let computer = hive
            .open_key(&format!(r"{set}\Control\ComputerName\ComputerName"))
            .and_then(|key| key.value("ComputerName")?.string_data());
        Ok(Self {
            active: text("Active").ok_or_else(|| regf::Error::ValueNotFound("Active".to_owned()))?,
            places: Places {
                logs: folder("DBLogDirectory").unwrap_or_else(|| database.clone()),
                system: folder("DBSystemDirectory").unwrap_or_else(|| database.clone()),
                database,
            },
            computer: computer
                .ok()
                .map(|name| name.trim_end_matches('\0').to_owned())
                .filter(|name| !name.is_empty()),
        })
    }

    /// True where a database without its `.edb` is called as that of the CA is.
    pub(crate) fn is_called(&self, stem: &str) -> bool {
        plain(stem).eq_ignore_ascii_case(&self.active)
    }

    /// What the database of the CA is called without `.edb`.
    pub(crate) fn file_stem(&self) -> String {
        let sanitized = |unit: u16| match char::from_u32(unit.into()) {
            Some(plain) if plain.is_ascii_alphanumeric() || " -._$@~".contains(plain) => plain.to_string(),
            _ => format!("!{unit:04x}"),
        };
        self.active.encode_utf16().map(sanitized).collect()
    }
}

/// The name of a CA of which a sanitized one was made: what no file name can have stands in it as `!` and four digits
/// (MS-WCCE 3.1.1.4.1.1).
pub(crate) fn plain(sanitized: &str) -> String {
    let mut units = Vec::new();
    let mut rest = sanitized;
    while let Some(unit) = rest.chars().next() {
        let digits = rest.strip_prefix('!').and_then(|rest| rest.get(..4));
        match digits.and_then(|digits| u16::from_str_radix(digits, 16).ok()) {
            Some(unit) => {
                units.push(unit);
                rest = rest.get(5..).unwrap_or("");
            }
            None => {
                units.extend(unit.encode_utf16(&mut [0; 2]).iter());
                rest = rest.get(unit.len_utf8()..).unwrap_or("");
            }
        }
    }
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A SYSTEM hive with a CA.
    fn hive(active: &str, folder: &str) -> Vec<u8> {
        let mut hive = regf::HiveBuilder::new().unwrap();
        for (key, name, value) in [
            (r"ControlSet002\Services\CertSvc\Configuration", "Active", active),
            (r"ControlSet002\Services\CertSvc\Configuration", "DBDirectory", folder),
            (r"ControlSet002\Services\CertSvc\Configuration", "DBLogDirectory", r"D:\Logs\"),
            (r"ControlSet002\Control\ComputerName\ComputerName", "ComputerName", "CA01"),
        ] {
            if hive.find_key(key).is_err() {
                hive.create_key(key).unwrap();
            }
            hive.add_value_string(key, Some(name), value).unwrap();
        }
        hive.create_key("Select").unwrap();
        hive.add_value_dword("Select", Some("Current"), 2).unwrap();
        hive.to_bytes().unwrap()
    }

    #[test]
    fn the_registry_names_the_ca_and_its_folders() {
        let read = Configuration::parse(hive("Test & CA", r"%SystemRoot%\system32\CertLog")).unwrap();
        assert_eq!(read.active, "Test & CA");
        assert_eq!(read.places.database, r"C:\Windows\system32\CertLog");
        assert_eq!(read.places.logs, r"D:\Logs");
        assert_eq!(read.places.system, read.places.database);
        assert_eq!(read.computer.as_deref(), Some("CA01"));
        assert_eq!(read.file_stem(), "Test !0026 CA");
        assert!(read.is_called("test !0026 ca") && !read.is_called("Test CA"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_damaged_hive_is_refused_or_read(at in 0usize..8192, bytes in prop::collection::vec(any::<u8>(), 1..16)) {
            let mut hive = hive("CA", r"C:\x");
            let at = at % hive.len();
            let end = (at + bytes.len()).min(hive.len());
            hive[at..end].copy_from_slice(&bytes[..end - at]);
            let file = CaFile { path: "SYSTEM".into(), bytes: std::sync::Arc::new(hive), deleted: false, incomplete: false };
            let _ = Configuration::read(&file);
        }
    }
}
