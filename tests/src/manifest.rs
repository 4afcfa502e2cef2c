//! What an image holds, to the byte.

use std::path::{Path, PathBuf};

use crate::content::Content;

/// All that a recipe put on a volume.
#[derive(Debug, Default, Clone)]
pub struct Manifest {
    /// Directories, parents before what is in them.
    pub directories: Vec<Name>,
    /// Files, in the order of their making.
    pub files: Vec<File>,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// From the volume's root, without a leading slash. Unpaired surrogates stand as three bytes (WTF-8).
    pub path: PathBuf,
    /// True once it was deleted.
    pub removed: bool,
    /// True where the deletion also wiped it, or the name of a folder it stood in, out of all records, see
    /// [`mft`](crate::mft): then the file may be anywhere below `$Orphans`.
    pub wiped: bool,
}

impl Name {
    /// A name that is there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), removed: false, wiped: false }
    }
}

/// One file with all its names: several are hard links.
#[derive(Debug, Clone)]
pub struct File {
    /// What the recipe wanted it for.
    pub kind: Kind,
    /// Its names; with one still there the file is live.
    pub names: Vec<Name>,
    /// Its short name in the DOS name space, where it got one.
    pub dos_name: Option<String>,
    /// Its streams, the unnamed one first.
    pub streams: Vec<Stream>,
    /// Where it points, if it is a link.
    pub link: Option<Link>,
    /// Written while the volume's free space was in pieces.
    pub fragmented: bool,
}

/// One stream of a file.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Its name, empty for the unnamed one.
    pub name: String,
    /// Its bytes.
    pub content: Content,
}

/// What a file is to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No bytes.
    Empty,
    /// Content inside the FILE record.
    Resident,
    /// Content in one run, or few.
    Contiguous,
    /// Content in many runs, written in turns with others.
    Fragmented,
    /// Content in so many runs that they take several FILE records.
    Shattered,
    /// Holes.
    Sparse,
    /// LZNT1.
    Compressed,
    /// A few named streams, one of them over 64 KiB.
    NamedStreams,
    /// Named streams that take several FILE records.
    ManyStreams,
    /// A few hard links.
    HardLinks,
    /// Hard links that take several FILE records.
    ManyLinks,
    /// A symbolic link or junction.
    Link,
}

/// A reparse point that stands for another place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// How it is stored.
    pub form: LinkForm,
    /// The target as Linux writes it.
    pub target: String,
}

/// How a link is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkForm {
    /// `IO_REPARSE_TAG_SYMLINK` with `SYMLINK_FLAG_RELATIVE`, MS-FSCC 2.1.2.4.
    Symlink,
    /// `IO_REPARSE_TAG_LX_SYMLINK`, as WSL and ntfs-3g write it.
    Wsl,
}

impl Manifest {
    /// Files without any name left.
    pub fn deleted(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_deleted())
    }

    /// Deleted files with content, a single name, and a path that is known.
    pub fn known(&self) -> impl Iterator<Item = &File> {
        self.deleted().filter(|file| file.link.is_none() && matches!(&file.names[..], [name] if !name.wiped))
    }

    /// Files that still have a name.
    pub fn live(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| !file.is_deleted())
    }

    /// Puts every path under `folder`, as the mount of a disk with several volumes does.
    #[must_use]
    pub fn under(mut self, folder: &str) -> Self {
        let names = self.files.iter_mut().flat_map(|file| &mut file.names);
        for name in names.chain(&mut self.directories) {
            name.path = Path::new(folder).join(&name.path);
        }
        self
    }
}

impl File {
    /// True when no name is left.
    pub fn is_deleted(&self) -> bool {
        self.names.iter().all(|name| name.removed)
    }

    /// The unnamed stream.
    ///
    /// # Panics
    /// For a link, which has none.
    pub fn content(&self) -> Content {
        self.streams.first().expect("a file with content").content
    }

    /// The first name.
    ///
    /// # Panics
    /// For a file that never had a name.
    pub fn path(&self) -> &Path {
        &self.names.first().expect("a file with a name").path
    }
}
