//! The bundled image: a small volume of somebody who has just lost files. `images/README.md` lists what is in it.

use std::{
    f64::consts::TAU,
    fs::{self, FileTimes},
    io::Write,
    path::Path,
    time::{Duration, SystemTime},
};

use flate2::{Compression, write::GzEncoder};

use crate::{
    content::{Content, Fill},
    guard,
    ntfs3g::{self, Format, Volume},
    picture, recipe,
};

/// Size of the volume in bytes. `mkntfs` makes a `$LogFile` of 2 MiB on it.
const SIZE: u64 = 16 << 20;

/// Files that are deleted one by one.
const DELETED: [&str; 8] = [
    "Measurements.lnk",
    "Measurements.csv",
    "Downloads/setup-2.1.zip",
    "Pictures/diagram.png",
    "Pictures/2024 Lisbon/IMG_0002.jpg",
    "Pictures/2024 Lisbon/IMG_0003.jpg",
    "Pictures/2024 Lisbon/IMG_0004.jpg",
    "Музыка/Плейлист на лето.m3u",
];

/// 2024-05-01 00:00:00 UTC, after which the files were made.
const FIRST_DAY: u64 = 1_714_521_600;

/// Makes the image and writes it to `file`, compressed with gzip. Returns the compressed size in bytes.
pub fn bundle(file: &Path) -> u64 {
    let dir = guard::scratch();
    let image = dir.path().join("demo.img");
    make(&image);
    let out = fs::File::create(file).expect("the bundled image");
    let mut encoder = GzEncoder::new(out, Compression::best());
    encoder.write_all(&fs::read(&image).expect("the image")).expect("the compressed image");
    encoder.finish().expect("the compressed image").metadata().expect("its size").len()
}

/// Makes the image: files are written, some are deleted, and then the volume is used a little more.
pub fn make(image: &Path) {
    ntfs3g::format(image, &Format { size: SIZE, cluster: 4096, sector: 512, label: "Family".into() });

    let volume = Volume::write(image);
    let disk = Writer { root: volume.root() };
    // The folder and the shortcut get the lowest records, which what comes last takes again.
    disk.folder("Recipes");
    disk.file("Measurements.lnk", b"Measurements.csv", 3);
    for name in ["Plum cake", "Fish soup", "Ajvar"] {
        disk.file(&format!("Recipes/{name}.txt"), recipe_text(name).as_bytes(), 2);
    }
    documents(&disk);
    pictures(&disk);
    disk.folder("Downloads");
    let zone = b"[ZoneTransfer]\r\nZoneId=3\r\nHostUrl=https://example.org/setup-2.1.zip\r\n";
    fs::write(disk.root.join("Downloads/setup-2.1.zip:Zone.Identifier"), zone).expect("a named stream");
    disk.file("Downloads/setup-2.1.zip", &Content::new(Fill::Random, 21, 9000).bytes(), 40);
    disk.folder("Музыка");
    disk.file("Музыка/Плейлист на лето.m3u", "#EXTM3U\nКино - Группа крови.mp3\n".as_bytes(), 12);
    // ntfs-3g allocates in the largest free range. The table ends up at its border, with a live file on its other
    // side, so that the next file to be written after the table's deletion overwrites the beginning of it.
    disk.file("Documents/Letters/To the landlord.txt", &Content::new(Fill::Text, 50, 6000).bytes(), 41);
    disk.file("Measurements.csv", &measurements(4000), 42);
    volume.unmount();

    let volume = Volume::write(image);
    let root = volume.root();
    for file in DELETED {
        fs::remove_file(root.join(file)).expect("a deletion");
    }
    for folder in ["Documents/Thesis", "Documents/Contracts", "Recipes", "Pictures/写真"] {
        fs::remove_dir_all(root.join(folder)).expect("a deleted folder");
    }
    volume.unmount();

    let volume = Volume::write(image);
    let disk = Writer { root: volume.root() };
    disk.folder("New project");
    disk.file("Shopping.csv", &measurements(900), 60);
    volume.unmount();
}

fn documents(disk: &Writer<'_>) {
    for folder in ["Documents", "Documents/Letters", "Documents/Thesis", "Documents/Thesis/Chapters"] {
        disk.folder(folder);
    }
    disk.file(
        "Documents/Letters/To Anna.txt",
        "Dear Anna,\n\nthe keys are with the neighbours.\n\nM.\n".as_bytes(),
        5,
    );
    disk.file("Documents/To do.txt", b"- back up the thesis\n- call the dentist\n", 50);
    for number in 1..=4 {
        let text = Content::new(Fill::Text, number, 9000 * number as usize).bytes();
        disk.file(&format!("Documents/Thesis/Chapters/Chapter {number}.md"), &text, 10 + number);
    }
    disk.file("Documents/Thesis/Bibliography.bib", &Content::new(Fill::Text, 9, 700).bytes(), 16);
    disk.file("Documents/Thesis/notes.txt", b"Ask the archive about the mill's ledger.\n", 17);
    disk.file("Documents/Thesis/empty draft.md", b"", 17);

    // Compressed by the file system, as Windows does with "compress contents to save disk space".
    disk.folder("Documents/Thesis/Interviews");
    recipe::mark_compressed(&disk.root.join("Documents/Thesis/Interviews"));
    let text = Content::new(Fill::Text, 30, 150_000).bytes();
    disk.file("Documents/Thesis/Interviews/All interviews.txt", &text, 18);

    disk.folder("Documents/Contracts");
    disk.file("Documents/Contracts/Flat.txt", &Content::new(Fill::Text, 40, 5000).bytes(), 20);
    let (one, two) = ("Documents/Contracts/Flat.txt", "Documents/Contracts/Flat (signed).txt");
    fs::hard_link(disk.root.join(one), disk.root.join(two)).expect("a hard link");
}

