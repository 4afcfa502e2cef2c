//! The search of a whole volume for FILE records, whatever `$MFT` says: those of an earlier generation of the volume, and
//! those of a table whose own description is lost.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use undelfs_source::{
    ReadAt,
    bytes::{u16_at, u32_at},
};
use undelfs_volume::{
    Error,
    filesystem::{FileTime, Lost, Place, Run, RunReader, Watch},
};

use crate::{
    attribute::{Form, kind},
    mft::{Ground, Mft, cancelled},
    record::{Record, RecordBuf},
    structures::StandardInformation,
};

/// How much is read at once.
const PIECE: usize = 4 << 20;
/// FILE records begin at sectors.
const STEP: usize = 512;
/// Largest FILE record in bytes.
const MAX_RECORD: usize = 4096;
/// Most stretches that are kept; a table has one for each of its runs and one more for each damaged record.
const MAX_STRETCHES: usize = 1 << 20;
/// Most tables that are made of what is found.
const MAX_TABLES: usize = 16;
/// Fewest records that are taken for a table.
const MIN_RECORDS: u64 = 2;
/// How many records are looked at to tell the cluster size.
const VOTERS: usize = 4096;

/// FILE records that follow each other on the volume, in the order of their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Number of the first record.
    first: u32,
    /// How many there are.
    count: u32,
    /// Where the first one stands, in bytes.
    at: u64,
    /// Size of a record in bytes.
    size: u32,
}

impl Stretch {
    fn end(&self) -> u64 {
        u64::from(self.first).saturating_add(self.count.into())
    }

    fn end_at(&self) -> u64 {
        self.at.saturating_add(u64::from(self.count).saturating_mul(self.size.into()))
    }

    /// Takes `next` in where it follows.
    fn join(&mut self, next: &Self) -> bool {
        let follows =
            next.size == self.size && next.at == self.end_at() && u64::from(next.first) == self.end();
        if follows {
            self.count = self.count.saturating_add(next.count);
        }
        follows
    }
}

/// All FILE records of `volume` but those in `known`, which are byte ranges in order; in the order of their places.
///
/// # Errors
/// When `watch` cancelled the search.
pub(crate) fn search(
    volume: &dyn ReadAt,
    known: &[Range<u64>],
    watch: &dyn Watch,
) -> Result<Vec<Stretch>, Error> {
    let end = volume.present();
    watch.total(end);
    let next = AtomicU64::new(0);
    let pieces = rayon::broadcast(|_| {
        let mut buf = vec![0; PIECE.saturating_add(MAX_RECORD)];
        let mut pieces: Vec<(u64, Vec<Stretch>)> = Vec::new();
        loop {
            let at = next.fetch_add(PIECE as u64, Ordering::Relaxed);
            if at >= end || watch.cancelled() {
                break pieces;
            }
            let len = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(buf.len());
            // What a sparse image has no bytes for is passed over.
            if volume.next_data(at) >= at.saturating_add(len as u64) {
                watch.advance(PIECE as u64);
                continue;
            }
            let bytes = buf.get_mut(..len).unwrap_or_default();
            volume.read_salvage(bytes, at);
            let found = piece(bytes, at, known);
            if !found.is_empty() {
                pieces.push((at, found));
            }
            watch.advance(PIECE as u64);
        }
    });
    if watch.cancelled() {
        return Err(cancelled());
    }
    let mut pieces: Vec<(u64, Vec<Stretch>)> = pieces.into_iter().flatten().collect();
    pieces.sort_unstable_by_key(|(at, _)| *at);
    let mut all: Vec<Stretch> = Vec::new();
    for stretch in pieces.into_iter().flat_map(|(_, found)| found) {
        push(&mut all, stretch);
        if all.len() > MAX_STRETCHES {
            break;
        }
    }
    Ok(all)
}

