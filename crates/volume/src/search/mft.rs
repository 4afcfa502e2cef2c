//! The few records of a `$MFT` that say where its volume is: `$MFT` itself, `$MFTMirr` and `$BadClus`.
//!
//! The NTFS crate reads records whole; here only so much is read as tells a volume's place and length. Layouts follow
//! the open documentation of the Linux-NTFS project.

use undelfs_source::{
    ReadAt,
    bytes::{array, u16_at, u32_at, u64_at},
};

/// What begins every FILE record.
pub(super) const MAGIC: &[u8; 4] = b"FILE";

/// `$MFT` in UTF-16.
const MFT_NAME: &[u8] = b"$\0M\0F\0T\0";
/// `$Bad` in UTF-16: the stream of `$BadClus` that is as long as the volume.
const BAD_NAME: &[u8] = b"$\0B\0a\0d\0";

const FILE_NAME: u32 = 0x30;
const DATA: u32 = 0x80;
const END: u32 = 0xFFFF_FFFF;

/// Numbers of records.
const MIRROR: u32 = 1;
const ROOT: u32 = 5;
const BAD_CLUSTERS: u32 = 8;
/// A record that every `$MFT` has, and no copy of only its first cluster.
const EXTEND_FIRST: u32 = 24;

/// Largest FILE record in bytes, and the unit in which its ends are protected.
const MAX_RECORD: usize = 4096;
const STRIDE: usize = 512;

/// Whether `sector` begins the FILE record of `$MFT`. Its name stands in the record's first sector, because only the
/// standard information comes before it.
pub(super) fn is_first_record(sector: &[u8]) -> bool {
    let looks = || {
        let number = number(sector);
        let (mut at, end) = (usize::from(u16_at(sector, 0x14)?), sector.len());
        if array(sector, 0).as_ref() != Some(MAGIC) || number.is_some_and(|number| number != 0) {
            return None;
        }
        while at < end {
            let attribute = sector.get(at..)?;
            let len = attribute_len(attribute)?;
            if u32_at(attribute, 0)? == FILE_NAME {
                let value = attribute.get(usize::from(u16_at(attribute, 0x14)?)..)?;
                let [characters] = array(value, 0x40)?;
                return (characters == 4 && value.get(0x42..)?.starts_with(MFT_NAME)).then_some(());
            }
            at = at.checked_add(len)?;
        }
        None
    };
    looks().is_some()
}

/// The number that a record carries; `None` before NTFS 3.1.
fn number(record: &[u8]) -> Option<u32> {
    let fixups = u16_at(record, 4)?;
    if fixups >= 0x30 { u32_at(record, 0x2C) } else { None }
}

/// Length of the attribute that begins `bytes`; `None` at the end of the attributes, or of what makes sense.
fn attribute_len(bytes: &[u8]) -> Option<usize> {
    if u32_at(bytes, 0)? == END {
        return None;
    }
    usize::try_from(u32_at(bytes, 4)?).ok().filter(|len| *len >= 24)
}

/// A sound FILE record, with its fixups undone.
struct Record {
    bytes: Vec<u8>,
}

impl Record {
    fn read(source: &dyn ReadAt, at: u64) -> Option<Self> {
        let mut bytes = vec![0; MAX_RECORD];
        source.read_salvage(&mut bytes, at);
        if array(&bytes, 0).as_ref() != Some(MAGIC) {
            return None;
        }
        let from = usize::from(u16_at(&bytes, 4)?);
        let strides = usize::from(u16_at(&bytes, 6)?).checked_sub(1)?;
        let len = strides.checked_mul(STRIDE).filter(|len| (STRIDE..=MAX_RECORD).contains(len))?;
        bytes.truncate(len);
        let mark: [u8; 2] = array(&bytes, from)?;
        for stride in 1..=strides {
            let saved: [u8; 2] = array(&bytes, from.checked_add(stride.checked_mul(2)?)?)?;
            let end = stride.checked_mul(STRIDE)?;
            let last = bytes.get_mut(end.checked_sub(2)?..end)?;
            if last != mark {
                return None;
            }
            last.copy_from_slice(&saved);
        }
        Some(Self { bytes })
    }

    /// Record `number` of the `$MFT` that begins at byte `at` with records of `size` bytes.
    fn of(source: &dyn ReadAt, at: u64, size: u64, number: u32) -> Option<Self> {
        let at = u64::from(number).checked_mul(size)?.checked_add(at)?;
        Self::read(source, at).filter(|record| record.number().is_none_or(|own| own == number))
    }

