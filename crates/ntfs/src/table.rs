use undelfs_volume::{
    Error,
    filesystem::{FileTime, Layout, Place, RecordTable, Run, Stream},
};

use crate::{
    mft::{Ground, Mft},
    record::RecordBuf,
};

/// A file table of a volume: its own, or one of an earlier generation that a search has found.
///
/// The records of all tables have one numbering: those of the volume's own table keep theirs, those of each other
/// table follow.
#[derive(Clone)]
pub(crate) struct Table {
    pub(crate) mft: Mft,
    /// The volume with the geometry that it had with this table.
    pub(crate) ground: Ground,
    /// What is added to the numbers in the table.
    pub(crate) first: u32,
    /// How many of the clusters that all tables count in are one of the table's.
    pub(crate) factor: u64,
    /// When the volume was formatted anew, where the table is of an earlier generation. Then nothing in it exists any
    /// more.
    pub(crate) formatted: Option<FileTime>,
    /// Whether the table was put together by a search, so that records that it lacks are no damage to be told.
    pub(crate) is_found: bool,
}

impl Table {
    /// The number that record `number` of the table has among those of all tables.
    pub(crate) fn number(&self, number: u64) -> Option<u32> {
        u32::try_from(number).ok()?.checked_add(self.first)
    }

    /// What the table is, for people.
    pub(crate) fn describe(&self) -> RecordTable {
        let at = self.mft.places().first().map_or(0, |place| place.start);
        let provenance = match (self.formatted, self.is_found) {
            (Some(_), _) => format!("FILE records of an earlier generation of the volume, from byte {at} on"),
            (None, true) => "FILE records found by searching the volume".to_owned(),
            (None, false) => "$MFT".to_owned(),
        };
        let formatted = self.formatted.unwrap_or_default();
        RecordTable { first: self.first, provenance, formatted, ..RecordTable::default() }
    }

    /// Reads the record with this number among those of all tables.
    ///
    /// # Errors
    /// When it cannot be read, or is no FILE record.
    pub(crate) fn read(&self, number: u32) -> Result<RecordBuf, Error> {
        let record = self.mft.read(number.saturating_sub(self.first))?;
        Ok(if self.formatted.is_some() { record.freed() } else { record })
    }

    /// Counts the runs of a stream in the clusters that all tables count in.
    pub(crate) fn to_volume(&self, stream: Stream) -> Stream {
        let Layout::Runs(runs) = &stream.layout else { return stream };
        if self.factor == 1 {
            return stream;
        }
        let scale = |n: u64| n.saturating_mul(self.factor);
        let runs = runs.iter().map(|run| Run {
            first: scale(run.first),
            count: scale(run.count),
            place: match run.place {
                Place::At(lcn) => Place::At(scale(lcn)),
                other => other,
            },
        });
        Stream { layout: Layout::Runs(runs.collect()), ..stream }
    }
}
