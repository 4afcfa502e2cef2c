//! The catalogue: all restorable files of a context, and the tree that their paths make.

mod deletion;
pub(crate) mod hierarchy;
mod hint;
mod placement;

use std::{borrow::Cow, ops::Range};

use undelfs_volume::filesystem::{Deletion, Facts, File, FileFlags, FileTime, Link, RecordTable, Run, Scan};

use crate::{
    View,
    allocation::Allocation,
    check::{self, Finding, Findings},
    confidence::{Confidence, Damage, Judgement, Reason, judge},
    overlap::Overlaps,
    regranted::Regranted,
    taken::Taken,
};
pub use deletion::DeletedBetween;
use hierarchy::{Hierarchy, Lists, Meaning, Node, Slot};
use placement::{Placement, links_of};

/// All restorable files of a context, and the tree that their paths make.
pub struct Catalogue {
    files: Vec<File>,
    links: Vec<Link>,
    names: Vec<u8>,
    damage: Vec<Damage>,
    findings: Findings,
    overlaps: Overlaps,
    regranted: Regranted,
    allocation: Option<Allocation>,
    taken: Taken,
    pub(crate) tree: Hierarchy,
    facts: Facts,
    view: View,
    notes: Vec<String>,
    tables: Vec<RecordTable>,
    deletions: Vec<Deletion>,
    /// Records of the file table that cannot be read, or in whose place something else stands.
    missing: u64,
}

/// One restorable file: a file or directory under one of its names.
pub struct RestorableFile<'a> {
    /// Where it stands in the mount, from the volume's root, with `/` between names; WTF-8.
    pub path: &'a [u8],
    /// The file.
    pub file: &'a File,
    /// Number of its record, in the table that it stands in.
    pub record: u32,
    /// Which structure name and content come from.
    pub provenance: &'a str,
    /// Clusters that the allocation bitmap has in use now; all of them for a file that still exists.
    pub clusters_in_use: u64,
    /// How far the content can be trusted.
    pub confidence: Confidence,
    /// Why.
    pub reason: String,
    /// When it was deleted, as far as anything tells, where that is written.
    pub deleted: Option<DeletedBetween>,
    /// What the content was found to be, where it was looked at: a kind such as `JPEG`, `unknown`, or `zeros`.
    pub content: Option<&'static str>,
    /// Who can decrypt it, where it is encrypted by EFS.
    pub efs: Vec<undelfs_efs::Entry>,
}

/// How many files a catalogue lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Deleted files.
    pub removed_files: u64,
    /// Deleted directories.
    pub removed_directories: u64,
    /// Files and directories that still exist.
    pub regular: u64,
    /// Deleted files by confidence, in the order of [`Confidence::ALL`], as far as the structures of the volume tell:
    /// the same before and after content was looked at.
    pub confidence: [u64; 4],
    /// Sizes of the deleted files together, in bytes.
    pub bytes: u64,
    /// Clusters of the deleted files together, each as often as files have it.
    pub clusters: u64,
}

impl Catalogue {
    /// Builds the catalogue of a scan.
    pub(crate) fn new(
        mut scan: Scan,
        facts: &Facts,
        allocation: Option<Allocation>,
        mut taken: Taken,
        view: View,
    ) -> Self {
        let overlaps = Overlaps::find(&mut scan.claims, &scan.owners);
        let is_earlier = |file: u32| {
            let record = scan.files.get(file as usize).map_or(0, |file| file.record);
            table_of(&scan.tables, record).is_some_and(|table| table.formatted > FileTime(0))
        };
        let regranted = Regranted::find(&scan.claims, &scan.owners, &scan.grants, is_earlier);
        let damage = damage(&scan, &overlaps, &regranted, allocation.as_ref(), &taken);
        let Scan {
            mut files,
            mut links,
            mut names,
            mut notes,
            tables,
            deletions,
            missing,
            claims,
            owners,
            grants,
        } = scan;
        drop((claims, owners, grants));
        files.shrink_to_fit();
        links.shrink_to_fit();
        names.shrink_to_fit();
        match &allocation {
            None if view == View::Regular => {}
            None => notes.push(
                "`$Bitmap` cannot be read: only the runs of existing files tell what is overwritten".to_owned(),
            ),
            Some(allocation) if allocation.unreadable() > 0 => notes.push(format!(
                "`$Bitmap` cannot be read for {} clusters: only the runs of existing files tell what is overwritten there",
                allocation.unreadable()
            )),
            Some(_) => {}
        }
        notes.append(&mut taken.notes);
        let placement = Placement::new(&files, &links, facts.root, view);
        let lists = Lists { files: &files, links: &links, names: &names, tables: &tables };
        let tree = Hierarchy::new(lists, &placement);
        drop(placement);
        let notes = facts.notes.iter().cloned().chain(notes).collect();
        let facts = facts.clone();
        let findings = Findings::new(files.len());
        Self {
            files,
            links,
            names,
            damage,
            findings,
            overlaps,
            regranted,
            allocation,
            taken,
            tree,
            facts,
            view,
            notes,
            tables,
            deletions,
            missing,
        }
    }

