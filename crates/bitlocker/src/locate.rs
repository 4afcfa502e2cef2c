//! Finding the metadata blocks of a volume: by its boot sector, else by searching for their signature.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use memchr::memmem;
use undelfs_source::{
    ReadAt,
    bytes::{array, u16_at, u64_at},
};
use undelfs_volume::{Error, filesystem::Watch};

use crate::{
    bitlocker::TAIL,
    information::{BLOCK, Information, SIGNATURE, State},
};

/// Identifies a boot sector with the offsets of the metadata blocks: 4967D63B-2E29-4AD8-8399-F6A339E3D001.
const BLOCKS: [u8; 16] =
    [0x3B, 0xD6, 0x67, 0x49, 0x29, 0x2E, 0xD8, 0x4A, 0x83, 0x99, 0xF6, 0xA3, 0x39, 0xE3, 0xD0, 0x01];
/// The same with two further offsets, of the record of what is encrypted on write: 92A84D3B-DD80-4D0E-9E4E-B1E3284EAED8.
const BLOCKS_AND_RECORDS: [u8; 16] =
    [0x3B, 0x4D, 0xA8, 0x92, 0x80, 0xDD, 0x0E, 0x4D, 0x9E, 0x4E, 0xB1, 0xE3, 0x28, 0x4E, 0xAE, 0xD8];

/// How much is read at once in a search.
const PIECE: usize = 1 << 20;
/// Metadata blocks begin at sectors.
const STEP: u64 = 512;
/// Most sound blocks that a search collects: those of several generations of a volume.
const MAX_FOUND: usize = 64;

/// What the boot sector of a BitLocker volume says.
#[derive(Debug, Default)]
pub(crate) struct Boot {
    /// Size of a sector in bytes, where it makes sense.
    pub(crate) sector_size: Option<u32>,
    /// Size of a cluster in bytes, where it makes sense.
    pub(crate) cluster: Option<u32>,
    /// Where metadata blocks stand, in bytes.
    pub(crate) blocks: Vec<u64>,
    /// Where records of what is encrypted on write stand, in bytes.
    pub(crate) records: Vec<u64>,
    /// On a volume of Windows Vista, whose boot sector is plain: where `$MFT` and `$MFTMirr` begin as it states, the
    /// one in bytes, the other the cluster number that BitLocker has put in its place.
    pub(crate) vista: Option<(u64, u64)>,
}

impl Boot {
    /// Reads `sector`, the first 512 bytes of a volume.
    pub(crate) fn parse(sector: &[u8]) -> Self {
        let sector_size = u16_at(sector, 11)
            .map(u32::from)
            .filter(|size| size.is_power_of_two() && (512..=4096).contains(size));
        let cluster = array::<1>(sector, 13)
            .map(|[sectors]| u32::from(sectors))
            .filter(|sectors| sectors.is_power_of_two())
            .and_then(|sectors| sectors.checked_mul(sector_size?));
        let mut boot = Self { sector_size, cluster, ..Self::default() };
        let offsets = |at: usize, count: usize| -> Vec<u64> {
            let all = (0..count).filter_map(|n| u64_at(sector, at.checked_add(n.checked_mul(8)?)?));
            all.filter(|offset| *offset > 0).collect()
        };
        if let Some(at) = memmem::find(sector, &BLOCKS_AND_RECORDS) {
            boot.blocks = offsets(at.saturating_add(16), 3);
            boot.records = offsets(at.saturating_add(40), 2);
        } else if let Some(at) = memmem::find(sector, &BLOCKS) {
            boot.blocks = offsets(at.saturating_add(16), 3);
        } else if array::<8>(sector, 3).as_ref() == Some(SIGNATURE) {
            // Windows Vista has the cluster of the first block where NTFS has that of $MFTMirr.
            let lcn = u64_at(sector, 0x38).filter(|lcn| *lcn > 0);
            boot.blocks.extend(lcn.and_then(|lcn| lcn.checked_mul(u64::from(cluster?))));
            let mft = u64_at(sector, 0x30).and_then(|lcn| lcn.checked_mul(u64::from(cluster?)));
            boot.vista = mft.zip(lcn).filter(|(mft, _)| *mft > 0);
        }
        boot
    }
}

