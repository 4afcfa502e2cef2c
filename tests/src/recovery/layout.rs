//! Where the records and clusters of a volume lie in its image.

use std::{collections::BTreeMap, fs::File, ops::Range, os::unix::fs::FileExt, path::Path};

use super::{Known, Wanted};
use crate::mft::{number, undo_fixups};

/// `$FILE_NAME`.
const FILE_NAME: u32 = 0x30;
/// `$INDEX_ALLOCATION`.
const INDEX_ALLOCATION: u32 = 0xA0;
/// `$DATA`.
const DATA: u32 = 0x80;

/// All FILE records of a volume by their number, as they lie in the image.
#[derive(Debug)]
pub struct Layout {
    /// Cluster size in bytes.
    pub cluster: u64,
    /// The records with the signature `FILE`.
    pub records: BTreeMap<u64, Record>,
}

/// One FILE record.
#[derive(Debug, Clone)]
pub struct Record {
    /// Where its bytes are in the image.
    pub place: Vec<Range<u64>>,
    /// The bytes, with the update sequence array undone.
    pub bytes: Vec<u8>,
    /// Whether it belongs to something that exists.
    pub in_use: bool,
    /// The record of the file, its own number for a base record.
    pub base: u64,
    /// Its attributes.
    pub attributes: Vec<Attribute>,
}

/// One attribute, or the part of it in this record.
#[derive(Debug, Clone)]
pub struct Attribute {
    /// Its type.
    pub kind: u32,
    /// Its name, with U+FFFD for what is no Unicode.
    pub name: String,
    /// First virtual cluster of this part.
    pub first: u64,
    /// Where its clusters are in the image, in bytes; holes are left out. None for a resident one.
    pub clusters: Vec<Range<u64>>,
    /// The bytes of a resident one.
    pub value: Vec<u8>,
}

impl Layout {
    /// Reads the volume that fills `image`.
    pub fn read(image: &Path) -> Self {
        let file = File::open(image).expect("the image");
        let boot = bytes(&file, 0..512);
        let (cluster, size) = sizes(&boot);
        let start = number(&boot, 0x30, 8) * cluster;
        let first = record(0, &file, std::iter::once(start..start + size).collect(), cluster)
            .expect("the record of $MFT");
        let mut parts: BTreeMap<u64, Vec<Range<u64>>> = data(&first).collect();
        loop {
            let runs: Vec<Range<u64>> = parts.values().flatten().cloned().collect();
            let records = all_records(&file, &runs, size, cluster);
            // Further runs of $MFT can be in its own extension records.
            let more = records.values().filter(|record| record.base == 0).flat_map(data);
            let known = parts.len();
            parts.extend(more);
            if parts.len() == known {
                return Self { cluster, records };
            }
        }
    }

    /// All records of the file with base record `base`.
    pub fn of(&self, base: u64) -> impl Iterator<Item = &Record> {
        self.records.values().filter(move |record| record.base == base)
    }

    /// Whether a record of the file with base record `base` has the name `name` in the folder `parent`.
    pub fn names(&self, base: u64, parent: u64, name: &[u16]) -> bool {
        let mut parts = self.of(base).flat_map(|record| &record.attributes);
        parts.any(|part| {
            part.kind == FILE_NAME && key(&part.value).is_some_and(|key| key == (parent, name.to_vec()))
        })
    }

    /// Where the index blocks of all folders are, deleted ones among them.
    pub fn indexes(&self) -> impl Iterator<Item = &Range<u64>> {
        let parts = self.records.values().flat_map(|record| &record.attributes);
        parts.filter(|part| part.kind == INDEX_ALLOCATION).flat_map(|part| &part.clusters)
    }

    /// Where the clusters of a file's stream are, `None` when nothing describes it.
    pub fn stream(&self, base: u64, name: &str) -> Option<Vec<Range<u64>>> {
        let parts = self.of(base).flat_map(|record| &record.attributes);
        let mut parts = parts.filter(|part| part.kind == DATA && part.name == name).peekable();
        parts.peek()?;
        Some(parts.flat_map(|part| part.clusters.clone()).collect())
    }
}

