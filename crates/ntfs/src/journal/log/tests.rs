use proptest::prelude::*;

use super::*;

const PAGE: usize = 4096;
/// Where records begin in a page.
const FIRST: usize = 0x40;

/// Writes log records as NTFS does, into a log that turns.
struct Maker {
    pages: Vec<Vec<u8>>,
    first_page: usize,
    page: usize,
    within: usize,
    turn: u64,
    written: Vec<(u64, Vec<u8>)>,
}

impl Maker {
    /// A log of so many pages, the first of which to write is `page`.
    fn new(pages: usize, first_page: usize, page: usize) -> Self {
        let empty = vec![0xFF; PAGE];
        let mut maker =
            Self { pages: vec![empty; pages], first_page, page, within: FIRST, turn: 5, written: Vec::new() };
        maker.begin_page();
        maker
    }

    fn bits(&self) -> u32 {
        u64::BITS - ((self.pages.len() * PAGE) as u64).leading_zeros() - 3
    }

    fn lsn(&self) -> u64 {
        self.turn << self.bits() | ((self.page * PAGE + self.within) as u64 >> 3)
    }

    fn begin_page(&mut self) {
        let page = &mut self.pages[self.page];
        page.fill(0);
        page[..4].copy_from_slice(b"RCRD");
        page[4] = 0x28;
        page[6] = 9;
        self.within = FIRST;
    }

    fn next_page(&mut self) {
        self.page += 1;
        if self.page == self.pages.len() {
            self.page = self.first_page;
            self.turn += 1;
        }
        self.begin_page();
    }

    /// Writes a change with these data to redo.
    fn change(&mut self, redo: u16, data: &[u8]) {
        if self.within + HEADER > PAGE {
            self.next_page();
        }
        let lsn = self.lsn();
        let mut client = vec![0; 40];
        client[..2].copy_from_slice(&redo.to_le_bytes());
        client[4] = 40;
        client[6..8].copy_from_slice(&(data.len() as u16).to_le_bytes());
        client.extend(data);
        let mut record = vec![0; HEADER];
        record[..8].copy_from_slice(&lsn.to_le_bytes());
        record[24..28].copy_from_slice(&(client.len() as u32).to_le_bytes());
        record[32] = 1;
        record.extend(client);
        record.resize(record.len().next_multiple_of(8), 0);
        let mut rest = record.as_slice();
        loop {
            let room = (PAGE - self.within).min(rest.len());
            let page = &mut self.pages[self.page];
            page[self.within..self.within + room].copy_from_slice(&rest[..room]);
            page[8..16].copy_from_slice(&lsn.to_le_bytes());
            self.within += room;
            rest = &rest[room..];
            if rest.is_empty() {
                page[32..40].copy_from_slice(&lsn.to_le_bytes());
                break;
            }
            self.next_page();
        }
        self.written.push((lsn, data.to_vec()));
    }

    /// The log as it stands on a volume.
    fn bytes(&self) -> Vec<u8> {
        let mut pages = self.pages.clone();
        for page in pages.iter_mut().filter(|page| page.starts_with(b"RCRD")) {
            seal(page);
        }
        pages[0][..4].copy_from_slice(b"RSTR");
        pages[0][16..24].copy_from_slice(&[0, 16, 0, 0, 0, 16, 0, 0]);
        pages.concat()
    }
}

/// Puts the fixups into a page.
fn seal(page: &mut [u8]) {
    page[0x28..0x2A].copy_from_slice(&[7, 0]);
    for sector in 1..=8 {
        let end = sector * 512;
        page.copy_within(end - 2..end, 0x28 + 2 * sector);
        page[end - 2..end].copy_from_slice(&[7, 0]);
    }
}

fn read(bytes: Vec<u8>) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    changes(&bytes, false, &(), &mut |lsn, change| found.push((lsn, change.redo_data.to_vec())));
    found.sort();
    found.dedup();
    found
}

#[test]
fn an_empty_log_is_not_read_on_and_tells_nothing() {
    assert_eq!(read(vec![0xFF; 64 * PAGE]), []);
    assert_eq!(read(Vec::new()), []);
}

#[test]
fn records_over_borders_of_pages_and_over_the_end_of_the_log_are_whole() {
    for first in TURNS {
        let mut maker = Maker::new(50, first as usize, 46);
        for number in 0..40_u8 {
            maker.change(0x0C, &vec![number; 100 + usize::from(number) * 37]);
        }
        maker.change(0x0C, &[0xEE; 9000]);
        assert!(read(maker.bytes()) == maker.written);
    }
}

#[test]
fn a_torn_page_costs_only_what_stands_in_it() {
    let mut maker = Maker::new(50, 4, 10);
    for number in 0..60_u8 {
        maker.change(0x0C, &[number; 300]);
    }
    let mut bytes = maker.bytes();
    // The second half of the third page was not written.
    bytes[12 * PAGE + 2048 + 510] ^= 1;
    let found = read(bytes);
    let place = |lsn: u64| ((lsn << 3) as usize) & (256 * 1024 - 1);
    let missing = maker.written.iter().find(|record| {
        let end = place(record.0) + 48 + 340;
        let is_sound = end <= 12 * PAGE + 2048 || place(record.0) >= 13 * PAGE;
        is_sound && !found.contains(record)
    });
    assert!(missing.is_none(), "{:?}", missing.map(|(lsn, _)| lsn));
    assert!(found.iter().all(|record| maker.written.contains(record)));
    assert!(found.len() > 45, "{}", found.len());
}

