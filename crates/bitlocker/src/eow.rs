//! The record of a volume that is encrypted on write: which chunks are encrypted, kept while a conversion goes on.
//!
//! `FVE-EOW` names the regions of the volume; each region has an `FVE-EOWBM` with two copies of its bitmap
//! (`FVE-EOWBR`), of which the one with the higher sequence number counts. A set bit is an encrypted chunk. Since
//! Windows 10. Source: the public symbol names of fvevol.sys, compared with volumes that Windows made.

use std::{collections::BTreeSet, num::NonZeroU64, ops::Range};

use undelfs_source::{
    ReadAt,
    bytes::{array, u16_at, u32_at, u64_at},
};
use undelfs_volume::Error;

/// Most bytes of bitmaps that are read for a volume. With chunks of 8 MiB that is enough for 100 TiB.
const MAX_BITMAPS: usize = 16 << 20;
/// Most bytes of one region's structure.
const MAX_REGION: u32 = 4 << 20;
const MAX_REGIONS: usize = 4096;

/// Which parts of a volume are encrypted.
#[derive(Debug)]
pub(crate) struct Chunks {
    /// Size of a chunk in bytes.
    chunk: NonZeroU64,
    /// Ascending, not overlapping.
    regions: Vec<Region>,
    /// What the record itself takes of the volume, in bytes.
    pub(crate) taken: Vec<Range<u64>>,
}

#[derive(Debug)]
struct Region {
    range: Range<u64>,
    bits: Vec<u8>,
    count: u64,
}

fn wrong(structure: &'static str, at: u64, expected: &str, found: String) -> Error {
    let advice = "which parts of the volume are encrypted is not known for certain";
    Error::Structure { structure, at, expected: expected.to_owned(), found, advice }
}

/// CRC-32 of a structure, computed with its own field as zero.
fn crc_fits(bytes: &[u8], field: usize) -> bool {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytes.get(..field).unwrap_or_default());
    hasher.update(&[0; 4]);
    hasher.update(bytes.get(field.saturating_add(4)..).unwrap_or_default());
    u32_at(bytes, field) == Some(hasher.finalize())
}

impl Chunks {
    /// Reads the record at byte `at` of `volume`; `None` where there is none, as on a volume that is converted.
    ///
    /// # Errors
    /// When it is there and damaged.
    pub(crate) fn read(volume: &dyn ReadAt, at: u64) -> Result<Option<Self>, Error> {
        const NAME: &str = "FVE-EOW record";
        let mut bytes = vec![0; 1 << 16];
        volume.read_salvage(&mut bytes, at);
        if array(&bytes, 0).as_ref() != Some(b"FVE-EOW\0") {
            return Ok(None);
        }
        let cut = || wrong(NAME, at, "a whole record", "sizes that make no sense".to_owned());
        let header = usize::from(u16_at(&bytes, 8).ok_or_else(cut)?);
        let size = usize::from(u16_at(&bytes, 10).ok_or_else(cut)?);
        let body = bytes.get(..size).filter(|_| (56..=size).contains(&header)).ok_or_else(cut)?;
        if !crc_fits(body, 36) {
            return Err(wrong(NAME, at, "a fitting CRC-32", "another".to_owned()));
        }
        let chunk = u32_at(body, 20).filter(|chunk| *chunk >= 512);
        let chunk = chunk.and_then(|chunk| NonZeroU64::new(chunk.into())).ok_or_else(cut)?;
        let log = u64::from(u32_at(body, 24).ok_or_else(cut)?);
        let span = |start: u64, len: u64| start..start.saturating_add(len);
        let mut taken = vec![span(at, size as u64)];
        let mut regions = Vec::new();
        let mut left = MAX_BITMAPS;
        let places = body.get(header..).unwrap_or_default().as_chunks::<8>().0;
        let places: BTreeSet<u64> =
            places.iter().take(MAX_REGIONS).map(|place| u64::from_le_bytes(*place)).collect();
        for place in places {
            let (region, len, log_at) = Region::read(volume, place, &mut left)?;
            taken.extend([span(place, u64::from(len)), span(log_at, log)]);
            regions.push(region);
        }
        regions.sort_by_key(|region| region.range.start);
        if regions.is_sorted_by(|a, b| a.range.end <= b.range.start) {
            return Ok(Some(Self { chunk, regions, taken }));
        }
        Err(wrong(NAME, at, "regions that do not overlap", "some that do".to_owned()))
    }

