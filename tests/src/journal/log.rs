//! The log of NTFS, as the `ntfs3` driver of Linux describes it: pages of 4096 bytes, version 1.1 or 2.0.

use std::ops::Range;

use super::Reference;

const PAGE: usize = 4096;
/// Where records begin in a page.
const FIRST: usize = 0x40;
/// Size of the header of a record.
const HEADER: usize = 48;
/// Turn of the log that is written first.
const TURN: u64 = 3;

/// A log that is being written.
#[derive(Debug, Clone)]
pub struct Log {
    pages: Vec<Vec<u8>>,
    begin: usize,
    page: usize,
    within: usize,
    turn: u64,
    cluster: u64,
    record: u64,
    last: u64,
}

/// A name in a folder, with what an index entry says beside it.
#[derive(Debug, Clone, Copy)]
pub struct Name<'a> {
    /// The file.
    pub file: Reference,
    /// The folder.
    pub parent: Reference,
    /// The name.
    pub name: &'a str,
    /// All times, see [`time`](super::time).
    pub time: u64,
    /// Size in bytes.
    pub size: u64,
    /// Whether it is a folder.
    pub is_folder: bool,
}

impl Name<'_> {
    /// The content of the `$FILE_NAME`.
    fn content(&self) -> Vec<u8> {
        let name: Vec<u16> = self.name.encode_utf16().collect();
        let mut content = self.parent.raw().to_le_bytes().to_vec();
        content.extend([self.time; 4].iter().flat_map(|time| time.to_le_bytes()));
        content.extend(self.size.next_multiple_of(4096).to_le_bytes());
        content.extend(self.size.to_le_bytes());
        content.extend((if self.is_folder { 0x1000_0000_u32 } else { 0x20 }).to_le_bytes());
        content.extend([0; 4]);
        content.extend([name.len() as u8, 0]);
        content.extend(name.iter().flat_map(|unit| unit.to_le_bytes()));
        content
    }

    fn entry(&self) -> Vec<u8> {
        let content = self.content();
        let length = (16 + content.len()).next_multiple_of(8);
        let mut entry = self.file.raw().to_le_bytes().to_vec();
        entry.extend((length as u16).to_le_bytes());
        entry.extend((content.len() as u16).to_le_bytes());
        entry.extend([0; 4]);
        entry.extend(content);
        entry.resize(length, 0);
        entry
    }

    /// The FILE record of a file that has nothing but times and a name.
    fn image(&self) -> Vec<u8> {
        let mut image = b"FILE\x30\0\x03\0".to_vec();
        image.resize(56, 0);
        image[16..18].copy_from_slice(&self.file.sequence.to_le_bytes());
        image[20] = 56;
        image[22] = if self.is_folder { 3 } else { 1 };
        image[44..48].copy_from_slice(&(self.file.record as u32).to_le_bytes());
        let mut info: Vec<u8> = [self.time; 4].iter().flat_map(|time| time.to_le_bytes()).collect();
        info.resize(48, 0);
        for (kind, content) in [(0x10_u32, info), (0x30, self.content())] {
            let length = (24 + content.len()).next_multiple_of(8);
            let start = image.len();
            image.extend(kind.to_le_bytes());
            image.extend((length as u32).to_le_bytes());
            image.resize(start + 16, 0);
            image.extend((content.len() as u32).to_le_bytes());
            image.extend([24, 0, 0, 0]);
            image.extend(content);
            image.resize(start + length, 0);
        }
        image.extend([0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]);
        let used = image.len() as u32;
        image[24..28].copy_from_slice(&used.to_le_bytes());
        image[28..32].copy_from_slice(&1024_u32.to_le_bytes());
        image
    }
}

impl Log {
    /// An empty log of `size` bytes, of major version 1 or 2, that begins so many pages before its end; the volume has clusters of so
    /// many bytes and FILE records of 1024.
    pub fn new(size: u64, version: u16, from_end: usize, cluster: u64) -> Self {
        let pages = vec![vec![0xFF; PAGE]; size as usize / PAGE];
        let begin = if version == 1 { 4 } else { 34 };
        let page = pages.len() - from_end;
        let mut log = Self { pages, begin, page, within: FIRST, turn: TURN, cluster, record: 1024, last: 0 };
        for restart in [0, 1] {
            log.pages[restart].fill(0);
            log.pages[restart][..8].copy_from_slice(b"RSTR\x1e\0\x09\0");
            log.pages[restart][17] = 16;
            log.pages[restart][21] = 16;
            log.pages[restart][28] = version as u8;
        }
        log.begin_page();
        log
    }

    fn begin_page(&mut self) {
        self.pages[self.page].fill(0);
        self.pages[self.page][..8].copy_from_slice(b"RCRD\x28\0\x09\0");
        self.within = FIRST;
    }

