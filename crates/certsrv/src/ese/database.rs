//! A database: its headers, its trailer, its tables, and the check of all its pages.

use std::{ops::ControlFlow, sync::Arc};

use undelfs_source::ReadAt;
use undelfs_volume::filesystem::Watch;

use super::{
    checksum,
    header::{Header, Trailer},
    pages::Pages,
    table::{self, EachRecord, Table, Tables, Value},
};
use crate::Error;

/// Bytes that are read at once when all pages are checked.
const BATCH: usize = 1 << 20;
/// Most page numbers that a check keeps of each kind; beyond that they are counted only.
const MAX_NAMED: usize = 1000;

/// An open database.
pub struct Database {
    /// The header that is used: the first one, or its copy where the first is damaged.
    pub header: Header,
    /// Whether header and copy are both sound and equal.
    pub headers_agree: bool,
    /// What a backup appended.
    pub trailer: Option<Trailer>,
    /// Size of the file in bytes.
    pub size: u64,
    pages: Pages,
    bytes: Arc<dyn ReadAt>,
}

/// What the check of all pages found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageCheck {
    /// Pages with the right checksum.
    pub sound: u64,
    /// Pages that are zeros: never used.
    pub empty: u64,
    /// Pages in use without the right checksum, at most a thousand.
    pub damaged: Vec<u32>,
    /// How many those are.
    pub damaged_count: u64,
    /// Pages that no table reaches, with anything in them: free space.
    pub free: u64,
}

impl Database {
    /// Opens a database.
    ///
    /// # Errors
    /// When neither header can be used.
    pub fn open(bytes: Arc<dyn ReadAt>) -> Result<Self, Error> {
        let size = bytes.size();
        let first = read_header(&bytes, 0);
        let page_size = first.as_ref().map_or(4096, |header| header.page_size);
        let copy = read_header(&bytes, page_size.into());
        let (header, headers_agree) = match (first, copy) {
            (Ok(first), Ok(copy)) if !first.sound && copy.sound => (copy, false),
            (Ok(first), Ok(copy)) => {
                let agree = first.sound && first == copy;
                (first, agree)
            }
            (Ok(first), Err(_)) => (first, false),
            (Err(_), Ok(copy)) => (copy, false),
            (Err(error), Err(_)) => return Err(error),
        };
        let pages = Pages::new(bytes.clone(), header.page_size);
        let trailer = size.checked_sub(header.page_size.into()).and_then(|at| {
            let mut page = vec![0; header.page_size as usize];
            bytes.read_exact_at(&mut page, at).ok()?;
            Trailer::parse(&page, &header)
        });
        Ok(Self { header, headers_agree, trailer, size, pages, bytes })
    }

    /// Pages behind the two headers, without the trailer.
    pub fn page_count(&self) -> u32 {
        self.pages.count().saturating_sub(u32::from(self.trailer.is_some()))
    }

    /// The tables, and what could not be read of the catalogue.
    ///
    /// # Errors
    /// When neither the catalogue nor its copy can be read.
    pub fn tables(&self) -> Result<(Vec<Table>, Vec<String>), Error> {
        Tables::read(&self.pages).map(|tables| (tables.tables, tables.notes))
    }

    /// Visits the records of a table: a value for each of its columns. What cannot be read is left out and returned, one
    /// sentence for each page.
    pub fn records(
        &self,
        table: &Table,
        each: &mut dyn FnMut(Vec<Option<Value>>) -> ControlFlow<()>,
    ) -> Vec<String> {
        table::records(&self.pages, table, &[], &mut |_, values| each(values))
    }

    /// Visits the records of a table whose keys begin with `prefix`.
    pub fn records_with(&self, table: &Table, prefix: &[u8], each: &mut EachRecord<'_>) -> Vec<String> {
        table::records(&self.pages, table, prefix, each)
    }

    /// Checks the checksum of every page. A page that no tree of the catalogue reaches is free space, which the engine
    /// leaves as it finds it.
    ///
    /// # Errors
    /// When the database cannot be read, or `watch` cancelled it.
    pub fn check_pages(&self, watch: &dyn Watch) -> Result<PageCheck, Error> {
        let count = self.page_count();
        watch.total(count.into());
        // Without a catalogue nobody can tell what is in use.
        let reached = Tables::read(&self.pages).map(|tables| tables.reached(&self.pages).0).ok();
        let mut check = PageCheck::default();
        let size = self.pages.page_size() as usize;
        let at_once = BATCH.checked_div(size).unwrap_or(1).max(1);
        let mut batch = vec![0; at_once.saturating_mul(size)];
        let mut next = 1u32;
        while next <= count {
            if watch.cancelled() {
                return Err(Error::cancelled());
            }
            let here = (count.saturating_sub(next).saturating_add(1) as usize).min(at_once);
            let piece = batch.get_mut(..here.saturating_mul(size)).unwrap_or_default();
            let unread = self.bytes.read_salvage(piece, self.pages.offset(next));
            for (index, page) in piece.chunks_exact(size).enumerate() {
                let number = next.saturating_add(index as u32);
                let from = index.saturating_mul(size);
                let to = from.saturating_add(size);
                let readable = unread.iter().all(|bad| bad.range.end <= from || bad.range.start >= to);
                let empty = readable && page.iter().all(|byte| *byte == 0);
                let used = reached.as_ref().map(|reached| reached.contains(&number));
                if readable && !empty && checksum::page_is_sound(page, number) {
                    check.sound = check.sound.saturating_add(1);
                } else if used.unwrap_or(!empty) {
                    check.damaged_count = check.damaged_count.saturating_add(1);
                    if check.damaged.len() < MAX_NAMED {
                        check.damaged.push(number);
                    }
                } else if empty {
                    check.empty = check.empty.saturating_add(1);
                } else {
                    check.free = check.free.saturating_add(1);
                }
            }
            next = next.saturating_add(here as u32);
            watch.advance(here as u64);
        }
        Ok(check)
    }
}

fn read_header(bytes: &Arc<dyn ReadAt>, at: u64) -> Result<Header, Error> {
    let mut page = vec![0; 4096];
    let read = bytes.read_at(&mut page, at)?;
    page.truncate(read);
    let header = Header::parse(&page, at)?;
    if header.page_size as usize <= page.len() {
        return Ok(header);
    }
    page.resize(header.page_size as usize, 0);
    let read = bytes.read_at(&mut page, at)?;
    page.truncate(read);
    Header::parse(&page, at)
}