    fn number(&self) -> Option<u32> {
        number(&self.bytes)
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// First cluster of the unnamed stream.
    fn begin(&self) -> Option<u64> {
        self.data(&[])?.first.map(|(first, _)| first)
    }

    /// The non-resident `$DATA` attribute of this name, in UTF-16, as far as this record has it.
    fn data(&self, name: &[u8]) -> Option<Data> {
        let mut at = usize::from(u16_at(&self.bytes, 0x14)?);
        loop {
            let attribute = self.bytes.get(at..)?;
            let len = attribute_len(attribute)?;
            let attribute = attribute.get(..len)?;
            if u32_at(attribute, 0)? == DATA
                && let Some(data) = Data::parse(attribute, name)
            {
                return Some(data);
            }
            at = at.checked_add(len)?;
        }
    }
}

/// What a non-resident `$DATA` attribute says.
#[derive(Debug, PartialEq, Eq)]
struct Data {
    /// Size in bytes.
    size: u64,
    /// Size of a cluster in bytes, by the space that all clusters take.
    cluster: Option<u64>,
    /// First cluster on the volume, and how many follow each other; `None` for a hole.
    first: Option<(u64, u64)>,
}

impl Data {
    fn parse(attribute: &[u8], name: &[u8]) -> Option<Self> {
        let [non_resident, name_len] = array(attribute, 8)?;
        let name_at = usize::from(u16_at(attribute, 10)?);
        let name_len = usize::from(name_len).checked_mul(2)?;
        if non_resident == 0 || attribute.get(name_at..)?.get(..name_len)? != name {
            return None;
        }
        if u64_at(attribute, 0x10)? != 0 {
            return None;
        }
        let clusters = u64_at(attribute, 0x18)?.checked_add(1)?;
        let allocated = u64_at(attribute, 0x28)?;
        let cluster = (allocated.checked_rem(clusters)? == 0)
            .then(|| allocated.checked_div(clusters))
            .flatten()
            .filter(|cluster| {
                cluster.is_power_of_two() && (512..=crate::boot_sector::MAX_CLUSTER).contains(cluster)
            });
        let runs = attribute.get(usize::from(u16_at(attribute, 0x20)?)..)?;
        Some(Self { size: u64_at(attribute, 0x30)?, cluster, first: first_run(runs) })
    }
}

/// Place and length of the first run.
fn first_run(runs: &[u8]) -> Option<(u64, u64)> {
    let (header, rest) = runs.split_first()?;
    let (lengths, places) = (usize::from(header & 15), usize::from(header >> 4));
    let number = |bytes: &[u8]| {
        let mut buf = [0; 8];
        buf.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(u64::from_le_bytes(buf))
    };
    let count = number(rest.get(..lengths)?)?;
    let place = number(rest.get(lengths..)?.get(..places)?)?;
    (places > 0 && count > 0).then_some((place, count))
}

/// Where `$MFT` and `$MFTMirr` of a volume begin, as the boot sector or a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Places {
    /// Size of a cluster in bytes.
    pub(super) cluster: u64,
    /// First cluster of `$MFT`.
    pub(super) mft: u64,
    /// First cluster of `$MFTMirr`.
    pub(super) mirror: u64,
}

/// Whether the first record of the `$MFT` of a volume of `clusters` clusters, or its copy in `$MFTMirr`, is at byte
/// `at`. That of another volume, which lay here earlier or later, names another place or length.
pub(super) fn is_of_volume(source: &dyn ReadAt, at: u64, places: Places, clusters: u64) -> bool {
    let Some(record) = Record::read(source, at).filter(|record| is_first_record(&record.bytes)) else {
        return false;
    };
    let mirror = Record::of(source, at, record.size(), MIRROR).and_then(|record| record.begin());
    let here = record.begin().is_none_or(|mft| mft == places.mft);
    let there = mirror.is_none_or(|mirror| mirror == places.mirror);
    let len = len_by_records(source, at, record.size());
    here && there && len.is_none_or(|len| len.checked_div(places.cluster) == Some(clusters))
}

/// Length of the volume in bytes: that of `$Bad`, by the `$MFT` at byte `at`.
fn len_by_records(source: &dyn ReadAt, at: u64, record_size: u64) -> Option<u64> {
    let record = Record::of(source, at, record_size, BAD_CLUSTERS)?;
    record.data(BAD_NAME).map(|data| data.size).filter(|size| *size > 0)
}

