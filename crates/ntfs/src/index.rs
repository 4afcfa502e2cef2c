//! Names that no attribute of a file's records has any more: index entries of directories, in force or in the slack of an
//! index block or FILE record, and `$FILE_NAME`s in the slack of the file's own records.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicU64, Ordering},
};

use rayon::prelude::*;
use undelfs_source::{
    ReadAt,
    bytes::{array, u64_at},
};
use undelfs_volume::filesystem::{File, FileFlags, Lost, Place, RunReader, Scan};

use crate::{
    Ntfs,
    attribute::{Form, kind},
    batch::ROOT,
    index_entry::{self, HEADER as ENTRY, STEP},
    journal::usn::is_plausible,
    name,
    record::{Reference, apply_fixups},
    streams::FileRecords,
    structures::{FileName, Namespace},
    table::Table,
};

/// Size of an index block in bytes on nearly all volumes.
pub(crate) const BLOCK: usize = 4096;
/// Most bytes of one directory's index that are read: a directory of a hundred thousand files has 16 MiB.
const MAX_INDEX: u64 = 64 << 20;

/// A name of a file in a directory, as an index entry tells it.
struct Evidence {
    /// Index of the file in [`Scan::files`].
    file: u32,
    parent: u32,
    parent_generation: u16,
    name: Vec<u8>,
}

/// The entries that `bytes` holds of the directory `parent`, in force or not.
fn entries(bytes: &[u8], parent: Reference) -> impl Iterator<Item = (Reference, FileName<'_>)> {
    let places = (0..bytes.len().saturating_sub(ENTRY)).step_by(STEP);
    places.filter_map(move |at| {
        let entry = bytes.get(at..)?;
        // Nearly all places fail here, and chance passes it once in 2^64.
        if Reference::new(u64_at(entry, ENTRY)?) != parent {
            return None;
        }
        let (file, name, _) = index_entry::parse(entry)?;
        Some((file, name))
    })
}

/// Adds the names of deleted files that are left in slack: for files without any name those in their own records, and
/// with `all` those of every file, also the ones that directories know.
pub(crate) fn add_names(ntfs: &Ntfs, scan: &mut Scan, all: bool) {
    let ends = scan.files.iter().skip(1).map(|file| file.first_link).chain([scan.links.len() as u32]);
    let files: Vec<(u32, &File, bool)> = (0u32..)
        .zip(scan.files.iter().zip(ends))
        .map(|(index, (file, end))| (index, file, end > file.first_link))
        .filter(|(_, file, named)| file.flags.contains(FileFlags::REMOVED) && (all || !named))
        .collect();
    let mut found: Vec<Evidence> =
        files.par_iter().flat_map_iter(|(index, file, _)| names_in_slack(ntfs, scan, *index, file)).collect();
    if all {
        // No volume has more indexes than bytes; one that pretends to must not take longer.
        let left = AtomicU64::new(ntfs.own.ground.volume.present());
        let directories = scan.files.par_iter().filter(|file| file.flags.contains(FileFlags::DIRECTORY));
        found.par_extend(directories.flat_map_iter(|directory| names_in(ntfs, scan, directory, &left)));
    }
    insert(scan, found);
}

/// What the slack of a file's own records has of its names. A name counts where it stands in a directory that is known
/// with the very generation.
fn names_in_slack(ntfs: &Ntfs, scan: &Scan, index: u32, file: &File) -> Vec<Evidence> {
    let table = ntfs.table_of(file.record);
    let Ok(records) = FileRecords::scanned(ntfs, file) else { return Vec::new() };
    let mut found = Vec::new();
    for slack in records.slack() {
        for content in (0..slack.len()).step_by(STEP).filter_map(|at| slack.get(at..)) {
            let sound = |name: &FileName<'_>| {
                name.namespace != Namespace::Dos && name.is_possible() && is_plausible(name.changed)
            };
            let Some(name) = FileName::parse(content).filter(sound) else {
                continue;
            };
            let parent = match u32::try_from(name.parent.record) {
                Ok(ROOT) => Some(ROOT),
                _ => table.number(name.parent.record),
            };
            let directory = parent
                .and_then(|parent| scan.files.binary_search_by_key(&parent, |file| file.record).ok())
                .and_then(|index| scan.files.get(index));
            let known = directory.filter(|directory| {
                directory.flags.contains(FileFlags::DIRECTORY) && directory.generation == name.parent.sequence
            });
            if let Some(directory) = known {
                found.push(Evidence {
                    file: index,
                    parent: directory.record,
                    parent_generation: directory.generation,
                    name: name::to_wtf8(name.name),
                });
            }
        }
    }
    found
}

/// What one directory knows of deleted files.
///
/// `left` is how many bytes of indexes may still be read.
fn names_in(ntfs: &Ntfs, scan: &Scan, directory: &File, left: &AtomicU64) -> Vec<Evidence> {
    let table = ntfs.table_of(directory.record);
    let Ok(records) = FileRecords::scanned(ntfs, directory) else { return Vec::new() };
    let number = u64::from(directory.record.saturating_sub(table.first));
    let parent = Reference { record: number, sequence: directory.generation };
    let mut found = Vec::new();
    let mut look = |bytes: &[u8]| {
        for (reference, name) in entries(bytes, parent) {
            let Some(record) = table.number(reference.record) else { continue };
            let Ok(index) = scan.files.binary_search_by_key(&record, |file| file.record) else { continue };
            let Some(file) = scan.files.get(index) else { continue };
            let same = file.flags.contains(FileFlags::REMOVED) && file.generation == reference.sequence;
            if same && name.namespace != Namespace::Dos {
                found.push(Evidence {
                    file: index as u32,
                    parent: directory.record,
                    parent_generation: directory.generation,
                    name: name::to_wtf8(name.name),
                });
            }
        }
    };
    pieces(&records, table, left, &mut look);
    found
}

