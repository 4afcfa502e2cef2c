//! The shadow copies of a volume.

use std::{collections::BTreeMap, sync::Arc};

use undelfs_source::{ErrorKind, ReadAt};
use undelfs_volume::{
    Error, Guid,
    filesystem::{FileTime, Watch},
};

use crate::{
    Information, Snapshot,
    catalogue::{self, Entries, Entry, Places},
    map::{Map, Step},
    search,
};

/// One shadow copy of a volume.
#[derive(Debug, Clone)]
pub struct ShadowCopy {
    /// Its number, from 1 on: those of the catalogue by age, the oldest first, then those that a search has found.
    pub number: u32,
    /// Identifies its store, and is part of the name of the store's file in `System Volume Information`.
    pub store: Option<Guid>,
    /// When it was made; `None` where only the catalogue told and that is lost.
    pub created: Option<FileTime>,
    /// Size of the volume then, in bytes.
    pub volume_size: u64,
    /// What the store's header says; `None` where it cannot be read.
    pub information: Option<Information>,
    /// No catalogue lists it: a search has found its store.
    pub is_lost: bool,
    /// Where its store is; `None` where it is not on this volume.
    pub(crate) places: Option<Places>,
}

/// The shadow copies of a volume, as far as they are known.
#[derive(Clone)]
pub struct Vss {
    volume: Arc<dyn ReadAt>,
    copies: Vec<ShadowCopy>,
    notes: Vec<String>,
}

impl Vss {
    /// Reads the header, the catalogue and the header of each store of `volume`, which is the decrypted one where it is
    /// encrypted. `None` where it has no header of shadow copies.
    ///
    /// # Errors
    /// When the header cannot be read or is not a known one. What else is damaged is noted.
    pub fn open(volume: Arc<dyn ReadAt>) -> Result<Option<Self>, Error> {
        let Some(first) = catalogue::locate(&volume)? else { return Ok(None) };
        let (entries, notes) = Entries::read(&volume, first).into_copies();
        let mut vss = Self { volume, copies: Vec::new(), notes };
        for entry in entries {
            vss.add(Some(entry), entry.places, false);
        }
        Ok(Some(vss))
    }

    /// As [`open`](Self::open), and also finds the stores that no catalogue lists, because the shadow copy was deleted or
    /// the catalogue is damaged. Reads all of the volume.
    ///
    /// A deleted shadow copy tells only what changed until it was deleted, and its own blocks may have been written over
    /// since.
    ///
    /// # Errors
    /// When `watch` cancelled it.
    pub fn search(volume: Arc<dyn ReadAt>, watch: &dyn Watch) -> Result<Self, Error> {
        let mut vss = match Self::open(volume.clone()) {
            Ok(Some(vss)) => vss,
            Ok(None) => Self { volume, copies: Vec::new(), notes: Vec::new() },
            Err(error) => Self { volume, copies: Vec::new(), notes: vec![error.to_string()] },
        };
        let found = search::stores(&vss.volume, watch)?;
        vss.notes.extend(found.notes);
        for (entry, places) in found.stores {
            let is_known =
                vss.copies.iter().any(|copy| copy.places.is_some_and(|known| known.header == places.header));
            if !is_known && vss.copies.len() < catalogue::MAX_COPIES {
                vss.add(entry, Some(places), true);
            }
        }
        Ok(vss)
    }

    /// Takes a shadow copy in.
    fn add(&mut self, entry: Option<Entry>, places: Option<Places>, is_lost: bool) {
        let number = u32::try_from(self.copies.len()).unwrap_or(u32::MAX).saturating_add(1);
        let read = places.map(|places| Information::read(&self.volume, places.header));
        let information = match read {
            Some(Err(error)) => {
                self.notes.push(format!("shadow copy {number}: {error}"));
                None
            }
            Some(Ok(information)) => Some(information),
            None => None,
        };
        let size = self.volume.size();
        let volume_size = entry.map_or(size, |entry| entry.volume_size);
        if volume_size > size {
            self.notes.push(format!(
                "shadow copy {number} is of a volume of {volume_size} bytes, which has {size} now; what lies behind its end is lost"
            ));
        }
        self.copies.push(ShadowCopy {
            number,
            store: entry.map(|entry| entry.identifier),
            created: entry.map(|entry| entry.created),
            volume_size: volume_size.min(size),
            information,
            is_lost,
            places,
        });
    }

    /// The shadow copies, by number.
    pub fn copies(&self) -> &[ShadowCopy] {
        &self.copies
    }

    /// What is damaged, one sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The volume as the shadow copy with this number has it. Reads the block lists of it and of all newer ones, and
    /// keeps at most 32 bytes of each block that they tell of, and a bit of each block of the volume.
    ///
    /// # Errors
    /// When there is no such shadow copy, its age is lost, or its store, or that of a newer one, is not on this volume.
    pub fn snapshot(&self, number: u32) -> Result<Snapshot, Error> {
        let refused = |reason: String| Error::Refused { kind: ErrorKind::InvalidInput, reason };
        let Some(copy) = self.copies.iter().find(|copy| copy.number == number) else {
            let known: Vec<String> = self.copies.iter().map(|copy| copy.number.to_string()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(refused(format!("the volume has no shadow copy {number}; it has {known}")));
        };
        let undated = self.copies.iter().filter(|other| other.created.is_none()).count();
        if copy.created.is_none() && undated > 1 {
            let reason = format!(
                "when shadow copy {number} was made is lost, as with {} others; in which order they were made decides what they hold",
                undated.saturating_sub(1)
            );
            return Err(Error::Refused { kind: ErrorKind::Damaged, reason });
        }
        let mut steps = Vec::new();
        for newer in self.newer(copy).into_iter().chain([copy]) {
            let Some(places) = newer.places else {
                let reason = format!(
                    "shadow copy {number} needs the store of shadow copy {}, which is not on this volume",
                    newer.number
                );
                return Err(Error::Refused { kind: ErrorKind::Unsupported, reason });
            };
            steps.push(Step { number: newer.number, places, size: newer.volume_size });
        }
        let mut map = Map::new(&self.volume, &steps);
        if copy.is_lost {
            map.notes.push(format!(
                "no catalogue lists shadow copy {number}: what has changed since it was deleted reads as it is now"
            ));
        }
        Ok(Snapshot::new(self.volume.clone(), map, copy.volume_size))
    }

    /// Those that are newer than `copy`, the newest first. A single one of which no time is known is older than the others,
    /// because Windows deletes the oldest first; what was deleted tells nothing of those that were not.
    fn newer(&self, copy: &ShadowCopy) -> Vec<&ShadowCopy> {
        let later = self.copies.iter().filter(|other| {
            other.number != copy.number
                && (copy.is_lost || !other.is_lost)
                && (other.created, other.number) > (copy.created, copy.number)
                && other.created.is_some()
        });
        let by_age: BTreeMap<_, _> = later.map(|other| ((other.created, other.number), other)).collect();
        by_age.into_values().rev().collect()
    }
}

impl std::fmt::Debug for Vss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vss").field("copies", &self.copies).finish_non_exhaustive()
    }
}
