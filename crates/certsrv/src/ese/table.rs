//! The catalogue of a database: its tables and their columns; and the records of a table.

use std::{
    collections::{BTreeMap, HashSet},
    ops::ControlFlow,
    sync::Arc,
};

use undelfs_source::bytes::{array, u16_at, u32_at};

use super::{
    compression::decompress,
    pages::{Keys, Pages, Unread},
    record::{Record, first_of_several},
};
use crate::{Error, text};

/// Roots of the catalogue and of its copy.
const CATALOGUES: [u32; 2] = [4, 24];
/// What a record of the catalogue describes.
const TABLE: u16 = 1;
const COLUMN: u16 = 2;
const INDEX: u16 = 3;
const LONG_VALUES: u16 = 4;
/// Most tables and columns that are taken of a catalogue.
const MAX_TABLES: usize = 4096;
const MAX_COLUMNS: usize = 1 << 16;
/// Largest long value that is put together, in bytes.
const MAX_LONG_VALUE: usize = 16 << 20;
/// The code page of UTF-16.
const UNICODE: u32 = 1200;

/// A type of columns (`JET_COLTYP`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// 1, or 2 bytes and more, signed or not: a number.
    Number {
        /// Size in bytes.
        size: usize,
        /// Whether it can be negative.
        signed: bool,
    },
    /// A time. Certificate Services keep FILETIMEs in it.
    Time,
    /// Text; true where it is UTF-16.
    Text(bool),
    /// Bytes.
    Binary,
}

/// A column of a table.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: ColumnType,
    number: u32,
    offset: usize,
    size: usize,
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns, in the order of their numbers.
    pub columns: Vec<Column>,
    root: u32,
    long_values: Option<u32>,
    /// Roots of all its trees.
    trees: Vec<u32>,
}

impl Table {
    /// The index of a column, in whichever case its name is written.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name.trim_start_matches('$').eq_ignore_ascii_case(name))
    }
}

/// A value of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(i64),
    /// 100-nanosecond intervals since 1601-01-01 UTC.
    Time(u64),
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// A value that is there and cannot be read: why.
    Damaged(&'static str),
}

/// The tables of a database, and what could not be read of them.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) tables: Vec<Table>,
    pub(super) notes: Vec<String>,
}

/// A record of the catalogue.
struct Entry {
    table: u32,
    kind: u16,
    id: u32,
    /// Type of a column, root of anything else.
    meaning: u32,
    size: u32,
    code_page: u32,
    name: String,
}

impl Entry {
    fn read(record: &Record<'_>) -> Option<Self> {
        let number =
            |column, offset| record.get(column, offset, 4).and_then(|stored| u32_at(stored.bytes, 0));
        let name = record.get(128, 0, 0).map_or(&[][..], |stored| stored.bytes);
        Some(Self {
            table: number(1, 0)?,
            kind: record.get(2, 4, 2).and_then(|stored| u16_at(stored.bytes, 0))?,
            id: number(3, 6)?,
            meaning: number(4, 10)?,
            size: number(5, 14).unwrap_or(0),
            code_page: number(7, 22).unwrap_or(0),
            name: text::single_bytes(name),
        })
    }
}

impl Tables {
    /// Reads the catalogue, and its copy where that tells more.
    ///
    /// # Errors
    /// When neither can be read.
    pub(super) fn read(pages: &Pages) -> Result<Self, Error> {
        let [first, copy] = CATALOGUES.map(|root| Self::of(pages, root));
        match (first.tables.is_empty(), copy.tables.len() > first.tables.len() && !first.notes.is_empty()) {
            (true, _) if copy.tables.is_empty() => {
                let found = first.notes.into_iter().next().unwrap_or("no table".to_owned());
                let at = pages.offset(CATALOGUES[0]);
                Err(Error::structure("the catalogue of the database", at, "its tables".to_owned(), found))
            }
            (true, _) | (_, true) => Ok(copy),
            _ => Ok(first),
        }
    }

