//! What one piece of `$MFT` gives: files, and parts of files whose base record may be in another piece.

use undelfs_volume::filesystem::{Claim, File, FileFlags, FileTime, Link, Owner, Place, Scan, Want};

use crate::{
    attribute::{Attribute, ENCRYPTED, Form, NonResident, kind},
    mft::Ground,
    name,
    record::{Record, Reference},
    reparse_point,
    runs::Runs,
    structures::{FileName, Namespace, StandardInformation},
};

/// `FILE_ATTRIBUTE_SYSTEM`.
const SYSTEM: u32 = 0x4;
/// `FILE_ATTRIBUTE_REPARSE_POINT`.
const REPARSE_POINT: u32 = 0x400;
/// Records that NTFS keeps for itself; the root directory is among them.
const RESERVED_RECORDS: u32 = 16;
/// Index of the owner that stands for all live files.
const LIVE_OWNER: u32 = 0;
/// Record of the root directory.
pub(crate) const ROOT: u32 = 5;
/// Record of the directory `$Extend`.
const EXTEND: u64 = 11;

/// How records are to be read.
pub(crate) struct Reader<'a> {
    pub(crate) ground: &'a Ground,
    pub(crate) want: Want,
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
    pub(crate) facts: Facts,
    /// Index of the first of its names in [`Batch::extension_links`].
    pub(crate) first_link: u32,
    /// How many names it has.
    pub(crate) links: u32,
    /// Index of its owner in [`Batch::owners`]; `u32::MAX` where it claims nothing.
    pub(crate) owner: u32,
}

/// What the attributes of one record add up to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Facts {
    pub(crate) clusters: u64,
    pub(crate) named_streams: bool,
    pub(crate) damaged: bool,
    pub(crate) encrypted: bool,
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
    pub(crate) notes: Vec<String>,
    pub(crate) more_notes: u64,
}

/// What is known of a record while its attributes are read.
#[derive(Default)]
struct Sight {
    facts: Facts,
    info: Option<StandardInformation>,
    latest: FileTime,
    name_attributes: u32,
    name_tag: u32,
    tag: Option<u32>,
    size: Option<u64>,
    resident: bool,
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

    /// Adds what one record tells.
    pub(crate) fn add(&mut self, reader: &Reader<'_>, number: u32, record: &Record<'_>) {
        let live = record.in_use();
        let needed = record.is_directory() || record.base().is_some();
        let wanted = if live {
            reader.want.regular || needed
        } else {
            reader.want.removed
        };
        // Claims of deleted and live files decide what is overwritten; nobody asks for that of live files.
        let claims = reader.want.removed;
        if !wanted && !claims {
            return;
        }
        let owner = claims.then(|| self.owner(record));
        let links = self.files_links(record);
        let sight = self.look(reader, record, owner, wanted);
        self.close_owner(owner, &sight, number);
        if let Some(base) = record.base() {
            let owners = self.owners.len() as u32;
            self.extensions.push(Extension {
                base,
                record: number,
                removed: !live,
                size: sight.size,
                facts: Facts {
                    damaged: sight.facts.damaged || record.damaged(),
                    ..sight.facts
                },
                first_link: links,
                links: (self.extension_links.len() as u32).saturating_sub(links),
                owner: owner.filter(|owner| *owner < owners && *owner != LIVE_OWNER).unwrap_or(u32::MAX),
            });
            return;
        }
        let named = self.links.get(links as usize).is_some();
        let known = named || sight.size.is_some() || sight.list || sight.index;
        if wanted && known {
            self.push_file(number, record, &sight, links);
        }
    }

    fn files_links(&self, record: &Record<'_>) -> u32 {
        let links = if record.base().is_some() {
            &self.extension_links
        } else {
            &self.links
        };
        links.len() as u32
    }

    fn owner(&mut self, record: &Record<'_>) -> u32 {
        let live = record.in_use();
        let owner = Owner {
            file: u32::MAX,
            live,
            journal: record.journal(),
            latest: FileTime(0),
        };
        self.owners.push(owner);
        (self.owners.len() as u32).saturating_sub(1)
    }

    /// Completes the owner with what its attributes told, or drops it where it claimed nothing.
    fn close_owner(&mut self, owner: Option<u32>, sight: &Sight, number: u32) {
        let Some(index) = owner else { return };
        if self.claims.last().is_none_or(|claim| claim.owner != index) {
            self.owners.truncate(index as usize);
        } else if let Some(owner) = self.owners.get_mut(index as usize) {
            owner.latest = sight.latest;
            // Until all pieces are merged an owner names its record, not its file.
            owner.file = number;
        }
    }

