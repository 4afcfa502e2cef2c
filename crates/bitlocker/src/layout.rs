//! Where the bytes of a volume stand, and which of them are encrypted.

use std::{num::NonZeroU64, ops::Range, sync::Arc};

use crate::eow::Chunks;

/// What has to be done with bytes that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing.
    Plain,
    /// They are decrypted.
    Encrypted,
    /// They are the metadata's: zeros are shown, as Windows does.
    Metadata,
    /// They are the boot sector of Windows Vista, in which the signature and one field are BitLocker's.
    VistaBoot,
}

/// Bytes that one way of reading serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) kind: Kind,
    /// Where they stand, in bytes.
    pub(crate) at: u64,
    pub(crate) len: u64,
}

/// What of a volume is encrypted.
#[derive(Debug)]
pub(crate) enum Encrypted {
    Nothing,
    All,
    /// What is below this byte.
    Below(u64),
    /// What the record of a conversion says; outside of its regions all.
    Chunks(Arc<Chunks>),
}

/// How the first sectors of a volume are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// As Windows Vista does: not encrypted, but for the boot sector unchanged.
    Vista,
    /// `len` bytes stand at `at`.
    Relocated { at: u64, len: u64 },
}

const USUAL_SECTOR: NonZeroU64 = NonZeroU64::new(512).unwrap();
/// Bytes from the volume's start that Windows Vista never encrypts.
const VISTA_HEAD: u64 = 0x2000;

/// Where the bytes of a volume stand.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Size of a sector in bytes.
    sector: NonZeroU64,
    pub(crate) head: Head,
    /// Ascending, not touching each other, whole sectors.
    metadata: Vec<Range<u64>>,
    pub(crate) encrypted: Encrypted,
}

