//! A volume with encrypted files of every cipher and of every shape that a stream can have.

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{Algorithm, Fek, Purpose, User, metadata, seal, stored};
use crate::{
    cheese::Cheese,
    content::{Content, Fill},
    guard,
    ntfs3g::{self, Format, Volume},
    tools,
};

/// How the unnamed stream of a file is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// In full.
    Whole,
    /// In full, in many runs.
    Fragmented,
    /// With holes.
    Sparse,
    /// Only the begin was ever written.
    Valid,
}

/// An encrypted file.
#[derive(Debug)]
pub struct Stored {
    /// Its name in the root.
    pub name: String,
    /// Its cipher.
    pub algorithm: Algorithm,
    /// How its unnamed stream is stored.
    pub shape: Shape,
    /// What stands in it.
    pub content: Vec<u8>,
    /// What stands in its stream `note`, where it has one.
    pub note: Option<Vec<u8>>,
    /// Its FILE record.
    pub record: u64,
}

impl Stored {
    /// Whether `ntfsdecrypt` can read it: it knows the ciphers of Windows, and no zeros that are not stored.
    pub fn suits_ntfsdecrypt(&self) -> bool {
        Algorithm::OF_WINDOWS.contains(&self.algorithm)
            && matches!(self.shape, Shape::Whole | Shape::Fragmented)
    }
}

/// The volume, with the keys of those who can decrypt its files.
#[derive(Debug)]
pub struct Shelf {
    /// Everything is in it.
    pub dir: TempDir,
    /// The volume.
    pub image: PathBuf,
    /// A user of each file.
    pub me: User,
    /// The recovery agent of each file.
    pub agent: User,
    /// A file with the password of every key.
    pub password: PathBuf,
    /// The files.
    pub files: Vec<Stored>,
}

/// Cluster size of the volume in bytes.
const CLUSTER: u32 = 1024;
/// The name of a directory that is encrypted.
const FOLDER: &str = "folder";

impl Shelf {
    /// Makes a volume in a folder of its own.
    pub fn new() -> Self {
        let dir = guard::scratch();
        let image = dir.path().join("efs.img");
        ntfs3g::format(
            &image,
            &Format { size: 40 << 20, cluster: CLUSTER, sector: 512, label: "EFS".into() },
        );
        let me = User::new(dir.path(), "me", Purpose::User);
        let agent = User::new(dir.path(), "agent", Purpose::Recovery);
        let password = dir.path().join("password");
        fs::write(&password, format!("{}\n", User::PASSWORD)).expect("the password");
        let volume = Volume::efs_raw(&image);
        let mut shelf = Self { image: image.clone(), dir, me, agent, password, files: Vec::new() };
        for algorithm in Algorithm::ALL {
            shelf.write(&volume, algorithm, Shape::Whole, 569, Some(30));
            shelf.write(&volume, algorithm, Shape::Whole, 300_001, Some(150_000));
            shelf.write(&volume, algorithm, Shape::Sparse, 400_100, Some(512));
            shelf.write(&volume, algorithm, Shape::Valid, 200_000, None);
        }
        shelf.write(&volume, Algorithm::Aes256, Shape::Whole, 0, None);
        shelf.write(&volume, Algorithm::Aes256, Shape::Whole, 3_000_000, Some(1));
        let folder = volume.root().join(FOLDER);
        fs::create_dir(&folder).expect("a folder");
        seal(&folder, &metadata(&Fek::new(Algorithm::Aes256, 0), &[&shelf.me], &[]));
        volume.unmount();
        let cheese = Cheese::make(&image, 1, 8);
        let volume = Volume::efs_raw(&image);
        shelf.write(&volume, Algorithm::Aes256, Shape::Fragmented, 250_000, Some(2000));
        volume.unmount();
        cheese.unmake(&image);
        for file in &shelf.files {
            match file.shape {
                Shape::Valid => set_valid(&image, file.record, valid_of(file.content.len())),
                Shape::Fragmented => {
                    assert!(runs(&image, file.record).len() > 20, "{} is in one piece", file.name)
                }
                Shape::Sparse => assert!(has_holes(&image, file.record), "{} has no holes", file.name),
                Shape::Whole => {}
            }
        }
        shelf
    }

