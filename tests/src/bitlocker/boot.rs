//! Boot sectors of BitLocker volumes.

use std::{fs, os::unix::fs::FileExt, path::Path};

use super::{datum::Guid, metadata::SIGNATURE, space::number};
use crate::{guard, tools};

/// Marks the offsets of the metadata blocks.
const RECOGNITION: Guid =
    Guid::of(0x4967_D63B, 0x2E29, 0x4AD8, [0x83, 0x99, 0xF6, 0xA3, 0x39, 0xE3, 0xD0, 0x01]);
/// Marks them on volumes that are converted on writing; the offsets of the conversion's own structures follow.
const RECOGNITION_OF_CONVERSION: Guid =
    Guid::of(0x92A8_4D3B, 0xDD80, 0x4D0E, [0x9E, 0x4E, 0xB1, 0xE3, 0x28, 0x4E, 0xAE, 0xD8]);
/// Byte of the mark in the boot sector of a fixed disk.
const MARK: usize = 160;
/// Byte of the mark in the boot sector of BitLocker To Go.
const MARK_TO_GO: usize = 424;
/// Byte of the `$MFT` mirror's cluster in an NTFS boot sector.
const MIRROR: usize = 0x38;

/// Size in bytes of the head of a volume that is not of BitLocker To Go, which is relocated.
pub(super) const HEAD: u64 = 0x2000;

/// Where a boot sector points.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pointers {
    pub(super) metadata: [u64; 3],
    pub(super) conversion: Option<[u64; 2]>,
}

impl Pointers {
    fn put(self, boot: &mut [u8], at: usize) {
        let mark = if self.conversion.is_some() { RECOGNITION_OF_CONVERSION } else { RECOGNITION };
        boot[at..at + 16].copy_from_slice(&mark.0);
        let offsets = self.metadata.into_iter().chain(self.conversion.into_iter().flatten());
        for (place, offset) in boot[at + 16..].chunks_exact_mut(8).zip(offsets) {
            place.copy_from_slice(&offset.to_le_bytes());
        }
    }
}

/// Since Windows 7, on fixed disks: looks like FAT32, and has what a boot loader needs.
pub(super) fn fixed(plain: &[u8], sector: u32, pointers: Pointers) -> Vec<u8> {
    let mut boot = vec![0; 512];
    boot[..3].copy_from_slice(&[0xEB, 0x58, 0x90]);
    boot[3..11].copy_from_slice(SIGNATURE);
    boot[11..13].copy_from_slice(&(sector as u16).to_le_bytes());
    boot[13] = plain[13].max(1);
    boot[21] = 0xF8;
    boot[24..32].copy_from_slice(&plain[24..32]);
    boot[36..38].copy_from_slice(&0x1FE0u16.to_le_bytes());
    boot[48..52].copy_from_slice(&[1, 0, 6, 0]);
    boot[64] = 0x80;
    boot[66] = 0x29;
    boot[71..90].copy_from_slice(b"NO NAME    FAT32   ");
    // cli; hlt; and again.
    boot[90..94].copy_from_slice(&[0xFA, 0xF4, 0xEB, 0xFD]);
    pointers.put(&mut boot, MARK);
    boot[510..].copy_from_slice(&[0x55, 0xAA]);
    boot
}

/// The plain volume's own, with another name and the first metadata block where the `$MFT`'s mirror was. Returns the
/// mirror's cluster too.
pub(super) fn vista(plain: &[u8], metadata: u64, cluster: u64) -> (Vec<u8>, u64) {
    assert!(&plain[3..7] == b"NTFS", "Windows Vista encrypts NTFS only");
    let mirror = number(plain, MIRROR, 8);
    let mut boot = plain[..512].to_vec();
    boot[3..11].copy_from_slice(SIGNATURE);
    boot[MIRROR..MIRROR + 8].copy_from_slice(&(metadata / cluster).to_le_bytes());
    (boot, mirror)
}

/// The discovery volume of BitLocker To Go: an empty FAT32 over a volume of `size` bytes, as far as it is in use.
pub(super) fn to_go(size: u64, sector: u32, cluster: u64) -> Vec<u8> {
    let dir = guard::scratch();
    let path = dir.path().join("discovery");
    fs::File::create(&path).and_then(|file| file.set_len(size)).expect("the discovery volume");
    let sector_size = sector.to_string();
    tools::succeed(
        tools::tool("mkfs.vfat").args(["-F", "32", "-f", "1", "-s", "1", "-S", &sector_size]).arg(&path),
    );
    discovery(&path, sector, cluster)
}

fn discovery(path: &Path, sector: u32, cluster: u64) -> Vec<u8> {
    /// Room for files of the discovery volume.
    const FILES: u64 = 0x1_0000;
    let file = fs::File::open(path).expect("the discovery volume");
    let mut boot = vec![0; 512];
    file.read_exact_at(&mut boot, 0).expect("its boot sector");
    let used = (number(&boot, 14, 2) + number(&boot, 36, 4)) * u64::from(sector) + FILES;
    let mut head = vec![0; used.next_multiple_of(cluster.max(u64::from(sector))) as usize];
    file.read_exact_at(&mut head, 0).expect("its head");
    head
}

/// Makes the boot sector of a discovery volume that of BitLocker To Go.
pub(super) fn mark_to_go(head: &mut [u8], pointers: Pointers) {
    head[3..11].copy_from_slice(b"MSWIN4.1");
    head[90..510].fill(0);
    head[90..94].copy_from_slice(&[0xFA, 0xF4, 0xEB, 0xFD]);
    pointers.put(head, MARK_TO_GO);
}
