//! A record: fixed, variable and tagged columns.

use undelfs_source::bytes::u16_at;

use super::checksum::SMALL_PAGE;

/// Size of the header of a record in bytes; fixed columns follow it.
const HEADER: usize = 4;
/// The first variable and the first tagged column.
const VARIABLE: u32 = 128;
const TAGGED: u32 = 256;
/// In the offset of a variable column: it has no value.
const NO_VALUE: u16 = 0x8000;

/// How a value of a tagged column is stored; its flags in front of it say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TagFlags(u8);

impl TagFlags {
    pub(super) fn is_compressed(self) -> bool {
        self.0 & 0x02 != 0
    }

    /// What is stored is the identifier of a long value.
    pub(super) fn is_separated(self) -> bool {
        self.0 & 0x04 != 0
    }

    pub(super) fn has_several(self) -> bool {
        self.0 & 0x18 != 0
    }

    fn is_two(self) -> bool {
        self.0 & 0x10 != 0
    }

    fn is_null(self) -> bool {
        self.0 & 0x20 != 0
    }
}

/// The value of a column as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) flags: TagFlags,
}

/// A record.
pub(super) struct Record<'a> {
    bytes: &'a [u8],
    last_fixed: u32,
    /// Where the fixed columns end, in bytes.
    fixed_end: usize,
    variables: usize,
    small_page: bool,
}

impl<'a> Record<'a> {
    pub(super) fn new(bytes: &'a [u8], page_size: u32) -> Option<Self> {
        let [last_fixed, last_variable] = *bytes.first_chunk::<2>()?;
        let fixed_end = usize::from(u16_at(bytes, 2)?);
        (fixed_end >= HEADER && fixed_end <= bytes.len()).then_some(())?;
        let variables = usize::from(last_variable).saturating_sub(127);
        Some(Self {
            bytes,
            last_fixed: last_fixed.into(),
            fixed_end,
            variables,
            small_page: page_size as usize <= SMALL_PAGE,
        })
    }

    /// The value of a column; `offset` and `size` are where a fixed one stands behind the header. `None` where it has none.
    pub(super) fn get(&self, column: u32, offset: usize, size: usize) -> Option<Stored<'a>> {
        let plain = |bytes| Stored { bytes, flags: TagFlags(0) };
        match column {
            1..VARIABLE => self.fixed(column, offset, size).map(plain),
            VARIABLE..TAGGED => self.variable(column).map(plain),
            _ => self.tagged(column),
        }
    }

    fn fixed(&self, column: u32, offset: usize, size: usize) -> Option<&'a [u8]> {
        (column <= self.last_fixed).then_some(())?;
        // A bit for each fixed column says whether it is null; they end where the variable columns begin.
        let bitmap = self.fixed_end.checked_sub((self.last_fixed as usize).div_ceil(8))?;
        let index = column.checked_sub(1)? as usize;
        let bits = *self.bytes.get(bitmap.checked_add(index.checked_div(8)?)?)?;
        (bits >> (index & 7) & 1 == 0).then_some(())?;
        let from = HEADER.checked_add(offset)?;
        self.bytes.get(from..from.checked_add(size)?)
    }

    /// Where the values of the variable columns begin.
    fn variable_values(&self) -> Option<usize> {
        self.fixed_end.checked_add(self.variables.checked_mul(2)?)
    }

    fn variable_end(&self, index: usize) -> Option<u16> {
        (index < self.variables).then_some(())?;
        u16_at(self.bytes, self.fixed_end.checked_add(index.checked_mul(2)?)?)
    }

    fn variable(&self, column: u32) -> Option<&'a [u8]> {
        let index = column.checked_sub(VARIABLE)? as usize;
        let end = self.variable_end(index)?;
        (end & NO_VALUE == 0).then_some(())?;
        let start = match index.checked_sub(1) {
            Some(before) => self.variable_end(before)? & !NO_VALUE,
            None => 0,
        };
        let values = self.variable_values()?;
        self.bytes.get(values.checked_add(start.into())?..values.checked_add(end.into())?)
    }

    fn tagged(&self, column: u32) -> Option<Stored<'a>> {
        let last = match self.variables.checked_sub(1) {
            Some(last) => usize::from(self.variable_end(last)? & !NO_VALUE),
            None => 0,
        };
        let from = self.variable_values()?.checked_add(last)?;
        let fields = self.bytes.get(from..).filter(|fields| fields.len() >= 4)?;
        let mask: u16 = if self.small_page { 0x1FFF } else { 0x7FFF };
        let offset = |index: usize| -> Option<(u16, u16)> {
            let at = index.checked_mul(4)?;
            Some((u16_at(fields, at)?, u16_at(fields, at.checked_add(2)?)?))
        };
        // The values begin behind the array, so the first offset tells how many there are.
        let count = usize::from(offset(0)?.1 & mask).checked_div(4)?;
        let index = (0..count).find(|index| offset(*index).is_some_and(|(id, _)| u32::from(id) == column))?;
        let (_, own) = offset(index)?;
        let end = match index.checked_add(1).filter(|next| *next < count) {
            Some(next) => usize::from(offset(next)?.1 & mask),
            None => fields.len(),
        };
        let value = fields.get(usize::from(own & mask)..end)?;
        let flagged = !self.small_page || own & 0x4000 != 0;
        let null = self.small_page && own & 0x2000 != 0;
        let (flags, bytes) = match (flagged, value.split_first()) {
            (true, Some((flags, rest))) => (TagFlags(*flags), rest),
            _ => (TagFlags(0), value),
        };
        (!null && !flags.is_null()).then_some(Stored { bytes, flags })
    }
}

/// The first of several values of a column, and whether it is the identifier of a long value.
pub(super) fn first_of_several<'a>(stored: Stored<'a>) -> Option<(&'a [u8], bool)> {
    let bytes = stored.bytes;
    if stored.flags.is_two() {
        let (first, rest) = bytes.split_first()?;
        return Some((rest.get(..usize::from(*first))?, false));
    }
    let first = u16_at(bytes, 0)?;
    let from = usize::from(first & 0x7FFF);
    let end = if from > 2 { usize::from(u16_at(bytes, 2)? & 0x7FFF) } else { bytes.len() };
    Some((bytes.get(from..end)?, first & 0x8000 != 0))
}
