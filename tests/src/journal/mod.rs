//! Journals as Windows writes them, in volumes that ntfs-3g wrote, which keeps none.

pub mod log;
pub mod usn;

use std::{
    fs::{self, OpenOptions},
    io::{Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use crate::{mft::number, ntfs3g::Volume, recovery::layout::Layout};

pub use log::Log;
pub use usn::Usn;

/// A file as NTFS refers to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Its FILE record.
    pub record: u64,
    /// The sequence number of the record.
    pub sequence: u16,
}

impl Reference {
    /// The root directory.
    pub const ROOT: Self = Self { record: 5, sequence: 5 };

    /// As it stands on a volume.
    pub fn raw(self) -> u64 {
        self.record | u64::from(self.sequence) << 48
    }

    /// As the program shows it.
    pub fn shown(self) -> String {
        format!("{}-{}", self.record, self.sequence)
    }
}

/// A time in 100-nanosecond intervals since 1601, so many seconds after 2100-01-01 00:00:00 UTC, which is
/// after all that a test writes.
pub fn time(seconds: u64) -> u64 {
    157_469_184_000_000_000 + seconds * 10_000_000
}

/// That time as the program shows it.
pub fn shown_time(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("2100-01-01T{hours:02}:{minutes:02}:{seconds:02}Z")
}

/// What the file at `path` in a mounted volume is referred to by.
pub fn reference(image: &Path, record: u64) -> Reference {
    let layout = Layout::read(image);
    Reference { record, sequence: number(&layout.records[&record].bytes, 16, 2) as u16 }
}

/// The record of what is at `path`.
pub fn record(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).ino()
}

/// The file of `$Extend` that becomes the change journal: its name is as long.
const HOST: &str = "$Reparse";
const NAME: &str = "$UsnJrnl";

/// Puts a change journal into the volume in `image`, with a hole before it. ntfs-3g makes no file in `$Extend`: one that is there gets
/// the stream, and then the name. It cannot be mounted by it any more.
pub fn install_usn(image: &Path, journal: &Usn) {
    let volume = Volume::with_system_files(image);
    let mut file = fs::File::create(volume.root().join(format!("$Extend/{HOST}:$J"))).expect("the stream");
    file.seek(SeekFrom::Start(journal.first)).expect("the hole");
    file.write_all(&journal.bytes).expect("the journal");
    drop(file);
    volume.unmount();
    name_host(image, NAME);
}

/// FILE record of `HOST`, the third file that mkntfs makes in `$Extend`.
pub const HOST_RECORD: u64 = 26;

/// Gives the file in `$Extend` that has the stream of the journal another name of eight letters.
pub fn name_host(image: &Path, name: &str) {
    let layout = Layout::read(image);
    assert_eq!(name.len(), HOST.len());
    let units = |name: &str| name.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let file = OpenOptions::new().read(true).write(true).open(image).expect("the image");
    // `$Extend`, whose index names the file, and the file itself.
    for record in [11, HOST_RECORD] {
        let mut found = 0;
        for place in &layout.records[&record].place {
            let mut bytes = vec![0; (place.end - place.start) as usize];
            file.read_exact_at(&mut bytes, place.start).expect("a record");
            let names: Vec<usize> =
                (0..bytes.len() - 16).filter(|at| bytes[*at..].starts_with(&units(HOST))).collect();
            for at in names {
                file.write_all_at(&units(name), place.start + at as u64).expect("a name");
                found += 1;
            }
        }
        assert!(found > 0, "record {record} has no {HOST}");
    }
}

/// Writes `log` over the log of the volume in `image`.
pub fn install_log(image: &Path, log: &Log) {
    let clusters = Layout::read(image).stream(2, "").expect("the log");
    let file = OpenOptions::new().write(true).open(image).expect("the image");
    let bytes = log.bytes();
    let mut rest = bytes.as_slice();
    for run in clusters {
        let length = rest.len().min((run.end - run.start) as usize);
        file.write_all_at(&rest[..length], run.start).expect("the log");
        rest = &rest[length..];
    }
    assert!(rest.is_empty(), "the log has more bytes than the volume gives it");
}

/// Writes into a FILE record which entry of the log changed it last, which ntfs-3g never does.
pub fn set_last_change(image: &Path, record: u64, lsn: u64) {
    let place = Layout::read(image).records[&record].place[0].start;
    let file = OpenOptions::new().write(true).open(image).expect("the image");
    file.write_all_at(&lsn.to_le_bytes(), place + 8).expect("the number");
}

/// Size of the log of the volume in `image`, in bytes.
pub fn log_size(image: &Path) -> u64 {
    Layout::read(image).stream(2, "").expect("the log").iter().map(|run| run.end - run.start).sum()
}
