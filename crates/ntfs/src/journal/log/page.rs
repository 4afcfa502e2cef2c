use undelfs_source::bytes::{u16_at, u32_at, u64_at};

use crate::record::apply_fixups;

/// Size of a page in bytes where no restart page says another.
pub(super) const USUAL_PAGE: usize = 4096;

/// Where log records begin at the earliest, in bytes of a page.
const HEADER: usize = 0x40;

/// A page of log records whose fixups were applied.
///
/// Its header is: `RCRD` 0, fixups 4 and 6, sequence number of the last record 8, flags 16, number of pages of this writing 20,
/// number of this page among them 22, where the next record begins 24, sequence number of the last record that ends
/// here 32. In a copy of a page that stands at the begin of the log, field 8 is the place of the page itself (version 1.1),
/// or field 60 is (version 2.0). Source: the `ntfs3` driver of Linux, compared with logs that Windows 7 and 10 wrote.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page<'a> {
    bytes: &'a [u8],
}

impl<'a> Page<'a> {
    /// The page in `buf`. Only the part of it whose fixups fit is given.
    pub(super) fn parse(buf: &'a mut [u8]) -> Option<Self> {
        if !buf.starts_with(b"RCRD") {
            return None;
        }
        let sound = apply_fixups(buf)?;
        Some(Self { bytes: buf.get(..sound)? })
    }

    /// Its sound bytes.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where log records begin.
    pub(super) fn first(&self) -> usize {
        let fixups = u16_at(self.bytes, 4).map_or(0, usize::from);
        let count = u16_at(self.bytes, 6).map_or(0, usize::from);
        let end = fixups.saturating_add(count.saturating_mul(2));
        end.next_multiple_of(8).max(HEADER)
    }

    /// The highest sequence number that the page names.
    pub(super) fn last(&self) -> u64 {
        u64_at(self.bytes, 32).unwrap_or(0)
    }

    /// The sequence number of the last record of which a part is in the page, where that is what field 8 holds.
    pub(super) fn last_begun(&self) -> u64 {
        u64_at(self.bytes, 8).unwrap_or(0)
    }

    /// Where the page may stand in the log, if it is at `at`: a copy says its place in one of two fields.
    /// `page` is the size of a page and `log` that of the log.
    pub(super) fn places(&self, at: u64, page: u64, log: u64) -> impl Iterator<Item = u64> {
        let stated = [u64_at(self.bytes, 8), u32_at(self.bytes, 60).map(u64::from)];
        let is_place =
            move |place: &u64| (1..log).contains(place) && place.is_multiple_of(page) && *place != at;
        std::iter::once(at).chain(stated.into_iter().flatten().filter(is_place))
    }
}

/// The size of log pages that a restart page tells: `RSTR` 0, fixups 4 and 6, size of a log page 20.
pub(super) fn page_size(restart: &[u8]) -> Option<usize> {
    let size = usize::try_from(u32_at(restart, 20)?).ok()?;
    let known = restart.starts_with(b"RSTR") && size.is_power_of_two() && (1024..=65536).contains(&size);
    known.then_some(size)
}
