//! Free space of a plain volume, in which BitLocker's own structures find a place.

use std::{fs, ops::Range, os::unix::fs::FileExt, path::Path};

use crate::tools;

/// Cluster size that is assumed where no file system is recognised.
const UNKNOWN_CLUSTER: u64 = 4096;

/// The clusters of a volume that no file uses.
#[derive(Debug)]
pub(super) struct Space {
    /// Size of a cluster in bytes.
    pub(super) cluster: u64,
    /// Bytes of free clusters, in order.
    pub(super) free: Vec<Range<u64>>,
    /// Those of them that hold nothing but zeros.
    blank: Vec<Range<u64>>,
}

impl Space {
    /// Of an NTFS or FAT volume; of any other, whatever is zero.
    pub(super) fn of(plain: &Path) -> Self {
        let image = fs::File::open(plain).expect("the plain volume");
        let size = image.metadata().expect("its size").len();
        let mut boot = [0; 512];
        image.read_exact_at(&mut boot, 0).expect("its boot sector");
        let (cluster, free) = if &boot[3..7] == b"NTFS" {
            ntfs(plain, &boot)
        } else if boot[510..] == [0x55, 0xAA] && number(&boot, 14, 2) > 0 {
            fat(&image, &boot)
        } else {
            let whole = UNKNOWN_CLUSTER * 16..size / UNKNOWN_CLUSTER * UNKNOWN_CLUSTER;
            let free = blank(&image, UNKNOWN_CLUSTER, std::slice::from_ref(&whole));
            (UNKNOWN_CLUSTER, free)
        };
        let blank = blank(&image, cluster, &free);
        Self { cluster, free, blank }
    }

    /// Takes `len` bytes of whole clusters away, the first that are free at byte `near` or after it, else the first
    /// of all. Space that holds remains of deleted files is taken only where nothing else is left.
    ///
    /// # Panics
    /// When there is no such space.
    pub(super) fn take(&mut self, near: u64, len: u64) -> Range<u64> {
        let len = len.next_multiple_of(self.cluster);
        let find = |ranges, near| find(ranges, near, len, self.cluster);
        let found = find(&self.blank, near)
            .or_else(|| find(&self.blank, 0))
            .or_else(|| find(&self.free, near))
            .or_else(|| find(&self.free, 0));
        let start = found.unwrap_or_else(|| panic!("no {len} bytes are free in one piece"));
        self.blank = without(&self.blank, &(start..start + len));
        self.free = without(&self.free, &(start..start + len));
        start..start + len
    }
}

fn find(ranges: &[Range<u64>], near: u64, len: u64, cluster: u64) -> Option<u64> {
    let mut candidates = ranges.iter().filter(|range| range.end > near).map(|range| {
        let offset = near.saturating_sub(range.start).next_multiple_of(cluster);
        (range.start + offset, range)
    });
    candidates.find(|(start, range)| start + len <= range.end).map(|(start, _)| start)
}

/// `ranges` less what `hole` covers.
pub(super) fn without(ranges: &[Range<u64>], hole: &Range<u64>) -> Vec<Range<u64>> {
    ranges
        .iter()
        .flat_map(|range| {
            let before = range.start..range.end.min(hole.start);
            let after = range.start.max(hole.end)..range.end;
            [before, after]
        })
        .filter(|range| range.start < range.end)
        .collect()
}

/// Those clusters of `ranges` that hold nothing but zeros.
fn blank(image: &fs::File, cluster: u64, ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut bytes = vec![0; cluster as usize];
    let clusters = ranges.iter().flat_map(|range| (range.start..range.end).step_by(cluster as usize));
    merge(
        clusters.filter(|start| image.read_exact_at(&mut bytes, *start).is_ok() && is_zero(&bytes)),
        cluster,
    )
}

/// True when all `bytes` are zero.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn merge(starts: impl Iterator<Item = u64>, len: u64) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for start in starts {
        match ranges.last_mut() {
            Some(last) if last.end == start => last.end += len,
            _ => ranges.push(start..start + len),
        }
    }
    ranges
}

