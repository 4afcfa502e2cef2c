//! Puts the pieces of a scan together: one list of files, each with all its names.

use undelfs_source::ErrorKind;
use undelfs_volume::{
    Error,
    filesystem::{Claim, File, FileFlags, Link, Scan},
};

use crate::{
    batch::{Batch, Extension, RawLink, drop_short_names},
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
    for (file, extension) in &owned {
        all.give_to_base(*file, extension);
    }
    all.emit_links(&owned);
    all.settle_generations(&owned);
    if all.more_notes > 0 {
        all.scan
            .notes
            .push(format!("{} more damaged records", all.more_notes));
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
    more_notes: u64,
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
        scan.files.extend(batch.files.into_iter().map(|f| File {
            first_link: f.first_link.saturating_add(links),
            ..f
        }));
        scan.claims.extend(batch.claims.into_iter().map(|c| Claim {
            owner: c.owner.saturating_add(owners),
            ..c
        }));
        scan.owners.extend(batch.owners);
        scan.names.extend(batch.names);
        self.raw_links.extend(batch.links.into_iter().map(move_link));
        self.extension_links
            .extend(batch.extension_links.into_iter().map(move_link));
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
        self.more_notes = self
            .more_notes
            .saturating_add(batch.more_notes)
            .saturating_add(left_out);
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

    fn give_to_base(&mut self, file: u32, extension: &Extension) {
        let Some(base) = self.scan.files.get_mut(file as usize) else {
            return;
        };
        base.clusters = base.clusters.saturating_add(extension.facts.clusters);
        base.flags.set(
            FileFlags::DAMAGED,
            base.flags.contains(FileFlags::DAMAGED) || extension.facts.damaged,
        );
        for (flag, set) in [
            (FileFlags::NAMED_STREAMS, extension.facts.named_streams),
            (FileFlags::ENCRYPTED, extension.facts.encrypted),
        ] {
            base.flags.set(flag, base.flags.contains(flag) || set);
        }
        if let (Some(size), true) = (extension.size, base.flags.contains(FileFlags::NO_CONTENT)) {
            base.size = size;
            base.flags.remove(FileFlags::NO_CONTENT);
        }
        if let Some(owner) = self.scan.owners.get_mut(extension.owner as usize) {
            owner.file = file;
            owner.latest = owner.latest.max(base.changed);
        }
    }

    /// Writes the names of all files, in the order of the files, those of extension records behind the others.
    fn emit_links(&mut self, owned: &[(u32, Extension)]) {
        let mut owned = owned.iter().peekable();
        let mut links: Vec<Link> = Vec::with_capacity(self.raw_links.len());
        let mut several: Vec<RawLink> = Vec::new();
        let ends: Vec<u32> = self
            .scan
            .files
            .iter()
            .skip(1)
            .map(|file| file.first_link)
            .collect();
        let raw_end = self.raw_links.len() as u32;
        let ends = ends.into_iter().chain([raw_end]);
        for ((index, file), end) in self.scan.files.iter_mut().enumerate().zip(ends) {
            let index = index as u32;
            let own = self
                .raw_links
                .get(file.first_link as usize..end as usize)
                .unwrap_or_default();
            file.first_link = links.len() as u32;
            let in_file = |raw: &RawLink| Link {
                file: index,
                ..raw.link
            };
            if !file.flags.contains(FileFlags::SEVERAL_RECORDS)
                && owned.peek().is_none_or(|(file, _)| *file != index)
            {
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
    fn settle_generations(&mut self, owned: &[(u32, Extension)]) {
        let Scan { files, links, .. } = &mut self.scan;
        let mut exact = vec![false; files.len()];
        let find = |files: &[File], link: &Link| {
            let parent = files.binary_search_by_key(&link.parent, |file| file.record).ok();
            parent.filter(|index| {
                files.get(*index).is_some_and(|file| {
                    file.flags.contains(FileFlags::REMOVED) && file.flags.contains(FileFlags::DIRECTORY)
                })
            })
        };
        for (index, extension) in owned {
            let same = files
                .get(*index as usize)
                .is_some_and(|file| file.generation == extension.base.sequence);
            if let (true, Some(exact)) = (same, exact.get_mut(*index as usize)) {
                *exact = true;
            }
        }
        let mut some_exact = false;
        for link in links.iter() {
            let Some(parent) = find(files, link) else { continue };
            let same = files
                .get(parent)
                .is_some_and(|file| file.generation == link.parent_generation);
            if let (true, Some(exact)) = (same, exact.get_mut(parent)) {
                *exact = true;
                some_exact = true;
            }
        }
        if some_exact {
            for link in links.iter() {
                let Some(parent) = find(files, link) else { continue };
                let born = files.get(parent).map(|file| file.created);
                let changed = files.get(link.file as usize).map(|file| file.changed);
                if let (true, Some(exact)) = (changed < born, exact.get_mut(parent)) {
                    *exact = true;
                }
            }
        }
        for (file, exact) in files.iter_mut().zip(exact) {
            if file.flags.contains(FileFlags::REMOVED) && !exact {
                file.generation = match file.generation {
                    1 => u16::MAX,
                    sequence => sequence.saturating_sub(1),
                };
            }
        }
    }
}
