//! What one piece of `$MFT` gives: files, and parts of files whose base record may be in another piece.

use std::sync::atomic::{AtomicU64, Ordering};

use undelfs_source::ReadAt;
use undelfs_volume::filesystem::{Claim, File, FileFlags, FileTime, Link, Owner, Place, Scan, Want};

use crate::{
    attribute::{Attribute, ENCRYPTED, Form, NonResident, kind},
    mft::{Ground, MAX_LIST},
    name,
    record::{Record, Reference},
    reparse_point,
    runs::Runs,
    structures::{FileName, Namespace, StandardInformation},
    table::Table,
};

/// `FILE_ATTRIBUTE_SYSTEM`.
const SYSTEM: u32 = 0x4;
/// `FILE_ATTRIBUTE_REPARSE_POINT`.
const REPARSE_POINT: u32 = 0x400;
/// Records that NTFS keeps for itself; the root directory is among them.
const RESERVED_RECORDS: u32 = 16;
/// Index of the owner that stands for all live files.
const LIVE_OWNER: u32 = 0;
/// Largest size of a stream in bytes.
pub(crate) const MAX_SIZE: u64 = i64::MAX.cast_unsigned();
/// Record of the root directory.
pub(crate) const ROOT: u32 = 5;
/// Record of the directory `$Extend`.
const EXTEND: u64 = 11;

/// How records are to be read.
pub(crate) struct Reader<'a> {
    table: &'a Table,
    ground: &'a Ground,
    want: Want,
    /// Clusters that the source has.
    present: u64,
    /// Bytes of attribute lists in clusters that may still be read.
    lists: AtomicU64,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(table: &'a Table, want: Want) -> Self {
        let ground = &table.ground;
        let cluster = u64::from(ground.boot.bytes_per_cluster);
        let bytes = ground.volume.present();
        let present = bytes.checked_div(cluster).unwrap_or(0).min(ground.boot.clusters());
        // No volume has more lists than bytes; one that pretends to must not take longer.
        Self { table, ground, want, present, lists: AtomicU64::new(bytes) }
    }

    fn cluster(&self) -> u64 {
        u64::from(self.ground.boot.bytes_per_cluster)
    }

    /// Whether the records are of an earlier generation of the volume.
    pub(crate) fn is_earlier(&self) -> bool {
        self.table.formatted.is_some()
    }

    /// What the attribute list of a base record says; `None` where it has none.
    fn list(&self, number: u32, record: &Record<'_>, covered: u64) -> Option<List> {
        let list = record.attributes().find(|attribute| attribute.kind() == kind::ATTRIBUTE_LIST)?;
        let bytes = match list.form() {
            Some(Form::NonResident(form)) => form.size.min(MAX_LIST),
            _ => 0,
        };
        let take = |left: u64| left.checked_sub(bytes);
        let allowed = self.lists.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        let entries = allowed.then(|| self.ground.attribute_list(record)).flatten().unwrap_or_default();
        let table = self.table;
        let mut holders: Vec<u64> =
            entries.iter().filter_map(|entry| table.number(entry.holder.record)).map(u64::from).collect();
        holders.sort_unstable();
        holders.dedup();
        holders.retain(|holder| *holder != u64::from(number));
        let covered = covered.saturating_mul(self.cluster());
        Some(List { record: number, holders: holders.len(), covered })
    }
}

/// A name as it was met, before short names that stand beside long ones are left out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawLink {
    pub(crate) link: Link,
    pub(crate) short: bool,
}

/// What an extension record tells of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extension {
    pub(crate) base: Reference,
    pub(crate) record: u32,
    pub(crate) removed: bool,
    /// Size of the unnamed stream, where this record begins it.
    pub(crate) size: Option<u64>,
    pub(crate) tally: Tally,
    /// Bytes of the unnamed stream that this record describes.
    pub(crate) covered: u64,
    /// Index of the first of its names in [`Batch::extension_links`].
    pub(crate) first_link: u32,
    /// How many names it has.
    pub(crate) links: u32,
    /// Index of its owner in [`Batch::owners`]; `u32::MAX` where it claims nothing.
    pub(crate) owner: u32,
}

/// What the attributes of one record add up to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Clusters on the volume.
    pub(crate) clusters: u64,
    /// Clusters of the unnamed stream whose place is described, holes too; those of the table that the record is in.
    pub(crate) covered: u64,
    pub(crate) named_streams: bool,
    pub(crate) damaged: bool,
    pub(crate) encrypted: bool,
    pub(crate) resident: bool,
    pub(crate) link: bool,
    /// Some clusters lie where the source has no bytes.
    pub(crate) beyond: bool,
}