/// An image before and after something happened to it. What is the same in both is still there.
#[derive(Debug)]
pub struct Change {
    before: File,
    after: File,
    /// The volume as it was.
    pub layout: Layout,
}

impl Change {
    /// Reads the volume as it was.
    pub fn read(before: &Path, after: &Path) -> Self {
        let open = |path| File::open(path).expect("the image");
        Self { before: open(before), after: open(after), layout: Layout::read(before) }
    }

    /// The records that are the same in all their bytes.
    pub fn left(&self) -> Layout {
        let kept = |record: &&Record| record.place.iter().all(|range| self.same(range));
        let records = self.layout.records.iter().filter(|(_, record)| kept(record));
        let records = records.map(|(number, record)| (*number, record.clone())).collect();
        Layout { cluster: self.layout.cluster, records }
    }

    /// The files of `known` of which all records are `left`, with the streams whose clusters are the same in all
    /// their bytes.
    pub fn wanted<'a>(&self, known: &'a Known, left: &Layout) -> Vec<Wanted<'a>> {
        let whole = |file: &&crate::manifest::File| {
            let record = known.record(file);
            let records = left.of(record).count();
            records > 0 && records == self.layout.of(record).count()
        };
        let wanted = known.manifest.files.iter().filter(whole).map(|file| {
            let runs = |name: &str| left.stream(known.record(file), name);
            let there = |name: &str| runs(name).is_some_and(|runs| runs.iter().all(|run| self.same(run)));
            Wanted { file, streams: file.streams.iter().filter(|stream| there(&stream.name)).collect() }
        });
        wanted.filter(|wanted| wanted.file.link.is_some() || !wanted.streams.is_empty()).collect()
    }

    fn same(&self, range: &Range<u64>) -> bool {
        bytes(&self.before, range.clone()) == bytes(&self.after, range.clone())
    }
}

/// Folder and name in the value of a `$FILE_NAME` attribute, which is the key of an index entry too.
pub fn key(value: &[u8]) -> Option<(u64, Vec<u16>)> {
    const NAME: usize = 66;
    let units = usize::from(*value.get(NAME - 2)?);
    let name = value.get(NAME..NAME + 2 * units)?;
    Some((number(value, 0, 6), name.chunks(2).map(|unit| number(unit, 0, 2) as u16).collect()))
}

/// The bytes of a range of an image.
pub fn bytes(image: &File, range: Range<u64>) -> Vec<u8> {
    let mut out = vec![0; usize::try_from(range.end - range.start).expect("a range that fits memory")];
    image.read_exact_at(&mut out, range.start).expect("bytes of the image");
    out
}

/// Sizes in bytes of a cluster and of a FILE record, as the boot sector says.
pub fn sizes(boot: &[u8]) -> (u64, u64) {
    let sectors = match boot[13] {
        code @ 0..=0x80 => u64::from(code),
        // From 256 sectors on it is the exponent of two, negated.
        code => 1 << (256 - u64::from(code)),
    };
    let cluster = number(boot, 11, 2) * sectors;
    let record = match boot[0x40] as i8 {
        exponent @ ..0 => 1 << -exponent,
        clusters => clusters as u64 * cluster,
    };
    (cluster, record)
}

fn all_records(file: &File, runs: &[Range<u64>], size: u64, cluster: u64) -> BTreeMap<u64, Record> {
    // A record can be in several pieces when clusters are smaller than it.
    let piece = size.min(cluster);
    let step = piece as usize;
    let pieces: Vec<u64> = runs.iter().flat_map(|run| run.clone().step_by(step)).collect();
    let each = (size / piece) as usize;
    let places = (0..).zip(pieces.chunks_exact(each));
    let place = |pieces: &[u64]| pieces.iter().map(|at| *at..*at + piece).collect();
    places.filter_map(|(n, pieces)| Some((n, record(n, file, place(pieces), cluster)?))).collect()
}

fn record(own: u64, file: &File, place: Vec<Range<u64>>, cluster: u64) -> Option<Record> {
    let mut bytes: Vec<u8> = place.iter().flat_map(|range| bytes(file, range.clone())).collect();
    if !bytes.starts_with(b"FILE") {
        return None;
    }
    undo_fixups(&mut bytes);
    let base = if number(&bytes, 0x20, 8) == 0 { own } else { number(&bytes, 0x20, 6) };
    let in_use = number(&bytes, 0x16, 2) & 1 != 0;
    let attributes = attributes(&bytes, cluster);
    Some(Record { place, bytes, in_use, base, attributes })
}

