//! Puts the pieces of a scan together: one list of files, each with all its names.

use std::ops::Range;

use undelfs_source::ErrorKind;
use undelfs_volume::{
    Error,
    filesystem::{Claim, File, FileFlags, Link, Scan},
};

use crate::{
    batch::{Batch, Extension, List, RawLink, Tally, drop_short_names},
    record::same_generation,
    scan::Extensions,
};

/// Makes one scan of the pieces, which are in the order of their records.
pub(crate) fn merge(batches: Vec<Batch>) -> Result<(Scan, Extensions), Error> {
    let mut all = Parts::default();
    all.reserve(&batches);
    for batch in batches {
        all.append(batch)?;
    }
    let mut extensions = std::mem::take(&mut all.extensions);
    let owned = all.resolve_extensions(&mut extensions);
    all.resolve_owners();
    let owned = all.settle_generations(owned);
    for of_file in owned.chunk_by(|a, b| a.0 == b.0) {
        all.give_to_base(of_file);
    }
    all.check_lists(&owned);
    all.emit_links(&owned);
    if all.foreign > 0 {
        all.scan.notes.push(format!(
            "in the place of {} FILE records of `$MFT` stands something else; the files that they described are missing",
            all.foreign
        ));
    }
    all.scan.missing = all.missing.saturating_add(all.foreign);
    if all.more_notes > 0 {
        all.scan.notes.push(format!("{} more damaged records", all.more_notes));
    }
    let mut known: Extensions = owned
        .iter()
        .filter_map(|(file, extension)| Some((all.scan.files.get(*file as usize)?.record, extension.record)))
        .collect();
    known.sort_unstable();
    Ok((all.scan, known))
}

#[derive(Default)]
struct Parts {
    scan: Scan,
    raw_links: Vec<RawLink>,
    extensions: Vec<Extension>,
    extension_links: Vec<RawLink>,
    /// Owners of claims that an extension record makes, which name that record.
    extension_owners: Vec<u32>,
    lists: Vec<List>,
    more_notes: u64,
    foreign: u64,
    missing: u64,
}

fn count(len: usize) -> Result<u32, Error> {
    u32::try_from(len).map_err(|_| Error::Refused {
        kind: ErrorKind::Unsupported,
        reason: "the volume has more names than 4 GiB can hold".to_owned(),
    })
}

impl Parts {
    fn reserve(&mut self, batches: &[Batch]) {
        let total = |len: fn(&Batch) -> usize| batches.iter().map(len).sum();
        self.scan.files.reserve_exact(total(|batch| batch.files.len()));
        self.scan.names.reserve_exact(total(|batch| batch.names.len()));
        self.scan.claims.reserve_exact(total(|batch| batch.claims.len()));
        self.scan.owners.reserve_exact(total(|batch| batch.owners.len()));
        self.raw_links.reserve_exact(total(|batch| batch.links.len()));
    }

    fn append(&mut self, batch: Batch) -> Result<(), Error> {
        let scan = &mut self.scan;
        let names = count(scan.names.len().saturating_add(batch.names.len()))
            .map(|all| all.saturating_sub(batch.names.len() as u32))?;
        let links = count(self.raw_links.len())?;
        let extension_links = count(self.extension_links.len())?;
        let owners = count(scan.owners.len())?;
        count(scan.files.len())?;
        let move_link = |mut raw: RawLink| {
            raw.link.name_at = raw.link.name_at.saturating_add(names);
            raw
        };
        scan.files.extend(
            batch.files.into_iter().map(|f| File { first_link: f.first_link.saturating_add(links), ..f }),
        );
        scan.claims
            .extend(batch.claims.into_iter().map(|c| Claim { owner: c.owner.saturating_add(owners), ..c }));
        scan.owners.extend(batch.owners);
        scan.names.extend(batch.names);
        self.raw_links.extend(batch.links.into_iter().map(move_link));
        self.extension_links.extend(batch.extension_links.into_iter().map(move_link));
        self.lists.extend(batch.lists);
        for mut extension in batch.extensions {
            extension.first_link = extension.first_link.saturating_add(extension_links);
            if extension.owner != u32::MAX {
                extension.owner = extension.owner.saturating_add(owners);
                self.extension_owners.push(extension.owner);
            }
            self.extensions.push(extension);
        }
        let room = Scan::MAX_NOTES.saturating_sub(scan.notes.len());
        let left_out = batch.notes.len().saturating_sub(room) as u64;
        scan.notes.extend(batch.notes.into_iter().take(room));
        self.more_notes = self.more_notes.saturating_add(batch.more_notes).saturating_add(left_out);
        self.foreign = self.foreign.saturating_add(batch.foreign);
        self.missing = self.missing.saturating_add(batch.missing);
        Ok(())
    }