    pub(crate) fn lists(&self) -> Lists<'_> {
        Lists { files: &self.files, links: &self.links, names: &self.names, tables: &self.tables }
    }

    /// What the volume says of itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Damage that was met, one sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// True where nothing is shown.
    pub fn is_empty(&self) -> bool {
        self.tree.shown() == 0
    }

    /// Which files are listed.
    pub fn view(&self) -> View {
        self.view
    }

    /// Changes the size that a file is shown with.
    pub(crate) fn set_size(&mut self, index: u32, size: u64) {
        if let Some(file) = self.files.get_mut(index as usize) {
            file.size = size;
        }
    }

    pub(crate) fn file(&self, index: u32) -> Option<&File> {
        self.files.get(index as usize)
    }

    /// Which structure a file comes from, and the number of its record in it.
    pub(crate) fn origin(&self, file: &File) -> (&str, u32) {
        let table = self.table(file);
        table.map_or(("", file.record), |table| (&table.provenance, table.number(file.record)))
    }

    fn table(&self, file: &File) -> Option<&RecordTable> {
        table_of(&self.tables, file.record)
    }

    pub(crate) fn files(&self) -> u32 {
        self.files.len() as u32
    }

    pub(crate) fn find_record(&self, record: u32) -> Option<u32> {
        self.files.binary_search_by_key(&record, |file| file.record).ok().map(|index| index as u32)
    }

    /// How many names of a file are shown, at least one.
    pub(crate) fn shown_links(&self, file: u32) -> u32 {
        let links = links_of(&self.files, &self.links, file);
        (links.filter(|link| self.tree.shows(*link)).count() as u32).max(1)
    }

    /// Clusters of a file that are in use now.
    pub(crate) fn clusters_in_use(&self, index: u32) -> u64 {
        let removed = self.file(index).filter(|file| file.flags.contains(FileFlags::REMOVED));
        match removed {
            Some(_) => u64::from(self.damage_of(index).in_use.max(self.damage_of(index).taken)),
            None => self.file(index).map_or(0, |file| file.clusters),
        }
    }

    fn damage_of(&self, index: u32) -> Damage {
        self.damage.get(index as usize).copied().unwrap_or_default()
    }

    /// How far a file's content can be trusted as the structures of the volume say, and why.
    pub(crate) fn structure(&self, index: u32) -> (Confidence, Reason) {
        match self.file(index) {
            Some(file) if file.flags.contains(FileFlags::JOURNAL_ONLY | FileFlags::NO_CONTENT) => {
                (Confidence::Lost, Reason::JournalOnly)
            }
            Some(file) => {
                let bitmap = self.allocation.as_ref().is_some_and(|allocation| allocation.unreadable() == 0);
                judge(file, self.damage_of(index), bitmap)
            }
            None => (Confidence::Lost, Reason::NoContent),
        }
    }

    /// How far a file's content can be trusted, and why, with what was found where it was looked at.
    pub(crate) fn judge(&self, index: u32) -> Judgement {
        self.judge_by(&self.findings, index)
    }

    fn judge_by(&self, findings: &Findings, index: u32) -> Judgement {
        let finding = findings.get(index).unwrap_or(Finding::NOTHING);
        Judgement::new(self.structure(index), check::remark(finding, self.names_of(index)))
    }

    /// What was found where the content of a file was looked at; `None` where it was not.
    pub(crate) fn finding(&self, index: u32) -> Option<Finding> {
        self.findings.get(index)
    }

    /// Keeps what was found.
    pub(crate) fn keep_finding(&self, index: u32, finding: Finding) {
        self.findings.set(index, finding);
    }

    /// What was found so far.
    pub(crate) fn findings(&self) -> &Findings {
        &self.findings
    }

    /// The names of a file, WTF-8.
    pub(crate) fn names_of(&self, index: u32) -> impl Iterator<Item = &[u8]> + Clone {
        links_of(&self.files, &self.links, index).filter_map(|link| {
            let link = self.links.get(link as usize)?;
            let start = link.name_at as usize;
            self.names.get(start..start + usize::from(link.name_len))
        })
    }

    /// The kind of content that the names of a file promise.
    pub(crate) fn promised(&self, index: u32) -> Option<&'static check::Kind> {
        check::promise(self.names_of(index))
    }

    /// The ranges of a run's clusters on the volume that belong to others by now; ascending, not touching.
    pub(crate) fn overwritten(&self, index: u32, clusters: Range<u64>) -> Vec<Range<u64>> {
        let removed = self.file(index).is_some_and(|file| file.flags.contains(FileFlags::REMOVED));
        let mut all = Vec::new();
        if removed || !self.taken.spares_existing {
            self.taken.within(clusters.clone(), |range| all.push(range));
        }
        if let Some(allocation) = self.allocation.as_ref().filter(|_| removed) {
            allocation.used(clusters.clone(), |range| all.push(range));
        }
        if removed {
            self.overlaps.lost(index, clusters.clone(), |range| all.push(range));
            self.regranted.within(index, clusters, |range| all.push(range));
        }
        all.sort_unstable_by_key(|range| range.start);
        all.dedup_by(|next, last| {
            let touches = next.start <= last.end;
            if touches {
                last.end = last.end.max(next.end);
            }
            touches
        });
        all
    }

    /// True where no run of the file can have been overwritten, without asking for each.
    pub(crate) fn untouched(&self, index: u32) -> bool {
        self.damage_of(index) == Damage::default()
    }

    /// True where a file is listed of whose content no description is left.
    pub(crate) fn lists_lost_content(&self) -> bool {
        self.entries()
            .any(|(index, _)| self.file(index).is_some_and(|file| file.flags.contains(FileFlags::NO_CONTENT)))
    }

    /// Files listed, by kind and by confidence.
    pub fn count(&self) -> Count {
        let mut count = Count::default();
        let mut last = None;
        for (index, _) in self.entries() {
            let Some(file) = self.file(index).filter(|_| last != Some(index)) else { continue };
            last = Some(index);
            let directory = file.flags.contains(FileFlags::DIRECTORY);
            match (file.flags.contains(FileFlags::REMOVED), directory) {
                (true, true) => count.removed_directories += 1,
                (true, false) => {
                    count.removed_files += 1;
                    count.bytes = count.bytes.saturating_add(file.size);
                    count.clusters = count.clusters.saturating_add(file.clusters);
                    let confidence = self.structure(index).0;
                    for (value, number) in Confidence::ALL.iter().zip(&mut count.confidence) {
                        *number += u64::from(*value == confidence);
                    }
                }
                (false, _) => count.regular += 1,
            }
        }
        count
    }

    /// Counts what other volumes have taken of the files that existed on this one. `clusters_of` says which clusters a
    /// file has.
    pub(crate) fn count_taken_of_existing(&mut self, clusters_of: impl Fn(&File) -> Vec<Range<u64>>) {
        if self.taken.is_empty() || self.taken.spares_existing || self.view == View::Deleted {
            return;
        }
        for (file, damage) in self.files.iter().zip(&mut self.damage) {
            let metadata = FileFlags::REMOVED | FileFlags::METADATA;
            for clusters in if file.flags.intersects(metadata) { Vec::new() } else { clusters_of(file) } {
                damage.doubtful |= self.taken.is_doubtful(&clusters);
                let taken = u32::try_from(self.taken.count(clusters)).unwrap_or(u32::MAX);
                damage.taken = damage.taken.saturating_add(taken);
            }
        }
    }

    /// The nodes that a file is shown under, for its own sake.
    fn nodes_of(&self, index: u32) -> impl Iterator<Item = Node> {
        let live = self.file(index).is_some_and(|file| !file.flags.contains(FileFlags::REMOVED));
        // Live directories stand in a tree of deleted files only because they lead to them.
        let leads_only = live && self.view == View::Deleted;
        links_of(&self.files, &self.links, index)
            .filter(move |link| !leads_only && self.tree.shows(*link))
            .map(|link| self.tree.link_node(link))
    }

    /// The first node that a file is shown under.
    pub(crate) fn first_node(&self, index: u32) -> Option<Node> {
        let mut links = links_of(&self.files, &self.links, index);
        let named = links.find(|link| self.tree.shows(*link)).map(|link| self.tree.link_node(link));
        named.or_else(|| self.tree.unnamed_node(index))
    }

    /// All restorable files: index of the file and node, in the order of their records, files without any name
    /// last.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u32, Node)> {
        let named = (0..self.files()).flat_map(|index| self.nodes_of(index).map(move |node| (index, node)));
        named.chain(self.tree.unnamed())
    }

    /// The restorable file that a node stands for, its path written to `path`, by what was found in `findings`.
    pub(crate) fn restorable<'a>(
        &'a self,
        findings: &Findings,
        index: u32,
        node: Node,
        paths: &mut Paths,
        path: &'a mut Vec<u8>,
    ) -> Option<RestorableFile<'a>> {
        paths.write(self, node, path);
        let judgement = self.judge_by(findings, index);
        let file = self.file(index)?;
        let (provenance, record) = self.origin(file);
        Some(RestorableFile {
            path,
            file,
            record,
            provenance,
            clusters_in_use: self.clusters_in_use(index),
            confidence: judgement.confidence,
            reason: judgement.to_string(),
            content: judgement.remark.map(|remark| remark.word()),
            deleted: None,
            efs: Vec::new(),
        })
    }

    pub(crate) fn name(&self, node: Node) -> Cow<'_, [u8]> {
        self.tree.name(self.lists(), node)
    }

    pub(crate) fn meaning(&self, node: Node) -> Meaning {
        self.tree.meaning(self.lists(), node)
    }

    pub(crate) fn lookup(&self, slot: Slot, name: &[u8]) -> Option<Node> {
        self.tree.lookup(self.lists(), slot, name)
    }
}