/// The records that begin in the first [`PIECE`] bytes of `bytes`, which stand at `at`.
fn piece(bytes: &[u8], at: u64, known: &[Range<u64>]) -> Vec<Stretch> {
    let mut found: Vec<Stretch> = Vec::new();
    let mut within = 0;
    while within < PIECE.min(bytes.len()) {
        let here = at.saturating_add(within as u64);
        let record = bytes.get(within..).and_then(number);
        let Some((first, size)) = record.filter(|_| !contains(known, here)) else {
            within = within.saturating_add(STEP);
            continue;
        };
        let stretch = Stretch { first, count: 1, at: here, size };
        push(&mut found, stretch);
        within = within.saturating_add(size as usize);
    }
    found
}

/// Appends `next`, to the last stretch where it follows that.
fn push(all: &mut Vec<Stretch>, next: Stretch) {
    if !all.last_mut().is_some_and(|last| last.join(&next)) {
        all.push(next);
    }
}

fn contains(known: &[Range<u64>], at: u64) -> bool {
    let index = known.partition_point(|range| range.end <= at);
    known.get(index).is_some_and(|range| range.start <= at)
}

/// Number and size of the FILE record that begins `bytes`. The number stands in it since NTFS 3.1.
fn number(bytes: &[u8]) -> Option<(u32, u32)> {
    if !bytes.starts_with(b"FILE") {
        return None;
    }
    let size = u32_at(bytes, 0x1C)?;
    let sound = matches!(size, 1024 | 2048 | 4096) && u16_at(bytes, 4)? >= 0x30;
    let mut copy = [0; MAX_RECORD];
    let len = usize::try_from(size).ok().filter(|_| sound)?;
    let copy = copy.get_mut(..len)?;
    copy.copy_from_slice(bytes.get(..len)?);
    Record::parse(copy)?;
    let number = u32_at(bytes, 0x2C)?;
    // Numbers beyond make no table that could be read.
    (number < u32::MAX / 4).then_some((number, size))
}

/// Stretches that are one file table.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// By their first number, not overlapping.
    stretches: BTreeMap<u32, Stretch>,
}

/// Puts stretches together to tables, the largest first. One number at two places makes two tables.
pub(crate) fn tables(mut stretches: Vec<Stretch>) -> Vec<Found> {
    // Where the first record of the table would stand: the same for all stretches of one run.
    let origin = |stretch: &Stretch| {
        let before = u64::from(stretch.first).saturating_mul(stretch.size.into());
        i128::from(stretch.at).saturating_sub(i128::from(before))
    };
    let mut runs: HashMap<(i128, u32), u64> = HashMap::new();
    for stretch in &stretches {
        let count = runs.entry((origin(stretch), stretch.size)).or_default();
        *count = count.saturating_add(stretch.count.into());
    }
    // What belongs to the longest runs is taken first.
    stretches.sort_by_key(|stretch| {
        let weight = runs.get(&(origin(stretch), stretch.size)).copied().unwrap_or(0);
        (std::cmp::Reverse(weight), origin(stretch), stretch.first)
    });
    let mut tables: Vec<Found> = Vec::new();
    for stretch in stretches {
        if !tables.iter().any(|table| table.has_room(&stretch)) && tables.len() < MAX_TABLES {
            tables.push(Found::default());
        }
        if let Some(table) = tables.iter_mut().find(|table| table.has_room(&stretch)) {
            table.stretches.insert(stretch.first, stretch);
        }
    }
    tables.retain(|table| table.records() >= MIN_RECORDS);
    tables.sort_by_key(|table| std::cmp::Reverse(table.records()));
    tables
}

impl Found {
    fn has_room(&self, stretch: &Stretch) -> bool {
        let before = self.stretches.range(..=stretch.first).next_back().map(|(_, before)| before);
        let next = self.stretches.range(stretch.first..).next();
        let same_size = self.stretches.values().next().is_none_or(|known| known.size == stretch.size);
        same_size
            && before.is_none_or(|before| before.end() <= stretch.first.into())
            && next.is_none_or(|(first, _)| stretch.end() <= (*first).into())
    }

    /// How many records were found.
    pub(crate) fn records(&self) -> u64 {
        self.stretches.values().map(|stretch| u64::from(stretch.count)).sum()
    }

