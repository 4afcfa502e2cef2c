//! The log of metadata changes, `$LogFile`: what NTFS wrote down before it changed FILE records and indexes.
//!
//! The log is read page by page, and every page alone: no restart area is trusted, and a damaged page costs only what stands in
//! it. A log record says in its own sequence number where it stands, which tells it from anything else. Pages of an
//! earlier turn of the log, and copies of pages at its begin, give their records too.

mod change;
mod page;
mod record;

use std::collections::HashMap;

use undelfs_source::ReadAt;
use undelfs_volume::filesystem::Watch;

use page::{Page, USUAL_PAGE, page_size};
use record::{HEADER, Header, STEP};

pub use change::{Bits, How, Sizes, Told, tell};
pub use record::Change;

/// How much is read at once, a multiple of every page size.
const PIECE: usize = 1 << 20;
/// Most bytes of a log that are read. Windows makes none larger than 64 MiB by itself.
const MAX_LOG: u64 = 4 << 30;
/// Pages at the begin of a log that something stands in where the log was ever used: two restart pages, and the copies of
/// pages of both versions.
const BEGIN: u64 = 36;
/// Where the turn of the log begins, in pages: behind the copies of version 1.1, and of version 2.0.
const TURNS: [u64; 2] = [4, 34];

/// A page that was found sound.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// Where it is in the log, in bytes.
    at: u64,
    /// The highest sequence number that it names.
    last: u64,
}

/// A log record that goes on in the next page.
#[derive(Debug, Clone, Copy)]
struct Crossing {
    header: Header,
    /// Where its page stands in the log.
    place: u64,
    /// Where its page is, in bytes of the log.
    at: u64,
    /// Where it begins in the page.
    within: usize,
}

/// A log of NTFS.
struct Log<'a> {
    bytes: &'a dyn ReadAt,
    size: u64,
    page: usize,
    /// Bits of a place in bytes in a sequence number times eight.
    mask: u64,
    /// The sound pages, by the place that they belong to.
    pages: HashMap<u64, Vec<Found>>,
}

