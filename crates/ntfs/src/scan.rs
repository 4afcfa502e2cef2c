//! The pass over `$MFT`: every FILE record, live and deleted, once and in order.

use std::ops::Range;

use rayon::prelude::*;
use undelfs_source::{ErrorKind, ReadAt};
use undelfs_volume::{
    Error,
    filesystem::{Scan, Want, Watch},
};

use crate::{
    batch::{Batch, Reader},
    merge,
    mft::{Ground, Mft},
    record::Record,
};

/// Bytes of `$MFT` that are read at once.
const PIECE: u32 = 1 << 20;

/// Which extension records name which base record, ascending.
pub(crate) type Extensions = Vec<(u32, u32)>;

/// Reads all records of `mft`.
pub(crate) fn scan(
    ground: &Ground,
    mft: &Mft,
    want: Want,
    watch: &dyn Watch,
) -> Result<(Scan, Extensions), Error> {
    let per_piece = PIECE.checked_div(mft.record_size()).unwrap_or(1).max(1);
    let pieces: Vec<Range<u32>> = (0..mft.records())
        .step_by(per_piece as usize)
        .map(|first| first..first.saturating_add(per_piece).min(mft.records()))
        .collect();
    watch.total(u64::from(mft.records()));
    let reader = Reader { ground, want };
    let batches: Vec<Batch> = pieces
        .into_par_iter()
        .map_init(Vec::new, |buf, piece| {
            if watch.cancelled() {
                return Batch::default();
            }
            let batch = read_piece(&reader, mft, buf, piece.clone());
            watch.advance(u64::from(piece.end.saturating_sub(piece.start)));
            batch
        })
        .collect();
    if watch.cancelled() {
        return Err(Error::Refused {
            kind: ErrorKind::Cancelled,
            reason: "the scan was cancelled".to_owned(),
        });
    }
    merge::merge(batches)
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
        let why = range
            .error
            .as_ref()
            .map_or("the image ends before them".to_owned(), ToString::to_string);
        let base = records.start as usize;
        batch.note(|| {
            let (first, last) = (
                base.saturating_add(first),
                base.saturating_add(end).saturating_sub(1),
            );
            format!("FILE records {first} to {last} of `$MFT` cannot be read: {why}")
        });
    }
    for (number, bytes) in records.zip(buf.chunks_exact_mut(size)) {
        let started = bytes.starts_with(b"FILE") || bytes.starts_with(b"BAAD");
        match Record::parse(bytes) {
            Some(record) => batch.add(reader, number, &record),
            None if started => batch.note(|| {
                format!(
                    "FILE record {number} of `$MFT` is torn or damaged; the file that it described is missing"
                )
            }),
            None => {}
        }
    }
    batch
}
