//! What a file system provides to the layers above: its entries, and each stream as runs.
//!
//! A file system crate implements [`FileSystem`] and knows nothing of trees, confidence or mounts; the layers
//! above know nothing of its structures. All names are WTF-8: UTF-8 in which an unpaired UTF-16 surrogate is
//! kept as three bytes, so that every name survives.

mod run_reader;

use std::{fmt, ops::Range, sync::Arc};

use bitflags::bitflags;
use undelfs_source::{ErrorKind, ReadAt, ReadError};

use crate::{Error, FileSystemKind};

pub use run_reader::{Lost, RunReader};

/// An open file system. All methods may be called from many threads at once.
pub trait FileSystem: Send + Sync {
    /// What the volume says of itself.
    fn facts(&self) -> &Facts;

    /// Reads every entry, live and deleted, in one pass. Damage is noted in [`Scan::notes`] and skipped.
    ///
    /// # Errors
    /// When nothing at all can be listed, or `watch` cancelled the scan.
    fn scan(&self, want: Want, watch: &dyn Watch) -> Result<Scan, Error>;

    /// The allocation bitmap: bit `n % 8` of byte `n / 8` is set while cluster `n` is in use. `None` where it
    /// cannot be read.
    fn bitmap(&self) -> Option<Arc<dyn ReadAt>>;

    /// The streams of a file, the unnamed one first, then by name; of a directory its named streams.
    ///
    /// # Errors
    /// When the file's record cannot be read or is no longer the one that was scanned.
    fn streams(&self, file: &File) -> Result<Vec<Stream>, Error>;

    /// The attribute with which a file's streams are encrypted, as it is stored; `None` where the file has none.
    ///
    /// # Errors
    /// As [`streams`](FileSystem::streams).
    fn encryption(&self, file: &File) -> Result<Option<Stream>, Error> {
        let _ = file;
        Ok(None)
    }

    /// Where a symbolic link or junction points, `None` when the file is neither.
    ///
    /// # Errors
    /// As [`streams`](FileSystem::streams).
    fn link_target(&self, file: &File) -> Result<Option<LinkTarget>, Error>;

    /// Folds `name` so that two names that the file system takes for the same fold to the same bytes.
    fn fold_case(&self, name: &[u8]) -> Vec<u8>;
}

/// What a volume says of itself.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The file system.
    pub kind: FileSystemKind,
    /// The version as the file system writes it, such as `3.1`.
    pub version: String,
    /// The volume's label.
    pub label: String,
    /// The serial number.
    pub serial: u64,
    /// Logical sector size in bytes.
    pub bytes_per_sector: u32,
    /// Cluster size in bytes.
    pub bytes_per_cluster: u32,
    /// Clusters of the volume.
    pub clusters: u64,
    /// Records of the file table, an upper bound of [`Scan::files`].
    pub records: u64,
    /// Record number of the root directory.
    pub root: u32,
    /// When the volume was formatted; zero where nothing tells it.
    pub formatted: FileTime,
    /// True where the structures that describe the volume and its file table are not whole, so that a search of the
    /// volume may find more.
    pub incomplete: bool,
    /// What is damaged so far as opening the volume told, one sentence each.
    pub notes: Vec<String>,
}

/// Which files a scan lists. Directories that lead to listed files always are, and so are live directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// Deleted files.
    pub removed: bool,
    /// Files that still exist.
    pub regular: bool,
    /// Also what only a search of the whole volume finds, which reads all of it.
    pub deep: bool,
}

/// Somebody who follows a long piece of work and may end it.
pub trait Watch: Sync {
    /// The work has `units` units.
    fn total(&self, units: u64) {
        let _ = units;
    }
    /// `units` more units are done.
    fn advance(&self, units: u64) {
        let _ = units;
    }
    /// The work is to end.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Nobody watches.
impl Watch for () {}

/// 100-nanosecond intervals since 1601-01-01 UTC, as Windows counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileTime(pub u64);

impl FileTime {
    /// 1970-01-01 UTC.
    pub const UNIX_EPOCH: Self = Self(116_444_736_000_000_000);