impl Tally {
    /// True where the place of every byte of an unnamed stream of `size` bytes is described.
    pub(crate) fn covers(&self, size: Option<u64>, cluster: u64) -> bool {
        self.resident || size.is_none_or(|size| self.covered.saturating_mul(cluster) >= size)
    }
}

/// What the attribute list of a file says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct List {
    /// The base record.
    pub(crate) record: u32,
    /// How many other records hold attributes of the file. A list that was cut, as ntfs-3g does on deletion, may
    /// name fewer than there are.
    pub(crate) holders: usize,
    /// Bytes of the unnamed stream that the base record describes.
    pub(crate) covered: u64,
}

/// What one piece of `$MFT` gives.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) files: Vec<File>,
    pub(crate) links: Vec<RawLink>,
    pub(crate) names: Vec<u8>,
    pub(crate) claims: Vec<Claim>,
    pub(crate) owners: Vec<Owner>,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) extension_links: Vec<RawLink>,
    pub(crate) lists: Vec<List>,
    pub(crate) notes: Vec<String>,
    pub(crate) more_notes: u64,
    /// Records in whose place something else stands.
    pub(crate) foreign: u64,
    /// Records that cannot be read.
    pub(crate) missing: u64,
}

/// What is known of a record while its attributes are read.
#[derive(Default)]
struct Sight {
    tally: Tally,
    info: Option<StandardInformation>,
    latest: FileTime,
    name_attributes: u32,
    name_tag: u32,
    tag: Option<u32>,
    size: Option<u64>,
    interix: bool,
    list: bool,
    index: bool,
}

impl Batch {
    /// Notes damage, and only counts it when there is much.
    pub(crate) fn note(&mut self, note: impl FnOnce() -> String) {
        if self.notes.len() < Scan::MAX_NOTES {
            self.notes.push(note());
        } else {
            self.more_notes = self.more_notes.saturating_add(1);
        }
    }

    /// Adds what one record tells. `was_live`: it describes a file that existed when the volume was formatted anew.
    pub(crate) fn add(&mut self, reader: &Reader<'_>, number: u32, record: &Record<'_>, was_live: bool) {
        if reader.is_earlier() && number < RESERVED_RECORDS {
            return;
        }
        let Some(number) = reader.table.number(number.into()) else { return };
        let live = record.in_use();
        let needed = record.is_directory() || record.base().is_some();
        let wanted = if live { reader.want.regular || needed } else { reader.want.removed };
        // Claims of deleted and live files decide what is overwritten; nobody asks for that of live files.
        let claims = reader.want.removed;
        if !wanted && !claims {
            return;
        }
        let owner = claims.then(|| self.owner(reader, record));
        let links = self.next_link(record);
        let sight = self.look(reader, record, owner, wanted);
        let latest =
            reader.table.formatted.filter(|_| was_live).map_or(sight.latest, |time| time.max(sight.latest));
        self.close_owner(owner, latest, number);
        if let Some(base) = record.base() {
            let Some(base_number) = reader.table.number(base.record) else { return };
            let base = Reference { record: base_number.into(), ..base };
            let owners = self.owners.len() as u32;
            self.extensions.push(Extension {
                base,
                record: number,
                removed: !live,
                size: sight.size,
                tally: sight.tally,
                covered: sight.tally.covered.saturating_mul(reader.cluster()),
                first_link: links,
                links: (self.extension_links.len() as u32).saturating_sub(links),
                owner: owner.filter(|owner| *owner < owners && *owner != LIVE_OWNER).unwrap_or(u32::MAX),
            });
            return;
        }
        let named = self.links.get(links as usize).is_some();
        let known = named || sight.size.is_some() || sight.list || sight.index;
        if wanted && known {
            if sight.list {
                self.lists.extend(reader.list(number, record, sight.tally.covered));
            }
            self.push_file(reader, number, record, &sight, links);
        }
    }

    fn next_link(&self, record: &Record<'_>) -> u32 {
        let links = if record.base().is_some() { &self.extension_links } else { &self.links };
        links.len() as u32
    }

    /// The owner of what a record claims. All live files are one.
    fn owner(&mut self, reader: &Reader<'_>, record: &Record<'_>) -> u32 {
        if self.owners.is_empty() {
            self.owners.push(Owner { file: u32::MAX, live: true, journal: 0, latest: FileTime(0) });
        }
        if record.in_use() {
            return LIVE_OWNER;
        }
        // The journal begins anew with the volume.
        let journal = if reader.is_earlier() { 0 } else { record.journal() };
        self.owners.push(Owner { file: u32::MAX, live: false, journal, latest: FileTime(0) });
        (self.owners.len() as u32).saturating_sub(1)
    }