    /// The extensions whose base record is still, or was last, the file that they belong to; by file.
    fn resolve_extensions(&self, extensions: &mut Vec<Extension>) -> Vec<(u32, Extension)> {
        let files = &self.scan.files;
        let mut owned: Vec<(u32, Extension)> = extensions
            .drain(..)
            .filter_map(|extension| {
                let record = u32::try_from(extension.base.record).ok()?;
                let index = files.binary_search_by_key(&record, |file| file.record).ok()?;
                let file = files.get(index)?;
                let removed = file.flags.contains(FileFlags::REMOVED);
                let same = removed == extension.removed
                    && same_generation(file.generation, !removed, extension.base.sequence);
                same.then_some((index as u32, extension))
            })
            .collect();
        owned.sort_by_key(|(file, extension)| (*file, extension.record));
        owned
    }

    /// Owners come with the number of their record: makes it the index of their file.
    fn resolve_owners(&mut self) {
        let mut files = self.scan.files.iter().enumerate().peekable();
        for owner in self.scan.owners.iter_mut().filter(|owner| !owner.live) {
            while files.next_if(|(_, file)| file.record < owner.file).is_some() {}
            owner.file = match files.peek() {
                Some((index, file)) if file.record == owner.file => *index as u32,
                _ => u32::MAX,
            };
        }
        for index in &self.extension_owners {
            if let Some(owner) = self.scan.owners.get_mut(*index as usize) {
                owner.file = u32::MAX;
            }
        }
    }

    /// Adds what the extension records of one file tell to what its base record told.
    fn give_to_base(&mut self, extensions: &[(u32, Extension)]) {
        let Some(base) = extensions.first().and_then(|(file, _)| self.scan.files.get_mut(*file as usize))
        else {
            return;
        };
        let mut tally = Tally::default();
        for (file, extension) in extensions {
            let more = extension.tally;
            tally.clusters = tally.clusters.saturating_add(more.clusters);
            tally.covered = tally.covered.saturating_add(more.covered);
            tally.damaged |= more.damaged;
            tally.named_streams |= more.named_streams;
            tally.encrypted |= more.encrypted;
            tally.resident |= more.resident;
            tally.link |= more.link;
            tally.beyond |= more.beyond;
            if let (Some(size), true) = (extension.size, base.flags.contains(FileFlags::NO_CONTENT)) {
                base.size = size;
                base.flags.remove(FileFlags::NO_CONTENT);
            }
            if let Some(owner) = self.scan.owners.get_mut(extension.owner as usize) {
                owner.file = *file;
                owner.latest = owner.latest.max(base.changed);
            }
        }
        base.clusters = base.clusters.saturating_add(tally.clusters);
        for (flag, set) in [
            (FileFlags::DAMAGED, tally.damaged),
            (FileFlags::NAMED_STREAMS, tally.named_streams),
            (FileFlags::ENCRYPTED, tally.encrypted),
            (FileFlags::RESIDENT, tally.resident),
            (FileFlags::LINK, tally.link),
            (FileFlags::BEYOND_END, tally.beyond),
        ] {
            base.flags.set(flag, base.flags.contains(flag) || set);
        }
        if tally.link {
            base.flags.remove(FileFlags::DIRECTORY | FileFlags::NO_CONTENT);
        }
    }

    /// Marks the files of whose records some are missing, as their attribute lists tell, and those whose runs end
    /// before their size.
    fn check_lists(&mut self, owned: &[(u32, Extension)]) {
        for list in &self.lists {
            let Ok(index) = self.scan.files.binary_search_by_key(&list.record, |file| file.record) else {
                continue;
            };
            let Some(file) = self.scan.files.get_mut(index) else { continue };
            let first = owned.partition_point(|(file, _)| (*file as usize) < index);
            let own = owned.iter().skip(first).take_while(|(file, _)| *file as usize == index);
            let (mut found, mut covered) = (0_usize, list.covered);
            for (_, extension) in own {
                found = found.saturating_add(1);
                covered = covered.saturating_add(extension.covered);
            }
            let resident = file.flags.contains(FileFlags::RESIDENT);
            let whole = resident || covered >= file.size;
            if found < list.holders || !whole {
                file.flags.insert(FileFlags::DAMAGED);
            }
        }
    }