    /// Seconds and nanoseconds since 1970-01-01 UTC.
    pub fn unix(self) -> (i64, u32) {
        const EPOCH: i64 = 11_644_473_600;
        let seconds = i64::try_from(self.0 / 10_000_000).unwrap_or(i64::MAX);
        let nanos = u32::try_from(self.0 % 10_000_000).unwrap_or(0).saturating_mul(100);
        (seconds.saturating_sub(EPOCH), nanos)
    }
}

bitflags! {
    /// What a scan tells of a file in one bit each.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct FileFlags: u32 {
        /// Deleted.
        const REMOVED = 1;
        /// A directory.
        const DIRECTORY = 1 << 1;
        /// A symbolic link or junction.
        const LINK = 1 << 2;
        /// Has named streams.
        const NAMED_STREAMS = 1 << 3;
        /// The content of the unnamed stream is inside the record.
        const RESIDENT = 1 << 4;
        /// A part of the file's description is missing or damaged.
        const DAMAGED = 1 << 5;
        /// The description stands in several records.
        const SEVERAL_RECORDS = 1 << 6;
        /// No content was found that could belong to the file.
        const NO_CONTENT = 1 << 7;
        /// The content needs a key.
        const ENCRYPTED = 1 << 8;
        /// Belongs to the file system itself.
        const METADATA = 1 << 9;
        /// Some of the file's clusters lie where the source has no bytes.
        const BEYOND_END = 1 << 10;
        /// A name of the file is known only from what was left in slack, of its records or of a directory's index.
        const SLACK_NAME = 1 << 11;
        /// A name of the file is known only from the change journal.
        const USN_NAME = 1 << 12;
        /// A name of the file is known only from the log of the file system.
        const LOG_NAME = 1 << 13;
        /// Only a journal knows the file: its record is another file's by now.
        const JOURNAL_ONLY = 1 << 14;
        /// The content is kept elsewhere than in the file: by a cloud service, or in a store for deduplication.
        const ELSEWHERE = 1 << 15;
        /// Shown as its raw backup stream. No file system sets it.
        const RAW = 1 << 16;
    }
}

/// One file or directory, live or deleted.
#[derive(Debug, Clone, Copy)]
pub struct File {
    /// Number of the record that describes it.
    pub record: u32,
    /// How often the record had been used when this file was in it.
    pub generation: u16,
    /// See [`FileFlags`].
    pub flags: FileFlags,
    /// `FILE_ATTRIBUTE_*` bits.
    pub attributes: u32,
    /// Index of the file's first link in [`Scan::links`]; its links end where the next file's begin.
    pub first_link: u32,
    /// Size of the unnamed stream in bytes.
    pub size: u64,
    /// Clusters that the file's streams, named ones too, occupy on the volume.
    pub clusters: u64,
    /// Birth.
    pub created: FileTime,
    /// Last change of content.
    pub modified: FileTime,
    /// Last change of the file's description.
    pub changed: FileTime,
    /// Last access.
    pub accessed: FileTime,
}

/// One name of a file.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// Index in [`Scan::files`].
    pub file: u32,
    /// Record of the directory that the name stood in.
    pub parent: u32,
    /// Generation of that directory.
    pub parent_generation: u16,
    /// Length of the name in bytes.
    pub name_len: u16,
    /// Where the name begins in [`Scan::names`].
    pub name_at: u32,
}

/// Clusters that a file, live or deleted, says are its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// First cluster.
    pub first: u64,
    /// Number of clusters.
    pub count: u32,
    /// Index in [`Scan::owners`].
    pub owner: u32,
}

/// Who claims clusters, and the evidence of when it last did.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    /// Index in [`Scan::files`]; `u32::MAX` where it is none of them.
    pub file: u32,
    /// True for files that still exist: all of them may have one owner.
    pub live: bool,
    /// Number of the last journal entry that changed the file's record; zero when unknown.
    pub journal: u64,
    /// The latest time that the file's description carries.
    pub latest: FileTime,
}

/// Clusters that were free and that a journal says were given to a file, whether it has them still or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// First cluster.
    pub first: u64,
    /// Number of clusters.
    pub count: u32,
    /// Number of the journal entry, comparable with [`Owner::journal`] of files of the volume's own table.
    pub journal: u64,
}

/// What a pass over a file system found.
#[derive(Debug, Default)]
pub struct Scan {
    /// Files, ascending by record, each record once.
    pub files: Vec<File>,
    /// Names, grouped by file in the order of [`files`](Scan::files).
    pub links: Vec<Link>,
    /// The names' bytes.
    pub names: Vec<u8>,
    /// Claims of all files, also of live files that were not asked for, in no order.
    pub claims: Vec<Claim>,
    /// Owners of the claims.
    pub owners: Vec<Owner>,
    /// Damage that was met, one sentence each, at most [`Scan::MAX_NOTES`].
    pub notes: Vec<String>,
    /// Records of the file table that cannot be read, or in whose place something else stands.
    pub missing: u64,
    /// The tables that the records stand in, ascending; at least one.
    pub tables: Vec<RecordTable>,
    /// What journals tell of when files were deleted, ascending by file.
    pub deletions: Vec<Deletion>,
    /// What journals tell of clusters that were given to files, in no order.
    pub grants: Vec<Grant>,
}

/// When a file was deleted, as far as a journal tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deletion {
    /// Index in [`Scan::files`].
    pub file: u32,
    /// It still existed at this time; zero where that is unknown.
    pub after: FileTime,
    /// It did not exist any more at this time; zero where that is unknown. The same as `after` where the very time is known.
    pub before: FileTime,
}