/// Calls `look` with the bytes of the records of a directory, and with each block of its index.
///
/// `left` is how many bytes of indexes may still be read.
pub(crate) fn look_into(ntfs: &Ntfs, directory: &File, left: &AtomicU64, look: &mut dyn FnMut(&[u8])) {
    if let Ok(records) = FileRecords::scanned(ntfs, directory) {
        pieces(&records, ntfs.table_of(directory.record), left, look);
    }
}

fn pieces(records: &FileRecords, table: &Table, left: &AtomicU64, look: &mut dyn FnMut(&[u8])) {
    records.bytes().for_each(&mut *look);
    let indexes = records.attributes().filter(|attribute| attribute.kind() == kind::INDEX_ALLOCATION);
    for attribute in indexes {
        let Some(Form::NonResident(form)) = attribute.form() else { continue };
        let ground = &table.ground;
        let (runs, _) = ground.runs(form.mapping_pairs, form.lowest_vcn);
        for run in runs {
            let size = run.count.saturating_mul(ground.boot.bytes_per_cluster.into()).min(MAX_INDEX);
            let size = size.min(ground.volume.present());
            let take = |left: u64| left.checked_sub(size);
            let allowed = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
            if !allowed || !matches!(run.place, Place::At(_)) {
                continue;
            }
            let first = undelfs_volume::filesystem::Run { first: 0, ..run };
            let cluster = ground.boot.bytes_per_cluster;
            let reader =
                RunReader::new(ground.volume.clone(), [first].into(), cluster, size, size, Lost::Error);
            let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
            reader.read_salvage(&mut bytes, 0);
            for block in bytes.chunks_mut(BLOCK) {
                // A block of the directory as it was may have been reused for anything.
                if array::<4>(block, 0) == Some(*b"INDX") && apply_fixups(block).is_some() {
                    look(block);
                }
            }
        }
    }
}

/// Puts `found` among the names of the files, each once.
fn insert(scan: &mut Scan, mut found: Vec<Evidence>) {
    let name_of = |scan: &Scan, link: &undelfs_volume::filesystem::Link| {
        let start = link.name_at as usize;
        scan.names.get(start..start.saturating_add(link.name_len.into())).map(<[u8]>::to_vec)
    };
    let wanted: HashSet<u32> = found.iter().map(|evidence| evidence.file).collect();
    let known: HashSet<(u32, u32, Vec<u8>)> = scan
        .links
        .iter()
        .filter(|link| wanted.contains(&link.file))
        .filter_map(|link| Some((link.file, link.parent, name_of(scan, link)?)))
        .collect();
    found.retain(|evidence| !known.contains(&(evidence.file, evidence.parent, evidence.name.clone())));
    found.sort_by(|a, b| (a.file, a.parent, &a.name).cmp(&(b.file, b.parent, &b.name)));
    found.dedup_by(|a, b| (a.file, a.parent, &a.name) == (b.file, b.parent, &b.name));
    if found.is_empty() {
        return;
    }
    let mut links = Vec::with_capacity(scan.links.len().saturating_add(found.len()));
    let mut found = found.into_iter().peekable();
    let mut old = scan.links.iter().copied().peekable();
    for (index, file) in (0u32..).zip(&mut scan.files) {
        file.first_link = links.len() as u32;
        while let Some(link) = old.next_if(|link| link.file == index) {
            links.push(link);
        }
        while let Some(evidence) = found.next_if(|evidence| evidence.file == index) {
            let (Ok(name_at), Ok(name_len)) =
                (u32::try_from(scan.names.len()), u16::try_from(evidence.name.len()))
            else {
                continue;
            };
            scan.names.extend(&evidence.name);
            file.flags.insert(FileFlags::SLACK_NAME);
            links.push(undelfs_volume::filesystem::Link {
                file: index,
                parent: evidence.parent,
                parent_generation: evidence.parent_generation,
                name_len,
                name_at,
            });
        }
    }
    scan.links = links;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::index_entry::tests::index_entry;

    fn entry(file: u64, sequence: u16, parent: u64, parent_sequence: u16, name: &str) -> Vec<u8> {
        index_entry((file, sequence), (parent, parent_sequence), name)
    }

    #[test]
    fn entries_of_the_directory_are_found_wherever_they_stand_and_those_of_others_are_not() {
        let mut bytes = vec![0xAA; 64];
        bytes.extend(entry(100, 3, 40, 2, "first.txt"));
        bytes.extend(vec![0x55; 24]);
        bytes.extend(entry(101, 1, 41, 2, "of another directory"));
        bytes.extend(entry(102, 1, 40, 9, "of an earlier directory"));
        bytes.extend(entry(103, 7, 40, 2, "слэк 🎈"));
        let found: Vec<_> = entries(&bytes, Reference { record: 40, sequence: 2 })
            .map(|(file, name)| (file.record, file.sequence, name::to_wtf8(name.name)))
            .collect();
        assert_eq!(found, [(100, 3, b"first.txt".to_vec()), (103, 7, "слэк 🎈".as_bytes().to_vec())]);
        assert_eq!(entries(&bytes[..bytes.len() - 8], Reference { record: 40, sequence: 2 }).count(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_searched_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let parent = Reference::new(u64_at(&bytes, 24).unwrap_or(5));
            for (_, name) in entries(&bytes, parent) {
                prop_assert!(!name.name.is_empty());
            }
        }
    }
}