    fn of(pages: &Pages, root: u32) -> Self {
        let mut tables: BTreeMap<u32, Table> = BTreeMap::new();
        let mut columns: BTreeMap<(u32, u32), Entry> = BTreeMap::new();
        let mut roots: Vec<(u32, u16, u32)> = Vec::new();
        let mut unread = Unread::default();
        pages.walk(root, &Keys::All, &mut unread, &mut HashSet::new(), &mut |node| {
            let entry = Record::new(node.data, pages.page_size()).and_then(|record| Entry::read(&record));
            let Some(entry) = entry else { return ControlFlow::Continue(()) };
            match entry.kind {
                TABLE if tables.len() < MAX_TABLES => {
                    let (name, root) = (entry.name, entry.meaning);
                    let table =
                        Table { name, columns: Vec::new(), root, long_values: None, trees: vec![root] };
                    tables.entry(entry.table).or_insert(table);
                }
                COLUMN if columns.len() < MAX_COLUMNS => {
                    columns.entry((entry.table, entry.id)).or_insert(entry);
                }
                INDEX | LONG_VALUES if roots.len() < MAX_COLUMNS => {
                    roots.push((entry.table, entry.kind, entry.meaning))
                }
                _ => {}
            }
            ControlFlow::Continue(())
        });
        for (table, kind, root) in roots {
            if let Some(table) = tables.get_mut(&table) {
                table.trees.push(root);
                if kind == LONG_VALUES {
                    table.long_values = Some(root);
                }
            }
        }
        let mut offsets: BTreeMap<u32, usize> = BTreeMap::new();
        for ((object, number), entry) in columns {
            let Some(table) = tables.get_mut(&object) else { continue };
            let size = usize::try_from(entry.size).unwrap_or(0);
            let kind = column_type(entry.meaning, entry.code_page);
            let offset = offsets.entry(object).or_default();
            let own = *offset;
            if number < 128 {
                *offset = own.saturating_add(size);
            }
            if let Some(kind) = kind {
                table.columns.push(Column { name: entry.name, kind, number, offset: own, size });
            }
        }
        Self { tables: tables.into_values().collect(), notes: unread.notes }
    }

    /// Every page that a tree reaches.
    pub(super) fn reached(&self, pages: &Pages) -> (HashSet<u32>, Unread) {
        let (mut reached, mut unread) = (HashSet::new(), Unread::default());
        let roots = self.tables.iter().flat_map(|table| table.trees.iter().copied());
        for root in CATALOGUES.into_iter().chain(roots) {
            pages.walk(root, &Keys::All, &mut unread, &mut reached, &mut |_| ControlFlow::Continue(()));
        }
        (reached, unread)
    }
}

/// `None` for a column that was deleted, or of a type that is not known.
fn column_type(kind: u32, code_page: u32) -> Option<ColumnType> {
    let number = |size, signed| Some(ColumnType::Number { size, signed });
    match kind {
        1 | 2 => number(1, false),
        3 => number(2, true),
        4 => number(4, true),
        5 | 15 => number(8, true),
        8 => Some(ColumnType::Time),
        10 | 12 => Some(ColumnType::Text(code_page == UNICODE)),
        6 | 7 | 9 | 11 | 16 => Some(ColumnType::Binary),
        14 => number(4, false),
        17 => number(2, false),
        _ => None,
    }
}

/// What is done with a record: its key, and a value of each column, `None` for a null. A break ends the visit.
pub type EachRecord<'a> = dyn FnMut(&[u8], Vec<Option<Value>>) -> ControlFlow<()> + 'a;

/// Visits the records of a table whose keys begin with `prefix`.
pub(super) fn records(pages: &Pages, table: &Table, prefix: &[u8], each: &mut EachRecord<'_>) -> Vec<String> {
    let mut unread = Unread::default();
    let keys = if prefix.is_empty() { Keys::All } else { Keys::With(prefix) };
    pages.walk(table.root, &keys, &mut unread, &mut HashSet::new(), &mut |node| {
        let Some(record) = Record::new(node.data, pages.page_size()) else {
            return ControlFlow::Continue(());
        };
        let values = table.columns.iter().map(|column| value(pages, table, column, &record)).collect();
        each(&node.key(), values)
    });
    unread.notes
}

