//! What remembers files that no FILE record describes any more: the change journal `$UsnJrnl`, the log `$LogFile`, and entries
//! of indexes. They know names, when files were deleted, and files of which nothing else is left.

mod apply;
mod blocks;
mod grants;
mod history;
mod locate;
pub mod log;
mod remains;
pub mod usn;

use undelfs_source::ReadAt;
use undelfs_volume::{
    Error,
    filesystem::{FileTime, Layout, Lost, Place, RunReader, Scan, Stream, Watch},
};

use crate::{Ntfs, mft::cancelled, record::Reference};
use grants::Grants;
use history::{History, LogName, Setting};
use log::{How, Sizes, Told};

/// How much of the change journal is read at once, a multiple of its pages.
const PIECE: usize = 1 << 20;
/// FILE record of `$LogFile`.
const LOG_FILE: u32 = 2;

/// Adds what the journals tell to a scan of deleted files: names and directories that are lost, when files were deleted, which
/// clusters were given away since, and with `deep` also the files that only a journal knows. Free clusters are searched for remains of the change journal then.
///
/// # Errors
/// When `watch` cancelled the work.
pub(crate) fn add(ntfs: &Ntfs, scan: &mut Scan, deep: bool, watch: &dyn Watch) -> Result<(), Error> {
    let places = locate::locate(ntfs, deep);
    let setting = Setting { ntfs, files: &scan.files, deep, hidden: places.deleted };
    let mut history = History::default();
    for stream in places.journals.iter().filter_map(|journal| locate::stream(ntfs, journal)) {
        read_journal(&stream, &setting, &mut history, watch);
    }
    let mut grants = Grants::new(ntfs);
    read_log(&setting, &mut history, &mut grants, watch);
    if deep {
        blocks::of_directories(&setting, scan, &mut history);
        remains::search(&setting, scan, &mut history, watch);
    }
    if watch.cancelled() {
        return Err(cancelled());
    }
    if history.is_full {
        scan.notes.push("the journals tell of more deleted files than are kept; some are missing".to_owned());
    }
    grants.give(scan);
    apply::apply(ntfs, scan, history, places.deleted, deep);
    Ok(())
}

/// Reads `$J` as far as it is on the volume: Windows makes a hole of what is old.
fn read_journal(stream: &Stream, setting: &Setting<'_>, history: &mut History, watch: &dyn Watch) {
    let own = &setting.ntfs.own;
    let runs = match &stream.layout {
        Layout::Resident(content) => {
            usn::records(content).for_each(|record| history.tell_usn(setting, own, &record));
            return;
        }
        Layout::Runs(runs) => runs.clone(),
    };
    let ground = &own.ground;
    let cluster = ground.boot.bytes_per_cluster;
    let page = usn::PAGE as u64;
    // No journal is larger than the volume; one that pretends to must not take longer.
    let mut left = ground.volume.present();
    let reader =
        RunReader::new(ground.volume.clone(), runs.clone(), cluster, stream.size, stream.valid, Lost::Zeros);
    let mut buf = vec![0; PIECE];
    let mut done = 0_u64;
    for run in runs.iter().filter(|run| matches!(run.place, Place::At(_))) {
        let start = run.first.saturating_mul(cluster.into());
        let end = start.saturating_add(run.count.saturating_mul(cluster.into())).min(stream.valid);
        let mut at = start.checked_div(page).unwrap_or(0).saturating_mul(page).max(done);
        while at < end && left > 0 && !watch.cancelled() {
            let length = usize::try_from(end.saturating_sub(at).min(left)).unwrap_or(PIECE).min(PIECE);
            let piece = buf.get_mut(..length).unwrap_or_default();
            reader.read_salvage(piece, at);
            usn::records(piece).for_each(|record| history.tell_usn(setting, own, &record));
            at = at.saturating_add(length as u64);
            left = left.saturating_sub(length as u64);
        }
        done = done.max(at.next_multiple_of(page));
    }
}

/// What the log tells, kept until it can be put in order.
struct Noted {
    lsn: u64,
    file: Reference,
    what: What,
}

enum What {
    Name(LogName),
    Freed,
}

/// That a record was a certain file's, as the log tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Use {
    record: u64,
    lsn: u64,
    sequence: u16,
    is_end: bool,
}