/// The sound blocks among those at `offsets`, and why the others are not.
pub(crate) fn read_blocks(volume: &dyn ReadAt, offsets: &[u64]) -> (Vec<(u64, Information)>, Vec<Error>) {
    let mut sound: Vec<(u64, Information)> = Vec::new();
    let mut errors = Vec::new();
    for &at in offsets {
        if sound.iter().any(|(known, _)| *known == at) {
            continue;
        }
        match Information::read(volume, at) {
            Ok(block) => sound.push((at, block)),
            Err(error) => errors.push(error),
        }
    }
    (sound, errors)
}

/// Searches the first `limit` bytes of `source` for sound metadata blocks, until it has all three of a volume. `None`
/// when `watch` cancelled it.
pub(crate) fn search(source: &dyn ReadAt, limit: u64, watch: &dyn Watch) -> Option<Vec<(u64, Information)>> {
    let end = source.present().min(limit);
    let mut found = Vec::new();
    let mut piece = vec![0; PIECE];
    let finder = memmem::Finder::new(SIGNATURE);
    let mut at = 0;
    watch.total(end);
    while at < end && found.len() < MAX_FOUND {
        if watch.cancelled() {
            return None;
        }
        let len = usize::try_from(end.saturating_sub(at)).unwrap_or(PIECE).min(PIECE);
        let bytes = piece.get_mut(..len).unwrap_or_default();
        source.read_salvage(bytes, at);
        for hit in finder.find_iter(bytes) {
            let block = at.saturating_add(hit as u64);
            // A boot sector has the signature at its third byte.
            if block % STEP == 0
                && found.len() < MAX_FOUND
                && let Ok(information) = Information::read(source, block)
            {
                found.push((block, information));
            }
        }
        if starts(&found).first().is_some_and(|(_, copies)| *copies >= 3) {
            break;
        }
        // The signature stands at the begin of a sector, so it never lies across two pieces.
        at = at.saturating_add(len as u64);
        watch.advance(len as u64);
    }
    Some(found)
}

/// Where the volumes may begin that blocks belong to, and how many blocks agree, most first: a block knows the
/// places of all copies in the volume, but not which copy it is.
pub(crate) fn starts(found: &[(u64, Information)]) -> Vec<(u64, usize)> {
    let mut starts: HashMap<u64, usize> = HashMap::new();
    for (at, block) in found {
        let places: BTreeSet<u64> = block.blocks.iter().filter_map(|place| at.checked_sub(*place)).collect();
        for start in places {
            let copies = starts.entry(start).or_default();
            *copies = copies.saturating_add(1);
        }
    }
    let mut starts: Vec<(u64, usize)> = starts.into_iter().collect();
    // Without another copy a block is taken for the first one, which stands nearest to the volume's start.
    starts.sort_by_key(|(start, copies)| (std::cmp::Reverse(*copies), std::cmp::Reverse(*start)));
    starts
}

/// Where a volume is, as its metadata blocks tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located {
    /// First byte.
    pub start: u64,
    /// Length in bytes, up to 1 MiB too long; `None` where the blocks do not tell it.
    pub len: Option<u64>,
    /// How many sound blocks it has.
    pub blocks: usize,
}

/// The volumes of the sound ones among the blocks at `places` of `source`, by their start.
pub(crate) fn volumes(source: &dyn ReadAt, places: &[u64]) -> Vec<Located> {
    // Of a block no more is kept than this: there may be very many.
    let sound: Vec<(Vec<u64>, Option<u64>)> = places
        .iter()
        .filter_map(|at| {
            let block = Information::read(source, *at).ok()?;
            let starts: BTreeSet<u64> =
                block.blocks.iter().filter_map(|place| at.checked_sub(*place)).collect();
            let end = block.blocks.iter().max()?.saturating_add(BLOCK as u64);
            // A volume that is encrypted to its end is encrypted as far as the border, but for its tail.
            let whole = block.state == State::Encrypted && block.border >= end;
            let len = block.border.checked_next_multiple_of(TAIL).filter(|_| whole);
            Some((starts.into_iter().collect(), len))
        })
        .collect();
    let mut votes: HashMap<u64, usize> = HashMap::new();
    for start in sound.iter().flat_map(|(starts, _)| starts) {
        let copies = votes.entry(*start).or_default();
        *copies = copies.saturating_add(1);
    }
    let mut volumes: BTreeMap<u64, Located> = BTreeMap::new();
    for (starts, len) in &sound {
        // Without another copy a block is taken for the first one, which stands nearest to the volume's start.
        let best = starts.iter().max_by_key(|start| (votes.get(start).copied().unwrap_or(0), **start));
        let Some(&start) = best else { continue };
        let volume = volumes.entry(start).or_insert(Located { start, len: None, blocks: 0 });
        volume.blocks = volume.blocks.saturating_add(1);
        volume.len = volume.len.max(*len);
    }
    volumes.into_values().collect()
}

