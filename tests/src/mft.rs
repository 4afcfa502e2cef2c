//! What a deletion left of names and records on a volume.
//!
//! `ntfs-3g` keeps the last name of a file in its FILE record when it deletes it, but not if an attribute list had
//! moved the name, or made room for it, elsewhere: then no record holds the name any more, and no program can find
//! it there. A test must know of which files that is true.

use std::{collections::BTreeSet, path::Path};

use crate::tools;

/// `$FILE_NAME`, the type of the attribute that holds a name.
const FILE_NAME: u32 = 0x30;

/// What the records of a volume say.
#[derive(Debug, Default)]
pub struct Records {
    /// Base records of files that have a name in one of their records.
    pub named: BTreeSet<u64>,
    /// Extension records. A deletion may need a new one, and may take the record of a file deleted before.
    pub extensions: BTreeSet<u64>,
}

/// Reads all records of the volume in `image`.
pub fn read(image: &Path) -> Records {
    let mut mft = tools::succeed(tools::tool("ntfscat").args(["--force", "--inode", "0"]).arg(image)).stdout;
    let size = number(&mft, 0x1C, 4) as usize;
    let mut records = Records::default();
    for (record, bytes) in (0..).zip(mft.chunks_exact_mut(size)) {
        if !bytes.starts_with(b"FILE") {
            continue;
        }
        undo_fixups(bytes);
        let base = number(bytes, 0x20, 6);
        if base != 0 {
            records.extensions.insert(record);
        }
        if has_name(bytes) {
            records.named.insert(if base == 0 { record } else { base });
        }
    }
    records
}

fn has_name(record: &[u8]) -> bool {
    let mut at = number(record, 0x14, 2) as usize;
    while at + 16 <= record.len() {
        let len = number(record, at + 4, 4) as usize;
        match number(record, at, 4) as u32 {
            FILE_NAME => return true,
            u32::MAX => return false,
            _ if len < 16 => return false,
            _ => at += len,
        }
    }
    false
}

/// Puts back the last two bytes of every 512 that the update sequence array holds.
pub(crate) fn undo_fixups(record: &mut [u8]) {
    let (at, count) = (number(record, 4, 2) as usize, number(record, 6, 2) as usize);
    for sector in 1..count {
        let (from, to) = (at + 2 * sector, 512 * sector - 2);
        if from + 2 <= record.len() && to + 2 <= record.len() {
            record.copy_within(from..from + 2, to);
        }
    }
}

/// The little-endian number of `len` bytes at `at`.
pub(crate) fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        content::{Content, Fill},
        guard,
        ntfs3g::{self, Format, Volume},
        overwrite, recipe,
    };

    #[test]
    fn a_deleted_file_keeps_its_name_unless_its_attributes_were_spread_over_records() {
        use std::os::unix::fs::MetadataExt;
        let dir = guard::scratch();
        let image = dir.path().join("image");
        ntfs3g::format(&image, &Format { size: 32 << 20, cluster: 4096, sector: 512, label: "Names".into() });
        let volume = Volume::write(&image);
        let mut plain = overwrite::plain(Path::new("plain"), Content::new(Fill::Text, 1, 9000));
        recipe::write_file(volume.root(), &plain);
        plain.names[0].path = "spread".into();
        recipe::write_file(volume.root(), &plain);
        for number in 0..100 {
            std::fs::write(volume.root().join(format!("spread:stream {number}")), [1; 300]).unwrap();
        }
        let record = |name: &str| std::fs::metadata(volume.root().join(name)).unwrap().ino();
        let records = [record("plain"), record("spread")];
        for name in ["plain", "spread"] {
            std::fs::remove_file(volume.root().join(name)).unwrap();
        }
        volume.unmount();
        assert_eq!(records.map(|record| read(&image).named.contains(&record)), [true, false]);
    }
}
