use undelfs_source::bytes::{u16_at, u32_at, u64_at};

/// Size of the header of a log record in bytes.
pub(super) const HEADER: usize = 48;
/// Log records begin at multiples of this.
pub(super) const STEP: usize = 8;
/// Longest client data that is read, in bytes. What tells of files is no longer than a FILE record or an index block twice.
pub(super) const MAX_DATA: usize = 64 << 10;

/// What is done, or undone, named as the field names it.
pub(super) mod operation {
    pub(in super::super) const INITIALIZE_FILE_RECORD_SEGMENT: u16 = 0x02;
    pub(in super::super) const DEALLOCATE_FILE_RECORD_SEGMENT: u16 = 0x03;
    pub(in super::super) const CREATE_ATTRIBUTE: u16 = 0x05;
    pub(in super::super) const DELETE_ATTRIBUTE: u16 = 0x06;
    pub(in super::super) const UPDATE_NONRESIDENT_VALUE: u16 = 0x08;
    pub(in super::super) const ADD_INDEX_ENTRY_ROOT: u16 = 0x0C;
    pub(in super::super) const DELETE_INDEX_ENTRY_ROOT: u16 = 0x0D;
    pub(in super::super) const ADD_INDEX_ENTRY_ALLOCATION: u16 = 0x0E;
    pub(in super::super) const DELETE_INDEX_ENTRY_ALLOCATION: u16 = 0x0F;
    pub(in super::super) const WRITE_END_OF_INDEX_BUFFER: u16 = 0x10;
    pub(in super::super) const SET_BITS_IN_NONRESIDENT_BIT_MAP: u16 = 0x15;
}

/// The header of a log record: own sequence number 0, that of the client's record before 8, length of the client's data 24, kind
/// 32 (1: a change, 2: a checkpoint), transaction 36.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Log sequence number.
    pub(super) lsn: u64,
    /// Length of the client's data in bytes.
    pub(super) length: usize,
    /// True for a change, false for a checkpoint.
    pub(super) is_change: bool,
}

impl Header {
    /// The header that begins `bytes`, which stand at byte `at` of the log. `mask` covers the bits of a place in a sequence
    /// number times eight: a record says where it stands, so that hardly anything else is taken for one.
    pub(super) fn parse(bytes: &[u8], at: u64, mask: u64) -> Option<Self> {
        let lsn = u64_at(bytes, 0)?;
        if lsn == 0 || (lsn << 3) & mask != at {
            return None;
        }
        let length = usize::try_from(u32_at(bytes, 24)?).ok()?;
        let kind = u32_at(bytes, 32)?;
        let sound = length > 0
            && (kind == 2 || length <= MAX_DATA)
            && (1..=2).contains(&kind)
            && bytes.len() >= HEADER
            && u64_at(bytes, 8)? < lsn;
        sound.then_some(Self { lsn, length, is_change: kind == 1 })
    }

    /// Length of the whole record in bytes.
    pub(super) fn span(&self) -> usize {
        self.length.saturating_add(HEADER).checked_next_multiple_of(STEP).unwrap_or(usize::MAX)
    }
}

/// What NTFS writes in a log record: operations to redo and to undo 0 and 2, where their data begin and their lengths 4 to 10,
/// number of the target's clusters 14, byte of the target 16, block of the cluster in units of 512 bytes 20, cluster of the target in
/// its stream (VCN) 24, and on the volume (LCN) 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    /// The operation that makes the change.
    pub redo: u16,
    /// The operation that takes it back.
    pub undo: u16,
    /// What the first one needs.
    pub redo_data: &'a [u8],
    /// What the other one needs.
    pub undo_data: &'a [u8],
    /// Cluster of the stream that is changed.
    pub vcn: u64,
    /// Where in the cluster, in units of 512 bytes.
    pub block: u16,
    /// Where behind that, in bytes.
    pub offset: u16,
    /// The cluster of the volume; `None` where the change does not say it.
    pub lcn: Option<u64>,
}

impl<'a> Change<'a> {
    pub(super) fn parse(data: &'a [u8]) -> Option<Self> {
        let slice = |at: usize| {
            let start = usize::from(u16_at(data, at)?);
            let length = usize::from(u16_at(data, at.saturating_add(2))?);
            data.get(start..start.saturating_add(length))
        };
        Some(Self {
            redo: u16_at(data, 0)?,
            undo: u16_at(data, 2)?,
            redo_data: slice(4)?,
            undo_data: slice(8)?,
            vcn: u64_at(data, 24)?,
            block: u16_at(data, 20)?,
            offset: u16_at(data, 16)?,
            lcn: u16_at(data, 14).filter(|clusters| *clusters > 0).and_then(|_| u64_at(data, 32)),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_header_counts_only_where_its_number_says_that_it_stands() {
        let mut bytes = vec![0; HEADER];
        bytes[..8].copy_from_slice(&(0x40_0000_u64 | 0x4040 >> 3).to_le_bytes());
        bytes[24] = 100;
        bytes[32] = 1;
        let header = Header::parse(&bytes, 0x4040, 0x1F_FFFF).unwrap();
        assert_eq!((header.lsn, header.length, header.span()), (0x40_0808, 100, 152));
        assert_eq!(Header::parse(&bytes, 0x4048, 0x1F_FFFF), None);
        bytes[32] = 3;
        assert_eq!(Header::parse(&bytes, 0x4040, 0x1F_FFFF), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at: u64, mask: u64) {
            if let Some(header) = Header::parse(&bytes, at, mask) {
                prop_assert!(header.span() >= HEADER);
            }
            if let Some(change) = Change::parse(&bytes) {
                prop_assert!(change.redo_data.len() <= bytes.len());
            }
        }
    }
}
