//! What the journals tell of each file: its last name, and when it was there and when not any more.

use std::collections::{HashMap, hash_map::Entry};

use undelfs_source::{ReadAt, bytes::u16_at};
use undelfs_volume::filesystem::{File, FileFlags, FileTime};

use super::{
    log::How,
    usn::{UsnRecord, reason},
};
use crate::{
    Ntfs,
    index_entry::Facts,
    name::push_wtf8,
    record::Reference,
    structures::{FileName, Namespace},
    table::Table,
};

/// Most files that are kept: the journal of a busy server has fewer.
const MAX_FILES: usize = 4 << 20;
/// Most bytes of names that are kept.
const MAX_NAMES: usize = 1 << 30;
/// Files in records below belong to the file system.
const FIRST_RECORD: u64 = 16;
/// Marks a file of which nothing needs to be known.
const IGNORED: u32 = u32::MAX;

const FILE_ATTRIBUTE_DIRECTORY: u32 = 0x10;
/// How `$FILE_NAME` says that a file is a directory.
const INDEX_PRESENT: u32 = 0x1000_0000;
/// `IN_USE` in the flags of a FILE record.
const IN_USE: u16 = 1;

/// A FILE record, numbered among those of all tables, with a sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Key {
    pub(super) record: u32,
    pub(super) generation: u16,
}

impl Key {
    /// The file that `reference` means in `table`; `None` where that has no such record.
    pub(super) fn new(table: &Table, reference: Reference) -> Option<Self> {
        let known = reference.record < u64::from(table.mft.records()) && reference.sequence != 0;
        let record = table.number(reference.record).filter(|_| known)?;
        Some(Self { record, generation: reference.sequence })
    }

    /// The directory that `reference` means in `table`: the root of every generation is that of the volume.
    pub(super) fn directory(table: &Table, reference: Reference) -> Option<Self> {
        match u32::try_from(reference.record) {
            Ok(crate::batch::ROOT) => {
                Some(Self { record: crate::batch::ROOT, generation: reference.sequence })
            }
            _ => Self::new(table, reference),
        }
    }
}

/// A name and the directory that it stood in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Named {
    pub(super) parent: Key,
    /// Where the name begins in [`History::names`].
    at: u32,
    len: u16,
    /// Orders what one journal tells, the latest last.
    rank: (u64, u64),
}

/// What tells a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Teller {
    /// `$UsnJrnl`.
    ChangeJournal,
    /// `$LogFile`.
    Log,
    /// Indexes of directories, in force or what is left of them.
    Index,
}

impl Teller {
    pub(super) const ALL: [Self; 3] = [Self::ChangeJournal, Self::Log, Self::Index];

    /// How a file is marked that has its name from there.
    pub(super) fn flag(self) -> FileFlags {
        match self {
            Self::ChangeJournal => FileFlags::USN_NAME,
            Self::Log => FileFlags::LOG_NAME,
            Self::Index => FileFlags::SLACK_NAME,
        }
    }

    /// What a file is said to come from of which nothing else is known.
    pub(super) fn provenance(self) -> &'static str {
        match self {
            Self::ChangeJournal => "$UsnJrnl",
            Self::Log => "$LogFile",
            Self::Index => "index slack",
        }
    }
}

/// What the journals tell of one file that does not exist any more.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Past {
    pub(super) key: Key,
    /// Index in [`Scan::files`](undelfs_volume::filesystem::Scan::files), where it is one of them.
    pub(super) file: Option<u32>,
    /// Sequence number of the record on the volume, where it is none of them.
    on_volume: Option<u16>,
    /// Its last name in the change journal.
    pub(super) usn: Option<Named>,
    /// Its last name in the log.
    pub(super) log: Option<Named>,
    /// Its last name in what is left of indexes.
    pub(super) index: Option<Named>,
    pub(super) is_directory: bool,
    /// When the change journal says that it was deleted; zero where it does not.
    pub(super) deleted: FileTime,
    /// It still existed at this time; zero where that is unknown.
    pub(super) after: FileTime,
    /// It did not exist any more at this time; zero where that is unknown.
    pub(super) before: FileTime,
    /// True where the log says that its record was freed.
    pub(super) is_freed: bool,
    pub(super) attributes: u32,
    pub(super) created: FileTime,
    pub(super) modified: FileTime,
    pub(super) accessed: FileTime,
    pub(super) size: u64,
}