impl Layout {
    /// `sector` is the size of a sector in bytes; `metadata` may overlap and come in any order.
    pub(crate) fn new(sector: u32, head: Head, mut metadata: Vec<Range<u64>>, encrypted: Encrypted) -> Self {
        if let Head::Relocated { at, len } = head {
            metadata.push(at..at.saturating_add(len));
        }
        let sector = NonZeroU64::new(sector.into()).unwrap_or(USUAL_SECTOR);
        for range in &mut metadata {
            range.start = range.start.saturating_sub(range.start % sector);
            range.end = range.end.checked_next_multiple_of(sector.get()).unwrap_or(range.end);
        }
        metadata.sort_by_key(|range| range.start);
        let mut merged: Vec<Range<u64>> = Vec::with_capacity(metadata.len());
        for range in metadata {
            match merged.last_mut() {
                _ if range.is_empty() => {}
                Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        Self { sector, head, metadata: merged, encrypted }
    }

    /// Size of a sector in bytes.
    pub(crate) fn sector(&self) -> NonZeroU64 {
        self.sector
    }

    /// How the byte at `offset` is read, and those behind it for which the same holds. Pieces of encrypted bytes end
    /// at sectors.
    pub(crate) fn piece(&self, offset: u64) -> Piece {
        match self.head {
            Head::Vista if offset < self.sector.get() => {
                Piece { kind: Kind::VistaBoot, at: offset, len: self.sector.get().saturating_sub(offset) }
            }
            Head::Vista if offset < VISTA_HEAD => {
                Piece { kind: Kind::Plain, at: offset, len: VISTA_HEAD.saturating_sub(offset) }
            }
            Head::Relocated { at, len } if offset < len => {
                self.stored(at.saturating_add(offset), len.saturating_sub(offset))
            }
            _ => self.body(offset),
        }
    }

    fn body(&self, offset: u64) -> Piece {
        let index = self.metadata.partition_point(|range| range.end <= offset);
        match self.metadata.get(index) {
            Some(range) if range.start <= offset => {
                Piece { kind: Kind::Metadata, at: offset, len: range.end.saturating_sub(offset) }
            }
            next => self.stored(offset, next.map_or(u64::MAX, |next| next.start.saturating_sub(offset))),
        }
    }

    /// The piece that stands at `at`, at most `max` bytes of it.
    fn stored(&self, at: u64, max: u64) -> Piece {
        // A sector is encrypted as a whole or not at all, as its first byte is.
        let within = at % self.sector;
        let sector = at.saturating_sub(within);
        let (encrypted, len) = match &self.encrypted {
            Encrypted::Nothing => (false, u64::MAX),
            Encrypted::All => (true, u64::MAX),
            Encrypted::Below(border) if sector < *border => (true, border.saturating_sub(sector)),
            Encrypted::Below(_) => (false, u64::MAX),
            Encrypted::Chunks(chunks) => {
                let (state, len) = chunks.state(sector);
                (state.unwrap_or(true), len)
            }
        };
        let end = sector.checked_add(len).and_then(|end| end.checked_next_multiple_of(self.sector.get()));
        let len = end.map_or(len, |end| end.saturating_sub(at));
        Piece { kind: if encrypted { Kind::Encrypted } else { Kind::Plain }, at, len: len.min(max) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn piece(kind: Kind, at: u64, len: u64) -> Piece {
        Piece { kind, at, len }
    }

    #[test]
    fn relocated_sectors_are_read_where_they_stand_and_their_place_is_empty() {
        let head = Head::Relocated { at: 0x30000, len: 0x2000 };
        let layout = Layout::new(512, head, [0x20000..0x28000, 0x28000..0x30000].into(), Encrypted::All);
        assert_eq!(layout.piece(0), piece(Kind::Encrypted, 0x30000, 0x2000));
        assert_eq!(layout.piece(0x1FFF), piece(Kind::Encrypted, 0x31FFF, 1));
        assert_eq!(layout.piece(0x2000), piece(Kind::Encrypted, 0x2000, 0x1E000));
        assert_eq!(layout.piece(0x2F000), piece(Kind::Metadata, 0x2F000, 0x3000));
        assert_eq!(layout.piece(0x32000).kind, Kind::Encrypted);
    }

    #[test]
    fn the_border_of_a_conversion_holds_for_relocated_sectors_by_their_place() {
        let head = Head::Relocated { at: 0x30000, len: 0x2000 };
        let layout = Layout::new(512, head, Vec::new(), Encrypted::Below(0x10000));
        assert_eq!(layout.piece(0x400), piece(Kind::Plain, 0x30400, 0x1C00));
        assert_eq!(layout.piece(0xFFF0), piece(Kind::Encrypted, 0xFFF0, 0x10));
        assert_eq!(layout.piece(0x10000), piece(Kind::Plain, 0x10000, 0x20000));
    }

    #[test]
    fn a_border_within_a_sector_counts_from_the_next_one_on_wherever_a_read_begins() {
        let layout =
            Layout::new(512, Head::Relocated { at: 0, len: 0 }, Vec::new(), Encrypted::Below(0x10100));
        for at in [0x10000, 0x10100, 0x101FF] {
            assert_eq!(layout.piece(at), piece(Kind::Encrypted, at, 0x10200 - at), "{at:#x}");
        }
        assert_eq!(layout.piece(0x10200).kind, Kind::Plain);
    }

    #[test]
    fn vista_keeps_the_first_sixteen_sectors_plain() {
        let layout = Layout::new(512, Head::Vista, Vec::new(), Encrypted::All);
        assert_eq!(layout.piece(3), piece(Kind::VistaBoot, 3, 509));
        assert_eq!(layout.piece(512), piece(Kind::Plain, 512, 0x1E00));
        assert_eq!(layout.piece(0x2000).kind, Kind::Encrypted);
    }

    proptest! {
        #[test]
        fn every_byte_has_a_piece_and_encrypted_pieces_end_at_sectors(
            border in any::<u64>(),
            head in any::<(u64, u64)>(),
            metadata in prop::collection::vec(any::<(u64, u64)>(), 0..6),
            offset in any::<u64>(),
        ) {
            let head = Head::Relocated { at: head.0 / 512 * 512, len: head.1 >> 20 << 9 };
            let ranges = metadata.iter().map(|(a, b)| *a.min(b)..*a.max(b)).collect();
            let layout = Layout::new(512, head, ranges, Encrypted::Below(border));
            let piece = layout.piece(offset);
            prop_assert!(piece.len > 0);
            let end = u128::from(piece.at) + u128::from(piece.len);
            if piece.kind == Kind::Encrypted && end < u128::from(u64::MAX) / 2 {
                prop_assert_eq!(end % 512, 0);
            }
        }
    }
}