fn pictures(disk: &Writer<'_>) {
    for folder in ["Pictures", "Pictures/2024 Lisbon", "Pictures/写真"] {
        disk.folder(folder);
    }
    for number in 1..=5_u8 {
        let (width, height, pixels) = sunset(f64::from(number));
        let jpeg = picture::jpeg(&pixels, width, height);
        disk.file(&format!("Pictures/2024 Lisbon/IMG_{number:04}.jpg"), &jpeg, 25 + u64::from(number));
    }
    disk.file("Pictures/diagram.png", &png(8.0), 31);
    disk.file("Pictures/写真/桜の木.png", &png(2.0), 32);
    disk.file("Pictures/写真/夕焼け 🌇.png", &png(5.0), 33);
}

struct Writer<'a> {
    root: &'a Path,
}

impl Writer<'_> {
    fn folder(&self, path: &str) {
        fs::create_dir(self.root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    fn file(&self, path: &str, bytes: &[u8], day: u64) {
        let path = self.root.join(path);
        fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let modified =
            SystemTime::UNIX_EPOCH + Duration::from_secs(FIRST_DAY + day * 86_400 + day * 3671 % 40_000);
        let file = fs::File::options().append(true).open(&path).expect("the file");
        file.set_times(FileTimes::new().set_accessed(modified).set_modified(modified))
            .expect("the file's times");
    }
}

/// A table of `rows` rows.
fn measurements(rows: u32) -> Vec<u8> {
    let mut out = b"hour,temperature,humidity\n".to_vec();
    for row in 0..rows {
        let wave = (f64::from(row) / 24.0 * TAU).sin();
        out.extend(format!("{row},{:.1},{:.0}\n", 15.0 + 6.0 * wave, 60.0 - 12.0 * wave).into_bytes());
    }
    out
}

fn recipe_text(name: &str) -> String {
    format!("{name}\n\nFor six people. Begin in the morning, and take your time.\n")
}

/// A picture of a sun over the sea, `hour` hours before it sets: width, height, RGB.
fn sunset(hour: f64) -> (u16, u16, Vec<u8>) {
    const WIDTH: u16 = 240;
    const HEIGHT: u16 = 160;
    let mut pixels = Vec::with_capacity(usize::from(WIDTH) * usize::from(HEIGHT) * 3);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let (x, y) = (f64::from(x), f64::from(y));
            let distance = (x - 30.0 - 30.0 * hour).hypot(y - 95.0 + 12.0 * hour);
            let colour = if y > 100.0 {
                [20.0, 60.0 + y / 4.0, 110.0 + 20.0 * (x / 9.0 + y).sin()]
            } else if distance < 14.0 {
                [255.0, 240.0, 170.0]
            } else {
                [250.0 - y / 3.0 - hour * 9.0, 120.0 + y, 90.0 + hour * 20.0 + y / 2.0]
            };
            pixels.extend(colour.map(|value| value.clamp(0.0, 255.0) as u8));
        }
    }
    (WIDTH, HEIGHT, pixels)
}

fn png(hour: f64) -> Vec<u8> {
    let (width, height, pixels) = sunset(hour);
    picture::png(&pixels, width, height)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools;

    /// Record number and path of each entry of `fls -r -p`.
    fn entries(list: &str) -> Vec<(String, String)> {
        list.lines()
            .filter_map(|line| {
                let (left, path) = line.split_once('\t')?;
                let address =
                    left.split_whitespace().find(|word| word.contains('-') && !word.contains('/'))?;
                Some((address.split('-').next()?.to_owned(), path.to_owned()))
            })
            .collect()
    }

    #[test]
    fn the_image_holds_a_partly_overwritten_file_and_a_folder_whose_record_was_used_again() {
        let dir = guard::scratch();
        let image = dir.path().join("demo.img");
        make(&image);
        let image = image.to_str().unwrap();
        let entries = entries(&tools::run("fls", ["-r", "-p", image]));
        let record = |path: &str| entries.iter().find(|(_, p)| p == path).map(|(record, _)| record.clone());

        let lost = record("Measurements.csv").expect("the deleted table");
        let bytes = tools::succeed(tools::tool("icat").args([image, &lost])).stdout;
        let before = measurements(4000);
        let same = bytes.chunks(4096).zip(before.chunks(4096)).filter(|(now, then)| now == then).count();
        assert_eq!(bytes.len(), before.len());
        assert!((1..before.chunks(4096).count()).contains(&same), "{same} clusters are still there");

        assert_eq!(record("New project").as_deref(), Some("64"), "{entries:?}");
    }

    #[test]
    fn the_bundled_image_is_small() {
        let dir = guard::scratch();
        let size = bundle(&dir.path().join("demo.img.gz"));
        assert!(size <= 300 << 10, "{size}");
    }
}