impl Past {
    /// The last name, and what tells it.
    pub(super) fn named(&self) -> Option<(&Named, Teller)> {
        // The change journal has all that happens, the log only what happened last, but with every name of a rename; what is
        // left of indexes may be of any time.
        let all =
            [(&self.usn, Teller::ChangeJournal), (&self.log, Teller::Log), (&self.index, Teller::Index)];
        all.into_iter().find_map(|(named, teller)| Some((named.as_ref()?, teller)))
    }

    /// Whether the file was there and is not any more. What a journal tells may not have reached the FILE record yet, where
    /// the volume was not shut down in order.
    pub(super) fn is_gone(&self) -> bool {
        let is_ahead = |on_volume: u16| {
            let distance = on_volume.wrapping_sub(self.key.generation);
            distance == 0 || distance > u16::MAX / 2
        };
        self.deleted.0 > 0 || self.is_freed || !self.on_volume.is_some_and(is_ahead)
    }
}

/// A name that was given to or taken from a file that had others.
#[derive(Debug, Clone, Copy)]
struct HardLink {
    key: Key,
    name: Named,
    is_rename: bool,
}

/// What is asked when a file is met for the first time.
pub(super) struct Setting<'a> {
    pub(super) ntfs: &'a Ntfs,
    pub(super) files: &'a [File],
    pub(super) deep: bool,
    /// Record of the directory `$Deleted`, whose names stand for others.
    pub(super) hidden: Option<u64>,
}

impl Setting<'_> {
    /// What is to be known of a file; `None`: nothing.
    fn meet(&self, key: Key, is_directory: bool) -> Option<Past> {
        let table = self.ntfs.table_of(key.record);
        let own = key.record.saturating_sub(table.first);
        let past = Past { key, is_directory, ..Past::default() };
        if u64::from(own) < FIRST_RECORD {
            return None;
        }
        let found = self.files.binary_search_by_key(&key.record, |file| file.record).ok();
        let file =
            found.and_then(|index| self.files.get(index)).filter(|file| file.generation == key.generation);
        if let (Some(file), Some(index)) = (file, found) {
            let removed = file.flags.contains(FileFlags::REMOVED);
            return removed.then_some(Past { file: u32::try_from(index).ok(), ..past });
        }
        if !self.deep {
            // A directory that exists is among the files.
            return is_directory.then_some(past);
        }
        let mut header = [0; 24];
        let read = table.mft.reader().read_exact_at(&mut header, table.mft.offset(own));
        if read.is_err() || !header.starts_with(b"FILE") {
            return Some(past);
        }
        let (sequence, flags) = u16_at(&header, 0x10).zip(u16_at(&header, 0x16))?;
        let exists = table.formatted.is_none() && flags & IN_USE != 0 && sequence == key.generation;
        (!exists).then_some(Past { on_volume: Some(sequence), ..past })
    }
}

/// What the journals tell.
#[derive(Default)]
pub(super) struct History {
    known: HashMap<Key, u32>,
    pub(super) pasts: Vec<Past>,
    links: Vec<HardLink>,
    names: Vec<u8>,
    /// True where there was more than is kept.
    pub(super) is_full: bool,
}

impl History {
    /// The file of `key`, where something is to be known of it.
    fn past(&mut self, setting: &Setting<'_>, key: Key, is_directory: bool) -> Option<usize> {
        let entry = match self.known.entry(key) {
            Entry::Occupied(known) => {
                return Some(*known.get() as usize).filter(|index| *index < self.pasts.len());
            }
            Entry::Vacant(entry) => entry,
        };
        let past = setting.meet(key, is_directory);
        if past.is_some() && self.pasts.len() >= MAX_FILES {
            self.is_full = true;
            return None;
        }
        let index = past.map(|_| self.pasts.len());
        entry.insert(index.and_then(|index| u32::try_from(index).ok()).unwrap_or(IGNORED));
        self.pasts.extend(past);
        index
    }