    fn look(&mut self, reader: &Reader<'_>, record: &Record<'_>, owner: Option<u32>, wanted: bool) -> Sight {
        let mut sight = Sight::default();
        let extension = record.base().is_some();
        let first_link = self.files_links(record) as usize;
        for attribute in record.attributes() {
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
                            self.push_link(&name, extension);
                        }
                    } else {
                        sight.facts.damaged = true;
                    }
                }
                kind::DATA => sight.data(&attribute),
                kind::INDEX_ROOT => sight.index = true,
                kind::REPARSE_POINT => sight.tag = attribute.resident().and_then(reparse_point::tag),
                _ => {}
            }
            let Some(Form::NonResident(form)) =
                attribute.is_non_resident().then(|| attribute.form()).flatten()
            else {
                continue;
            };
            self.claim(reader, &form, owner, &mut sight.facts);
        }
        if !extension && !sight.list {
            drop_short_names(&mut self.links, first_link);
        }
        sight
    }

    fn push_link(&mut self, name: &FileName<'_>, extension: bool) {
        let (Ok(parent), Ok(name_at)) = (u32::try_from(name.parent.record), u32::try_from(self.names.len()))
        else {
            return;
        };
        let before = self.names.len();
        name::push_wtf8(name.name, &mut self.names);
        let name_len = self.names.len().saturating_sub(before) as u16;
        let link = Link {
            file: u32::MAX,
            parent,
            parent_generation: name.parent.sequence,
            name_len,
            name_at,
        };
        let raw = RawLink {
            link,
            short: name.namespace == Namespace::Dos,
        };
        if extension {
            self.extension_links.push(raw)
        } else {
            self.links.push(raw)
        }
    }

    /// Counts the clusters of an attribute, and notes them as claimed.
    fn claim(&mut self, reader: &Reader<'_>, form: &NonResident<'_>, owner: Option<u32>, facts: &mut Facts) {
        for run in Runs::new(form.mapping_pairs, form.lowest_vcn, reader.ground.boot.clusters()) {
            let Ok(run) = run else {
                facts.damaged = true;
                return;
            };
            let Place::At(mut first) = run.place else { continue };
            facts.clusters = facts.clusters.saturating_add(run.count);
            let (Some(owner), mut left) = (owner, run.count) else {
                continue;
            };
            while left > 0 {
                let count = u32::try_from(left).unwrap_or(u32::MAX);
                self.claims.push(Claim { first, count, owner });
                first = first.saturating_add(u64::from(count));
                left = left.saturating_sub(u64::from(count));
            }
        }
    }

    fn push_file(&mut self, number: u32, record: &Record<'_>, sight: &Sight, first_link: u32) {
        let live = record.in_use();
        let named = self.links.get(first_link as usize);
        let extend = named.is_some_and(|raw| u64::from(raw.link.parent) == EXTEND);
        let metadata = live && ((number < RESERVED_RECORDS && number != ROOT) || extend);
        let attributes = sight.info.map_or(sight.name_attributes, |info| info.attributes);
        let tag = sight
            .tag
            .or_else(|| (attributes & REPARSE_POINT != 0).then_some(sight.name_tag));
        let link = tag.is_some_and(reparse_point::is_link) || (sight.interix && attributes & SYSTEM != 0);
        let directory = record.is_directory();
        let mut flags = FileFlags::empty();
        flags.set(FileFlags::REMOVED, !live);
        flags.set(FileFlags::DIRECTORY, directory && !link);
        flags.set(FileFlags::LINK, link);
        flags.set(FileFlags::NAMED_STREAMS, sight.facts.named_streams);
        flags.set(FileFlags::RESIDENT, sight.resident);
        flags.set(FileFlags::DAMAGED, sight.facts.damaged || record.damaged());
        flags.set(FileFlags::SEVERAL_RECORDS, sight.list);
        flags.set(FileFlags::NO_CONTENT, !directory && !link && sight.size.is_none());
        flags.set(FileFlags::ENCRYPTED, sight.facts.encrypted);
        flags.set(FileFlags::METADATA, metadata);
        let time =
            |pick: fn(&StandardInformation) -> FileTime| sight.info.as_ref().map_or(sight.latest, pick);
        self.files.push(File {
            record: number,
            generation: record.sequence(),
            flags,
            attributes,
            first_link,
            size: sight.size.unwrap_or(0),
            clusters: sight.facts.clusters,
            created: time(|info| info.created),
            modified: time(|info| info.modified),
            changed: time(|info| info.changed),
            accessed: time(|info| info.accessed),
        });
    }
}

impl Sight {
    fn data(&mut self, attribute: &Attribute<'_>) {
        let unnamed = attribute.name().is_empty();
        let begins = match attribute.form() {
            Some(Form::NonResident(form)) => (form.lowest_vcn == 0).then_some(form.size),
            Some(Form::Resident(content)) => {
                self.resident |= unnamed;
                self.interix |= unnamed && content.starts_with(reparse_point::INTERIX_LINK);
                Some(content.len() as u64)
            }
            None => {
                self.facts.damaged = true;
                return;
            }
        };
        if !unnamed {
            self.facts.named_streams = true;
            return;
        }
        self.facts.encrypted |= attribute.flags() & ENCRYPTED != 0;
        self.size = begins.or(self.size);
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