    /// Where the first of them stands, in bytes.
    pub(crate) fn at(&self) -> u64 {
        self.stretches.values().next().map_or(0, |stretch| stretch.at)
    }

    /// Size of a record in bytes.
    pub(crate) fn record_size(&self) -> u32 {
        self.stretches.values().next().map_or(1024, |stretch| stretch.size)
    }

    /// The table, whose records stand where they were found.
    pub(crate) fn table(&self, volume: &Arc<dyn ReadAt>) -> Mft {
        let unit = u64::from(STEP as u32);
        let mut runs: Vec<Run> = Vec::new();
        let mut end = 0u64;
        for stretch in self.stretches.values() {
            let units =
                |records: u64| records.saturating_mul(stretch.size.into()).checked_div(unit).unwrap_or(0);
            let first = units(stretch.first.into());
            if let Some(count @ 1..) = first.checked_sub(end) {
                runs.push(Run { first: end, count, place: Place::Lost });
            }
            let count = units(stretch.count.into());
            let place = Place::At(stretch.at.checked_div(unit).unwrap_or(0));
            runs.push(Run { first, count, place });
            end = first.saturating_add(count);
        }
        let size = end.saturating_mul(unit);
        let reader = RunReader::new(volume.clone(), runs.into(), STEP as u32, size, size, Lost::Error);
        Mft::of_reader(reader, self.record_size(), STEP as u32)
    }

    /// Some of the records, from all over the table.
    fn voters<'a>(&'a self, volume: &'a dyn ReadAt) -> impl Iterator<Item = RecordBuf> + 'a {
        let step = usize::try_from(self.records()).unwrap_or(usize::MAX).div_ceil(VOTERS).max(1);
        let places = self.stretches.values().flat_map(|stretch| {
            let size = u64::from(stretch.size);
            (0..u64::from(stretch.count))
                .map(move |n| (stretch.at.saturating_add(n.saturating_mul(size)), size))
        });
        places.step_by(step).filter_map(|(at, size)| {
            let mut bytes = vec![0; usize::try_from(size).unwrap_or(MAX_RECORD)];
            volume.read_salvage(&mut bytes, at);
            RecordBuf::parse(bytes)
        })
    }

    /// Whether most records were changed after the volume was `formatted`. Then the table is none of an earlier generation but
    /// a copy of the volume's own, such as a shadow copy has, or that of a volume in an image file.
    pub(crate) fn is_later_than(&self, formatted: FileTime, volume: &dyn ReadAt) -> bool {
        let changed = |buf: RecordBuf| {
            let mut attributes = buf.record()?.attributes();
            let info = attributes.find(|attribute| attribute.kind() == kind::STANDARD_INFORMATION)?;
            Some(StandardInformation::parse(info.resident()?)?.changed)
        };
        let (mut later, mut all) = (0_usize, 0_usize);
        for changed in self.voters(volume).filter_map(changed) {
            all = all.saturating_add(1);
            later = later.saturating_add(usize::from(changed >= formatted));
        }
        formatted > FileTime(0) && later.saturating_mul(2) > all
    }

    /// The cluster size in bytes that most records speak for: the room that a stream takes, by its clusters.
    pub(crate) fn cluster_size(&self, volume: &dyn ReadAt) -> Option<u32> {
        let mut votes: HashMap<u32, usize> = HashMap::new();
        for buf in self.voters(volume) {
            let Some(record) = buf.record() else { continue };
            for attribute in record.attributes() {
                let Some(Form::NonResident(form)) = attribute.form() else { continue };
                let clusters = form.highest_vcn.wrapping_add(1);
                let plain =
                    form.lowest_vcn == 0 && attribute.flags() == 0 && attribute.kind() != kind::BITMAP;
                let cluster = form.allocated.checked_div(clusters).and_then(|size| u32::try_from(size).ok());
                let exact =
                    cluster.filter(|size| u64::from(*size).checked_mul(clusters) == Some(form.allocated));
                if let Some(size) =
                    exact.filter(|size| plain && size.is_power_of_two() && (512..=2 << 20).contains(size))
                {
                    let votes = votes.entry(size).or_default();
                    *votes = votes.saturating_add(1);
                }
            }
        }
        votes.into_iter().max_by_key(|(size, votes)| (*votes, *size)).map(|(size, _)| size)
    }