    /// Whether anything is to be known of the file in the own table that the log tells a name of.
    pub(super) fn is_wanted(&mut self, setting: &Setting<'_>, file: Reference, name: &LogName) -> bool {
        let key = Key::new(&setting.ntfs.own, file);
        key.is_some_and(|key| self.past(setting, key, name.attributes & INDEX_PRESENT != 0).is_some())
    }

    /// What is known of the file of `key`.
    pub(super) fn find(&self, key: Key) -> Option<&Past> {
        self.pasts.get(*self.known.get(&key)? as usize)
    }

    /// The bytes of a name, in WTF-8.
    pub(super) fn name(&self, named: &Named) -> &[u8] {
        let start = named.at as usize;
        self.names.get(start..start.saturating_add(named.len.into())).unwrap_or_default()
    }

    /// Keeps a name, unless it is the one in `last`.
    fn keep(&mut self, last: Option<&Named>, parent: Key, units: &[u8], rank: (u64, u64)) -> Option<Named> {
        let start = self.names.len();
        push_wtf8(units, &mut self.names);
        let written = self.names.get(start..).unwrap_or_default();
        if let Some(last) = last.filter(|last| self.name(last) == written) {
            self.names.truncate(start);
            return Some(Named { parent, rank, ..*last });
        }
        let len = u16::try_from(self.names.len().saturating_sub(start)).ok();
        let named = len.zip(u32::try_from(start).ok()).map(|(len, at)| Named { parent, at, len, rank });
        if named.is_none() || self.names.len() > MAX_NAMES {
            self.names.truncate(start);
            self.is_full = true;
            return None;
        }
        named
    }

    /// Takes in a record of the change journal of `table`.
    pub(super) fn tell_usn(&mut self, setting: &Setting<'_>, table: &Table, record: &UsnRecord<'_>) {
        let Some(key) = Key::new(table, record.file) else { return };
        let Some(parent) = Key::directory(table, record.parent) else { return };
        let is_directory = record.attributes & FILE_ATTRIBUTE_DIRECTORY != 0;
        let Some(index) = self.past(setting, key, is_directory) else { return };
        let Some(mut past) = self.pasts.get(index).copied() else { return };
        let has = |bits: u32| record.reasons & bits != 0;
        let rank = (record.time.0, record.usn);
        let is_old_name = has(reason::RENAME_OLD_NAME);
        let is_hidden = setting.hidden == Some(record.parent.record);
        if !is_old_name && !is_hidden && past.usn.is_none_or(|last| last.rank <= rank) {
            past.usn = self.keep(past.usn.as_ref(), parent, record.name, rank).or(past.usn);
            past.is_directory = is_directory;
            past.attributes = record.attributes;
        }
        if setting.deep && (has(reason::HARD_LINK_CHANGE) || is_old_name) {
            let name = self.keep(past.usn.as_ref(), parent, record.name, rank);
            self.links.extend(name.map(|name| HardLink { key, name, is_rename: is_old_name }));
        }
        if has(reason::FILE_DELETE) {
            past.deleted = past.deleted.max(record.time);
        }
        if has(reason::FILE_CREATE) && (past.created.0 == 0 || record.time < past.created) {
            past.created = record.time;
        }
        if has(reason::DATA_EXTEND | reason::DATA_OVERWRITE | reason::DATA_TRUNCATION | reason::FILE_CREATE)
            && !has(reason::FILE_DELETE)
        {
            past.modified = past.modified.max(record.time);
        }
        past.after = past.after.max(record.time);
        if let Some(place) = self.pasts.get_mut(index) {
            *place = past;
        }
    }