    /// Whether the byte at `offset` is encrypted, and how many bytes on the same holds at least; `None` for
    /// the first outside of all regions.
    pub(crate) fn state(&self, offset: u64) -> (Option<bool>, u64) {
        /// Chunks that are looked ahead.
        const AHEAD: u64 = 1 << 12;
        let index = self.regions.partition_point(|region| region.range.end <= offset);
        let Some(region) = self.regions.get(index) else { return (None, u64::MAX) };
        if offset < region.range.start {
            return (None, region.range.start.saturating_sub(offset));
        }
        let within = offset.saturating_sub(region.range.start);
        let first = within / self.chunk;
        let bit = region.bit(first);
        let mut end = first.saturating_add(1);
        while end < region.count && end < first.saturating_add(AHEAD) && region.bit(end) == bit {
            end = end.saturating_add(1);
        }
        let until = match first < region.count {
            true => {
                end.saturating_mul(self.chunk.get()).saturating_add(region.range.start).min(region.range.end)
            }
            false => region.range.end,
        };
        (Some(bit), until.saturating_sub(offset))
    }

    /// Encrypted bytes, and bytes in all.
    pub(crate) fn extent(&self) -> (u64, u64) {
        let mut encrypted = 0u64;
        let mut all = 0u64;
        for region in &self.regions {
            let len = region.range.end.saturating_sub(region.range.start);
            let set = (0..region.count).filter(|chunk| region.bit(*chunk)).count() as u64;
            encrypted = encrypted.saturating_add(set.saturating_mul(self.chunk.get()).min(len));
            all = all.saturating_add(len);
        }
        (encrypted, all)
    }
}

impl Region {
    /// The region whose structure stands at `at`, the structure's size and the place of its conversion log.
    fn read(volume: &dyn ReadAt, at: u64, left: &mut usize) -> Result<(Self, u32, u64), Error> {
        const NAME: &str = "FVE-EOWBM bitmap";
        let cut = || wrong(NAME, at, "a whole bitmap", "sizes that make no sense".to_owned());
        let mut head = [0; 60];
        volume.read_exact_at(&mut head, at)?;
        if array(&head, 0).as_ref() != Some(b"FVE-EOWBM\0") {
            return Err(wrong(
                NAME,
                at,
                "the signature FVE-EOWBM",
                format!("the bytes {:02X?}", head.get(..10).unwrap_or_default()),
            ));
        }
        let size = u32_at(&head, 12).filter(|size| (60..=MAX_REGION).contains(size)).ok_or_else(cut)?;
        let (start, len) = (u64_at(&head, 20).ok_or_else(cut)?, u64_at(&head, 28).ok_or_else(cut)?);
        let log_at = u64_at(&head, 36).ok_or_else(cut)?;
        *left = left.checked_sub(size as usize).ok_or_else(cut)?;
        let mut bytes = vec![0; size as usize];
        volume.read_salvage(&mut bytes, at);
        let first = u32_at(&bytes, 44).and_then(|first| usize::try_from(first).ok());
        if !first.and_then(|first| bytes.get(..first)).is_some_and(|head| crc_fits(head, 56)) {
            return Err(wrong(NAME, at, "a fitting CRC-32", "another".to_owned()));
        }
        let copies = [44, 48].into_iter().filter_map(|field| {
            let from = usize::try_from(u32_at(&bytes, field)?).ok()?;
            Copy::parse(bytes.get(from..)?)
        });
        let newest = copies.max_by_key(|copy| copy.sequence);
        let Some(copy) = newest else {
            return Err(wrong(NAME, at, "a copy of the bitmap with a fitting CRC-32", "none".to_owned()));
        };
        let range = start..start.saturating_add(len);
        Ok((Self { range, bits: copy.bits.to_vec(), count: copy.count }, size, log_at))
    }

    /// Whether chunk `index` is encrypted. What the bitmap does not reach is not.
    fn bit(&self, index: u64) -> bool {
        let byte = usize::try_from(index / 8).ok().and_then(|byte| self.bits.get(byte));
        index < self.count && byte.is_some_and(|byte| byte & (1 << (index % 8)) != 0)
    }
}

/// One of the two copies of a region's bitmap.
struct Copy<'a> {
    sequence: u64,
    count: u64,
    bits: &'a [u8],
}

impl<'a> Copy<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        if &array::<10>(bytes, 0)? != b"FVE-EOWBR\0" {
            return None;
        }
        let header = usize::from(u16_at(bytes, 10)?);
        let body = bytes.get(..usize::try_from(u32_at(bytes, 12)?).ok()?)?;
        let bits = body.get(header..).filter(|_| header >= 36 && crc_fits(body, 32))?;
        let count = u64::from(u32_at(bytes, 16)?).min((bits.len() as u64).saturating_mul(8));
        Some(Self { sequence: u64_at(bytes, 20)?, count, bits })
    }
}

#[cfg(test)]
pub(crate) mod samples {
    //! Records made field by field.

    fn seal(bytes: &mut [u8], field: usize) {
        let crc = crc32fast::hash(bytes);
        bytes[field..field + 4].copy_from_slice(&crc.to_le_bytes());
    }

