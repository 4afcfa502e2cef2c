//! Disks with partition tables around volumes, and images split into parts.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use crate::{guard::Loop, tools};

/// Partitions start at multiples of this many bytes.
const ALIGNMENT: u64 = 1 << 20;

/// A disk image and where its partitions are.
#[derive(Debug)]
pub struct DiskImage {
    /// The image.
    pub image: PathBuf,
    /// First sector and number of sectors of each volume, in disk order.
    pub partitions: Vec<(u64, u64)>,
}

/// A disk with a GPT of `sector`-byte sectors and one partition for each volume, named `Part 1` and so on.
pub fn gpt(image: &Path, volumes: &[&Path], sector: u32) -> DiskImage {
    let disk = lay_out(image, volumes, sector, ALIGNMENT);
    let device = Loop::attach_writable(image, sector);
    let mut sgdisk = tools::tool("sgdisk");
    sgdisk.args(["--clear", "--set-alignment=1"]);
    for (number, (start, sectors)) in (1..).zip(&disk.partitions) {
        sgdisk.arg(format!("--new={number}:{start}:{}", start + sectors - 1));
        sgdisk.arg(format!("--typecode={number}:0700")).arg(format!("--change-name={number}:Part {number}"));
    }
    tools::succeed(sgdisk.arg(device.device()));
    disk
}

/// A disk with an MBR: the first volume in a primary partition, all others in logical ones.
pub fn mbr(image: &Path, volumes: &[&Path]) -> DiskImage {
    let disk = lay_out(image, volumes, 512, 2 * ALIGNMENT);
    let mut script = String::from("label: dos\nunit: sectors\n");
    for (index, (start, sectors)) in disk.partitions.iter().enumerate() {
        if index == 1 {
            script += &format!("start={}, type=5\n", start - ALIGNMENT / 512);
        }
        let device = if index == 0 { String::new() } else { format!("{}{}: ", image.display(), index + 4) };
        script += &format!("{device}start={start}, size={sectors}, type=7\n");
    }
    let table = image.with_extension("sfdisk");
    fs::write(&table, script).expect("the partition table's script");
    tools::succeed(
        tools::tool("sfdisk")
            .args(["--quiet", "--no-reread", "--no-tell-kernel"])
            .arg(image)
            .stdin(fs::File::open(&table).expect("the script")),
    );
    disk
}

/// Copies the volumes behind each other, `gap` bytes before each and at the end.
fn lay_out(image: &Path, volumes: &[&Path], sector: u32, gap: u64) -> DiskImage {
    let file = fs::File::create(image).expect("the disk image");
    let mut at = gap;
    let mut partitions = Vec::new();
    for volume in volumes {
        let size = fs::metadata(volume).expect("a volume").len();
        tools::succeed(
            tools::tool("dd")
                .args(["bs=1M", "conv=notrunc,sparse", "status=none"])
                .arg(format!("seek={}", at / ALIGNMENT))
                .arg(format!("if={}", volume.display()))
                .arg(format!("of={}", image.display())),
        );
        partitions.push((at / u64::from(sector), size / u64::from(sector)));
        at = (at + size).next_multiple_of(ALIGNMENT) + gap;
    }
    file.set_len(at).expect("the disk's size");
    DiskImage { image: image.to_owned(), partitions }
}

/// Splits `image` into parts of `part` bytes: `NAME.001` and so on, or from `.000` with `first` zero. Returns the
/// path of the first part.
pub fn split(image: &Path, stem: &Path, part: u64, first: u32) -> PathBuf {
    let mut source = fs::File::open(image).expect("the image");
    let path = |number: u32| PathBuf::from(format!("{}.{number:03}", stem.display()));
    for number in first.. {
        let mut out = fs::File::create(path(number)).expect("a part");
        let copied = std::io::copy(&mut source.by_ref().take(part), &mut out).expect("a part's bytes");
        if copied < part {
            break;
        }
    }
    path(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard;

    fn volume(dir: &Path, name: &str, fill: u8) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, vec![fill; 3 << 20]).unwrap();
        path
    }

    #[test]
    fn a_disk_holds_its_volumes_where_the_table_says() {
        let dir = guard::scratch();
        let (one, two, three) =
            (volume(dir.path(), "1", 1), volume(dir.path(), "2", 2), volume(dir.path(), "3", 3));
        let volumes: [&Path; 3] = [&one, &two, &three];
        let disks =
            [gpt(&dir.path().join("gpt.img"), &volumes, 512), mbr(&dir.path().join("mbr.img"), &volumes)];
        for disk in disks {
            let bytes = fs::read(&disk.image).unwrap();
            for (fill, (start, sectors)) in (1..).zip(&disk.partitions) {
                let range = (start * 512) as usize..((start + sectors) * 512) as usize;
                assert!(bytes[range].iter().all(|byte| *byte == fill));
            }
            let dump = tools::run("sfdisk", ["--dump", disk.image.to_str().unwrap()]);
            for (start, sectors) in &disk.partitions {
                let found = dump
                    .lines()
                    .any(|line| line.replace(' ', "").contains(&format!("start={start},size={sectors},")));
                assert!(found, "{start} {sectors}\n{dump}");
            }
        }
    }

    #[test]
    fn the_parts_of_a_split_image_make_the_image() {
        let dir = guard::scratch();
        let image = dir.path().join("image");
        fs::write(&image, (0..5000).map(|n| n as u8).collect::<Vec<_>>()).unwrap();
        let first = split(&image, &dir.path().join("parts"), 1024, 1);
        assert_eq!(first, dir.path().join("parts.001"));
        let joined: Vec<u8> =
            (1..=5).flat_map(|n| fs::read(dir.path().join(format!("parts.{n:03}"))).unwrap()).collect();
        assert_eq!(joined, fs::read(image).unwrap());
    }
}
