//! The restore map: where a database, its logs and its checkpoint stood. `certbkxp.dat` is nothing else.

use crate::{
    Error,
    list::{TAG_CHECKPOINT_DIRECTORY, TAG_DATABASE, TAG_LOG_DIRECTORY, decode, encode},
};

/// The name of the file in a backup set.
pub const MAP_NAME: &str = "certbkxp.dat";

/// The restore map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreMap {
    /// The database.
    pub database: String,
    /// The folder of its logs, without a separator at the end.
    pub logs: String,
    /// The folder of its checkpoint.
    pub system: String,
}

impl RestoreMap {
    /// As `RestoreGetDatabaseLocations` gives it.
    pub fn encode(&self) -> Vec<u16> {
        encode([
            (Some(TAG_DATABASE), self.database.as_str()),
            (Some(TAG_LOG_DIRECTORY), self.logs.as_str()),
            (Some(TAG_CHECKPOINT_DIRECTORY), self.system.as_str()),
        ])
    }

    /// As it stands in `certbkxp.dat`.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode().into_iter().flat_map(u16::to_le_bytes).collect()
    }

    /// Reads one; the three entries may stand in any order.
    ///
    /// # Errors
    /// When it is no list, or does not name a database, a folder of logs and one of the checkpoint, each once.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let entries = decode(bytes, "the restore map certbkxp.dat")?;
        let only = |tag: u16, name: &str| {
            let mut found = entries.iter().filter(|(own, _)| *own == tag);
            match (found.next(), found.next()) {
                (Some((_, path)), None) => Ok(path.clone()),
                (first, _) => {
                    let found = if first.is_some() { "several" } else { "none" };
                    let what = "the restore map certbkxp.dat";
                    Err(Error::structure(what, 0, format!("one entry for {name}"), found.to_owned()))
                }
            }
        };
        Ok(Self {
            database: only(TAG_DATABASE, "the database ('D')")?,
            logs: only(TAG_LOG_DIRECTORY, "the folder of the logs (0x82)")?,
            system: only(TAG_CHECKPOINT_DIRECTORY, "the folder of the checkpoint (0x83)")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_its_three_paths_and_four_ends_and_is_read_in_any_order() {
        let map = RestoreMap {
            database: format!(r"\\ca01.example.test\C$\Windows\system32\CertLog\{}.edb", "n".repeat(30)),
            logs: r"\\ca01.example.test\C$\Windows\system32\CertLog".into(),
            system: r"\\ca01.example.test\C$\Windows\system32\CertLog".into(),
        };
        let bytes = map.to_bytes();
        let paths = [&map.database, &map.logs, &map.system];
        assert_eq!(bytes.len(), paths.iter().map(|path| (path.len() + 2) * 2).sum::<usize>() + 2);
        assert_eq!(RestoreMap::parse(&bytes).unwrap(), map);
        let list = encode([
            (Some(TAG_CHECKPOINT_DIRECTORY), map.system.as_str()),
            (Some(TAG_DATABASE), map.database.as_str()),
            (Some(TAG_LOG_DIRECTORY), map.logs.as_str()),
        ]);
        let turned: Vec<u8> = list.into_iter().flat_map(u16::to_le_bytes).collect();
        assert_eq!(RestoreMap::parse(&turned).unwrap(), map);
    }

    #[test]
    fn a_map_without_one_of_its_entries_says_which() {
        let list = encode([(Some(TAG_DATABASE), "a"), (Some(TAG_LOG_DIRECTORY), "b")]);
        let bytes: Vec<u8> = list.into_iter().flat_map(u16::to_le_bytes).collect();
        let error = RestoreMap::parse(&bytes).unwrap_err().to_string();
        assert!(error.contains("0x83") && error.contains("none"), "{error}");
    }
}
