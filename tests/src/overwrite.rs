//! What happens to a volume after files were deleted: new files take their clusters and their records.

use std::{fs, path::Path};

use fastrand::Rng;

use crate::{
    content::{Content, Fill},
    manifest::{File, Kind, Manifest, Name, Stream},
    ntfs3g::{self, Format, Volume},
    recipe::{self, Made},
};

/// Folder of the files written after the deletion.
pub const AFTER: &str = "After";

/// Writes `count` new files of about `size` bytes each over what was deleted, and deletes them again if `deleted`.
/// They are added to the manifest. Few files, so that few FILE records are used again.
pub fn write_over(made: &mut Made, seed: u64, count: usize, size: usize, deleted: bool) {
    let mut rng = Rng::with_seed(seed);
    let volume = Volume::write(&made.image);
    let folder = Path::new(AFTER);
    fs::create_dir(volume.root().join(folder)).expect("a new folder");
    made.manifest.directories.push(Name::new(folder));
    for number in 0..count {
        let len = size - rng.usize(..size / 4);
        let file =
            plain(&folder.join(format!("new {number:03}.bin")), Content::new(Fill::Tagged, rng.u64(..), len));
        recipe::write_file(volume.root(), &file);
        made.manifest.files.push(file);
    }
    volume.unmount();
    if deleted {
        let volume = Volume::write(&made.image);
        let new = made.manifest.files.len() - count;
        let names = made.manifest.files[new..].iter().flat_map(|file| &file.names);
        let names: Vec<Name> = names.map(|name| Name { removed: true, ..name.clone() }).collect();
        let records = recipe::records(volume.root(), names.iter());
        for (file, name) in made.manifest.files[new..].iter_mut().zip(names) {
            fs::remove_file(volume.root().join(&name.path)).expect("a new file's deletion");
            file.names = vec![name];
        }
        volume.unmount();
        recipe::note_losses(&made.image, &mut made.manifest, &records);
    }
}

/// A volume on which the FILE record of a deleted folder, `Lost/inner`, belongs to a new live folder, `Found`.
///
/// The deleted files in the manifest are those that stood in the folder; the new folder holds one live file.
pub fn reused_folder(image: &Path, seed: u64) -> Made {
    let mut rng = Rng::with_seed(seed);
    ntfs3g::format(image, &Format { size: 64 << 20, cluster: 4096, sector: 512, label: "Orphans".into() });
    let volume = Volume::write(image);
    let inner = Path::new("Lost/inner");
    // `inner` gets the lowest free record but one, so that the first new folder after the deletion takes it.
    fs::create_dir(volume.root().join("Lost")).expect("a folder");
    fs::create_dir(volume.root().join(inner)).expect("a folder");
    let mut manifest = Manifest::default();
    for number in 0..12 {
        let content = Content::new(Fill::Tagged, rng.u64(..), rng.usize(10..40_000));
        let file = plain(&inner.join(format!("orphan {number}.dat")), content);
        recipe::write_file(volume.root(), &file);
        manifest.files.push(file);
    }
    volume.unmount();

    let volume = Volume::write(image);
    for name in manifest.files.iter_mut().flat_map(|file| &mut file.names) {
        fs::remove_file(volume.root().join(&name.path)).expect("a deletion");
        name.removed = true;
    }
    fs::remove_dir(volume.root().join(inner)).expect("a deletion");
    volume.unmount();

    let volume = Volume::write(image);
    fs::create_dir(volume.root().join("Found")).expect("a folder");
    volume.unmount();
    let volume = Volume::write(image);
    let last = plain(Path::new("Found/alive.txt"), Content::new(Fill::Text, rng.u64(..), 200));
    recipe::write_file(volume.root(), &last);
    volume.unmount();
    manifest.directories.push(Name::new("Found"));
    // The live file took the record of one of the deleted ones.
    manifest.files.remove(0);
    manifest.files.push(last);
    Made { image: image.to_owned(), manifest }
}

/// A live file with one name and one stream.
pub fn plain(path: &Path, content: Content) -> File {
    File {
        kind: Kind::Contiguous,
        names: vec![Name::new(path)],
        dos_name: None,
        streams: vec![Stream { name: String::new(), content }],
        link: None,
        fragmented: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{guard, tools};

    #[test]
    fn the_new_folder_has_the_record_of_the_deleted_one() {
        let dir = guard::scratch();
        let made = reused_folder(&dir.path().join("orphans.img"), 1);
        let list = tools::run("fls", ["-r", "-p", made.image.to_str().unwrap()]);
        assert!(list.contains("Found/alive.txt"), "{list}");
        // The Sleuth Kit does not check sequence numbers here: it shows the orphans in the new folder.
        let record = |path: &str| -> Option<u64> {
            let line = list.lines().find(|line| line.ends_with(path))?;
            line.split(' ').find_map(|word| word.split('-').next()?.trim_end_matches(':').parse().ok())
        };
        assert_eq!(record("\tFound"), Some(65), "{list}");
    }
}
