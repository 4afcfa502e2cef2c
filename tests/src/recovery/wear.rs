//! Going on to use a volume after files were deleted from it.

use std::{
    collections::{HashSet, hash_map::DefaultHasher},
    fs::{self, File},
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
};

use fastrand::Rng;

use super::{
    Known,
    layout::{Layout, bytes},
};
use crate::{
    content::{Content, Fill},
    manifest::Name,
    ntfs3g::Volume,
    overwrite, recipe,
};

/// Size in bytes of the pieces by which content is recognised.
pub const SECTOR: usize = 512;
/// Folders that the new files are spread over.
const FOLDERS: usize = 8;

/// Writes `count` new files with `bytes` bytes in all, deletes a third of them again, and then writes a tenth as
/// many small ones, which take the records of some and so every trace of what these had overwritten.
pub fn wear(known: &mut Known, seed: u64, count: usize, bytes: usize) {
    // Not the seed of the recipe itself: its files would have the same content.
    let mut rng = Rng::with_seed(seed ^ 0x0EA6_1E5F);
    let mean = bytes / count;
    let sizes: Vec<usize> = (0..count)
        .map(|_| match rng.u8(..10) {
            0..3 => rng.usize(1..600),
            3..8 => rng.usize(1000..mean),
            _ => rng.usize(mean..3 * mean),
        })
        .collect();
    let first = known.manifest.files.len();
    write(known, &mut rng, "After", &sizes);
    for file in known.manifest.files[first..].iter_mut().filter(|_| rng.u8(..3) == 0) {
        file.names.iter_mut().for_each(|name| name.removed = true);
    }
    let new: Vec<PathBuf> = known.manifest.files[first..]
        .iter()
        .filter(|f| f.is_deleted())
        .map(|f| f.path().to_owned())
        .collect();
    known.session(|root, _| {
        new.iter().for_each(|path| fs::remove_file(root.join(path)).expect("a deletion"));
    });
    let sizes: Vec<usize> = (0..count / 10).map(|_| rng.usize(1..2000)).collect();
    write(known, &mut rng, "Later", &sizes);
    known.session(|_, _| ());
}

fn write(known: &mut Known, rng: &mut Rng, top: &str, sizes: &[usize]) {
    let folders: Vec<PathBuf> = (0..FOLDERS).map(|number| Path::new(top).join(format!("{number}"))).collect();
    let volume = Volume::write(&known.image);
    fs::create_dir(volume.root().join(top)).expect("a new folder");
    known.manifest.directories.push(Name::new(top));
    for folder in &folders {
        fs::create_dir(volume.root().join(folder)).expect("a new folder");
        known.manifest.directories.push(Name::new(folder));
    }
    for (number, size) in sizes.iter().enumerate() {
        let path = rng.choice(&folders).expect("a folder").join(format!("new {number:04}.bin"));
        let fill = if *size < SECTOR { Fill::Random } else { Fill::Tagged };
        let file = overwrite::plain(&path, Content::new(fill, rng.u64(..), *size));
        recipe::write_file(volume.root(), &file);
        known.manifest.files.push(file);
    }
    volume.unmount();
}

/// What stands in the clusters of everything that exists on a volume, in pieces of [`SECTOR`] bytes.
#[derive(Debug)]
pub struct LiveSectors(HashSet<u64>);

impl LiveSectors {
    /// Reads the clusters of all records in use: of files, folders and `$MFT`.
    pub fn read(image: &Path, layout: &Layout) -> Self {
        let file = File::open(image).expect("the image");
        let in_use = |base: u64| layout.records.get(&base).is_some_and(|record| record.in_use);
        let live = layout.records.values().filter(|record| record.in_use && in_use(record.base));
        let runs = live.flat_map(|record| &record.attributes).flat_map(|part| &part.clusters);
        // $BadClus claims the whole volume, as one hole; every other cluster is one of the image.
        let size = file.metadata().expect("the image's size").len();
        let runs = runs.filter(|run| run.end <= size).cloned();
        let sectors = runs.flat_map(|run| {
            let bytes = bytes(&file, run);
            bytes.chunks(SECTOR).filter(|sector| is_telling(sector)).map(print).collect::<Vec<_>>()
        });
        Self(sectors.collect())
    }

    /// Where in `shown` there is a sector of something that exists, though `own` has another there.
    pub fn leaks(&self, shown: &[u8], own: &[u8]) -> Option<usize> {
        let mut sectors = shown.chunks_exact(SECTOR).enumerate().filter(|(_, sector)| is_telling(sector));
        sectors
            .find(|(n, sector)| {
                own.get(n * SECTOR..(n + 1) * SECTOR) != Some(*sector) && self.0.contains(&print(sector))
            })
            .map(|(n, _)| n * SECTOR)
    }
}

/// A sector that is one byte all over is nobody's.
fn is_telling(sector: &[u8]) -> bool {
    sector.iter().any(|byte| *byte != sector[0])
}

fn print(sector: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    sector.hash(&mut hasher);
    hasher.finish()
}
