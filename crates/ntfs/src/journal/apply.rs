//! Puts what the journals tell into a scan.
//!
//! Files that only a journal knows get numbers behind those of all tables, made of record and sequence number, so that a file
//! has the same one in every scan.

use std::collections::HashMap;

use undelfs_volume::filesystem::{Deletion, File, FileFlags, FileTime, Link, RecordTable, Scan};

use super::history::{History, Key, Named, Past, Teller};
use crate::Ntfs;

/// Numbers from here on are those of files that no record describes, by what tells them. No volume has so many records.
const FIRST: u32 = 0xC000_0000;
/// How many numbers there are for each [`Teller`].
const NUMBERS: u32 = 0x1000_0000;
/// Numbers that are made of record and sequence number; the others are for what would have the same one.
const SPREAD: u32 = 0x0800_0000;

/// A name that is added to a file.
struct Added {
    /// Index in [`Scan::files`].
    file: u32,
    named: Named,
    flag: FileFlags,
}

/// Adds names and times of deletion to the files of `scan`, the directories that lead to them, and with `all` every file that
/// only a journal knows. `hidden` is the record of a directory whose names stand for others.
pub(super) fn apply(ntfs: &Ntfs, scan: &mut Scan, mut history: History, hidden: Option<u64>, all: bool) {
    if history.pasts.is_empty() {
        return;
    }
    let lost = history.lost_links();
    let mut added = Vec::new();
    let mut renamed = Vec::new();
    for past in &history.pasts {
        let Some((file, index)) = past.file.and_then(|index| Some((scan.files.get(index as usize)?, index)))
        else {
            continue;
        };
        scan.deletions.extend(deletion(past, index));
        let links = links_of(scan, index, file);
        let is_hidden = |link: &Link| hidden == Some(link.parent.into());
        let Some((named, flag)) = past.named().map(|(named, teller)| (*named, teller.flag())) else {
            continue;
        };
        if links.iter().all(is_hidden) {
            if !links.is_empty() {
                renamed.push(index);
            }
            added.push(Added { file: index, named, flag });
        }
    }
    for (key, named) in &lost {
        let file = history.find(*key).and_then(|past| past.file);
        added.extend(file.map(|file| Added { file, named: *named, flag: FileFlags::USN_NAME }));
    }
    let ghosts = Ghosts::new(ntfs, scan, &history, &added, all);
    insert(scan, &history, added, &renamed, &ghosts);
    ghosts.lead(scan);
    ghosts.append(ntfs, scan, &history, &lost);
    scan.deletions.sort_unstable_by_key(|deletion| deletion.file);
}

fn deletion(past: &Past, file: u32) -> Option<Deletion> {
    let (after, before) = match past.deleted {
        FileTime(0) => (past.after, past.before),
        time => (time, time),
    };
    (after.0 > 0 || before.0 > 0).then_some(Deletion { file, after, before })
}

fn links_of<'a>(scan: &'a Scan, index: u32, file: &File) -> &'a [Link] {
    let next = scan.files.get((index as usize).saturating_add(1));
    let end = next.map_or(scan.links.len(), |next| next.first_link as usize);
    scan.links.get(file.first_link as usize..end).unwrap_or_default()
}

/// The files that only a journal knows and that are shown.
struct Ghosts {
    /// In the order of [`Teller::ALL`], ascending: number, and the file.
    numbers: [Vec<(u32, Key)>; 3],
    by_key: HashMap<Key, u32>,
}

