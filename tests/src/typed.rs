//! Volumes of files whose content begins as their name says, or as another type does.

use std::{
    collections::HashMap,
    fs,
    io::Write,
    os::unix::{fs::FileExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use crate::{
    content::{Content, Fill},
    ntfs3g::{self, Format, Volume},
    recipe,
    recovery::layout::Layout,
};

/// A type of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Type {
    /// What files of it are called.
    pub extension: &'static str,
    /// What they begin with; nothing where the type has no signature.
    pub begin: &'static [u8],
}

/// A Windows program: an MS-DOS header that says where the PE signature is.
const PROGRAM: [u8; 0x44] = {
    let mut bytes = [0; 0x44];
    bytes[0] = b'M';
    bytes[1] = b'Z';
    bytes[0x3C] = 0x40;
    bytes[0x40] = b'P';
    bytes[0x41] = b'E';
    bytes
};

/// Types with and without a signature.
pub const TYPES: [Type; 12] = [
    Type { extension: "jpg", begin: b"\xFF\xD8\xFF\xE0\0\x10JFIF\0" },
    Type { extension: "png", begin: b"\x89PNG\r\n\x1A\n\0\0\0\rIHDR" },
    Type { extension: "pdf", begin: b"%PDF-1.7\n" },
    Type { extension: "zip", begin: b"PK\x03\x04\x14\0" },
    Type { extension: "docx", begin: b"PK\x03\x04\x14\0\x06\0" },
    Type { extension: "doc", begin: b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1" },
    Type { extension: "mp4", begin: b"\0\0\0\x18ftypisom" },
    Type { extension: "sqlite", begin: b"SQLite format 3\0" },
    Type { extension: "exe", begin: &PROGRAM },
    Type { extension: "gz", begin: b"\x1F\x8B\x08\0" },
    Type { extension: "txt", begin: b"" },
    Type { extension: "bin", begin: b"" },
];

/// The type whose files are called so.
///
/// # Panics
/// When there is none.
pub fn of(extension: &str) -> Type {
    *TYPES.iter().find(|one| one.extension == extension).expect("a type")
}

impl Type {
    /// Content of `len` bytes of this type.
    pub fn content(self, seed: u64, len: usize) -> Vec<u8> {
        let fill = if self.extension == "txt" { Fill::Text } else { Fill::Tagged };
        let mut bytes = Content::new(fill, seed, len).bytes();
        let begin = self.begin.len().min(len);
        bytes[..begin].copy_from_slice(&self.begin[..begin]);
        bytes
    }
}

/// A volume, and all that its paths ever held.
#[derive(Debug)]
pub struct Typed {
    /// The image: one bare volume.
    pub image: PathBuf,
    /// What was written to each path, the last first.
    pub contents: HashMap<PathBuf, Vec<Vec<u8>>>,
    /// FILE record of each path when it was written last.
    pub records: HashMap<PathBuf, u64>,
}

impl Typed {
    /// An empty volume of `size` bytes with clusters of `cluster` bytes.
    pub fn new(dir: &Path, size: u64, cluster: u32) -> Self {
        let image = dir.join("typed.img");
        ntfs3g::format(&image, &Format { size, cluster, sector: 512, label: "Typed".to_owned() });
        Self { image, contents: HashMap::new(), records: HashMap::new() }
    }

    /// Lets `each` change the volume while it is mounted.
    pub fn session(&mut self, each: impl FnOnce(&mut Self, &Path)) {
        let volume = Volume::write(&self.image);
        each(self, volume.root());
        volume.unmount();
    }

    /// Writes a file below `root`, in a folder that is made when it is missing.
    pub fn write(&mut self, root: &Path, path: impl Into<PathBuf>, content: Vec<u8>) {
        let path = path.into();
        let full = root.join(&path);
        fs::create_dir_all(full.parent().expect("a folder")).expect("a folder");
        let mut file = fs::File::create(&full).unwrap_or_else(|error| panic!("{}: {error}", full.display()));
        file.write_all(&content).unwrap_or_else(|error| panic!("{}: {error}", full.display()));
        let record = file.metadata().expect("a file's record").ino();
        self.records.insert(path.clone(), record);
        self.contents.entry(path).or_default().insert(0, content);
    }

    /// Writes files in one session and deletes them in the next.
    pub fn write_and_delete(&mut self, files: &[(&str, Vec<u8>)]) {
        self.session(|volume, root| {
            for (path, content) in files {
                volume.write(root, *path, content.clone());
            }
        });
        self.session(|_, root| {
            for (path, _) in files {
                fs::remove_file(root.join(path)).expect("a deletion");
            }
        });
    }

    /// Marks a folder below `root` so that new files in it are compressed.
    pub fn compressed_folder(root: &Path, path: &str) {
        fs::create_dir(root.join(path)).expect("a folder");
        recipe::mark_compressed(&root.join(path));
    }

    /// Overwrites clusters of a deleted file with `byte`, as a drive that discards them does. `part` says of each, by
    /// its place in the file, whether it is.
    pub fn discard(&self, path: &str, byte: u8, part: impl Fn(u64) -> bool) {
        self.discard_on(&self.image, path, "", byte, part);
    }

    /// The same with a stream of the file, on a medium where its clusters stand as on this volume.
    pub fn discard_on(&self, medium: &Path, path: &str, stream: &str, byte: u8, part: impl Fn(u64) -> bool) {
        let layout = Layout::read(&self.image);
        let runs = layout.stream(self.records[Path::new(path)], stream).expect("the runs of a deleted file");
        let file = fs::OpenOptions::new().write(true).open(medium).expect("the medium");
        let blank = vec![byte; usize::try_from(layout.cluster).expect("a cluster")];
        let clusters = runs.into_iter().flat_map(|run| run.step_by(blank.len()));
        for (_, at) in (0..).zip(clusters).filter(|(n, _)| part(*n)) {
            file.write_all_at(&blank, at).expect("a discarded cluster");
        }
    }
}