fn value(pages: &Pages, table: &Table, column: &Column, record: &Record<'_>) -> Option<Value> {
    let stored = record.get(column.number, column.offset, column.size)?;
    let (mut bytes, mut separated) = (stored.bytes, stored.flags.is_separated());
    let mut compressed = stored.flags.is_compressed() && !separated;
    if stored.flags.has_several() {
        match first_of_several(stored) {
            Some(first) => (bytes, separated) = first,
            None => return Some(Value::Damaged("the values do not follow each other")),
        }
        compressed &= !separated;
    }
    let long;
    if separated {
        match long_value(pages, table, bytes) {
            Some(value) => long = value,
            None => return Some(Value::Damaged("the long value is not there in full")),
        }
        bytes = &long;
        return Some(typed(column.kind, bytes));
    }
    if compressed {
        match decompress(bytes, MAX_LONG_VALUE) {
            Some(value) => long = value,
            None => return Some(Value::Damaged("the value cannot be decompressed")),
        }
        bytes = &long;
    }
    Some(typed(column.kind, bytes))
}

fn typed(kind: ColumnType, bytes: &[u8]) -> Value {
    let short = Value::Damaged("the value is cut short");
    match kind {
        ColumnType::Number { size, signed } => {
            let Some(own) = bytes.get(..size) else { return short };
            let mut wide = [0u8; 8];
            for (to, from) in wide.iter_mut().zip(own) {
                *to = *from;
            }
            let shift = 64u32.saturating_sub((size as u32).saturating_mul(8)) & 63;
            let number = i64::from_le_bytes(wide);
            Value::Number(if signed { number << shift >> shift } else { number })
        }
        ColumnType::Time => array(bytes, 0).map_or(short, |time| Value::Time(u64::from_le_bytes(time))),
        ColumnType::Text(true) => Value::Text(text::utf16(bytes)),
        ColumnType::Text(false) => Value::Text(text::single_bytes(bytes)),
        ColumnType::Binary => Value::Binary(bytes.to_vec()),
    }
}

/// Puts a long value together; `None` where a part of it is missing. `identifier` is what the record has of it: its key, from
/// the last byte to the first.
fn long_value(pages: &Pages, table: &Table, identifier: &[u8]) -> Option<Vec<u8>> {
    let root = table.long_values?;
    let key: Vec<u8> = identifier.iter().rev().copied().collect();
    (!key.is_empty() && key.len() <= 8).then_some(())?;
    let mut size = None;
    let mut pieces: Vec<(usize, Arc<[u8]>)> = Vec::new();
    let mut stored = 0usize;
    pages.walk(root, &Keys::With(&key), &mut Unread::default(), &mut HashSet::new(), &mut |node| {
        let own = node.key();
        match own.get(key.len()..) {
            Some([]) => size = u32_at(node.data, 4),
            Some([a, b, c, d]) => {
                stored = stored.saturating_add(node.data.len());
                pieces.push((u32::from_be_bytes([*a, *b, *c, *d]) as usize, node.data.into()));
            }
            _ => {}
        }
        if stored > MAX_LONG_VALUE { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let size = usize::try_from(size?).ok().filter(|size| *size <= MAX_LONG_VALUE)?;
    let mut value = Vec::new();
    for (index, (offset, piece)) in pieces.iter().enumerate() {
        (value.len() == *offset).then_some(())?;
        let next = index.checked_add(1).and_then(|next| pieces.get(next)).map_or(size, |(offset, _)| *offset);
        let length = next.checked_sub(*offset)?;
        if piece.len() == length {
            value.extend_from_slice(piece);
        } else {
            value.extend(decompress(piece, length).filter(|piece| piece.len() == length)?);
        }
    }
    (value.len() == size).then_some(value)
}