    /// Completes the owner with what its attributes told, or drops it where it claimed nothing.
    fn close_owner(&mut self, owner: Option<u32>, latest: FileTime, number: u32) {
        let Some(index) = owner.filter(|index| *index != LIVE_OWNER) else { return };
        if self.claims.last().is_none_or(|claim| claim.owner != index) {
            self.owners.truncate(index as usize);
        } else if let Some(owner) = self.owners.get_mut(index as usize) {
            owner.latest = latest;
            // Until all pieces are merged an owner names its record, not its file.
            owner.file = number;
        }
    }

    fn look(&mut self, reader: &Reader<'_>, record: &Record<'_>, owner: Option<u32>, wanted: bool) -> Sight {
        let mut sight = Sight::default();
        let extension = record.base().is_some();
        let first_link = self.next_link(record) as usize;
        let mut attributes = record.attributes();
        for attribute in attributes.by_ref() {
            match attribute.kind() {
                kind::STANDARD_INFORMATION => {
                    sight.info = attribute.resident().and_then(StandardInformation::parse);
                    if let Some(info) = sight.info {
                        sight.latest = sight.latest.max(info.changed);
                    }
                }
                kind::ATTRIBUTE_LIST => sight.list = true,
                kind::FILE_NAME => {
                    if let Some(name) = attribute.resident().and_then(FileName::parse) {
                        sight.latest = sight.latest.max(name.created).max(name.changed);
                        sight.name_attributes = name.attributes;
                        sight.name_tag = name.reparse_tag;
                        if wanted {
                            self.push_link(reader, &name, extension);
                        }
                    } else {
                        sight.tally.damaged = true;
                    }
                }
                kind::DATA => sight.data(&attribute),
                kind::INDEX_ROOT => sight.index = true,
                kind::REPARSE_POINT => sight.tag = attribute.resident().and_then(reparse_point::tag),
                _ => {}
            }
            if !attribute.is_non_resident() {
                continue;
            }
            let Some(Form::NonResident(form)) = attribute.form() else { continue };
            let covered = self.claim(reader, &form, owner, &mut sight.tally);
            if attribute.kind() == kind::DATA && attribute.is_unnamed() {
                sight.tally.covered = sight.tally.covered.saturating_add(covered);
            }
        }
        sight.tally.damaged |= !attributes.is_complete() || record.damaged();
        sight.tally.link = sight.tag.is_some_and(reparse_point::is_link);
        if !extension && !sight.list {
            drop_short_names(&mut self.links, first_link);
        }
        sight
    }

    fn push_link(&mut self, reader: &Reader<'_>, name: &FileName<'_>, extension: bool) {
        let parent = match u32::try_from(name.parent.record) {
            // The root directory of every generation is that of the volume.
            Ok(ROOT) => Some(ROOT),
            _ => reader.table.number(name.parent.record),
        };
        let (Some(parent), Ok(name_at)) = (parent, u32::try_from(self.names.len())) else {
            return;
        };
        let before = self.names.len();
        name::push_wtf8(name.name, &mut self.names);
        let name_len = self.names.len().saturating_sub(before) as u16;
        let link =
            Link { file: u32::MAX, parent, parent_generation: name.parent.sequence, name_len, name_at };
        let raw = RawLink { link, short: name.namespace == Namespace::Dos };
        if extension { self.extension_links.push(raw) } else { self.links.push(raw) }
    }

    /// Counts the clusters of an attribute, and notes as claimed those that the source has. Says how many clusters
    /// the attribute describes, holes too.
    fn claim(
        &mut self,
        reader: &Reader<'_>,
        form: &NonResident<'_>,
        owner: Option<u32>,
        tally: &mut Tally,
    ) -> u64 {
        let mut covered = 0_u64;
        for run in Runs::new(form.mapping_pairs, form.lowest_vcn, reader.ground.boot.clusters()) {
            let Ok(run) = run else {
                tally.damaged = true;
                break;
            };
            covered = covered.saturating_add(run.count);
            let Place::At(first) = run.place else { continue };
            tally.clusters = tally.clusters.saturating_add(run.count.saturating_mul(reader.table.factor));
            let left = run.count.min(reader.present.saturating_sub(first));
            tally.beyond |= left < run.count;
            let Some(owner) = owner else { continue };
            let mut first = first.saturating_mul(reader.table.factor);
            let mut left = left.saturating_mul(reader.table.factor);
            while left > 0 {
                let count = u32::try_from(left).unwrap_or(u32::MAX);
                self.claims.push(Claim { first, count, owner });
                first = first.saturating_add(u64::from(count));
                left = left.saturating_sub(u64::from(count));
            }
        }
        // The highest cluster of an empty stream is written as -1.
        let stated = form.highest_vcn.wrapping_add(1).saturating_sub(form.lowest_vcn);
        tally.damaged |= covered < stated;
        covered
    }