#[test]
fn a_page_of_which_only_the_copy_is_sound_gives_its_records() {
    for (copy, field) in [(2, 8), (20, 60)] {
        let mut maker = Maker::new(64, 34, 40);
        for number in 0..5_u8 {
            maker.change(0x0C, &[number; 200]);
        }
        let mut page = maker.pages[40].clone();
        page[field..field + 4].copy_from_slice(&(40 * PAGE as u32).to_le_bytes());
        maker.pages[40] = vec![0xFF; PAGE];
        maker.pages[copy] = page;
        assert!(read(maker.bytes()) == maker.written, "a copy that says its place in byte {field}");
    }
}

#[test]
fn a_record_does_not_go_on_in_a_page_of_another_turn() {
    let mut maker = Maker::new(50, 4, 49);
    maker.change(0x0C, &[1; 3600]);
    maker.change(0x0C, &[2; 300]);
    let (lsn, _) = maker.written[1];
    assert_eq!(maker.page, 4, "the second record goes on at the begin of the log");
    // The page that it goes on in is of the same turn as its begin, so an older one.
    maker.pages[4][8..16].copy_from_slice(&(lsn - 100).to_le_bytes());
    maker.pages[4][32..40].copy_from_slice(&(lsn - 100).to_le_bytes());
    assert!(read(maker.bytes()) == maker.written[..1]);
}

#[test]
fn births_names_and_ends_are_told() {
    use crate::{index_entry::tests::index_entry, record::Reference, record::tests::record};
    let sizes = Sizes { cluster: 4096, record: 1024 };
    let image = record(1, 3, &[]);
    let entry = index_entry((38, 3), (5, 5), "gone.txt");
    fn change<'a>(redo: u16, undo: u16, redo_data: &'a [u8], undo_data: &'a [u8]) -> Change<'a> {
        Change { redo, undo, redo_data, undo_data, vcn: 9, block: 4, offset: 2, lcn: Some(77) }
    }
    let all = |change: &Change<'_>| {
        let mut all = Vec::new();
        tell(change, sizes, &mut |told| {
            all.push(match told {
                Told::Born { file, .. } => format!("born {}-{}", file.record, file.sequence),
                Told::Freed { file } => format!("freed {}-{}", file.record, file.sequence),
                Told::Name { file, name, how, .. } => {
                    let name = String::from_utf8(crate::name::to_wtf8(name.name)).unwrap();
                    format!("{how:?} {}-{} {name}", file.record, file.sequence)
                }
                Told::Usn(record) => format!("usn {}", record.file.record),
                Told::BitsSet(bits) => format!("set {} from {} at {:?}", bits.count, bits.first, bits.at),
            });
        });
        all
    };
    assert_eq!(Reference::new(38).record, 9 * 4 + 2);
    let mut numbered = image.clone();
    numbered[0x2C] = 38;
    assert_eq!(all(&change(2, 0, &numbered[..400], &[])), ["born 38-3"]);
    assert_eq!(all(&change(3, 2, &[], &image[..24])), ["freed 38-3"]);
    assert_eq!(all(&change(0x0E, 0x0F, &entry, &[])), ["Changed 38-3 gone.txt"]);
    assert_eq!(all(&change(0x0D, 0x0C, &[], &entry)), ["Changed 38-3 gone.txt"]);
    let block = [vec![0; 64], entry.clone()].concat();
    assert_eq!(all(&change(0x08, 0x00, &block, &[])), ["Seen 38-3 gone.txt"]);
    let bits = [5, 0, 0, 0, 3, 0, 0, 0];
    assert_eq!(all(&change(0x15, 0x16, &bits, &bits)), ["set 3 from 311317 at (9, 77)"]);
    assert_eq!(all(&Change { lcn: None, ..change(0x15, 0x16, &bits, &bits) }), [""; 0]);
    numbered[0x2C] = 39;
    numbered[4] = 0x30;
    assert_eq!(all(&change(2, 0, &numbered[..400], &[])), [""; 0], "the image is of another record");
}

proptest! {
    #[test]
    fn what_was_written_is_read_wherever_the_log_turns(
        sizes in prop::collection::vec(1_usize..6000, 1..30), pages in 45_usize..70, start in 34_usize..45, second: bool
    ) {
        let mut maker = Maker::new(pages, if second { 34 } else { 4 }, start);
        for (number, size) in sizes.iter().enumerate() {
            maker.change(0x0C, &vec![number as u8 + 1; *size]);
        }
        // What a later turn wrote over is gone.
        let all = read(maker.bytes());
        let used: usize = sizes.iter().map(|size| size + 100).sum();
        if used < (pages - 34) * (PAGE - FIRST) / 2 {
            prop_assert!(all == maker.written);
        }
        prop_assert!(all.iter().all(|record| maker.written.contains(record)));
    }

    #[test]
    fn any_pages_are_read_without_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 3 * PAGE..3 * PAGE + 1), lsn in 0_u64..1 << 20
    ) {
        for page in bytes.chunks_mut(PAGE) {
            page[..8].copy_from_slice(b"RCRD\x28\0\x09\0");
            page[0x48..0x50].copy_from_slice(&lsn.to_le_bytes());
            seal(page);
        }
        for (_, data) in read(bytes.clone()) {
            prop_assert!(data.len() <= bytes.len());
        }
    }
}
