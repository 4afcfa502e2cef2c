//! Which sectors a search keeps.

use undelfs_source::bytes::{u16_at, u64_at};

use super::{HitKind, mft};
use crate::boot_sector::recognise;

const FVE: u64 = u64::from_le_bytes(*b"-FVE-FS-");
/// The names at byte 3 of boot sectors that are told by them.
const NAMES: [u64; 5] = [
    u64::from_le_bytes(*b"NTFS    "),
    u64::from_le_bytes(*b"EXFAT   "),
    FVE,
    u64::from_le_bytes(*b"ReFS\0\0\0\0"),
    // BitLocker To Go, among others.
    u64::from_le_bytes(*b"MSWIN4.1"),
];

/// What `sector`, 512 bytes, looks like; `None` for nearly every sector, after a look at its first bytes.
pub(super) fn sieve(sector: &[u8]) -> Option<HitKind> {
    let head = u64_at(sector, 0)?;
    // All that is searched for has something in its first eight bytes.
    if head == 0 {
        return None;
    }
    if head == FVE {
        return Some(HitKind::FveBlock);
    }
    let [first, second, third, fourth, ..] = head.to_le_bytes();
    if [first, second, third, fourth] == *mft::MAGIC {
        return mft::is_first_record(sector).then_some(HitKind::MftRecord);
    }
    let named = NAMES.contains(&u64_at(sector, 3)?);
    let jumps = || matches!(first, 0xEB | 0xE9) && u16_at(sector, 510) == Some(0xAA55);
    (named || jumps()).then(|| recognise(sector)).flatten().map(|_| HitKind::BootSector)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::boot_sector::samples;

    #[test]
    fn what_is_recognised_as_a_boot_sector_is_kept_and_nothing_else() {
        let kept = [
            samples::ntfs(512, 8, 9_999),
            samples::fat16(40_000),
            samples::fat32(200_000),
            samples::exfat(70_000),
            samples::refs(70_000),
            samples::bitlocker(),
            samples::bitlocker_to_go(200_000),
        ];
        for sector in kept {
            assert_eq!(sieve(&sector), Some(HitKind::BootSector));
        }
        let mut block = vec![0; 512];
        block[..8].copy_from_slice(b"-FVE-FS-");
        assert_eq!(sieve(&block), Some(HitKind::FveBlock));
        assert_eq!(sieve(&[0; 512]), None);
        assert_eq!(sieve(&[0xEB; 512]), None);
        assert_eq!(sieve(b"FILE"), None);
    }

    proptest! {
        #[test]
        fn the_short_look_misses_no_boot_sector(
            mut sector in prop::collection::vec(any::<u8>(), 512),
            from in prop::sample::select(vec![0usize, 3, 11, 40]),
            sample in 0usize..7,
        ) {
            let samples = [
                samples::ntfs(512, 8, 9_999), samples::fat16(40_000), samples::fat32(200_000),
                samples::exfat(70_000), samples::refs(70_000), samples::bitlocker(),
                samples::bitlocker_to_go(200_000),
            ];
            sector[from..].copy_from_slice(&samples[sample][from..]);
            let kept = sieve(&sector);
            if recognise(&sector).is_some() {
                prop_assert_eq!(kept, Some(HitKind::BootSector));
            }
        }
    }
}
