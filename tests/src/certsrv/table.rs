//! Tables of an ESE database: columns, records, and what the catalogue says of them.

use super::pages::{LONG_VALUE, Pages, long_key, short_key};

/// Code page of UTF-16.
const UNICODE: u32 = 1200;
/// Binary values above this size stand apart from their record.
const SEPARATED: usize = 1024;
/// Bytes of a long value in one node.
const CHUNK: usize = 2048;

/// A type of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A 32-bit number in every record.
    Long,
    /// A FILETIME in every record.
    Time,
    /// Text of at most 255 bytes in UTF-16.
    Text,
    /// Bytes, stored apart where there are many.
    LongBinary,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// Of a [`Type::Long`].
    Long(i32),
    /// Of a [`Type::Time`].
    Time(u64),
    /// Of a [`Type::Text`].
    Text(String),
    /// Of a [`Type::LongBinary`].
    Binary(Vec<u8>),
}

/// A table: its first column is its key and counts.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Names and types of its columns.
    pub columns: &'static [(&'static str, Type)],
    /// Its records.
    pub rows: Vec<Vec<Cell>>,
}

/// A record of the catalogue.
#[derive(Debug)]
pub struct Entry {
    key: (u32, u16, u32),
    meaning: u32,
    size: u32,
    code_page: u32,
    name: String,
}

impl Entry {
    pub fn node(&self) -> (Vec<u8>, Vec<u8>) {
        let (table, kind, id) = self.key;
        let key = [long_key(table as i32), short_key(kind as i16), long_key(id as i32)].concat();
        let is_table = kind == 1;
        let mut fixed = Vec::new();
        fixed.extend(table.to_le_bytes());
        fixed.extend(kind.to_le_bytes());
        for word in [id, self.meaning, self.size, 0, self.code_page] {
            fixed.extend(word.to_le_bytes());
        }
        fixed.push(if is_table { 0xFF } else { 0 });
        fixed.extend([0, 0]);
        fixed.extend([0; 4]);
        let nulls = if is_table { 0b10_0000_0000u16 } else { 0b11_1000_0000 };
        (key, record(10, &fixed, &nulls.to_le_bytes(), &[Some(self.name.as_bytes().to_vec())], &[]))
    }
}

/// A record: the last fixed column, their bytes and null bits, variable and tagged values.
fn record(
    last_fixed: u8,
    fixed: &[u8],
    nulls: &[u8],
    variable: &[Option<Vec<u8>>],
    tagged: &[(u16, u8, Vec<u8>)],
) -> Vec<u8> {
    let end = 4 + fixed.len() + nulls.len();
    let mut out = vec![last_fixed, 127 + variable.len() as u8];
    out.extend((end as u16).to_le_bytes());
    out.extend(fixed);
    out.extend(nulls);
    let mut at = 0u16;
    for value in variable {
        at += value.as_ref().map_or(0, |value| value.len() as u16);
        out.extend((at | if value.is_none() { 0x8000 } else { 0 }).to_le_bytes());
    }
    variable.iter().flatten().for_each(|value| out.extend(value));
    let mut at = tagged.len() as u16 * 4;
    for (column, _, value) in tagged {
        out.extend(column.to_le_bytes());
        out.extend((at | 0x4000).to_le_bytes());
        at += 1 + value.len() as u16;
    }
    for (_, flags, value) in tagged {
        out.push(*flags);
        out.extend(value);
    }
    out
}

impl Table {
    /// Makes the table's trees, and what the catalogue says of it.
    pub fn write(&self, pages: &mut Pages, object: u32) -> Vec<Entry> {
        let root = pages.reserve();
        let long_root = pages.reserve();
        let mut long_values = Vec::new();
        let mut nodes: Vec<(Vec<u8>, Vec<u8>)> = self
            .rows
            .iter()
            .enumerate()
            .map(|(index, row)| self.node(index, row, &mut long_values))
            .collect();
        nodes.sort();
        pages.tree(root, object, 0, &nodes);
        pages.tree(long_root, object + 1, LONG_VALUE, &long_values);
        let entry = |kind, id, meaning, size, code_page, name: &str| Entry {
            key: (object, kind, id),
            meaning,
            size,
            code_page,
            name: name.to_owned(),
        };
        let mut entries = vec![entry(1, object, root, 1, 1, self.name)];
        let (mut fixed, mut variable, mut tagged) = (0, 127, 255);
        for (name, kind) in self.columns {
            let (number, code, size, code_page) = match kind {
                Type::Long => (&mut fixed, 4, 4, 0),
                Type::Time => (&mut fixed, 8, 8, 0),
                Type::Text => (&mut variable, 10, 255, UNICODE),
                Type::LongBinary => (&mut tagged, 11, 0, 0),
            };
            *number += 1;
            entries.push(entry(2, *number, code, size, code_page, name));
        }
        entries.sort_by_key(|entry| entry.key);
        entries.push(entry(4, object + 1, long_root, 1, 1, "LV"));
        entries
    }

    fn node(
        &self,
        index: usize,
        row: &[Cell],
        long_values: &mut Vec<(Vec<u8>, Vec<u8>)>,
    ) -> (Vec<u8>, Vec<u8>) {
        let (mut fixed, mut nulls, mut count) = (Vec::new(), 0u32, 0);
        let (mut variable, mut tagged, mut column) = (Vec::new(), Vec::new(), 255u16);
        for ((_, kind), cell) in self.columns.iter().zip(row) {
            match (kind, cell) {
                (Type::Long | Type::Time, cell) => {
                    match cell {
                        Cell::Long(number) => fixed.extend(number.to_le_bytes()),
                        Cell::Time(time) => fixed.extend(time.to_le_bytes()),
                        _ => {
                            nulls |= 1 << count;
                            fixed.extend(vec![0; if *kind == Type::Long { 4 } else { 8 }]);
                        }
                    }
                    count += 1;
                }
                (Type::Text, cell) => variable.push(match cell {
                    Cell::Text(text) => Some(text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
                    _ => None,
                }),
                (Type::LongBinary, cell) => {
                    column += 1;
                    if let Cell::Binary(bytes) = cell {
                        if bytes.len() > SEPARATED {
                            let id = long_values_id(long_values);
                            separate(id, bytes, long_values);
                            tagged.push((column, 0x05, id.to_le_bytes().to_vec()));
                        } else {
                            tagged.push((column, 0x01, bytes.clone()));
                        }
                    }
                }
            }
        }
        let bits = nulls.to_le_bytes();
        let key = match row.first() {
            Some(Cell::Long(number)) if self.columns[0].0 != "RowNumber" => {
                // Several records of one request follow each other.
                [long_key(*number), long_key(index as i32)].concat()
            }
            _ => long_key(index as i32),
        };
        (key, record(count as u8, &fixed, &bits[..(count as usize).div_ceil(8)], &variable, &tagged))
    }
}

fn long_values_id(long_values: &[(Vec<u8>, Vec<u8>)]) -> u32 {
    1 + long_values.iter().filter(|(key, _)| key.len() == 4).count() as u32
}

/// The nodes of a long value: one with its size, then its pieces by their offsets.
fn separate(id: u32, bytes: &[u8], nodes: &mut Vec<(Vec<u8>, Vec<u8>)>) {
    let key = id.to_be_bytes();
    nodes.push((
        key.to_vec(),
        [1u32, bytes.len() as u32].iter().flat_map(|word| word.to_le_bytes()).collect(),
    ));
    for (index, piece) in bytes.chunks(CHUNK).enumerate() {
        nodes.push(([key, ((index * CHUNK) as u32).to_be_bytes()].concat(), piece.to_vec()));
    }
}