/// A table of records, of which a volume can have several: its own, and those of earlier generations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordTable {
    /// Number of its first record among the records of all tables; in the table it is record 0.
    pub first: u32,
    /// Which structure the files that stand in it come from.
    pub provenance: String,
    /// When formatting the volume ended what stands in the table; zero where that is not so.
    pub formatted: FileTime,
    /// Of a table that stands nowhere, because only journals know its files: the number of each file among the records
    /// of all tables, and the number that its record really had; ascending.
    pub sparse: Vec<(u32, u32)>,
}

impl RecordTable {
    /// The number in the table of the record that has `number` among those of all tables.
    pub fn number(&self, number: u32) -> u32 {
        match self.sparse.binary_search_by_key(&number, |(number, _)| *number) {
            Ok(index) => self.sparse.get(index).map_or(number, |(_, real)| *real),
            Err(_) => number.saturating_sub(self.first),
        }
    }
}

impl Scan {
    /// How many notes are kept; more damage than that is counted in the last one.
    pub const MAX_NOTES: usize = 64;
}

/// A stream of a file: its size and where its bytes are.
#[derive(Debug)]
pub struct Stream {
    /// Name; empty for the unnamed stream.
    pub name: Vec<u8>,
    /// Size in bytes.
    pub size: u64,
    /// Bytes from here to `size` were never written and read as zeros.
    pub valid: u64,
    /// Where the bytes are.
    pub layout: Layout,
    /// True where the stored bytes are encrypted with what [`FileSystem::encryption`] gives. Then it is refused, until
    /// somebody who has a key gives it a codec.
    pub encrypted: bool,
    /// How the stored bytes become content; `None` where they are the content.
    pub codec: Option<Arc<dyn Codec>>,
    /// Why the content cannot be given, where it cannot.
    pub refusal: Option<Refusal>,
}

/// Where a stream's bytes are.
#[derive(Debug, Clone)]
pub enum Layout {
    /// In the record that describes the file.
    Resident(Arc<[u8]>),
    /// In clusters: runs ascending from cluster 0 of the stream, without gaps.
    Runs(Arc<[Run]>),
}

/// A contiguous range of clusters of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// First cluster, counted in the stream (VCN).
    pub first: u64,
    /// Number of clusters.
    pub count: u64,
    /// Where they are.
    pub place: Place,
}

/// Where the clusters of a run are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the volume, from this cluster on (LCN).
    At(u64),
    /// Nowhere: they read as zeros.
    Hole,
    /// Unknown: the structure that said it is overwritten or damaged.
    Lost,
}

/// Turns stored bytes into content, one unit at a time.
pub trait Codec: Send + Sync + fmt::Debug {
    /// Size of a unit in bytes.
    fn unit(&self) -> u64;

    /// Fills `out` with the content of `unit`. `raw` is the stream as stored, at the stream's own offsets;
    /// `out` is a whole unit, or less for the last one.
    ///
    /// # Errors
    /// [`ReadError::Decode`] where the stored bytes are not what the format demands.
    fn decode(&self, unit: u64, raw: &dyn ReadAt, out: &mut [u8]) -> Result<(), ReadError>;

    /// The codec as one that works in place, for many units at once; [`decode`](Codec::decode) is not used then.
    fn in_place(&self) -> Option<&dyn InPlace> {
        None
    }

    /// The ranges of content, in whole units, that are made of any byte in `stored`. Both ascend without touching each
    /// other; ranges of content may reach beyond its end. `raw` is as in [`decode`](Codec::decode), and need not
    /// give the bytes in `stored`.
    ///
    /// Without an implementation of its own a unit is made of the stored bytes that have its own offsets.
    fn depends_on(&self, stored: &[Range<u64>], raw: &dyn ReadAt) -> Vec<Range<u64>> {
        let _ = raw;
        let unit = self.unit().max(1);
        let mut units: Vec<Range<u64>> = Vec::with_capacity(stored.len());
        for range in stored {
            let start = range.start.checked_div(unit).unwrap_or(0).saturating_mul(unit);
            let end = range.end.div_ceil(unit).saturating_mul(unit);
            match units.last_mut() {
                Some(last) if last.end >= start => last.end = last.end.max(end),
                _ => units.push(start..end),
            }
        }
        units
    }
}

/// A [`Codec`] whose units become content where they stand, at a cost that is not worth keeping them.
pub trait InPlace: Send + Sync {
    /// Turns `units`, whole ones that follow each other, into content. The first stands at byte `offset` of the stream.
    fn decode(&self, units: &mut [u8], offset: u64);
}

/// Why a stream's content cannot be given.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// What kind of reason.
    pub kind: ErrorKind,
    /// The reason, and what the user can do.
    pub reason: String,
}

/// Where a symbolic link or junction points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkTarget {
    /// From the directory that the link stands in, with `/` between names.
    Relative(Vec<u8>),
    /// From the root of the link's own volume or of another drive, without the drive, with `/` between names.
    Rooted(Vec<u8>),
    /// As it is written, where it names another volume or machine.
    Verbatim(Vec<u8>),
}