/// Calls `each` with every change that the log holds, in no order, some of them more than once: its sequence number and itself. Without
/// `whole` a log that begins as an empty one does is not read on.
pub fn changes(bytes: &dyn ReadAt, whole: bool, watch: &dyn Watch, each: &mut dyn FnMut(u64, &Change<'_>)) {
    let size = bytes.size().min(bytes.present()).min(MAX_LOG);
    let mut begin = vec![0; usize::try_from(size.min(BEGIN.saturating_mul(USUAL_PAGE as u64))).unwrap_or(0)];
    bytes.read_salvage(&mut begin, 0);
    let restarts = begin.chunks(USUAL_PAGE / 4).filter_map(page_size);
    let page = restarts.max().unwrap_or(USUAL_PAGE);
    let is_used =
        begin.chunks(USUAL_PAGE / 4).any(|part| part.starts_with(b"RSTR") || part.starts_with(b"RCRD"));
    if !is_used && !whole {
        return;
    }
    let bits = u64::BITS.saturating_sub(bytes.size().leading_zeros());
    let mask = 1_u64.checked_shl(bits).map_or(u64::MAX, |bit| bit.wrapping_sub(1));
    let mut log = Log { bytes, size, page, mask, pages: HashMap::new() };
    let crossing = log.read_pages(watch, each);
    log.read_crossing(&crossing, watch, each);
}

impl Log<'_> {
    /// Reads all pages. Changes that go on in another page are given back.
    fn read_pages(&mut self, watch: &dyn Watch, each: &mut dyn FnMut(u64, &Change<'_>)) -> Vec<Crossing> {
        let mut crossing = Vec::new();
        let mut buf = vec![0; PIECE];
        let mut at = 0_u64;
        while at < self.size && !watch.cancelled() {
            let left = usize::try_from(self.size.saturating_sub(at)).unwrap_or(usize::MAX);
            let piece = buf.get_mut(..left.min(PIECE)).unwrap_or_default();
            self.bytes.read_salvage(piece, at);
            for (number, page) in (0_u64..).zip(piece.chunks_exact_mut(self.page)) {
                let here = at.saturating_add(number.saturating_mul(self.page as u64));
                if let Some(page) = Page::parse(page) {
                    self.read_page(&page, here, &mut crossing, each);
                }
            }
            at = at.saturating_add(PIECE as u64);
        }
        crossing
    }

    fn read_page(
        &mut self,
        page: &Page<'_>,
        at: u64,
        crossing: &mut Vec<Crossing>,
        each: &mut dyn FnMut(u64, &Change<'_>),
    ) {
        let size = self.page as u64;
        let mut last = page.last();
        let mut holder = None;
        for place in page.places(at, size, self.size) {
            let mut within = page.first();
            while let Some(rest) = page.bytes().get(within..).filter(|rest| rest.len() >= HEADER) {
                let here = place.saturating_add(within as u64);
                let Some(header) = Header::parse(rest, here, self.mask) else {
                    within = within.saturating_add(STEP);
                    continue;
                };
                holder = Some(place);
                last = last.max(header.lsn);
                if let Some(data) = data_of(rest, &header) {
                    give(&header, data, each);
                } else if header.is_change && within.saturating_add(header.span()) > self.page {
                    crossing.push(Crossing { header, place, at, within });
                }
                within = within.saturating_add(header.span());
            }
            if holder.is_some() {
                break;
            }
        }
        // A page that only goes on has no record that says its place.
        let is_copy = at < BEGIN.saturating_sub(2).saturating_mul(size);
        let stated = page.places(at, size, self.size).nth(usize::from(is_copy));
        let place = holder.or(stated).unwrap_or(at);
        if holder.is_none() {
            last = last.max(page.last_begun());
        }
        self.pages.entry(place).or_default().push(Found { at, last });
    }

    /// Puts together the changes that several pages hold.
    fn read_crossing(
        &self,
        crossing: &[Crossing],
        watch: &dyn Watch,
        each: &mut dyn FnMut(u64, &Change<'_>),
    ) {
        let mut buf = vec![0; self.page];
        for start in crossing {
            if watch.cancelled() {
                break;
            }
            if let Some(bytes) = self.assemble(start, &mut buf)
                && let Some(data) = data_of(&bytes, &start.header)
            {
                give(&start.header, data, each);
            }
        }
    }

    fn assemble(&self, start: &Crossing, buf: &mut [u8]) -> Option<Vec<u8>> {
        let wanted = start.header.length.checked_add(HEADER)?;
        let mut bytes = Vec::new();
        self.bytes.read_salvage(buf, start.at);
        bytes.extend(Page::parse(buf)?.bytes().get(start.within..)?);
        let size = self.page as u64;
        // The record must go on at the end of the page, not where it was torn.
        let torn = bytes.len().checked_add(start.within)? < self.page;
        let (mut place, mut turn) = (start.place, self.turn(start.header.lsn));
        while bytes.len() < wanted {
            let next = self.next(place, start.header.lsn, &mut turn).filter(|_| !torn)?;
            place = next.0;
            self.bytes.read_salvage(buf, next.1.at);
            let page = Page::parse(buf)?;
            let part = page.bytes().get(page.first()..)?;
            let is_whole = page.bytes().len() as u64 == size;
            bytes.extend(part);
            if !is_whole && bytes.len() < wanted {
                return None;
            }
        }
        Some(bytes)
    }

    /// The page that follows the one at `place`, in which the record `lsn` goes on, with its place; of several copies the
    /// oldest that fits. `turn` is the turn of the log that the page is of.
    fn next(&self, place: u64, lsn: u64, turn: &mut u64) -> Option<(u64, Found)> {
        let size = self.page as u64;
        let following = place.saturating_add(size);
        let is_last = following.saturating_add(size) > self.size;
        if is_last {
            *turn = turn.saturating_add(self.mask >> 3).saturating_add(1);
        }
        let starts = TURNS.iter().map(|page| page.saturating_mul(size)).filter(|_| is_last);
        // Where no other record begins in the page, this one is the last that does before its end.
        let fits = |found: &&Found| found.last == lsn || (found.last > lsn && self.turn(found.last) == *turn);
        let mut candidates =
            std::iter::once(following).filter(|_| !is_last).chain(starts).filter_map(|place| {
                let found = self.pages.get(&place)?.iter().filter(fits).min_by_key(|found| found.last)?;
                Some((place, *found))
            });
        candidates.next()
    }

    /// The first sequence number of the turn that `lsn` is in.
    fn turn(&self, lsn: u64) -> u64 {
        lsn & !(self.mask >> 3)
    }
}

/// The client's data of the log record that begins `bytes`, where all of them are there.
fn data_of<'a>(bytes: &'a [u8], header: &Header) -> Option<&'a [u8]> {
    bytes.get(HEADER..HEADER.checked_add(header.length)?)
}

fn give(header: &Header, data: &[u8], each: &mut dyn FnMut(u64, &Change<'_>)) {
    if let Some(change) = Change::parse(data).filter(|_| header.is_change) {
        each(header.lsn, &change);
    }
}

#[cfg(test)]
mod tests;