    /// The table without a copy of `$MFTMirr` that was taken for its begin; `None` where it is the table of another
    /// volume, which begins elsewhere.
    pub(crate) fn of_volume(&self, ground: &Ground) -> Option<Self> {
        /// A mirror has the first four records, or as many as a cluster holds.
        const MIRROR: u32 = 64;
        let table = self.table(&ground.volume);
        if !self.is_strange(ground, &table) {
            return Some(Self { stretches: self.stretches.clone() });
        }
        let first = self.stretches.get(&0)?;
        let rest = self.stretches.values().skip(1).copied();
        Some(rest.collect()).filter(|rest: &Self| first.count <= MIRROR && rest.records() >= MIN_RECORDS)
    }

    /// Whether the first record, which describes the table, says that it stands in another place than it does.
    fn is_strange(&self, ground: &Ground, table: &Mft) -> bool {
        let Some(first) = self.stretches.get(&0) else { return false };
        let Ok(buf) = table.read(0) else { return false };
        let Some(record) = buf.record() else { return false };
        let data =
            record.attributes().find(|attribute| attribute.kind() == kind::DATA && attribute.is_unnamed());
        let Some(Form::NonResident(form)) = data.and_then(|data| data.form()) else { return false };
        let (runs, _) = ground.runs(form.mapping_pairs, 0);
        let cluster = u64::from(ground.boot.bytes_per_cluster);
        runs.first().is_some_and(|run| run.place != Place::At(first.at.checked_div(cluster).unwrap_or(0)))
    }
}

impl FromIterator<Stretch> for Found {
    fn from_iter<T: IntoIterator<Item = Stretch>>(stretches: T) -> Self {
        Self { stretches: stretches.into_iter().map(|stretch| (stretch.first, stretch)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stretch(first: u32, count: u32, at: u64) -> Stretch {
        Stretch { first, count, at, size: 1024 }
    }

    #[test]
    fn runs_of_one_table_are_put_together_and_a_number_twice_makes_two_tables() {
        let found = tables(vec![
            stretch(24, 40, 0x106000),
            stretch(64, 100, 0x400000),
            stretch(30, 10, 0x800000),
            stretch(500, 1, 0x900000),
        ]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].stretches.keys().copied().collect::<Vec<_>>(), [24, 64, 500]);
        assert_eq!(found[1].stretches.values().collect::<Vec<_>>(), [&stretch(30, 10, 0x800000)]);
    }

    #[test]
    fn a_table_reads_its_records_where_they_stand() {
        let volume: Arc<dyn ReadAt> = Arc::new(vec![7u8; 0x4000]);
        let found: Found = [stretch(2, 2, 0x1000), stretch(8, 1, 0x3000)].into_iter().collect();
        let table = found.table(&volume);
        assert_eq!((table.records(), table.record_size()), (9, 1024));
        let mut byte = [0];
        assert!(table.reader().read_exact_at(&mut byte, 1024).is_err(), "record 1 is nowhere");
        assert!(table.reader().read_exact_at(&mut byte, 8 * 1024).is_ok());
    }

    proptest! {
        #[test]
        fn any_stretches_make_tables_that_do_not_overlap(
            all in prop::collection::vec((0u32..1000, 1u32..50, 0u64..1 << 30), 0..60)
        ) {
            let all = all.into_iter().map(|(first, count, at)| stretch(first, count, at / 512 * 512)).collect();
            for table in tables(all) {
                prop_assert!(table.stretches.values().is_sorted_by(|a, b| a.end() <= b.first.into()));
            }
        }

        #[test]
        fn any_bytes_are_searched_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
            if bytes.len() > 2048 {
                bytes[512..516].copy_from_slice(b"FILE");
                bytes[512 + 0x1C..512 + 0x20].copy_from_slice(&1024u32.to_le_bytes());
            }
            search(&bytes, &[], &()).unwrap();
        }
    }
}