/// A volume as its records tell it, without a boot sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByRecords {
    /// First byte.
    pub(super) start: u64,
    pub(super) places: Places,
    /// Clusters; `None` where that record is gone.
    pub(super) clusters: Option<u64>,
    /// Size of a FILE record in bytes.
    pub(super) record_size: u64,
    /// Whether its `$MFT` is where it ought to be.
    pub(super) table: bool,
    /// Whether its `$MFTMirr` is.
    pub(super) mirror: bool,
}

impl ByRecords {
    /// The volume whose `$MFT` or `$MFTMirr` begins at byte `at`.
    pub(super) fn read(source: &dyn ReadAt, at: u64) -> Option<Self> {
        let first = Record::read(source, at).filter(|record| is_first_record(&record.bytes))?;
        let size = first.size();
        let own = first.data(&[])?;
        let second = Record::of(source, at, size, MIRROR)?.data(&[])?;
        // Only the whole of a stream tells the size of its clusters, and `$MFTMirr` is never in pieces.
        let cluster = second.cluster.or(own.cluster)?;
        let (mft, in_a_row) = own.first?;
        let (mirror, _) = second.first?;
        let places = Places { cluster, mft, mirror };
        let is_mft = Self::is_mft(source, at, size, in_a_row.saturating_mul(cluster));
        let lcn = if is_mft { mft } else { mirror };
        let start = at.checked_sub(lcn.checked_mul(cluster)?)?;
        let other = if is_mft { mirror } else { mft };
        let other_at = start.checked_add(other.checked_mul(cluster)?)?;
        let agrees = Record::read(source, other_at).is_some_and(|other| {
            let second = Record::of(source, other_at, size, MIRROR);
            is_first_record(&other.bytes)
                && other.begin() == Some(mft)
                && second.and_then(|record| record.begin()) == Some(mirror)
        });
        // The `$MFT` of another volume, which lay here later, tells nothing of this one.
        let mft_at = if is_mft { Some(at) } else { agrees.then_some(other_at) };
        let len = mft_at.and_then(|at| len_by_records(source, at, size));
        let clusters = len.and_then(|len| len.checked_div(cluster));
        Some(Self {
            start,
            places,
            clusters: clusters.filter(|clusters| *clusters > mft),
            record_size: size,
            table: is_mft || agrees,
            mirror: !is_mft || agrees,
        })
    }

    /// Whether the records at byte `at`, `len` bytes in a row, are a `$MFT`: it goes on after what its mirror, or a copy
    /// of its first cluster in a shadow copy, has.
    fn is_mft(source: &dyn ReadAt, at: u64, size: u64, len: u64) -> bool {
        let has = |number: u32| {
            let inside = u64::from(number).saturating_add(1).saturating_mul(size) <= len;
            !inside || Record::of(source, at, size, number).is_some()
        };
        has(ROOT) && has(EXTEND_FIRST)
    }
}

#[cfg(test)]
pub(super) mod samples {
    //! Records made field by field.

    use super::*;

