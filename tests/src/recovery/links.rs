//! A volume of hard links that lost their names one after the other.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use fastrand::Rng;

use super::Known;
use crate::{
    content::{Content, Fill},
    manifest::{File, Kind, Manifest, Name},
    ntfs3g::{self, Format, Volume},
    overwrite, recipe,
};

/// Folders that keep some of their files.
const KEPT: usize = 6;
/// Folders that are deleted with all that is in them.
const REMOVED: usize = 4;

/// A volume on which `files` files had two or three names in different folders. In a first session each of them
/// lost its first name, in a second one the others; some folders went with what was in them.
pub fn make(image: &Path, seed: u64, files: usize) -> Known {
    let mut rng = Rng::with_seed(seed);
    ntfs3g::format(image, &Format { size: 128 << 20, cluster: 4096, sector: 512, label: "Links".into() });
    let mut known = Known { image: image.to_owned(), manifest: Manifest::default(), records: HashMap::new() };
    let folder = |number: usize| PathBuf::from(format!("Ledger {number:02}"));
    known.manifest.directories = (0..KEPT + REMOVED).map(|number| Name::new(folder(number))).collect();
    for number in 0..files {
        let first = folder(rng.usize(..KEPT + REMOVED));
        let mut file = file(&mut rng, &first, number);
        for more in 0..rng.usize(1..3) {
            let other = folder(rng.usize(..KEPT + REMOVED));
            file.names
                .push(Name::new(other.join(format!("{:06} copy {more} of it.dat", rng.u32(..999_999)))));
        }
        file.kind = Kind::HardLinks;
        known.manifest.files.push(file);
    }
    for number in files..2 * files {
        let file = file(&mut rng, &folder(number % KEPT), number);
        known.manifest.files.push(file);
    }
    let volume = Volume::write(image);
    for directory in &known.manifest.directories {
        fs::create_dir(volume.root().join(&directory.path)).expect("a folder");
    }
    known.manifest.files.iter().for_each(|file| recipe::write_file(volume.root(), file));
    volume.unmount();

    let linked = |files: &mut [File], first: bool| {
        for file in files.iter_mut().filter(|file| file.kind == Kind::HardLinks) {
            let (one, others) = file.names.split_at_mut(1);
            if first { one } else { others }.iter_mut().for_each(|name| name.removed = true);
        }
    };
    linked(&mut known.manifest.files, true);
    known.session(|root, manifest| recipe::delete_chosen(root, manifest, seed));

    linked(&mut known.manifest.files, false);
    known.manifest.directories[KEPT..].iter_mut().for_each(|name| name.removed = true);
    known.session(|root, manifest| {
        for name in manifest.files.iter().filter(|file| file.is_deleted()).flat_map(|file| &file.names[1..]) {
            fs::remove_file(root.join(&name.path)).expect("a deletion");
        }
        for name in &manifest.directories[KEPT..] {
            fs::remove_dir(root.join(&name.path)).expect("a deletion");
        }
    });
    known
}

fn file(rng: &mut Rng, folder: &Path, number: usize) -> File {
    let name = format!("{:06} sheet {number}.dat", rng.u32(..999_999));
    overwrite::plain(&folder.join(name), Content::new(Fill::Tagged, rng.u64(..), rng.usize(10..9000)))
}