fn attributes(record: &[u8], cluster: u64) -> Vec<Attribute> {
    let mut at = number(record, 0x14, 2) as usize;
    let mut out = Vec::new();
    while at + 16 <= record.len() {
        let (kind, len) = (number(record, at, 4) as u32, number(record, at + 4, 4) as usize);
        if kind == u32::MAX || len < 16 || at + len > record.len() {
            break;
        }
        let attribute = &record[at..at + len];
        let name = number(attribute, 10, 2) as usize;
        let name = &attribute[name..name + 2 * usize::from(attribute[9])];
        let name: Vec<u16> = name.chunks(2).map(|unit| number(unit, 0, 2) as u16).collect();
        let resident = attribute[8] == 0;
        let value = |from: usize, len: usize| attribute.get(from..from + len).unwrap_or_default().to_vec();
        out.push(Attribute {
            kind,
            name: String::from_utf16_lossy(&name),
            first: if resident { 0 } else { number(attribute, 0x10, 8) },
            clusters: if resident { Vec::new() } else { runs(attribute, cluster) },
            value: match resident {
                true => value(number(attribute, 0x14, 2) as usize, number(attribute, 0x10, 4) as usize),
                false => Vec::new(),
            },
        });
        at += len;
    }
    out
}

/// The clusters of a non-resident attribute, in bytes.
fn runs(attribute: &[u8], cluster: u64) -> Vec<Range<u64>> {
    let mut at = number(attribute, 0x20, 2) as usize;
    let mut first = 0_i64;
    let mut out = Vec::new();
    while let Some(header) = attribute.get(at).copied().filter(|header| *header != 0) {
        let (length, offset) = (usize::from(header & 15), usize::from(header >> 4));
        let clusters = number(attribute, at + 1, length);
        if offset > 0 {
            let shift = 64 - 8 * offset as u32;
            // The offset has a sign.
            first += ((number(attribute, at + 1 + length, offset) << shift) as i64) >> shift;
            let start = first as u64 * cluster;
            out.push(start..start + clusters * cluster);
        }
        at += 1 + length + offset;
    }
    out
}

/// The runs of the unnamed stream by the first virtual cluster of each part.
fn data(record: &Record) -> impl Iterator<Item = (u64, Vec<Range<u64>>)> + use<'_> {
    let parts = record.attributes.iter().filter(|part| part.kind == DATA && part.name.is_empty());
    parts.map(|part| (part.first, part.clusters.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        content::{Content, Fill},
        guard,
        ntfs3g::{self, Format, Volume},
    };

    #[test]
    fn the_clusters_that_the_layout_names_hold_the_streams_bytes() {
        use std::os::unix::fs::MetadataExt;
        let dir = guard::scratch();
        let image = dir.path().join("image");
        ntfs3g::format(
            &image,
            &Format { size: 32 << 20, cluster: 1024, sector: 512, label: "Layout".into() },
        );
        let contents: Vec<Content> =
            (0..30).map(|n| Content::new(Fill::Tagged, n, 2048 * (1 + n as usize))).collect();
        let volume = Volume::write(&image);
        let write = |(n, content): (usize, &Content)| {
            let path = volume.root().join(format!("file {n}:stream"));
            std::fs::write(path, content.bytes()).unwrap();
            std::fs::metadata(volume.root().join(format!("file {n}"))).unwrap().ino()
        };
        let records: Vec<u64> = contents.iter().enumerate().map(write).collect();
        volume.unmount();
        let (layout, file) = (Layout::read(&image), File::open(&image).unwrap());
        assert_eq!(layout.cluster, 1024);
        for (record, content) in records.into_iter().zip(contents) {
            let runs = layout.stream(record, "stream").unwrap();
            let found: Vec<u8> = runs.into_iter().flat_map(|run| bytes(&file, run)).collect();
            assert_eq!(found, content.bytes());
            assert!(layout.stream(record, "other").is_none());
        }
    }
}