    fn next_page(&mut self) {
        self.page += 1;
        if self.page == self.pages.len() {
            self.page = self.begin;
            self.turn += 1;
        }
        self.begin_page();
    }

    /// Writes a change of the FILE record `target`.
    fn change(&mut self, operations: [u16; 2], target: u64, redo: &[u8], undo: &[u8]) {
        self.change_at(operations, (target * self.record, 0), redo, undo);
    }

    /// Writes a change of what stands at a byte of a stream, in a cluster of the volume.
    fn change_at(&mut self, operations: [u16; 2], (at, lcn): (u64, u64), redo: &[u8], undo: &[u8]) {
        let mut client = Vec::new();
        let undo_at = 40 + redo.len().next_multiple_of(8);
        for field in [
            operations[0],
            operations[1],
            40,
            redo.len() as u16,
            undo_at as u16,
            undo.len() as u16,
            0x18,
            1,
            0,
            0,
            (at % self.cluster / 512) as u16,
            0,
        ] {
            client.extend(field.to_le_bytes());
        }
        client.extend((at / self.cluster).to_le_bytes());
        client.extend(lcn.to_le_bytes());
        client.extend(redo);
        client.resize(undo_at, 0);
        client.extend(undo);
        self.write(&client);
    }

    fn write(&mut self, client: &[u8]) {
        if self.within + HEADER > PAGE {
            self.next_page();
        }
        // The number of a record: the turn, and its place in units of eight bytes in as many bits as the log's size needs.
        let bits = u64::BITS - ((self.pages.len() * PAGE) as u64).leading_zeros() - 3;
        let place = (self.page * PAGE + self.within) as u64;
        let lsn = (self.turn << bits) | (place / 8);
        self.last = lsn;
        let mut record = lsn.to_le_bytes().to_vec();
        record.resize(HEADER, 0);
        record[24..28].copy_from_slice(&(client.len() as u32).to_le_bytes());
        record[32] = 1;
        record.extend(client);
        record.resize(record.len().next_multiple_of(8), 0);
        let mut rest = record.as_slice();
        while !rest.is_empty() {
            if self.within == PAGE {
                self.next_page();
            }
            let room = (PAGE - self.within).min(rest.len());
            let page = &mut self.pages[self.page];
            page[self.within..self.within + room].copy_from_slice(&rest[..room]);
            page[8..16].copy_from_slice(&lsn.to_le_bytes());
            self.within += room;
            rest = &rest[room..];
        }
        self.pages[self.page][32..40].copy_from_slice(&lsn.to_le_bytes());
    }

    /// The number of the record that was written last.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Writes that clusters were given to a file, which is a change of the bitmap whose first cluster is `bitmap`.
    pub fn allocate(&mut self, bitmap: u64, clusters: Range<u64>) {
        let bits = clusters.start % (self.cluster * 8);
        let mut data = (bits as u32).to_le_bytes().to_vec();
        data.extend(((clusters.end - clusters.start) as u32).to_le_bytes());
        let within = clusters.start / (self.cluster * 8);
        self.change_at([0x15, 0x16], (within * self.cluster, bitmap + within), &data, &data);
    }

    /// Writes that a file was made.
    pub fn create(&mut self, name: Name<'_>) {
        self.change([0x02, 0x00], name.file.record, &name.image(), &[]);
        self.change([0x0E, 0x0F], name.parent.record, &name.entry(), &[]);
    }

    /// Writes that a file was deleted.
    pub fn delete(&mut self, name: Name<'_>) {
        self.change([0x0F, 0x0E], name.parent.record, &[], &name.entry());
        self.change([0x03, 0x02], name.file.record, &[], &name.image()[..24]);
    }

    /// Writes that a file was renamed from `old`, in the same folder.
    pub fn rename(&mut self, old: &str, name: Name<'_>) {
        self.change([0x0D, 0x0C], name.parent.record, &[], &Name { name: old, ..name }.entry());
        self.change([0x0C, 0x0D], name.parent.record, &name.entry(), &[]);
    }

    /// Breaks the page that is being written, so that its begin alone is sound.
    pub fn tear(&mut self) {
        let page = self.page;
        self.next_page();
        self.pages[page][..4].copy_from_slice(b"BAAD");
    }

    /// The log as it stands on a volume.
    pub fn bytes(&self) -> Vec<u8> {
        let mut pages = self.pages.clone();
        for page in &mut pages {
            let at = match &page[..4] {
                b"RCRD" => 0x28,
                b"RSTR" => 0x1E,
                _ => continue,
            };
            page[at..at + 2].copy_from_slice(&[9, 0]);
            for sector in 1..=PAGE / 512 {
                let end = sector * 512;
                page.copy_within(end - 2..end, at + 2 * sector);
                page[end - 2..end].copy_from_slice(&[9, 0]);
            }
        }
        pages.concat()
    }
}