impl Ghosts {
    /// Chooses them: directories that lead to something, and with `all` everything that does not exist any more.
    fn new(ntfs: &Ntfs, scan: &Scan, history: &History, added: &[Added], all: bool) -> Self {
        let own_end = ntfs.own.first.saturating_add(ntfs.own.mft.records());
        let mut way: Vec<Key> = Vec::new();
        if all {
            let shown = history.pasts.iter().filter(|past| past.key.record < own_end && past.is_gone());
            way.extend(shown.map(|past| past.key));
        }
        let directories = history.pasts.iter().any(|past| past.file.is_none());
        if directories {
            let mut parents: Vec<Key> = scan
                .links
                .iter()
                .map(|link| Key { record: link.parent, generation: link.parent_generation })
                .collect();
            parents.dedup();
            way.extend(parents);
            way.extend(added.iter().map(|added| added.named.parent));
        }
        let mut chosen: HashMap<Key, Teller> = HashMap::new();
        while let Some(key) = way.pop() {
            let Some(past) = history.find(key).filter(|past| past.file.is_none()) else { continue };
            let Some((named, teller)) = past.named() else { continue };
            if chosen.insert(key, teller).is_none() {
                way.push(named.parent);
            }
        }
        let mut first =
            ntfs.tables().last().map_or(0, |table| table.first.saturating_add(table.mft.records()));
        let mut by_key = HashMap::with_capacity(chosen.len());
        first = first.max(FIRST);
        let numbers = Teller::ALL.map(|teller| {
            let keys = chosen.iter().filter(|(_, chosen)| **chosen == teller).map(|(key, _)| *key);
            let numbers = number(keys, first);
            first = first.saturating_add(NUMBERS);
            by_key.extend(numbers.iter().map(|(number, key)| (*key, *number)));
            numbers
        });
        Self { numbers, by_key }
    }

    /// The record that a directory is shown by.
    fn record(&self, directory: Key) -> u32 {
        self.by_key.get(&directory).copied().unwrap_or(directory.record)
    }

    /// Puts the names that stand in a directory which is one of these under it.
    fn lead(&self, scan: &mut Scan) {
        if self.by_key.is_empty() {
            return;
        }
        let mut last: Option<(Key, u32)> = None;
        for link in &mut scan.links {
            let key = Key { record: link.parent, generation: link.parent_generation };
            let (_, record) =
                *last.filter(|(known, _)| *known == key).get_or_insert_with(|| (key, self.record(key)));
            last = Some((key, record));
            link.parent = record;
        }
    }

    /// Adds them to `scan`, with the names of theirs in `lost` too.
    fn append(&self, ntfs: &Ntfs, scan: &mut Scan, history: &History, lost: &[(Key, Named)]) {
        for (teller, numbers) in Teller::ALL.into_iter().zip(&self.numbers) {
            let Some((first, _)) = numbers.first() else { continue };
            let real = |key: &Key| key.record.saturating_sub(ntfs.table_of(key.record).first);
            scan.tables.push(RecordTable {
                first: *first,
                provenance: teller.provenance().to_owned(),
                sparse: numbers.iter().map(|(number, key)| (*number, real(key))).collect(),
                ..RecordTable::default()
            });
            for (number, key) in numbers {
                let Some(past) = history.find(*key) else { continue };
                let Some((named, _)) = past.named() else { continue };
                let Ok(index) = u32::try_from(scan.files.len()) else { return };
                let Ok(first_link) = u32::try_from(scan.links.len()) else { return };
                let leads = past.is_directory;
                let mut flags = FileFlags::REMOVED | FileFlags::JOURNAL_ONLY;
                flags.set(FileFlags::DIRECTORY, leads);
                flags.set(FileFlags::NO_CONTENT, !leads);
                scan.files.push(File {
                    record: *number,
                    generation: key.generation,
                    flags,
                    attributes: past.attributes,
                    first_link,
                    size: if leads { 0 } else { past.size },
                    clusters: 0,
                    created: past.created,
                    modified: past.modified,
                    changed: past.after,
                    accessed: past.accessed,
                });
                let text = |named: &Named| (named.parent, history.name(named).to_vec());
                let from = lost.partition_point(|(known, _)| known < key);
                let others =
                    lost.iter().skip(from).take_while(|(known, _)| known == key).map(|(_, named)| named);
                for named in
                    std::iter::once(named).chain(others.filter(|other| !leads && text(other) != text(named)))
                {
                    push(scan, history, self, index, named);
                }
                scan.deletions.extend(deletion(past, index));
            }
        }
    }
}

