//! Images for the benchmarks, kept because they take minutes to make.

use std::{
    fs,
    path::{Path, PathBuf},
};

use fastrand::Rng;

use crate::ntfs3g::{self, Format, Volume};

/// Files of an image with many files.
const FILES: usize = 150_000;
/// Size of the large deleted file in bytes.
pub const LARGE: u64 = 1 << 30;

/// A volume of 150,000 files of about 1 KiB in so many directories, every second file deleted. Made once.
pub fn many_files(dir: &Path, directories: usize) -> PathBuf {
    let files_each = FILES / directories;
    once(dir, &format!("many-files-in-{directories}.img"), |image| {
        ntfs3g::format(
            image,
            &Format { size: 2 << 30, cluster: 4096, sector: 512, label: "Many files".into() },
        );
        let mut rng = Rng::with_seed(150_000);
        let path = |root: &Path, directory: usize, number: usize| {
            root.join(format!("directory {directory:04}")).join(format!("file {number:06}.dat"))
        };
        let volume = Volume::write(image);
        let mut bytes = vec![0; 1600];
        for directory in 0..directories {
            fs::create_dir(volume.root().join(format!("directory {directory:04}"))).expect("a directory");
            for number in 0..files_each {
                rng.fill(&mut bytes);
                let len = rng.usize(800..1600);
                fs::write(path(volume.root(), directory, number), &bytes[..len]).expect("a file");
            }
        }
        volume.unmount();
        let volume = Volume::write(image);
        for directory in 0..directories {
            for number in (0..files_each).step_by(2) {
                fs::remove_file(path(volume.root(), directory, number)).expect("a deletion");
            }
        }
        volume.unmount();
    })
}

/// A volume with one deleted file of 1 GiB, `large.bin`, and four of a quarter of that, `part 0.bin` to
/// `part 3.bin`. Made once.
pub fn large_file(dir: &Path) -> PathBuf {
    once(dir, "large-file.img", |image| {
        ntfs3g::format(
            image,
            &Format { size: 3 << 30, cluster: 4096, sector: 512, label: "Large file".into() },
        );
        let volume = Volume::write(image);
        let names = std::iter::once(("large.bin".to_owned(), LARGE))
            .chain((0..4).map(|number| (format!("part {number}.bin"), LARGE / 4)));
        let mut rng = Rng::with_seed(1);
        let mut piece = vec![0; 1 << 20];
        for (name, size) in names.clone() {
            let mut file = fs::File::create(volume.root().join(name)).expect("a large file");
            for _ in 0..size >> 20 {
                rng.fill(&mut piece);
                std::io::Write::write_all(&mut file, &piece).expect("a piece of a large file");
            }
        }
        volume.unmount();
        let volume = Volume::write(image);
        for (name, _) in names {
            fs::remove_file(volume.root().join(name)).expect("a deletion");
        }
        volume.unmount();
    })
}

fn once(dir: &Path, name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let image = dir.join(name);
    if !image.is_file() {
        fs::create_dir_all(dir).expect("the images' folder");
        let unfinished = dir.join(format!("{name}.unfinished"));
        make(&unfinished);
        fs::rename(&unfinished, &image).expect("the finished image");
    }
    image
}
