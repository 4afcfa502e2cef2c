//! Images of volumes with files of every kind, half of them deleted.

use std::{
    collections::HashMap,
    fs,
    io::{Seek, SeekFrom, Write},
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

use fastrand::Rng;
use rustix::fs::XattrFlags;

use crate::{
    cheese::Cheese,
    content::Content,
    manifest::{File, Kind, LinkForm, Manifest, Name},
    mft,
    ntfs3g::{self, Format, Volume},
    plan::{self, COMPRESSED},
    reparse,
};

/// What an image is made from.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Decides everything that is not said here.
    pub seed: u64,
    /// Size of the volume in bytes; the image file has holes.
    pub size: u64,
    /// Cluster size in bytes.
    pub cluster: u32,
    /// Logical sector size in bytes; 4096 makes FILE records of 4 KiB.
    pub sector: u32,
    /// Number of files.
    pub files: usize,
    /// Number of small files in one large directory, beside those.
    pub crowd: usize,
    /// Whether some files, and `$MFT`, are written into free space that is in pieces.
    pub fragments: bool,
}

/// An image and what it holds.
#[derive(Debug)]
pub struct Made {
    /// The image: one bare volume.
    pub image: PathBuf,
    /// What it holds.
    pub manifest: Manifest,
}

impl Recipe {
    /// 600 files on a volume of 4 KiB clusters and 512-byte sectors.
    pub fn new(seed: u64) -> Self {
        Self { seed, size: 512 << 20, cluster: 4096, sector: 512, files: 600, crowd: 0, fragments: true }
    }

    /// The same with other clusters, and a volume in which that many of them fit.
    #[must_use]
    pub fn clusters_of(self, bytes: u32) -> Self {
        Self { cluster: bytes, size: (512 << 20).max(u64::from(bytes) * 4096), ..self }
    }

    /// Makes the image in `dir` and deletes about half of its files, whole folders among them.
    pub fn make(&self, dir: &Path) -> Made {
        let image = dir.join(format!("seed{}-cluster{}-sector{}.img", self.seed, self.cluster, self.sector));
        let mut manifest = self.make_live(&image);
        choose_deletions(&mut manifest, self.seed);
        let volume = Volume::write(&image);
        let names = manifest.files.iter().flat_map(|file| &file.names).chain(&manifest.directories);
        let records = records(volume.root(), names);
        delete_chosen(volume.root(), &manifest, self.seed);
        volume.unmount();
        note_losses(&image, &mut manifest, &records);
        Made { image, manifest }
    }

    /// Makes the image with all its files still there.
    pub fn make_live(&self, image: &Path) -> Manifest {
        let label = format!("Seed {}", self.seed);
        let (cluster, sector) = (self.cluster, self.sector);
        ntfs3g::format(image, &Format { size: self.size, cluster, sector, label });
        let manifest = plan::plan(self);
        let (pieces, whole): (Vec<&File>, Vec<&File>) =
            manifest.files.iter().partition(|file| file.fragmented);

        let volume = Volume::write(image);
        for directory in &manifest.directories {
            let path = volume.root().join(&directory.path);
            fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            if directory.path == Path::new(COMPRESSED) {
                mark_compressed(&path);
            }
        }
        whole.iter().for_each(|file| write_file(volume.root(), file));
        volume.unmount();

        let (coarse, fine): (Vec<&File>, Vec<&File>) =
            pieces.into_iter().partition(|file| file.kind == Kind::Compressed);
        for (files, gap) in [(fine, 3), (coarse, 40)].into_iter().filter(|(files, _)| !files.is_empty()) {
            let cheese = Cheese::make(image, self.seed, gap);
            let volume = Volume::write(image);
            for group in files.chunks(3) {
                write_in_turns(volume.root(), group, self.cluster as usize);
            }
            volume.unmount();
            cheese.unmake(image);
        }
        manifest
    }
}