fn read_log(setting: &Setting<'_>, history: &mut History, grants: &mut Grants, watch: &dyn Watch) {
    let own = &setting.ntfs.own;
    let Some(content) = setting.ntfs.own_content(LOG_FILE) else { return };
    let sizes = Sizes { cluster: own.ground.boot.bytes_per_cluster, record: own.mft.record_size() };
    let mut noted: Vec<Noted> = Vec::new();
    let mut uses: Vec<Use> = Vec::new();
    let mut clock: Vec<(u64, FileTime)> = Vec::new();
    log::changes(&content, setting.deep, watch, &mut |lsn, change| {
        log::tell(change, sizes, &mut |told| {
            let mut used = |file: Reference, is_end| {
                uses.push(Use { record: file.record, lsn, sequence: file.sequence, is_end });
            };
            match told {
                Told::Born { file, changed } => {
                    used(file, false);
                    if usn::is_plausible(changed) {
                        clock.push((lsn, changed));
                    }
                }
                Told::Freed { file } => {
                    used(file, true);
                    noted.push(Noted { lsn, file, what: What::Freed });
                }
                Told::Name { file, name, facts, how } => {
                    let Some(name) = LogName::new(lsn, &name, facts, how) else { return };
                    if file.sequence != 0 && how == How::Changed {
                        used(file, false);
                    }
                    // Of a file that exists nothing needs to be kept.
                    let wanted = file.sequence == 0 || history.is_wanted(setting, file, &name);
                    if wanted {
                        noted.push(Noted { lsn, file, what: What::Name(name) });
                    }
                }
                Told::Usn(record) => history.tell_usn(setting, own, &record),
                Told::BitsSet(bits) => grants.tell(lsn, bits),
            }
        });
    });
    uses.sort_unstable();
    clock.sort_unstable();
    noted.sort_by_key(|noted| noted.lsn);
    let clock = Clock::new(&clock);
    for Noted { lsn, file, what } in noted {
        match what {
            What::Name(name) => {
                let Some(sequence) = Some(file.sequence)
                    .filter(|sequence| *sequence != 0)
                    .or_else(|| sequence_of(&uses, file.record, lsn))
                else {
                    continue;
                };
                history.tell_name(setting, Reference { sequence, ..file }, &name);
            }
            What::Freed => history.tell_freed(setting, file, clock.between(lsn)),
        }
    }
}

/// The sequence number that a record had when the change `lsn` was written: that of its use before, else of the one after.
fn sequence_of(uses: &[Use], record: u64, lsn: u64) -> Option<u16> {
    let at = uses.partition_point(|used| (used.record, used.lsn) <= (record, lsn));
    let same = |used: &&Use| used.record == record;
    let before = at.checked_sub(1).and_then(|at| uses.get(at)).filter(same).filter(|used| !used.is_end);
    before.or_else(|| uses.get(at).filter(same)).map(|used| used.sequence)
}

/// Which time it was when a change was written, as far as the births of files in the log tell.
struct Clock {
    /// Sequence number, the latest time until it, the earliest time from it on; ascending.
    ticks: Vec<(u64, FileTime, FileTime)>,
}

impl Clock {
    /// From times by their sequence number, ascending.
    fn new(births: &[(u64, FileTime)]) -> Self {
        let mut ticks: Vec<(u64, FileTime, FileTime)> =
            births.iter().map(|(lsn, time)| (*lsn, *time, *time)).collect();
        let mut latest = FileTime(0);
        for (_, until, _) in &mut ticks {
            latest = latest.max(*until);
            *until = latest;
        }
        let mut earliest = FileTime(u64::MAX);
        for (_, _, from) in ticks.iter_mut().rev() {
            earliest = earliest.min(*from);
            *from = earliest;
        }
        Self { ticks }
    }

    /// Between which times the change `lsn` was written; zero where that is unknown.
    fn between(&self, lsn: u64) -> (FileTime, FileTime) {
        let at = self.ticks.partition_point(|(tick, ..)| *tick < lsn);
        let after = at.checked_sub(1).and_then(|at| self.ticks.get(at)).map_or(FileTime(0), |tick| tick.1);
        let later = self.ticks.get(at..).unwrap_or_default().iter().find(|(tick, ..)| *tick > lsn);
        let before = later.map_or(FileTime(0), |tick| tick.2);
        // Where the clock was set back nothing ends the time.
        (after, if before < after { FileTime(0) } else { before })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_change_was_written_between_the_births_before_and_after_it() {
        let clock = Clock::new(&[(10, FileTime(100)), (20, FileTime(90)), (30, FileTime(200))]);
        assert_eq!(clock.between(25), (FileTime(100), FileTime(200)));
        assert_eq!(clock.between(5), (FileTime(0), FileTime(90)));
        assert_eq!(clock.between(15), (FileTime(100), FileTime(0)), "the clock was set back");
        assert_eq!(clock.between(99), (FileTime(200), FileTime(0)));
    }

    #[test]
    fn a_name_without_a_sequence_number_is_that_of_the_use_around_it() {
        let mut uses = [(40, 10, 3, false), (40, 50, 3, true), (40, 90, 5, false), (41, 60, 9, false)]
            .map(|(record, lsn, sequence, is_end)| Use { record, lsn, sequence, is_end });
        uses.sort_unstable();
        assert_eq!(sequence_of(&uses, 40, 20), Some(3));
        assert_eq!(sequence_of(&uses, 40, 60), Some(5));
        assert_eq!(sequence_of(&uses, 40, 5), Some(3));
        assert_eq!(sequence_of(&uses, 41, 99), Some(9));
        assert_eq!(sequence_of(&uses, 42, 99), None);
    }

    proptest! {
        #[test]
        fn no_births_make_a_time_that_ends_before_it_begins(
            mut births in prop::collection::vec((0_u64..100, 1_u64..100), 0..20), lsn in 0_u64..110
        ) {
            births.sort_unstable();
            let births: Vec<_> = births.into_iter().map(|(lsn, time)| (lsn, FileTime(time))).collect();
            let (after, before) = Clock::new(&births).between(lsn);
            prop_assert!(before == FileTime(0) || after <= before);
        }
    }
}