    fn write(
        &mut self,
        volume: &Volume,
        algorithm: Algorithm,
        shape: Shape,
        size: usize,
        note: Option<usize>,
    ) {
        let number = self.files.len() as u64;
        let name = format!("{algorithm:?} {shape:?} {size}");
        let fill = |seed: u64, size: usize| Content::new(Fill::Tagged, seed, size).bytes();
        let fek = Fek::new(algorithm, number + 100);
        let mut content = fill(number * 11, size);
        let path = volume.root().join(&name);
        let bytes = stored(&content, &fek);
        match shape {
            Shape::Sparse => write_with_holes(&path, &bytes, &holes(size)),
            _ => fs::write(&path, bytes).expect("the encrypted bytes"),
        }
        match shape {
            Shape::Sparse => holes(size).into_iter().for_each(|hole| content[hole].fill(0)),
            Shape::Valid => content[valid_of(size)..].fill(0),
            _ => {}
        }
        let note = note.map(|size| fill(number * 11 + 1, size));
        if let Some(note) = &note {
            fs::write(format!("{}:note", path.display()), stored(note, &fek)).expect("a named stream");
        }
        seal(&path, &metadata(&fek, &[&self.me], &[&self.agent]));
        let record = fs::metadata(&path).expect("the file").ino();
        self.files.push(Stored { name, algorithm, shape, content, note, record });
    }

    /// The options with which a user's key is given.
    pub fn key<'a>(&'a self, user: &'a User) -> [&'a str; 4] {
        let texts = [&user.pfx, &self.password].map(|path| path.to_str().expect("a path"));
        ["--efs-key", texts[0], "--efs-key-password-file", texts[1]]
    }

    /// The path of the directory that is encrypted.
    pub fn folder(&self) -> &'static str {
        FOLDER
    }

    /// Deletes all files.
    pub fn delete_all(&self) {
        let volume = Volume::write(&self.image);
        for file in &self.files {
            fs::remove_file(volume.root().join(&file.name)).expect("a file to delete");
        }
        volume.unmount();
    }

    /// Where a file that was deleted stands below `root`: under its name, or where ntfs-3g has wiped that, by its record.
    pub fn deleted(&self, root: &Path, file: &Stored, suffix: &str) -> PathBuf {
        let named = PathBuf::from(format!("{}{suffix}", file.name));
        match root.join(&named).exists() {
            true => named,
            false => format!("$Orphans/unnamed/record {}{suffix}", file.record).into(),
        }
    }
}

impl Default for Shelf {
    fn default() -> Self {
        Self::new()
    }
}

/// The ranges of a sparse file that are holes: the first ends in the middle of a segment, the last at the end.
fn holes(size: usize) -> Vec<Range<usize>> {
    let end = size.next_multiple_of(CLUSTER as usize);
    [2048..100_352, 131_072..262_144, 270_336..end].map(|hole| hole.start..hole.end.min(size)).into()
}

/// How much of a file was ever written, within a unit.
fn valid_of(size: usize) -> usize {
    size / 3
}

fn write_with_holes(path: &Path, bytes: &[u8], holes: &[Range<usize>]) {
    let mut file = File::create(path).expect("a file");
    let (mut at, end) = (0, bytes.len() - 2);
    for hole in holes {
        file.seek(SeekFrom::Start(at as u64)).expect("a place");
        file.write_all(&bytes[at..hole.start]).expect("the encrypted bytes");
        at = hole.end.next_multiple_of(CLUSTER as usize);
    }
    // The last hole reaches to the end of the last unit, which then is that of a cluster.
    file.seek(SeekFrom::Start(end as u64)).expect("a place");
    file.write_all(&bytes[end..]).expect("the padding");
}

/// Lets only the first `valid` bytes of a file's unnamed stream be written ones.
///
/// # Panics
/// When the record is not what `mkntfs` and ntfs-3g make.
fn set_valid(image: &Path, record: u64, valid: usize) {
    const RECORD: usize = 1024;
    let bytes = fs::read(image).expect("the image");
    let u16_at = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let u32_at = |at: usize| u16_at(at) | u16_at(at + 2) << 16;
    let start = u32_at(0x30) * u16_at(11) * usize::from(bytes[13]) + record as usize * RECORD;
    assert_eq!(&bytes[start..start + 4], b"FILE");
    let mut at = start + u16_at(start + 20);
    // The unnamed one of the data attributes comes first.
    while u32_at(at) != 0x80 {
        at += u32_at(at + 4);
    }
    assert!(bytes[at + 8] == 1 && bytes[at + 9] == 0, "an unnamed stream in clusters");
    let field = at + 0x38;
    assert!((field - start) % 512 < 502, "the field is not where the update sequence stands");
    let file = File::options().write(true).open(image).expect("the image");
    file.write_all_at(&(valid as u64).to_le_bytes(), field as u64).expect("the field");
}

/// Whether some of a file's streams are not stored.
pub fn has_holes(image: &Path, record: u64) -> bool {
    runs(image, record).iter().any(|run| run.contains("<HOLE>"))
}

/// The runs and holes of a file's streams, as `ntfsinfo` lists them.
fn runs(image: &Path, record: u64) -> Vec<String> {
    let args = ["--force", "--verbose", "--inode", &record.to_string(), image.to_str().expect("a path")];
    let said = tools::run("ntfsinfo", args);
    let is_run = |line: &&str| line.starts_with("0x") && line.split_whitespace().count() == 3;
    said.lines().map(str::trim).filter(is_run).map(str::to_owned).collect()
}