/// Marks a directory so that new files in it are compressed.
pub fn mark_compressed(dir: &Path) {
    const DIRECTORY: u32 = 0x10;
    const COMPRESSED: u32 = 0x800;
    let attributes = (DIRECTORY | COMPRESSED).to_be_bytes();
    rustix::fs::setxattr(dir, "system.ntfs_attrib_be", &attributes, XattrFlags::empty())
        .expect("the attribute");
}

/// Writes a whole file.
pub fn write_file(root: &Path, file: &File) {
    let path = root.join(file.path());
    if let Some(link) = &file.link {
        match link.form {
            LinkForm::Wsl => std::os::unix::fs::symlink(&link.target, &path).expect("a symbolic link"),
            LinkForm::Symlink => {
                fs::write(&path, []).expect("a file for a reparse point");
                let data = reparse::symlink(&link.target);
                rustix::fs::lsetxattr(&path, "system.ntfs_reparse_data", &data, XattrFlags::empty())
                    .expect("a reparse point");
            }
        }
    }
    for stream in &file.streams {
        let path = stream_path(&path, &stream.name);
        write_content(&path, &stream.content);
    }
    finish(root, file);
}

/// Writes files piece by piece in turns, each piece of 1 to 4 clusters on the medium before the next.
fn write_in_turns(root: &Path, files: &[&File], cluster: usize) {
    struct Open {
        file: fs::File,
        bytes: Vec<u8>,
        content: Content,
        at: usize,
    }
    let mut open: Vec<Open> = Vec::new();
    for file in files {
        for stream in &file.streams {
            let path = stream_path(&root.join(file.path()), &stream.name);
            let file = fs::File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            if stream.content.hole > 0 {
                file.set_len(stream.content.len as u64).expect("a sparse file's size");
            }
            open.push(Open { file, bytes: stream.content.bytes(), content: stream.content, at: 0 });
        }
    }
    let mut turn = 0;
    while !open.is_empty() {
        for one in &mut open {
            let step = match one.content.hole {
                0 => cluster * (1 + turn % 4),
                hole => hole,
            };
            let end = (one.at + step).min(one.bytes.len());
            if !(one.content.hole > 0 && one.content.is_hole(one.at / one.content.hole)) {
                one.file.seek(SeekFrom::Start(one.at as u64)).expect("a position in a file");
                one.file.write_all(&one.bytes[one.at..end]).unwrap_or_else(|error| {
                    panic!("{:?} of {} at {}: {error}", one.content, files[0].path().display(), one.at)
                });
            }
            if turn % 16 == 0 {
                one.file.sync_all().expect("a piece on the medium");
            }
            one.at = end;
        }
        open.retain(|one| one.at < one.bytes.len());
        turn += 1;
    }
    files.iter().for_each(|file| finish(root, file));
}

