//! Measuring what comes back from damaged, formatted and worn volumes.
//!
//! What can come back is worked out from the bytes of the image alone, before and after the damage, by a reader
//! that shares nothing with undelfs: see [`layout`] and [`slack`]. What did come back is read from a mounted tree:
//! see [`shown`] and [`trust`].

pub mod damage;
pub mod layout;
pub mod links;
pub mod shown;
pub mod slack;
pub mod trust;
pub mod wear;

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{
    manifest::{File, Manifest, Name, Stream},
    ntfs3g::Volume,
    recipe::{self, Recipe},
};

/// A volume of which the record number of every name is known, deleted or not.
#[derive(Debug, Clone)]
pub struct Known {
    /// The image: one bare volume.
    pub image: PathBuf,
    /// What it holds.
    pub manifest: Manifest,
    /// FILE record of each file and directory by its path, at the time when it was last there.
    pub records: HashMap<PathBuf, u64>,
}

impl Known {
    /// Makes what `recipe` says, with half of its files deleted.
    pub fn make(recipe: &Recipe, dir: &Path) -> Self {
        let image = dir.join(format!("seed{}-cluster{}.img", recipe.seed, recipe.cluster));
        let mut manifest = recipe.make_live(&image);
        recipe::choose_deletions(&mut manifest, recipe.seed);
        let mut known = Self { image, manifest, records: HashMap::new() };
        known.session(|root, manifest| recipe::delete_chosen(root, manifest, recipe.seed));
        known
    }

    /// Mounts the volume, notes all records and lets `delete` remove the names that are marked so.
    pub fn session(&mut self, delete: impl FnOnce(&Path, &Manifest)) {
        let volume = Volume::write(&self.image);
        self.note_records(volume.root());
        delete(volume.root(), &self.manifest);
        volume.unmount();
        let gone: Vec<&Name> = names(&self.manifest).filter(|name| name.removed).collect();
        let records = gone
            .iter()
            .filter_map(|name| Some((name.path.clone(), *self.records.get(&name.path)?)))
            .collect();
        recipe::note_losses(&self.image, &mut self.manifest, &records);
    }

    /// Notes the record of every name that is there.
    fn note_records(&mut self, root: &Path) {
        let at = |path: &Path| fs::symlink_metadata(root.join(path)).ok().map(|meta| meta.ino());
        let found = names(&self.manifest).filter_map(|name| Some((name.path.clone(), at(&name.path)?)));
        self.records.extend(found);
    }

    /// FILE record of `file`.
    ///
    /// # Panics
    /// When it never was there.
    pub fn record(&self, file: &File) -> u64 {
        let record = file.names.iter().find_map(|name| self.records.get(&name.path));
        *record.unwrap_or_else(|| panic!("nobody saw {:?}", file.names))
    }
}

/// Every name of a file or directory.
fn names(manifest: &Manifest) -> impl Iterator<Item = &Name> {
    manifest.files.iter().flat_map(|file| &file.names).chain(&manifest.directories)
}

/// A file of which something must come back.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The file.
    pub file: &'a File,
    /// Those of its streams whose clusters are all there. None for a link, which is wanted as such.
    pub streams: Vec<&'a Stream>,
}
