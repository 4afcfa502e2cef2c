//! The header in the boot area of a volume, and the catalogue of its shadow copies.

use std::collections::HashSet;

use undelfs_source::{
    ReadAt,
    bytes::{array, u32_at, u64_at},
};
use undelfs_volume::{Error, Guid, filesystem::FileTime};

use crate::block::{Block, Chain, IDENTIFIER, Kind};

/// Where the header stands, in bytes: in `$Boot`.
const PLACE: u64 = 0x1E00;
/// Size of the header in bytes.
const LEN: usize = 128;
/// Size of a catalogue entry in bytes.
const ENTRY: usize = 128;
/// Most blocks of a catalogue that are read. So many shadow copies as Windows makes need ten.
const MAX_BLOCKS: usize = 64;
/// Most shadow copies of a volume; Windows makes no more.
pub(crate) const MAX_COPIES: usize = 512;

/// Where the catalogue begins, in bytes: 0 where there is none. `None` where the volume has no header.
///
/// # Errors
/// When the header cannot be read, or is one that is not known.
pub(crate) fn locate(volume: &dyn ReadAt) -> Result<Option<u64>, Error> {
    let mut bytes = [0; LEN];
    if volume.size() < PLACE.saturating_add(LEN as u64) {
        return Ok(None);
    }
    volume.read_exact_at(&mut bytes, PLACE)?;
    if array(&bytes, 0) != Some(IDENTIFIER) {
        return Ok(None);
    }
    let (version, kind) = (u32_at(&bytes, 16).unwrap_or(0), u32_at(&bytes, 20).unwrap_or(0));
    if !(1..=2).contains(&version) || kind != Kind::Volume as u32 {
        return Err(Error::Structure {
            structure: Kind::Volume.name(),
            at: PLACE,
            expected: "version 1 or 2, record type 1".to_owned(),
            found: format!("version {version}, record type {kind}"),
            advice: "the volume's shadow copies cannot be listed",
        });
    }
    Ok(u64_at(&bytes, 48))
}

/// What the catalogue says of one shadow copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Identifies the store; part of the name of its file.
    pub(crate) identifier: Guid,
    /// Size of the volume when the copy was made, in bytes.
    pub(crate) volume_size: u64,
    pub(crate) created: FileTime,
    /// Where its store is; `None` where it is on no volume, or on another.
    pub(crate) places: Option<Places>,
}

/// Where the structures of a store stand, in bytes from the begin of the volume; 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Places {
    pub(crate) header: u64,
    pub(crate) block_list: u64,
    pub(crate) bitmap: u64,
    pub(crate) previous_bitmap: u64,
}

/// The entries of a catalogue as they are collected: the two halves of one need not stand beside each other.
#[derive(Default)]
pub(crate) struct Entries {
    copies: Vec<(Guid, u64, FileTime)>,
    stores: Vec<(Guid, Places)>,
    pub(crate) notes: Vec<String>,
}

impl Entries {
    /// Reads the catalogue whose first block stands at byte `first`. What is damaged is noted.
    pub(crate) fn read(volume: &dyn ReadAt, first: u64) -> Self {
        let mut entries = Self::default();
        let mut seen = HashSet::new();
        for block in Chain::new(volume, first, Kind::Catalogue, &mut seen).take(MAX_BLOCKS) {
            match block {
                Ok(block) => entries.add(&block),
                Err(error) => entries.notes.push(format!("shadow copies may be missing: {error}")),
            }
        }
        entries
    }

    pub(crate) fn add(&mut self, block: &Block) {
        for entry in block.body().chunks_exact(ENTRY) {
            self.add_entry(entry);
        }
    }

    fn add_entry(&mut self, entry: &[u8]) -> Option<()> {
        let identifier = Guid::at(entry, 16)?;
        let is_new_copy = self.copies.iter().all(|(known, ..)| *known != identifier);
        let is_new_store = self.stores.iter().all(|(known, _)| *known != identifier);
        match u64_at(entry, 0)? {
            2 if is_new_copy && self.copies.len() <= MAX_COPIES => {
                self.copies.push((identifier, u64_at(entry, 8)?, FileTime(u64_at(entry, 48)?)));
            }
            3 if is_new_store && self.stores.len() <= MAX_COPIES => {
                let places = Places {
                    block_list: u64_at(entry, 8)?,
                    header: u64_at(entry, 32)?,
                    bitmap: u64_at(entry, 48)?,
                    previous_bitmap: u64_at(entry, 72)?,
                };
                self.stores.push((identifier, places));
            }
            _ => {}
        }
        Some(())
    }

