use crate::LostVolume;

/// Which files are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum View {
    /// Only deleted files, and the folders that lead to them.
    #[default]
    Deleted,
    /// Only files that still exist.
    Regular,
    /// Both.
    All,
}

/// How clusters that belong to another file by now are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overwritten {
    /// As zeros.
    #[default]
    Zeros,
    /// As what is there now.
    Raw,
    /// Not at all: reading them is an error.
    Error,
}

/// How restore contexts show what they found.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Which files are shown.
    pub view: View,
    /// How overwritten clusters are read.
    pub overwritten: Overwritten,
    /// Named streams are files `file:stream` instead of extended attributes.
    pub streams_as_files: bool,
    /// Bound of the cluster cache in bytes.
    pub cache_bytes: u64,
    /// The whole volume is searched for what its file table does not tell.
    pub deep: bool,
    /// Encrypted files are their raw backup streams, with `.efsraw` behind their names.
    pub efs_raw: bool,
}

impl Options {
    /// Bound of the cluster cache where the user gave none, in bytes.
    pub const DEFAULT_CACHE: u64 = 64 << 20;
}

impl Default for Options {
    fn default() -> Self {
        Self {
            view: View::default(),
            overwritten: Overwritten::default(),
            streams_as_files: false,
            cache_bytes: Self::DEFAULT_CACHE,
            deep: false,
            efs_raw: false,
        }
    }
}

/// Which volumes of a source are opened.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The volume with this number, as `undelfs volumes` counts.
    pub volume: Option<u32>,
    /// A lost volume that begins at this sector.
    pub start_sector: Option<u64>,
    /// A lost volume whose first or last sector is this one.
    pub boot_sector: Option<u64>,
    /// Instead of the volume itself, its shadow copy with this number, as `undelfs volumes` counts.
    pub snapshot: Option<u32>,
    /// All volumes that a search has found, with their numbers: they are there beside those that the source lists.
    /// Those that lie in files of other volumes are opened only by their number.
    pub lost: Vec<LostVolume>,
}