/// The table that a record stands in.
fn table_of(tables: &[RecordTable], record: u32) -> Option<&RecordTable> {
    tables.get(tables.partition_point(|table| table.first <= record).saturating_sub(1))
}

/// Counts what happened to the clusters of deleted files.
fn damage(
    scan: &Scan,
    overlaps: &Overlaps,
    regranted: &Regranted,
    allocation: Option<&Allocation>,
    taken: &Taken,
) -> Vec<Damage> {
    let mut damage = vec![Damage::default(); scan.files.len()];
    let add = |number: &mut u32, more: u64| {
        *number = number.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
    };
    for claim in &scan.claims {
        let owner = scan.owners.get(claim.owner as usize).filter(|owner| !owner.live);
        let Some(damage) = owner.and_then(|owner| damage.get_mut(owner.file as usize)) else {
            continue;
        };
        let clusters = claim.first..claim.first + u64::from(claim.count);
        if let Some(allocation) = allocation {
            add(&mut damage.in_use, allocation.count(clusters.clone()));
        }
        if !taken.is_empty() {
            add(&mut damage.taken, taken.count(clusters.clone()));
            damage.doubtful |= taken.is_doubtful(&clusters);
        }
        if !overlaps.is_empty() {
            let shared = overlaps.count(clusters);
            add(&mut damage.live, shared.live);
            add(&mut damage.claimed, shared.deleted);
        }
    }
    overlaps.wins(|file, clusters| {
        if let Some(damage) = damage.get_mut(file as usize) {
            let clusters = u32::try_from(clusters).unwrap_or(u32::MAX);
            damage.claimed = damage.claimed.saturating_sub(clusters);
        }
    });
    for (file, clusters) in regranted.all() {
        let mut more = clusters.end - clusters.start;
        overlaps.lost(file, clusters, |known| more = more.saturating_sub(known.end - known.start));
        if let Some(damage) = damage.get_mut(file as usize) {
            add(&mut damage.claimed, more);
        }
    }
    damage
}

