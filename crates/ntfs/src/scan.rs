//! The pass over `$MFT`: every FILE record, live and deleted, once and in order.

use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
};

use undelfs_source::ReadAt;
use undelfs_volume::{
    Error,
    filesystem::{Scan, Want, Watch},
};

use crate::{
    batch::{Batch, Reader},
    merge,
    mft::{Mft, cancelled},
    record::{self, Record},
    table::Table,
};

/// Bytes of `$MFT` that are read at once.
const PIECE: u32 = 1 << 20;

/// Which extension records name which base record, ascending.
pub(crate) type Extensions = Vec<(u32, u32)>;

/// Reads all records of `tables`, which are in the order of their numbers. The first one is the volume's own.
pub(crate) fn scan(tables: &[&Table], want: Want, watch: &dyn Watch) -> Result<(Scan, Extensions), Error> {
    let mut batches = Vec::new();
    for table in tables {
        batches.extend(scan_table(table, want, watch)?);
    }
    merge::merge(batches)
}

fn scan_table(table: &Table, want: Want, watch: &dyn Watch) -> Result<Vec<Batch>, Error> {
    let (ground, mft) = (&table.ground, &table.mft);
    let per_piece = PIECE.checked_div(mft.record_size()).unwrap_or(1).max(1);
    let present = mft.present_records(ground);
    let records: u32 = present.iter().map(|range| range.end.saturating_sub(range.start)).sum();
    let pieces: Vec<Range<u32>> = present
        .into_iter()
        .flat_map(|range| {
            let end = range.end;
            let piece = move |first: u32| first..first.saturating_add(per_piece).min(end);
            range.step_by(per_piece as usize).map(piece)
        })
        .collect();
    watch.total(u64::from(records));
    let reader = Reader::new(table, want);
    // Each thread takes the next piece, so that the table is read in the order in which it stands.
    let next = AtomicUsize::new(0);
    let mut batches: Vec<(usize, Batch)> = rayon::broadcast(|_| {
        let mut buf = Vec::new();
        let mut batches = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(piece) = pieces.get(number).filter(|_| !watch.cancelled()) else { break batches };
            batches.push((number, read_piece(&reader, mft, &mut buf, piece.clone())));
            watch.advance(u64::from(piece.end.saturating_sub(piece.start)));
        }
    })
    .into_iter()
    .flatten()
    .collect();
    batches.sort_unstable_by_key(|(number, _)| *number);
    let mut batches: Vec<Batch> = batches.into_iter().map(|(_, batch)| batch).collect();
    if records < mft.records() && !table.is_found {
        let missing = mft.records().saturating_sub(records);
        let mut last = Batch { missing: missing.into(), ..Batch::default() };
        last.note(|| {
            format!(
                "{missing} FILE records of `$MFT` lie where the source has no bytes, or their place is lost"
            )
        });
        batches.push(last);
    }
    if watch.cancelled() {
        return Err(cancelled());
    }
    Ok(batches)
}

fn read_piece(reader: &Reader<'_>, mft: &Mft, buf: &mut Vec<u8>, records: Range<u32>) -> Batch {
    let size = mft.record_size() as usize;
    let len = records.len().saturating_mul(size);
    buf.resize(len, 0);
    let mut batch = Batch::default();
    let bad = mft.reader().read_salvage(buf, mft.offset(records.start));
    for range in &bad {
        let first = range.range.start.checked_div(size).unwrap_or(0);
        let end = range.range.end.div_ceil(size.max(1));
        let why = range.error.as_ref().map_or("the image ends before them".to_owned(), ToString::to_string);
        let base = records.start as usize;
        batch.missing = batch.missing.saturating_add(end.saturating_sub(first) as u64);
        batch.note(|| {
            let (first, last) = (base.saturating_add(first), base.saturating_add(end).saturating_sub(1));
            format!("FILE records {first} to {last} of `$MFT` cannot be read: {why}")
        });
    }
    for (number, bytes) in records.zip(buf.chunks_exact_mut(size)) {
        let started = bytes.starts_with(b"FILE") || bytes.starts_with(b"BAAD");
        let foreign = !started && bytes.iter().any(|byte| *byte != 0);
        let was_live = reader.is_earlier() && record::free(bytes);
        match Record::parse(bytes) {
            Some(record) => batch.add(reader, number, &record, was_live),
            None if started => batch.note(|| {
                format!(
                    "FILE record {number} of `$MFT` is torn or damaged; the file that it described is missing"
                )
            }),
            None if foreign => batch.foreign = batch.foreign.saturating_add(1),
            None => {}
        }
    }
    batch
}