    fn copy(sequence: u64, count: u32, bits: &[u8]) -> Vec<u8> {
        let mut bytes = b"FVE-EOWBR\0".to_vec();
        bytes.extend(36u16.to_le_bytes());
        bytes.extend(512u32.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(sequence.to_le_bytes());
        bytes.extend(0u64.to_le_bytes());
        bytes.extend(bits);
        bytes.resize(512, 0xFF);
        seal(&mut bytes, 32);
        bytes
    }

    /// The structure of one region: `copies` are sequence number and bits of each copy.
    pub(crate) fn region(start: u64, len: u64, count: u32, copies: [(u64, &[u8]); 2]) -> Vec<u8> {
        let mut bytes = b"FVE-EOWBM\0".to_vec();
        bytes.extend(60u16.to_le_bytes());
        bytes.extend(0x600u32.to_le_bytes());
        bytes.extend(0u32.to_le_bytes());
        for field in [start, len, 0x70000] {
            bytes.extend(field.to_le_bytes());
        }
        for field in [512u32, 1024, 512, 0] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.resize(512, 0);
        seal(&mut bytes, 56);
        for (sequence, bits) in copies {
            bytes.extend(copy(sequence, count, bits));
        }
        bytes
    }

    pub(crate) fn record(chunk: u32, regions: &[u64]) -> Vec<u8> {
        let mut bytes = b"FVE-EOW\0".to_vec();
        let size = u16::try_from(56 + regions.len() * 8).unwrap();
        bytes.extend([56, size].map(u16::to_le_bytes).concat());
        for field in [512, 512, chunk, 0x1000, 0, u32::try_from(regions.len()).unwrap(), 0] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend([0; 16]);
        for region in regions {
            bytes.extend(region.to_le_bytes());
        }
        seal(&mut bytes, 36);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{samples::*, *};

    fn volume() -> Vec<u8> {
        let mut disk = vec![0; 0x40000];
        let mut put = |at: usize, bytes: Vec<u8>| disk[at..at + bytes.len()].copy_from_slice(&bytes);
        put(0x1000, record(0x1000, &[0x2000, 0x3000]));
        put(0x2000, region(0x20000, 0x4800, 5, [(7, &[0b01100]), (6, &[0b11111])]));
        put(0x3000, region(0x10000, 0x2000, 2, [(1, &[0]), (2, &[0b11])]));
        disk
    }

    #[test]
    fn each_chunk_is_as_the_newest_copy_of_its_bitmap_says() {
        let chunks = Chunks::read(&volume(), 0x1000).unwrap().unwrap();
        assert_eq!(chunks.state(0), (None, 0x10000));
        assert_eq!(chunks.state(0x10800), (Some(true), 0x1800));
        assert_eq!(chunks.state(0x12000), (None, 0xE000));
        assert_eq!(chunks.state(0x20000), (Some(false), 0x2000));
        assert_eq!(chunks.state(0x22001), (Some(true), 0x1FFF));
        assert_eq!(chunks.state(0x24000), (Some(false), 0x800));
        assert_eq!(chunks.state(0x24800), (None, u64::MAX));
        assert_eq!(chunks.extent(), (0x4000, 0x6800));
        assert!(chunks.taken.contains(&(0x2000..0x2600)) && chunks.taken.contains(&(0x70000..0x71000)));
    }

    #[test]
    fn without_the_newest_copy_the_other_counts_and_without_both_it_is_an_error() {
        let mut disk = volume();
        disk[0x2000 + 512 + 40] ^= 1;
        let chunks = Chunks::read(&disk, 0x1000).unwrap().unwrap();
        assert_eq!(chunks.state(0x20000), (Some(true), 0x4800));
        disk[0x2000 + 1024 + 40] ^= 1;
        let text = Chunks::read(&disk, 0x1000).unwrap_err().to_string();
        assert!(text.starts_with("FVE-EOWBM bitmap at byte 8192: expected a copy"), "{text}");
    }

    #[test]
    fn a_converted_volume_has_no_record() {
        assert!(Chunks::read(&vec![0u8; 4096], 0).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn damaged_records_never_panic(changes in prop::collection::vec((0usize..0x4000, any::<u8>()), 1..40), at in any::<u64>()) {
            let mut disk = volume();
            for (place, byte) in changes {
                disk[place] = byte;
            }
            // The checksum of the record would hide the rest.
            disk[0x1000 + 36..0x1000 + 40].fill(0);
            let crc = crc32fast::hash(&disk[0x1000..0x1000 + 72]);
            disk[0x1000 + 36..0x1000 + 40].copy_from_slice(&crc.to_le_bytes());
            if let Ok(Some(chunks)) = Chunks::read(&disk, 0x1000) {
                prop_assert!(chunks.state(at).1 > 0);
                chunks.extent();
            }
        }
    }
}
