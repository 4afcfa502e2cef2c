//! Conversion on writing, by which Windows 10 encrypts and decrypts: bitmaps that say chunk by chunk what is
//! encrypted.

use std::ops::Range;

use super::space::Space;

/// Size in bytes of the place of the information and of each bitmap's header and records, in clusters.
const PLACE: u64 = 0x1000;
/// Size in bytes of the log of each region.
const LOG: u64 = 0x8_0C00;
/// Bytes of headers.
const INFORMATION_HEADER: u16 = 0x38;
const BITMAP_HEADER: u16 = 0x3C;
const RECORD_HEADER: u16 = 0x24;

/// What is encrypted: whether the chunk of this number is, in the region of this number.
pub type Encrypted = fn(region: usize, chunk: u64) -> bool;

/// A part of the volume with a bitmap of its own.
#[derive(Debug, Clone)]
struct Region {
    bytes: Range<u64>,
    bitmap: u64,
    log: u64,
}

/// The structures of a conversion.
#[derive(Debug, Clone)]
pub(super) struct Conversion {
    /// Bytes of both copies of the information.
    pub(super) offsets: [u64; 2],
    sector: u64,
    chunk: u64,
    encrypted: Encrypted,
    regions: Vec<Region>,
}

impl Conversion {
    /// Finds space for them. `relocated` is a region of its own, all before it another one, and the rest is cut so
    /// that there are `regions` of them.
    pub(super) fn lay_out(
        space: &mut Space,
        size: u64,
        sector: u64,
        relocated: &Range<u64>,
        (regions, chunk, encrypted): (usize, u64, Encrypted),
    ) -> Self {
        assert!(regions >= 3 && chunk.is_multiple_of(sector), "{regions} regions, chunks of {chunk} bytes");
        let rest = regions as u64 - 2;
        let step = ((size - relocated.end) / rest).next_multiple_of(sector.max(0x1_0000));
        let cuts = (0..rest).map(|number| relocated.end + number * step);
        let starts: Vec<u64> = [super::boot::HEAD, relocated.start].into_iter().chain(cuts).collect();
        let ends = starts.iter().skip(1).copied().chain([size]);
        let place = PLACE.max(3 * sector);
        let mut take = |bytes| space.take(size / 2, bytes).start;
        let offsets = [take(PLACE), take(PLACE)];
        let regions = starts
            .iter()
            .zip(ends)
            .map(|(start, end)| Region { bytes: *start..end, bitmap: take(place), log: take(LOG) })
            .collect();
        Self { offsets, sector, chunk, encrypted, regions }
    }

    /// Bytes of all structures.
    pub(super) fn places(&self) -> Vec<Range<u64>> {
        let information = self.offsets.iter().map(|offset| *offset..offset + self.information_place());
        let regions = self.regions.iter().flat_map(|region| {
            [region.bitmap..region.bitmap + 3 * self.sector, region.log..region.log + self.log()]
        });
        information.chain(regions).collect()
    }

    /// Parts of the volume that are not encrypted.
    pub(super) fn plain(&self) -> Vec<Range<u64>> {
        let chunks = self.regions.iter().enumerate().flat_map(|(number, region)| {
            let starts = (region.bytes.start..region.bytes.end).step_by(self.chunk as usize);
            let plain = (0..).zip(starts).filter(move |(chunk, _)| !(self.encrypted)(number, *chunk));
            plain.map(|(_, start)| start..(start + self.chunk).min(region.bytes.end))
        });
        chunks.collect()
    }

    /// The bytes of all structures, and where they stand.
    pub(super) fn structures(&self) -> Vec<(u64, Vec<u8>)> {
        let information = self.information();
        let mut structures: Vec<_> =
            self.offsets.iter().map(|offset| (*offset, information.clone())).collect();
        for (number, region) in self.regions.iter().enumerate() {
            structures.push((region.bitmap, self.bitmap(number, region)));
            structures.push((region.log, b"OLRDHEVF".to_vec()));
        }
        structures
    }

    fn information_place(&self) -> u64 {
        self.information_size().next_multiple_of(self.sector)
    }

    fn information_size(&self) -> u64 {
        u64::from(INFORMATION_HEADER) + 8 * self.regions.len() as u64
    }

    fn log(&self) -> u64 {
        LOG.next_multiple_of(self.sector)
    }

    fn information(&self) -> Vec<u8> {
        let mut bytes = b"FVE-EOW\0".to_vec();
        bytes.extend(INFORMATION_HEADER.to_le_bytes());
        bytes.extend((self.information_size() as u16).to_le_bytes());
        for number in
            [self.sector, self.sector, self.chunk, self.log(), 0x4_0400, self.regions.len() as u64, 0]
        {
            bytes.extend((number as u32).to_le_bytes());
        }
        for offset in self.offsets.into_iter().chain(self.regions.iter().map(|region| region.bitmap)) {
            bytes.extend(offset.to_le_bytes());
        }
        put_crc(&mut bytes, 36);
        bytes
    }

    fn bitmap(&self, number: usize, region: &Region) -> Vec<u8> {
        let record = self.sector as u32;
        let mut bytes = b"FVE-EOWBM\0".to_vec();
        bytes.extend(BITMAP_HEADER.to_le_bytes());
        bytes.extend((3 * record).to_le_bytes());
        bytes.extend((number as u32).to_le_bytes());
        for offset in [region.bytes.start, region.bytes.end - region.bytes.start, region.log] {
            bytes.extend(offset.to_le_bytes());
        }
        for number in [record, 2 * record, record, 0] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.resize(record as usize, 0);
        put_crc(&mut bytes, 56);
        // The older record, here the first in every second region, says the opposite of the newer one.
        let sequence = if number.is_multiple_of(2) { [7, 6] } else { [6, 7] };
        for sequence in sequence {
            bytes.extend(self.record(number, region, sequence, sequence == 6));
        }
        bytes
    }

    fn record(&self, number: usize, region: &Region, sequence: u64, opposite: bool) -> Vec<u8> {
        let chunks = (region.bytes.end - region.bytes.start).div_ceil(self.chunk);
        assert!(chunks.next_multiple_of(32) / 8 + u64::from(RECORD_HEADER) <= self.sector, "{chunks} chunks");
        let mut bytes = b"FVE-EOWBR\0".to_vec();
        bytes.extend(RECORD_HEADER.to_le_bytes());
        for number in [self.sector as u32, chunks as u32] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(sequence.to_le_bytes());
        bytes.extend([2u32, 0].iter().flat_map(|number| number.to_le_bytes()));
        bytes.resize(self.sector as usize, 0);
        for chunk in 0..chunks.next_multiple_of(32) {
            // Bits behind the last chunk, up to a whole word, are set as Windows sets them.
            let is_set = chunk >= chunks || (self.encrypted)(number, chunk) != opposite;
            bytes[usize::from(RECORD_HEADER) + chunk as usize / 8] |= u8::from(is_set) << (chunk % 8);
        }
        put_crc(&mut bytes, 32);
        bytes
    }
}

/// Puts the CRC-32 of `bytes`, in which its own place is zero.
fn put_crc(bytes: &mut [u8], at: usize) {
    let crc = crc32fast::hash(bytes);
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}