/// Numbers `keys` from `first` on, ascending.
fn number(keys: impl Iterator<Item = Key>, first: u32) -> Vec<(u32, Key)> {
    let wish = |key: &Key| {
        let number = u64::from(key.record) << 10 | u64::from(key.generation & 0x3FF);
        (number & u64::from(SPREAD.saturating_sub(1))) as u32
    };
    let mut wishes: Vec<(u32, Key)> = keys.map(|key| (wish(&key), key)).collect();
    wishes.sort_unstable();
    let mut next = 0_u32;
    let numbers = wishes.into_iter().map_while(|(wish, key)| {
        let number = wish.max(next);
        next = number.saturating_add(1);
        Some((first.checked_add(number).filter(|_| number < NUMBERS)?, key))
    });
    numbers.collect()
}

/// Appends a name to those of the last file.
fn push(scan: &mut Scan, history: &History, ghosts: &Ghosts, file: u32, named: &Named) -> bool {
    let name = history.name(named);
    let place = u32::try_from(scan.names.len()).ok().zip(u16::try_from(name.len()).ok());
    let Some((name_at, name_len)) = place.filter(|(at, len)| at.checked_add((*len).into()).is_some()) else {
        return false;
    };
    scan.names.extend(name);
    let (parent, parent_generation) = (ghosts.record(named.parent), named.parent.generation);
    scan.links.push(Link { file, parent, parent_generation, name_len, name_at });
    true
}

/// Puts `added` among the names of the files, each once. The names that the files in `renamed` had are left out.
fn insert(scan: &mut Scan, history: &History, mut added: Vec<Added>, renamed: &[u32], ghosts: &Ghosts) {
    let order = |a: &Added| (a.file, a.named.parent, history.name(&a.named));
    added.sort_by(|a, b| order(a).cmp(&order(b)));
    added.dedup_by(|a, b| order(a) == order(b));
    added.retain(|added| {
        let Some(file) = scan.files.get(added.file as usize) else { return false };
        !links_of(scan, added.file, file).iter().any(|link| {
            let start = link.name_at as usize;
            let name = scan.names.get(start..start.saturating_add(link.name_len.into()));
            let parent = Key { record: link.parent, generation: link.parent_generation };
            parent == added.named.parent && name == Some(history.name(&added.named))
        })
    });
    if added.is_empty() {
        return;
    }
    let mut renamed = renamed.to_vec();
    renamed.sort_unstable();
    let old = std::mem::take(&mut scan.links);
    scan.links.reserve(old.len().saturating_add(added.len()));
    let mut old = old.into_iter().peekable();
    let mut added = added.into_iter().peekable();
    for index in 0..u32::try_from(scan.files.len()).unwrap_or(u32::MAX) {
        let first = u32::try_from(scan.links.len()).unwrap_or(u32::MAX);
        let replaced = renamed.binary_search(&index).is_ok();
        while let Some(link) = old.next_if(|link| link.file == index) {
            if !replaced {
                scan.links.push(link);
            }
        }
        let mut flags = FileFlags::empty();
        while let Some(added) = added.next_if(|added| added.file == index) {
            if push(scan, history, ghosts, index, &added.named) {
                flags |= added.flag;
            }
        }
        if let Some(file) = scan.files.get_mut(index as usize) {
            file.first_link = first;
            file.flags |= flags;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(record: u32, generation: u16) -> Key {
        Key { record, generation }
    }

    #[test]
    fn a_file_keeps_its_number_whatever_else_is_shown() {
        let few = number([key(500, 3)].into_iter(), 1000);
        let many = number([key(40, 1), key(500, 2), key(500, 3), key(501, 1)].into_iter(), 1000);
        assert_eq!(few[0].0, many[2].0);
    }

    proptest! {
        #[test]
        fn numbers_ascend_and_are_each_one_files(
            keys in prop::collection::hash_set((0_u32..1 << 20, 1_u16..), 0..200), far in prop::bool::ANY
        ) {
            let keys = keys.into_iter().map(|(record, generation)| {
                key(if far { record << 12 } else { record % 4 }, generation)
            });
            let keys: std::collections::BTreeSet<Key> = keys.collect();
            let numbers = number(keys.iter().copied(), FIRST);
            prop_assert_eq!(numbers.len(), keys.len());
            prop_assert!(numbers.is_sorted_by(|a, b| a.0 < b.0));
        }
    }
}
