//! Names that a volume still holds in the index entries of its folders, though no FILE record has them.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{
    Known,
    layout::{Layout, bytes, key},
};
use crate::mft::{number, undo_fixups};

/// Size in bytes of an index block where clusters are not larger.
const BLOCK: usize = 4096;
/// FILE record of the root folder.
const ROOT: u64 = 5;

/// All index entries of a volume, those that are no part of an index any more among them.
#[derive(Debug)]
pub struct Entries {
    /// FILE records of file and folder, and the name; and the best place where there is such an entry.
    found: HashMap<(u64, u64, Vec<u16>), Place>,
}

/// A name that was deleted, and of which the volume still holds all that leads to it.
#[derive(Debug)]
pub struct Held {
    /// Place of its file in the manifest.
    pub file: usize,
    /// Its path.
    pub path: PathBuf,
    /// Where it is, or the one of its folders that is hardest to find.
    pub place: Place,
}

/// Where a name is, the easiest place first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// In its FILE record.
    Record,
    /// In an index entry alone, in an index block or FILE record of a folder that has a FILE record.
    Index,
    /// In an index block that no FILE record describes any more.
    Remains,
}

impl Entries {
    /// Looks through every index block and every FILE record, whether in use or not.
    pub fn read(image: &Path, layout: &Layout) -> Self {
        let mut entries = Self { found: HashMap::new() };
        let file = File::open(image).expect("the image");
        let size = file.metadata().expect("the image's size").len();
        const PIECE: u64 = 1 << 20;
        for at in (0..size).step_by(PIECE as usize) {
            let mut piece = bytes(&file, at..size.min(at + PIECE));
            let blocks = (at..).step_by(BLOCK).zip(piece.chunks_exact_mut(BLOCK));
            for (at, block) in blocks.filter(|(_, block)| block.starts_with(b"INDX")) {
                undo_fixups(block);
                let described = layout.indexes().any(|run| run.contains(&at));
                entries.collect(block, if described { Place::Index } else { Place::Remains });
            }
        }
        layout.records.values().for_each(|record| entries.collect(&record.bytes, Place::Index));
        entries
    }

    /// Takes everything that has the form of an index entry with a name.
    fn collect(&mut self, block: &[u8], place: Place) {
        const HEADER: usize = 16;
        const NAME: usize = 66;
        for at in (0..block.len().saturating_sub(HEADER + NAME)).step_by(8) {
            let entry = &block[at..];
            let (len, key_len) = (number(entry, 8, 2) as usize, number(entry, 10, 2) as usize);
            let Some(value) = entry.get(HEADER..HEADER + key_len).filter(|value| value.len() > NAME) else {
                continue;
            };
            let fits = key_len == NAME + 2 * usize::from(value[NAME - 2])
                && len % 8 == 0
                && (HEADER + key_len..=HEADER + key_len + 16).contains(&len);
            if let Some((parent, name)) = key(value).filter(|_| fits) {
                let best = self.found.entry((number(entry, 0, 6), parent, name)).or_insert(place);
                *best = place.min(*best);
            }
        }
    }

    /// Every deleted name of a deleted file to which everything leads that is needed: itself and all its folders
    /// are in a FILE record or in an index entry.
    pub fn held(&self, known: &Known, layout: &Layout) -> Vec<Held> {
        let deleted = known.manifest.files.iter().enumerate().filter(|(_, file)| file.is_deleted());
        let names = deleted.flat_map(|(n, file)| file.names.iter().map(move |name| (n, &name.path)));
        names
            .filter_map(|(file, path)| {
                Some(Held { file, path: path.clone(), place: self.place(known, layout, path)? })
            })
            .collect()
    }

    /// Where the names of `path` are, all of them: the place of the one that is hardest to find.
    pub fn place(&self, known: &Known, layout: &Layout, path: &Path) -> Option<Place> {
        let above = path.ancestors().filter(|path| !path.as_os_str().is_empty());
        let places: Option<Vec<Place>> = above.map(|path| self.last(known, layout, path)).collect();
        places?.into_iter().max()
    }

    /// Where the last name of `path` is.
    fn last(&self, known: &Known, layout: &Layout, path: &Path) -> Option<Place> {
        let record = |path: &Path| match path.as_os_str().is_empty() {
            true => Some(ROOT),
            false => known.records.get(path).copied(),
        };
        let (own, parent) = (record(path)?, record(path.parent()?)?);
        let name = units(path.file_name()?);
        match layout.names(own, parent, &name) {
            true => Some(Place::Record),
            false => self.found.get(&(own, parent, name)).copied(),
        }
    }
}

/// The UTF-16 units of a name in WTF-8.
fn units(name: &OsStr) -> Vec<u16> {
    let mut out = Vec::new();
    for chunk in name.as_bytes().utf8_chunks() {
        out.extend(chunk.valid().encode_utf16());
        // An unpaired surrogate is three bytes, which come as an invalid one each.
        out.extend(chunk.invalid().iter().map(|byte| u16::from(*byte)));
    }
    let mut at = 0;
    let mut units = Vec::with_capacity(out.len());
    while at < out.len() {
        match out[at..] {
            [0xED, high @ 0xA0..=0xBF, low @ 0x80..=0xBF, ..] => {
                units.push(0xD000 | (high & 0x3F) << 6 | (low & 0x3F));
                at += 3;
            }
            _ => {
                units.push(out[at]);
                at += 1;
            }
        }
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{ffi::OsString, os::unix::ffi::OsStringExt};

    #[test]
    fn an_unpaired_surrogate_is_one_unit() {
        let name = OsString::from_vec(b"a\xed\xa0\xbd b\xc3\xa9".to_vec());
        assert_eq!(units(&name), [0x61, 0xD83D, 0x20, 0x62, 0xE9]);
    }
}