/// Writes paths, and keeps that of the last directory: neighbours mostly share it.
#[derive(Default)]
pub(crate) struct Paths {
    prefix: Vec<u8>,
    slot: Option<Slot>,
    directory: Vec<u8>,
    way: Vec<Node>,
}

impl Paths {
    /// Paths that all begin with `prefix`.
    pub(crate) fn below(prefix: &[u8]) -> Self {
        Self { prefix: prefix.to_vec(), ..Self::default() }
    }

    /// Replaces `path` by the path of `node` from the volume's root.
    pub(crate) fn write(&mut self, catalogue: &Catalogue, node: Node, path: &mut Vec<u8>) {
        let slot = catalogue.tree.slot_of(node);
        if self.slot != Some(slot) {
            self.slot = Some(slot);
            self.way.clear();
            let mut at = slot;
            while let Some(directory) = catalogue.tree.node_of(at) {
                self.way.push(directory);
                at = catalogue.tree.slot_of(directory);
            }
            self.directory.clear();
            self.directory.extend_from_slice(&self.prefix);
            for directory in self.way.iter().rev() {
                self.directory.extend_from_slice(&catalogue.name(*directory));
                self.directory.push(b'/');
            }
        }
        path.clear();
        path.extend_from_slice(&self.directory);
        path.extend_from_slice(&catalogue.name(node));
    }

    /// How many directories stand above `node`, the root not counted.
    pub(crate) fn depth(catalogue: &Catalogue, node: Node) -> usize {
        let mut depth = 0;
        let mut at = catalogue.tree.slot_of(node);
        while let Some(directory) = catalogue.tree.node_of(at) {
            depth += 1;
            at = catalogue.tree.slot_of(directory);
        }
        depth
    }
}

/// The clusters of a run that is on the volume.
pub(crate) fn clusters_of(run: &Run) -> Option<Range<u64>> {
    match run.place {
        undelfs_volume::filesystem::Place::At(first) => Some(first..first + run.count),
        _ => None,
    }
}