    /// The shadow copies, the oldest first.
    pub(crate) fn into_copies(mut self) -> (Vec<Entry>, Vec<String>) {
        if self.copies.len() > MAX_COPIES {
            self.notes.push(format!(
                "the catalogue lists more than {MAX_COPIES} shadow copies; only so many are used"
            ));
            self.copies.truncate(MAX_COPIES);
        }
        let mut copies: Vec<Entry> = self
            .copies
            .iter()
            .map(|&(identifier, volume_size, created)| {
                let places = self.stores.iter().find(|(known, _)| *known == identifier);
                Entry { identifier, volume_size, created, places: places.map(|(_, places)| *places) }
            })
            .collect();
        copies.sort_by_key(|entry| entry.created);
        (copies, self.notes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{BLOCK, made};

    fn copy(identifier: u8, created: u64) -> Vec<u8> {
        let mut entry = [2_u64.to_le_bytes(), 4096_u64.to_le_bytes()].concat();
        entry.extend([identifier; 16]);
        entry.extend([[0; 8], [0; 8], created.to_le_bytes()].concat());
        entry.resize(ENTRY, 0);
        entry
    }

    fn store(identifier: u8, header: u64) -> Vec<u8> {
        let mut entry = [3_u64.to_le_bytes(), 7_u64.to_le_bytes()].concat();
        entry.extend([identifier; 16]);
        entry.extend(header.to_le_bytes());
        entry.resize(ENTRY, 0);
        entry
    }

    #[test]
    fn halves_of_an_entry_meet_wherever_they_stand_and_copies_come_by_age() {
        let first = [store(1, 100), copy(2, 20), vec![0; ENTRY], copy(3, 30)].concat();
        let second = [copy(1, 40), store(3, 300), copy(1, 99)].concat();
        let volume = [
            vec![0; BLOCK as usize],
            made::block(2, 0, BLOCK, 2 * BLOCK, &first),
            made::block(2, 0, 2 * BLOCK, 0, &second),
        ]
        .concat();
        let (copies, notes) = Entries::read(&volume, BLOCK).into_copies();
        let found: Vec<(u8, u64, Option<u64>)> = copies
            .iter()
            .map(|copy| (copy.identifier.0[0], copy.created.0, copy.places.map(|places| places.header)))
            .collect();
        assert_eq!(found, [(2, 20, None), (3, 30, Some(300)), (1, 40, Some(100))]);
        assert_eq!(notes, [""; 0]);
    }

    #[test]
    fn what_a_damaged_block_hides_is_noted_and_the_rest_is_listed() {
        let volume = [
            vec![0; BLOCK as usize],
            made::block(2, 0, BLOCK, 2 * BLOCK, &copy(1, 5)),
            vec![9; BLOCK as usize],
        ]
        .concat();
        let (copies, notes) = Entries::read(&volume, BLOCK).into_copies();
        assert_eq!((copies.len(), notes.len()), (1, 1));
    }

    #[test]
    fn a_volume_without_header_is_told_from_one_without_catalogue_and_from_a_damaged_one() {
        let mut volume = vec![0; 0x2000];
        assert_eq!(locate(&volume).unwrap(), None);
        assert_eq!(locate(&vec![0; 0x1E10]).unwrap(), None);
        volume[0x1E00..0x1E10].copy_from_slice(&IDENTIFIER);
        assert!(locate(&volume).is_err());
        volume[0x1E10] = 1;
        volume[0x1E14] = 1;
        assert_eq!(locate(&volume).unwrap(), Some(0));
        volume[0x1E31] = 0x40;
        assert_eq!(locate(&volume).unwrap(), Some(0x4000));
    }
}
