//! Entries of indexes: in the blocks of directories, in force or in slack, and in free clusters.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
};

use rayon::prelude::*;
use undelfs_source::bytes::array;
use undelfs_volume::filesystem::{File, FileFlags, FileTime, Scan};

use super::{
    history::{History, Key, Setting},
    remains::Owner,
};
use crate::{
    index::{self, BLOCK},
    index_entry::{self, Facts, STEP},
    record::{Reference, apply_fixups},
    structures::FileName,
    table::Table,
};

/// Blocks begin at sectors.
const SECTOR: usize = 512;

/// The entries anywhere in `bytes`, in force or not.
fn entries(bytes: &[u8]) -> impl Iterator<Item = (Reference, FileName<'_>, Facts)> {
    (0..bytes.len()).step_by(STEP).filter_map(|at| index_entry::parse_anywhere(bytes.get(at..)?))
}

/// Takes in what the indexes of the directories that are known tell.
pub(super) fn of_directories(setting: &Setting<'_>, scan: &Scan, history: &mut History) {
    let history = Mutex::new(history);
    let ntfs = setting.ntfs;
    // No volume has more indexes than bytes; one that pretends to must not take longer.
    let left = AtomicU64::new(ntfs.own.ground.volume.present());
    let directories = scan.files.par_iter().filter(|file| file.flags.contains(FileFlags::DIRECTORY));
    directories.for_each(|directory| {
        let table = ntfs.table_of(directory.record);
        let number = u64::from(directory.record.saturating_sub(table.first));
        let own = Reference { record: number, sequence: directory.generation };
        index::look_into(ntfs, directory, &left, &mut |bytes| {
            // What stands in the index of a directory and names another one is not its own.
            let mut found = entries(bytes).filter(|(_, name, _)| name.parent == own).peekable();
            if found.peek().is_some() {
                let mut history = history.lock().unwrap_or_else(PoisonError::into_inner);
                for (file, name, facts) in found {
                    history.tell_entry(setting, table, file, &name, facts);
                }
            }
        });
    });
}

/// The blocks that begin in the first `length` of `bytes`, with their fixups undone.
pub(super) fn look(bytes: &[u8], length: usize) -> Vec<[u8; BLOCK]> {
    let places = (0..length).step_by(SECTOR).filter_map(|at| bytes.get(at..));
    let blocks = places.filter(|bytes| bytes.starts_with(b"INDX"));
    blocks
        .filter_map(|bytes| {
            let mut block: [u8; BLOCK] = array(bytes, 0)?;
            apply_fixups(&mut block)?;
            entries(&block).next()?;
            Some(block)
        })
        .collect()
}

/// Finds out of which file table blocks in free clusters are.
pub(super) struct Blocks<'a> {
    setting: &'a Setting<'a>,
    files: &'a [File],
    /// Directories that names lead to and that no record describes any more.
    missing: HashSet<Key>,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(setting: &'a Setting<'a>, scan: &'a Scan) -> Self {
        let mut parents: Vec<Key> = scan
            .links
            .iter()
            .map(|link| Key { record: link.parent, generation: link.parent_generation })
            .collect();
        parents.dedup();
        let mut all = Self { setting, files: &scan.files, missing: HashSet::new() };
        all.missing = parents.into_iter().filter(|parent| !all.is_known(*parent)).collect();
        all
    }

    fn is_known(&self, key: Key) -> bool {
        let found = self.files.binary_search_by_key(&key.record, |file| file.record);
        let file = found.ok().and_then(|index| self.files.get(index));
        file.is_some_and(|file| file.generation == key.generation)
    }

    /// Takes in what a block tells: of the file table that knows most of its files, or misses most of its directories. Where
    /// none does, the time of the entries decides.
    pub(super) fn tell(&self, block: &[u8], owner: &Owner<'_>, history: &mut History) {
        let votes = |table: &Table| {
            let keys = entries(block).filter_map(|(file, ..)| Key::new(table, file));
            keys.filter(|key| self.missing.contains(key) || self.is_known(*key)).count()
        };
        let ntfs = self.setting.ntfs;
        let best = ntfs.tables().map(|table| (votes(table), table)).max_by_key(|(votes, _)| *votes);
        let latest = || entries(block).map(|(_, name, _)| name.changed).max().unwrap_or(FileTime(0));
        let table = match best {
            Some((1.., table)) => Some(table),
            _ => owner.table(latest()),
        };
        let Some(table) = table else { return };
        for (file, name, facts) in entries(block) {
            history.tell_entry(self.setting, table, file, &name, facts);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::index_entry::tests::index_entry;

    /// An index block whose entries begin at byte 64, as it stands on a volume.
    fn block(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = vec![0; BLOCK];
        bytes[..4].copy_from_slice(b"INDX");
        bytes[4..6].copy_from_slice(&40_u16.to_le_bytes());
        bytes[6..8].copy_from_slice(&9_u16.to_le_bytes());
        let content = entries.concat();
        bytes[64..64 + content.len()].copy_from_slice(&content);
        bytes[40..42].copy_from_slice(&[7, 7]);
        for sector in 0..8 {
            let end = (sector + 1) * SECTOR - 2;
            let original: [u8; 2] = bytes[end..end + 2].try_into().unwrap();
            bytes[42 + sector * 2..44 + sector * 2].copy_from_slice(&original);
            bytes[end..end + 2].copy_from_slice(&[7, 7]);
        }
        bytes
    }

    fn names(block: &[u8]) -> Vec<Vec<u8>> {
        entries(block).map(|(_, name, _)| crate::name::to_wtf8(name.name)).collect()
    }

    #[test]
    fn a_block_is_found_at_any_sector_also_over_the_end_of_a_piece_and_its_fixups_are_undone() {
        let all: Vec<Vec<u8>> =
            (0..30).map(|n| index_entry((100 + n, 3), (40, 2), &format!("a name {n:02}"))).collect();
        let mut bytes = vec![0; 5 * BLOCK];
        bytes[SECTOR..SECTOR + BLOCK].copy_from_slice(&block(&all));
        bytes[2 * BLOCK - SECTOR..3 * BLOCK - SECTOR].copy_from_slice(&block(&all[..2]));
        bytes[4 * BLOCK..].copy_from_slice(&block(&[]));
        let found = look(&bytes, 2 * BLOCK);
        let found: Vec<usize> = found.iter().map(|block| names(block).len()).collect();
        assert_eq!(found, [30, 2], "a block without entries tells nothing");
        assert_eq!(names(&look(&bytes, BLOCK)[0])[29], b"a name 29");
        bytes[SECTOR * 2 - 1] ^= 1;
        assert!(look(&bytes, BLOCK).is_empty(), "a torn block");
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at_without_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..9000), length in 0usize..9000
        ) {
            if bytes.len() > 8192 {
                bytes[512..516].copy_from_slice(b"INDX");
            }
            prop_assert!(look(&bytes, length).len() <= 1);
        }
    }
}