/// Size in bytes that a metadata block takes on a volume.
pub(crate) fn block_len(version: u16, sector_size: u32, cluster: u32) -> u64 {
    if version == 1 {
        let cluster = u64::from(cluster.max(1));
        return crate::information::VISTA_BLOCK.div_ceil(cluster).saturating_mul(cluster);
    }
    (BLOCK as u64).max(u64::from(sector_size))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::information::samples::Sample;

    #[test]
    fn each_kind_of_boot_sector_names_its_blocks() {
        let mut sector = vec![0; 512];
        sector[3..11].copy_from_slice(SIGNATURE);
        sector[11..14].copy_from_slice(&[0, 2, 8]);
        sector[0x38..0x40].copy_from_slice(&5u64.to_le_bytes());
        assert_eq!(Boot::parse(&sector).blocks, [5 * 4096]);
        sector[160..176].copy_from_slice(&BLOCKS);
        for (n, offset) in [0x2195000u64, 0, 0x373A000, 7, 8].into_iter().enumerate() {
            sector[176 + n * 8..184 + n * 8].copy_from_slice(&offset.to_le_bytes());
        }
        let boot = Boot::parse(&sector);
        assert_eq!((boot.blocks, boot.records), (vec![0x2195000, 0x373A000], vec![]));
        sector[160..176].copy_from_slice(&BLOCKS_AND_RECORDS);
        let boot = Boot::parse(&sector);
        assert_eq!((boot.blocks.len(), boot.records), (2, vec![7, 8]));
        assert_eq!((boot.sector_size, boot.cluster), (Some(512), Some(4096)));
    }

    #[test]
    fn a_search_finds_sound_blocks_and_the_start_of_their_volume() {
        let start = 0x5000;
        let mut disk = vec![0; 0x120000];
        let block = Sample::default().bytes();
        for place in [0x10000, 0x80000] {
            disk[start + place..][..block.len()].copy_from_slice(&block);
        }
        disk[0x90003..0x9000B].copy_from_slice(SIGNATURE);
        let found = search(&disk, u64::MAX, &()).unwrap();
        let places: Vec<u64> = found.iter().map(|(at, _)| *at).collect();
        assert_eq!(places, [0x15000, 0x85000]);
        assert_eq!(starts(&found)[0], (start as u64, 2));
        assert!(search(&disk, 0x15000, &()).unwrap().is_empty());
    }

    #[test]
    fn blocks_all_over_a_disk_are_put_together_to_their_volumes() {
        let mut disk = vec![0; 0x400000];
        let block = Sample::default().bytes();
        let places = Information::parse(&block, 0).unwrap().blocks.map(|place| place as usize);
        let mut hits = Vec::new();
        for (start, copies) in [(0x5000, &places[..]), (0x200200, &places[..2])] {
            for place in copies {
                disk[start + place..][..block.len()].copy_from_slice(&block);
                hits.push((start + place) as u64);
            }
        }
        hits.sort_unstable();
        hits.push(0x300000);
        let found: Vec<_> = volumes(&disk, &hits).iter().map(|found| (found.start, found.blocks)).collect();
        assert_eq!(found, [(0x5000, 3), (0x200200, 2)]);
    }

    proptest! {
        #[test]
        fn any_boot_sector_is_read_without_panic(sector in prop::collection::vec(any::<u8>(), 0..600)) {
            prop_assert!(Boot::parse(&sector).blocks.len() <= 3);
        }
    }
}