fn write_content(path: &Path, content: &Content) {
    let bytes = content.bytes();
    let mut file = fs::File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if content.hole == 0 {
        return file.write_all(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    file.set_len(content.len as u64).expect("a sparse file's size");
    for (number, block) in bytes.chunks(content.hole).enumerate() {
        if !content.is_hole(number) {
            file.seek(SeekFrom::Start((number * content.hole) as u64)).expect("a position in a sparse file");
            file.write_all(block).expect("a block of a sparse file");
        }
    }
}

/// Gives a written file its other names.
fn finish(root: &Path, file: &File) {
    let path = root.join(file.path());
    if let Some(name) = &file.dos_name {
        rustix::fs::setxattr(&path, "system.ntfs_dos_name", name.as_bytes(), XattrFlags::empty())
            .unwrap_or_else(|error| panic!("DOS name {name} of {}: {error}", path.display()));
    }
    for name in file.names.iter().skip(1) {
        let other = root.join(&name.path);
        fs::hard_link(&path, &other).unwrap_or_else(|error| panic!("{}: {error}", other.display()));
    }
}

/// The path of a stream in a volume mounted with [`ntfs3g::Streams::Windows`].
pub fn stream_path(file: &Path, stream: &str) -> PathBuf {
    if stream.is_empty() {
        return file.to_owned();
    }
    let mut path = file.as_os_str().as_bytes().to_vec();
    path.push(b':');
    path.extend_from_slice(stream.as_bytes());
    std::ffi::OsString::from_vec(path).into()
}

/// Marks half of the files to be deleted: whole folders with about a quarter of all, others from anywhere. Some
/// files with several names lose only some of them, and live.
pub fn choose_deletions(manifest: &mut Manifest, seed: u64) {
    let mut rng = Rng::with_seed(seed ^ 0xDE1E_7ED0);
    let files = manifest.files.len();
    let half = files / 2;
    let mut candidates: Vec<PathBuf> =
        manifest.directories.iter().map(|directory| directory.path.clone()).collect();
    rng.shuffle(&mut candidates);
    let mut folders: Vec<PathBuf> = Vec::new();
    let gone = |folders: &[PathBuf], path: &Path| folders.iter().any(|folder| path.starts_with(folder));
    for candidate in candidates {
        folders.push(candidate);
        let inside =
            manifest.files.iter().filter(|file| file.names.iter().all(|name| gone(&folders, &name.path)));
        if inside.count() > half / 2 {
            folders.pop();
        }
    }
    for directory in &mut manifest.directories {
        directory.removed = gone(&folders, &directory.path);
    }
    for name in manifest.files.iter_mut().flat_map(|file| &mut file.names) {
        name.removed = gone(&folders, &name.path);
    }
    let mut live: Vec<&mut File> = manifest.files.iter_mut().filter(|file| !file.is_deleted()).collect();
    rng.shuffle(&mut live);
    let wanted = live.len().saturating_sub(files - half);
    for (index, file) in live.into_iter().enumerate() {
        if index < wanted {
            file.names.iter_mut().for_each(|name| name.removed = true);
        } else if file.names.iter().filter(|name| !name.removed).count() > 1 {
            file.names[0].removed |= rng.bool() && file.names[1..].iter().any(|name| !name.removed);
        }
    }
}

/// Deletes what is marked: names in any order, then folders from the deepest up.
pub fn delete_chosen(root: &Path, manifest: &Manifest, seed: u64) {
    let mut names: Vec<&Name> =
        manifest.files.iter().flat_map(|f| &f.names).filter(|name| name.removed).collect();
    Rng::with_seed(seed ^ 0x0D0E).shuffle(&mut names);
    for name in names {
        let path = root.join(&name.path);
        fs::remove_file(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    for directory in manifest.directories.iter().rev().filter(|directory| directory.removed) {
        let path = root.join(&directory.path);
        fs::remove_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// The record number of every one of `names` that is marked as removed but still there, by its path.
pub fn records<'a>(root: &Path, names: impl Iterator<Item = &'a Name>) -> HashMap<PathBuf, u64> {
    let record = |name: &Name| {
        // ntfs-3g gives the record number as inode number.
        let meta = fs::symlink_metadata(root.join(&name.path));
        meta.unwrap_or_else(|error| panic!("{}: {error}", name.path.display())).ino()
    };
    names.filter(|name| name.removed).map(|name| (name.path.clone(), record(name))).collect()
}

/// Looks at what the deletion of the files with these `records` did to them: marks the names that it wiped out, and
/// forgets files whose record it gave to another file, of which nothing is left.
pub fn note_losses(image: &Path, manifest: &mut Manifest, records: &HashMap<PathBuf, u64>) {
    let found = mft::read(image);
    manifest.files.retain(|file| {
        let taken =
            |name: &Name| records.get(&name.path).is_some_and(|record| found.extensions.contains(record));
        !file.is_deleted() || !file.names.iter().any(taken)
    });
    let gone = |name: &Name| records.get(&name.path).is_some_and(|record| !found.named.contains(record));
    let folders = manifest.directories.iter().filter(|name| gone(name)).map(|name| name.path.clone());
    let folders: Vec<PathBuf> = folders.collect();
    for name in manifest.files.iter_mut().flat_map(|file| &mut file.names).chain(&mut manifest.directories) {
        name.wiped |= gone(name) || folders.iter().any(|folder| name.path.starts_with(folder));
    }
}