    /// Takes in a name that the log tells of a file; names must come in the order of their sequence numbers.
    pub(super) fn tell_name(&mut self, setting: &Setting<'_>, file: Reference, name: &LogName) {
        let table = &setting.ntfs.own;
        let (Some(key), Some(parent)) = (Key::new(table, file), Key::directory(table, name.parent)) else {
            return;
        };
        let is_directory = name.attributes & INDEX_PRESENT != 0;
        let Some(index) = self.past(setting, key, is_directory) else { return };
        let Some(mut past) = self.pasts.get(index).copied() else { return };
        if setting.hidden != Some(name.parent.record) && (past.log.is_none() || name.how == How::Changed) {
            past.log = self.keep(past.log.as_ref(), parent, &name.units, (name.lsn, 0)).or(past.log);
        }
        past.is_directory |= is_directory;
        past.attributes = name.attributes & !INDEX_PRESENT;
        past.size = name.facts.size;
        past.created = name.created;
        past.modified = past.modified.max(name.facts.modified);
        past.accessed = past.accessed.max(name.facts.accessed);
        past.after = past.after.max(name.changed);
        if let Some(place) = self.pasts.get_mut(index) {
            *place = past;
        }
    }

    /// Takes in an entry of an index of `table`.
    pub(super) fn tell_entry(
        &mut self,
        setting: &Setting<'_>,
        table: &Table,
        file: Reference,
        name: &FileName<'_>,
        facts: Facts,
    ) {
        if name.namespace == Namespace::Dos {
            return;
        }
        let (Some(key), Some(parent)) = (Key::new(table, file), Key::directory(table, name.parent)) else {
            return;
        };
        let is_directory = name.attributes & INDEX_PRESENT != 0;
        let Some(index) = self.past(setting, key, is_directory) else { return };
        let Some(mut past) = self.pasts.get(index).copied() else { return };
        let rank = (name.changed.0, 0);
        if past.index.is_none_or(|last| last.rank <= rank) {
            past.index = self.keep(past.index.as_ref(), parent, name.name, rank).or(past.index);
            past.is_directory |= is_directory;
            past.size = facts.size;
            past.attributes = name.attributes & !INDEX_PRESENT;
        }
        if past.created.0 == 0 {
            past.created = name.created;
        }
        past.modified = past.modified.max(facts.modified);
        past.accessed = past.accessed.max(facts.accessed);
        past.after = past.after.max(name.changed);
        if let Some(place) = self.pasts.get_mut(index) {
            *place = past;
        }
    }

    /// Takes in that the log frees the record of a file, between two times.
    pub(super) fn tell_freed(
        &mut self,
        setting: &Setting<'_>,
        file: Reference,
        between: (FileTime, FileTime),
    ) {
        let Some(key) = Key::new(&setting.ntfs.own, file) else { return };
        let Some(index) = self.past(setting, key, false) else { return };
        if let Some(past) = self.pasts.get_mut(index) {
            past.is_freed = true;
            past.after = past.after.max(between.0);
            past.before = between.1;
        }
    }

    /// Names that deleted files lost while they had others, each once: file and name.
    pub(super) fn lost_links(&mut self) -> Vec<(Key, Named)> {
        let mut links = std::mem::take(&mut self.links);
        let name = |link: &HardLink| (link.key, link.name.parent, self.name(&link.name));
        links.sort_by(|a, b| name(a).cmp(&name(b)).then(a.name.rank.cmp(&b.name.rank)));
        let same = |a: &HardLink, b: &HardLink| name(a) == name(b);
        links
            .chunk_by(same)
            .filter(|changes| changes.iter().any(|change| !change.is_rename))
            .filter_map(|changes| changes.last())
            .filter(|last| !last.is_rename)
            .map(|last| (last.key, last.name))
            .collect()
    }
}

/// A name that the log tells, with what stands beside it.
#[derive(Debug, Clone)]
pub(super) struct LogName {
    pub(super) lsn: u64,
    pub(super) parent: Reference,
    /// The name in UTF-16LE.
    pub(super) units: Box<[u8]>,
    pub(super) attributes: u32,
    pub(super) created: FileTime,
    pub(super) changed: FileTime,
    pub(super) facts: Facts,
    pub(super) how: How,
}

impl LogName {
    /// `None` for the short name that stands beside a long one.
    pub(super) fn new(lsn: u64, name: &FileName<'_>, facts: Facts, how: How) -> Option<Self> {
        (name.namespace != Namespace::Dos).then(|| Self {
            lsn,
            parent: name.parent,
            units: name.name.into(),
            attributes: name.attributes,
            created: name.created,
            changed: name.changed,
            facts,
            how,
        })
    }
}