    /// Name and size of a `$DATA` attribute, place and number of its clusters, and their size in bytes.
    type Stream<'a> = (&'a [u8], u64, (u64, u64), u64);

    /// A record of 1024 bytes with a name, and `$DATA` of one run.
    fn record(number: u32, name: &str, data: Option<Stream<'_>>) -> Vec<u8> {
        let mut record = vec![0; 1024];
        let mut put = |at: usize, bytes: &[u8]| record[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, MAGIC);
        put(4, &[0x30, 0, 3, 0]);
        put(0x14, &[0x38, 0]);
        put(0x2C, &number.to_le_bytes());
        put(0x30, &[7, 0]);
        let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        put(0x38, &FILE_NAME.to_le_bytes());
        put(0x3C, &0x70_u32.to_le_bytes());
        put(0x38 + 0x14, &[0x18, 0]);
        put(0x38 + 0x18 + 0x40, &[(name.len() / 2) as u8]);
        put(0x38 + 0x18 + 0x42, &name);
        let mut at = 0xA8;
        if let Some((stream, size, (lcn, count), cluster)) = data {
            put(at, &DATA.to_le_bytes());
            put(at + 4, &0x58_u32.to_le_bytes());
            put(at + 8, &[1, (stream.len() / 2) as u8, 0x40, 0]);
            put(at + 0x18, &(count - 1).to_le_bytes());
            put(at + 0x20, &[0x48, 0]);
            put(at + 0x28, &(count * cluster).to_le_bytes());
            put(at + 0x30, &size.to_le_bytes());
            put(at + 0x40, stream);
            put(at + 0x48, &[0x34]);
            put(at + 0x49, &(count as u32).to_le_bytes());
            put(at + 0x4D, &lcn.to_le_bytes()[..3]);
            at += 0x58;
        }
        put(at, &END.to_le_bytes());
        for end in [510, 1022] {
            record[end..end + 2].copy_from_slice(&[7, 0]);
        }
        record
    }

    /// The first records of a volume of `clusters` clusters of 4 KiB: `$MFT` of 8 clusters, and `$MFTMirr`.
    pub(crate) fn mft(mft: u64, mirror: u64, clusters: u64) -> Vec<u8> {
        let own = |number: u32| match number {
            0 => record(0, "$MFT", Some((&[], 8 * 4096, (mft, 8), 4096))),
            1 => record(1, "$MFTMirr", Some((&[], 4096, (mirror, 1), 4096))),
            8 => record(8, "$BadClus", Some((BAD_NAME, clusters * 4096, (9, 1), 4096))),
            number => record(number, "file", None),
        };
        (0..32).flat_map(own).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn disk(start: usize) -> Vec<u8> {
        let mut bytes = vec![0; start + 100 * 4096];
        let records = samples::mft(4, 50, 90);
        bytes[start + 4 * 4096..][..records.len()].copy_from_slice(&records);
        bytes[start + 50 * 4096..][..4096].copy_from_slice(&records[..4096]);
        bytes
    }

    const PLACES: Places = Places { cluster: 4096, mft: 4, mirror: 50 };

    #[test]
    fn a_record_belongs_to_the_volume_whose_place_and_length_it_names() {
        let disk = disk(1536);
        assert!(is_of_volume(&disk, 1536 + 4 * 4096, PLACES, 90));
        assert!(!is_of_volume(&disk, 1536 + 4 * 4096, PLACES, 91));
        assert!(!is_of_volume(&disk, 1536 + 4 * 4096, Places { mft: 5, ..PLACES }, 90));
        assert!(!is_of_volume(&disk, 1536 + 4 * 4096 + 1024, PLACES, 90));
        // The mirror does not have the record that tells the length.
        assert!(is_of_volume(&disk, 1536 + 50 * 4096, PLACES, 91));
    }

    #[test]
    fn records_tell_start_and_length_of_their_volume_from_mft_and_from_mirror() {
        let both = ByRecords {
            start: 1536,
            places: PLACES,
            clusters: Some(90),
            record_size: 1024,
            table: true,
            mirror: true,
        };
        let whole = disk(1536);
        assert_eq!(ByRecords::read(&whole, 1536 + 4 * 4096), Some(both));
        assert_eq!(ByRecords::read(&whole, 1536 + 50 * 4096), Some(both));
        let mut no_mirror = whole.clone();
        no_mirror[1536 + 50 * 4096..][..4096].fill(0);
        let alone = ByRecords { mirror: false, ..both };
        assert_eq!(ByRecords::read(&no_mirror, 1536 + 4 * 4096), Some(alone));
        let mut no_mft = whole;
        no_mft[1536 + 4 * 4096..][..8 * 4096].fill(0);
        let alone = ByRecords { table: false, clusters: None, ..both };
        assert_eq!(ByRecords::read(&no_mft, 1536 + 50 * 4096), Some(alone));
    }

    #[test]
    fn a_torn_record_is_no_record() {
        let mut disk = disk(0);
        disk[4 * 4096 + 1022] ^= 1;
        assert!(!is_of_volume(&disk, 4 * 4096, PLACES, 90));
        assert!(is_first_record(&disk[4 * 4096..][..512]));
        assert!(!is_first_record(&disk[4 * 4096 + 1024..][..512]));
    }

    proptest! {
        #[test]
        fn damaged_records_are_read_without_panic(
            damage in prop::collection::vec((0usize..32 * 1024, any::<u8>()), 0..40),
        ) {
            let mut disk = disk(0);
            for (at, byte) in damage {
                disk[4 * 4096 + at] = byte;
            }
            let _ = ByRecords::read(&disk, 4 * 4096);
            let _ = is_of_volume(&disk, 4 * 4096, PLACES, 90);
            let _ = is_first_record(&disk[4 * 4096..][..512]);
        }
    }
}