/// Sectors per cluster; from 0x81 on the negated power of two.
fn cluster_of(boot: &[u8]) -> u64 {
    let sectors = match boot[13] {
        power @ 0x81.. => 1 << (256 - u32::from(power)),
        sectors => u64::from(sectors),
    };
    sectors * number(boot, 11, 2)
}

fn ntfs(plain: &Path, boot: &[u8]) -> (u64, Vec<Range<u64>>) {
    const BITMAP: &str = "6";
    let cluster = cluster_of(boot);
    let clusters = number(boot, 40, 8) * number(boot, 11, 2) / cluster;
    let bitmap =
        tools::succeed(tools::tool("ntfscat").args(["--force", "--inode", BITMAP]).arg(plain)).stdout;
    let is_free = |lcn: &u64| bitmap[(lcn / 8) as usize] >> (lcn % 8) & 1 == 0;
    (cluster, merge((0..clusters).filter(is_free).map(|lcn| lcn * cluster), cluster))
}

fn fat(image: &fs::File, boot: &[u8]) -> (u64, Vec<Range<u64>>) {
    let (sector, cluster) = (number(boot, 11, 2), cluster_of(boot));
    let either = |at: usize, long: usize| match number(boot, at, 2) {
        0 => number(boot, long, 4),
        number => number,
    };
    let (fat_size, sectors) = (either(22, 36) * sector, either(19, 32));
    let fat_start = number(boot, 14, 2) * sector;
    let root = (number(boot, 17, 2) * 32).next_multiple_of(sector);
    let data = fat_start + number(boot, 16, 1) * fat_size + root;
    let clusters = (sectors * sector - data) / cluster;
    let mut fat = vec![0; fat_size as usize + 1];
    image.read_exact_at(&mut fat[..fat_size as usize], fat_start).expect("the FAT");
    let is_free = |cluster: &u64| {
        let at = *cluster as usize;
        let entry = match clusters {
            ..4085 => number(&fat, at + at / 2, 2) >> (at % 2 * 4) & 0xFFF,
            4085..65525 => number(&fat, at * 2, 2),
            _ => number(&fat, at * 4, 4) & 0x0FFF_FFFF,
        };
        entry == 0
    };
    let starts = (2..clusters + 2).filter(is_free).map(|number| data + (number - 2) * cluster);
    (cluster, merge(starts, cluster))
}

/// A list of one range.
pub(super) fn one(range: Range<u64>) -> Vec<Range<u64>> {
    std::iter::once(range).collect()
}

/// The number in `len` bytes at `at`.
pub(super) fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard;

    fn free_bytes(space: &Space) -> u64 {
        space.free.iter().map(|range| range.end - range.start).sum()
    }

    #[test]
    fn a_fat_volume_of_every_width_has_all_but_its_root_free() {
        let dir = guard::scratch();
        for (bits, size) in [("12", 1u64 << 20), ("16", 32 << 20), ("32", 64 << 20)] {
            let image = dir.path().join(bits);
            fs::File::create(&image).unwrap().set_len(size).unwrap();
            tools::run("mkfs.vfat", ["-F", bits, "-s", "1", image.to_str().unwrap()]);
            let free = free_bytes(&Space::of(&image));
            let data = fs::read(&image).unwrap();
            let fat = if bits == "32" { number(&data, 36, 4) } else { number(&data, 22, 2) };
            let metadata = (number(&data, 14, 2) + 2 * fat) * 512 + number(&data, 17, 2) * 32;
            let root = u64::from(bits == "32") * 512;
            assert!(size - free - metadata - root < 512, "FAT{bits}: {free} of {size}, {metadata}");
        }
    }

    #[test]
    fn what_was_taken_is_not_taken_again_and_remains_of_files_are_taken_last() {
        let (free, blank) = (one(0..40_960), one(8192..16_384));
        let mut space = Space { cluster: 4096, free, blank };
        assert_eq!(space.take(0, 5000), 8192..16_384);
        assert_eq!(space.take(17_000, 4096), 20_480..24_576);
        assert_eq!(space.free, [0..8192, 16_384..20_480, 24_576..40_960]);
    }
}