    fn push_file(
        &mut self,
        reader: &Reader<'_>,
        number: u32,
        record: &Record<'_>,
        sight: &Sight,
        first_link: u32,
    ) {
        let live = record.in_use();
        let named = self.links.get(first_link as usize);
        let extend = named.is_some_and(|raw| u64::from(raw.link.parent) == EXTEND);
        let metadata = live && ((number < RESERVED_RECORDS && number != ROOT) || extend);
        let attributes = sight.info.map_or(sight.name_attributes, |info| info.attributes);
        let tag = sight.tag.or_else(|| (attributes & REPARSE_POINT != 0).then_some(sight.name_tag));
        let link = tag.is_some_and(reparse_point::is_link) || (sight.interix && attributes & SYSTEM != 0);
        let directory = record.is_directory();
        let mut flags = FileFlags::empty();
        flags.set(FileFlags::REMOVED, !live);
        flags.set(FileFlags::DIRECTORY, directory && !link);
        flags.set(FileFlags::LINK, link);
        flags.set(FileFlags::NAMED_STREAMS, sight.tally.named_streams);
        flags.set(FileFlags::RESIDENT, sight.tally.resident);
        let short = !sight.list && !sight.tally.covers(sight.size, reader.cluster());
        flags.set(FileFlags::DAMAGED, sight.tally.damaged || short);
        flags.set(FileFlags::BEYOND_END, sight.tally.beyond);
        flags.set(FileFlags::SEVERAL_RECORDS, sight.list);
        flags.set(FileFlags::NO_CONTENT, !directory && !link && sight.size.is_none());
        flags.set(FileFlags::ENCRYPTED, sight.tally.encrypted);
        flags.set(FileFlags::METADATA, metadata);
        let elsewhere = |tag| reparse_point::is_elsewhere(tag, attributes);
        flags.set(FileFlags::ELSEWHERE, !directory && tag.is_some_and(elsewhere));
        let time =
            |pick: fn(&StandardInformation) -> FileTime| sight.info.as_ref().map_or(sight.latest, pick);
        self.files.push(File {
            record: number,
            generation: record.sequence(),
            flags,
            attributes,
            first_link,
            size: sight.size.unwrap_or(0),
            clusters: sight.tally.clusters,
            created: time(|info| info.created),
            modified: time(|info| info.modified),
            changed: time(|info| info.changed),
            accessed: time(|info| info.accessed),
        });
    }
}

impl Sight {
    fn data(&mut self, attribute: &Attribute<'_>) {
        let unnamed = attribute.is_unnamed();
        let begins = match attribute.form() {
            Some(Form::NonResident(form)) if form.size > MAX_SIZE => {
                self.tally.damaged = true;
                None
            }
            Some(Form::NonResident(form)) => (form.lowest_vcn == 0).then_some(form.size),
            Some(Form::Resident(content)) => {
                self.tally.resident |= unnamed;
                self.interix |= unnamed && content.starts_with(reparse_point::INTERIX_LINK);
                Some(content.len() as u64)
            }
            None => {
                self.tally.damaged = true;
                return;
            }
        };
        if !unnamed {
            self.tally.named_streams = true;
            return;
        }
        self.tally.encrypted |= attribute.flags() & ENCRYPTED != 0;
        self.size = self.size.or(begins);
    }
}

/// Leaves out each short name that stands beside a long one in the same directory, among `links[from..]`.
pub(crate) fn drop_short_names(links: &mut Vec<RawLink>, from: usize) {
    let place = |raw: &RawLink| (raw.link.parent, raw.link.parent_generation);
    match links.get(from..) {
        None => {}
        Some(all) if !all.iter().any(|raw| raw.short) => {}
        Some([a, b]) if a.short != b.short && place(a) == place(b) => {
            let short = if a.short { from } else { from.saturating_add(1) };
            links.remove(short);
        }
        Some(all) => {
            let mut long: Vec<_> = all.iter().filter(|raw| !raw.short).map(place).collect();
            long.sort_unstable();
            let kept: Vec<_> = all
                .iter()
                .filter(|raw| !raw.short || long.binary_search(&place(raw)).is_err())
                .copied()
                .collect();
            links.truncate(from);
            links.extend(kept);
        }
    }
}