    /// Writes the names of all files, in the order of the files, those of extension records behind the others.
    fn emit_links(&mut self, owned: &[(u32, Extension)]) {
        let mut owned = owned.iter().peekable();
        let mut links: Vec<Link> = Vec::with_capacity(self.raw_links.len());
        let mut several: Vec<RawLink> = Vec::new();
        let ranges: Vec<Range<usize>> = self.raw_link_ranges().collect();
        for ((index, file), range) in (0_u32..).zip(&mut self.scan.files).zip(ranges) {
            let own = self.raw_links.get(range).unwrap_or_default();
            file.first_link = links.len() as u32;
            let in_file = |raw: &RawLink| Link { file: index, ..raw.link };
            let alone = owned.peek().is_none_or(|(file, _)| *file != index);
            if alone && !file.flags.contains(FileFlags::SEVERAL_RECORDS) {
                links.extend(own.iter().map(in_file));
                continue;
            }
            several.clear();
            several.extend(own);
            while let Some((_, extension)) = owned.next_if(|(file, _)| *file == index) {
                let first = extension.first_link as usize;
                let more = self.extension_links.get(first..).unwrap_or_default();
                several.extend(more.iter().take(extension.links as usize));
            }
            drop_short_names(&mut several, 0);
            links.extend(several.iter().map(in_file));
        }
        self.scan.links = links;
        self.raw_links = Vec::new();
    }

    /// Sets the generation of each deleted file to the one that references to it carry.
    ///
    /// A deleted file's record has a sequence number one ahead where freeing added one. Where it did not, some
    /// file may still refer to it with the very number; then references that are one behind mean an older file,
    /// as they also do when their file was last changed before this one was born.
    ///
    /// The result is `owned` without what belongs to an older file of the same record.
    fn settle_generations(&mut self, mut owned: Vec<(u32, Extension)>) -> Vec<(u32, Extension)> {
        let mut exact = vec![false; self.scan.files.len()];
        for (file, extension) in &owned {
            let generation = self.scan.files.get(*file as usize).map(|file| file.generation);
            if let (true, Some(exact)) =
                (generation == Some(extension.base.sequence), exact.get_mut(*file as usize))
            {
                *exact = true;
            }
        }
        let mut some_exact = false;
        self.for_each_deleted_parent(|parent, file, link, _| {
            if let (true, Some(exact)) = (file.generation == link.parent_generation, exact.get_mut(parent)) {
                *exact = true;
                some_exact = true;
            }
        });
        if some_exact {
            self.for_each_deleted_parent(|parent, file, _, child| {
                if let (true, Some(exact)) = (child.changed < file.created, exact.get_mut(parent)) {
                    *exact = true;
                }
            });
        }
        for (file, exact) in self.scan.files.iter_mut().zip(exact) {
            if file.flags.contains(FileFlags::REMOVED) && !exact {
                file.generation = match file.generation {
                    1 => u16::MAX,
                    sequence => sequence.saturating_sub(1),
                };
            }
        }
        owned.retain(|(file, extension)| {
            self.scan.files.get(*file as usize).map(|file| file.generation) == Some(extension.base.sequence)
        });
        owned
    }

    /// Calls `each` with every deleted directory that a name refers to by its record: its index and itself, the
    /// name, and the file that has the name.
    fn for_each_deleted_parent(&self, mut each: impl FnMut(usize, &File, &Link, &File)) {
        let files = &self.scan.files;
        let wanted = FileFlags::REMOVED | FileFlags::DIRECTORY;
        let mut last: (u32, Option<(usize, &File)>) = (u32::MAX, None);
        for (file, links) in files.iter().zip(self.raw_link_ranges()) {
            for raw in self.raw_links.get(links).unwrap_or_default() {
                if raw.link.parent != last.0 {
                    let index = files.binary_search_by_key(&raw.link.parent, |file| file.record).ok();
                    let parent = index.and_then(|index| Some((index, files.get(index)?)));
                    last = (raw.link.parent, parent.filter(|(_, parent)| parent.flags.contains(wanted)));
                }
                if let Some((index, parent)) = last.1 {
                    each(index, parent, &raw.link, file);
                }
            }
        }
    }

    /// By file: where its own links are, before they are put together with those of extension records.
    fn raw_link_ranges(&self) -> impl Iterator<Item = Range<usize>> {
        let ends = self.scan.files.iter().skip(1).map(|file| file.first_link as usize);
        let ends = ends.chain([self.raw_links.len()]);
        self.scan.files.iter().zip(ends).map(|(file, end)| file.first_link as usize..end)
    }
}
