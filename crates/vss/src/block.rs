//! The blocks that the structures of shadow copies stand in: all of one size, with one header.

use std::collections::HashSet;

use undelfs_source::{
    ReadAt,
    bytes::{array, u32_at, u64_at},
};
use undelfs_volume::Error;

/// Size of a block in bytes: of those with structures, and of those that are copied before they are written.
pub(crate) const BLOCK: u64 = 0x4000;
/// Size of a block's header in bytes.
pub(crate) const HEADER: usize = 128;
/// Begins every structure: 3808876B-C176-4E48-B7AE-04046E6CC752.
pub(crate) const IDENTIFIER: [u8; 16] =
    [0x6B, 0x87, 0x08, 0x38, 0x76, 0xC1, 0x48, 0x4E, 0xB7, 0xAE, 0x04, 0x04, 0x6E, 0x6C, 0xC7, 0x52];

/// What a structure is: its record type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Volume = 1,
    Catalogue,
    BlockList,
    Store,
    RangeList,
    Bitmap,
}

impl Kind {
    fn new(number: u32) -> Option<Self> {
        let all =
            [Self::Volume, Self::Catalogue, Self::BlockList, Self::Store, Self::RangeList, Self::Bitmap];
        all.into_iter().find(|kind| *kind as u32 == number)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Volume => "header of the shadow copies",
            Self::Catalogue => "catalogue block of the shadow copies",
            Self::BlockList => "block list of a shadow copy",
            Self::Store => "store header of a shadow copy",
            Self::RangeList => "block range list of a shadow copy",
            Self::Bitmap => "bitmap of a shadow copy",
        }
    }
}

/// A block's header. All offsets are in bytes, and from the begin of the volume where nothing else is said.
///
/// Source: the structure descriptions that the libvshadow project publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// Where the block stands in its store or catalogue.
    pub(crate) relative: u64,
    /// Where the block says that it stands.
    pub(crate) at: u64,
    /// The next block of the list; 0 at its end.
    pub(crate) next: u64,
    /// Size of what follows a store's header; 0 in other blocks.
    pub(crate) information: u64,
}

impl Header {
    /// `None` where `bytes` do not begin with a block's header of a known version.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let is_known = array::<16>(bytes, 0)? == IDENTIFIER && (1..=2).contains(&u32_at(bytes, 16)?);
        is_known.then_some(())?;
        Some(Self {
            kind: Kind::new(u32_at(bytes, 20)?)?,
            relative: u64_at(bytes, 24)?,
            at: u64_at(bytes, 32)?,
            next: u64_at(bytes, 40)?,
            information: u64_at(bytes, 48)?,
        })
    }
}

/// A block that was read.
pub(crate) struct Block {
    pub(crate) header: Header,
    bytes: Vec<u8>,
}

impl Block {
    /// Reads the block of this kind at byte `at`.
    ///
    /// # Errors
    /// When it cannot be read or another thing stands there.
    pub(crate) fn read(volume: &dyn ReadAt, at: u64, kind: Kind) -> Result<Self, Error> {
        let damaged = |found: String| Error::Structure {
            structure: kind.name(),
            at,
            expected: format!("a block of type {} that says that it stands there", kind as u32),
            found,
            advice: "what this shadow copy has kept cannot be told in full",
        };
        let mut bytes = vec![0; BLOCK as usize];
        volume.read_exact_at(&mut bytes, at)?;
        let Some(header) = Header::parse(&bytes) else {
            return Err(damaged("no block of a shadow copy".to_owned()));
        };
        if header.kind != kind {
            return Err(damaged(format!("a {}", header.kind.name())));
        }
        if header.at != at {
            return Err(damaged(format!("one that says byte {}", header.at)));
        }
        Ok(Self { header, bytes })
    }

    /// What follows the header.
    pub(crate) fn body(&self) -> &[u8] {
        self.bytes.get(HEADER..).unwrap_or_default()
    }
}

/// The blocks of one list, in its order. The first that cannot be read ends it with an error.
pub(crate) struct Chain<'a> {
    volume: &'a dyn ReadAt,
    kind: Kind,
    next: u64,
    seen: &'a mut HashSet<u64>,
}

impl<'a> Chain<'a> {
    /// The list that begins at byte `first`, 0 for none. A block that is in `seen` belongs to something else already;
    /// so no block is read twice, whatever the volume says.
    pub(crate) fn new(volume: &'a dyn ReadAt, first: u64, kind: Kind, seen: &'a mut HashSet<u64>) -> Self {
        Self { volume, kind, next: first, seen }
    }
}

impl Iterator for Chain<'_> {
    type Item = Result<Block, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.next;
        self.next = 0;
        if at == 0 {
            return None;
        }
        if !self.seen.insert(at) {
            return Some(Err(Error::Structure {
                structure: self.kind.name(),
                at,
                expected: "a block that belongs to nothing else".to_owned(),
                found: "one that was met before".to_owned(),
                advice: "what this shadow copy has kept cannot be told in full",
            }));
        }
        let block = Block::read(self.volume, at, self.kind);
        if let Ok(block) = &block {
            self.next = block.header.next;
        }
        Some(block)
    }
}

/// Blocks of the structures as tests make them.
#[cfg(test)]
pub(crate) mod made {
    use super::*;

    pub(crate) fn block(kind: u32, relative: u64, at: u64, next: u64, body: &[u8]) -> Vec<u8> {
        let mut bytes = IDENTIFIER.to_vec();
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        for field in [relative, at, next] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.resize(HEADER, 0);
        bytes.extend(body);
        bytes.resize(BLOCK as usize, 0);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_another_kind_or_from_elsewhere_is_refused() {
        let volume =
            [made::block(3, 0, 0, BLOCK, &[7]), made::block(6, 0, 0, 0, &[]), vec![0; BLOCK as usize]]
                .concat();
        assert_eq!(Block::read(&volume, 0, Kind::BlockList).unwrap().body()[0], 7);
        for (at, kind) in [(0, Kind::Bitmap), (BLOCK, Kind::Bitmap), (2 * BLOCK, Kind::Store)] {
            let error = Block::read(&volume, at, kind).map(|_| ()).unwrap_err();
            assert!(matches!(error, Error::Structure { .. }), "{error}");
        }
        assert!(matches!(Block::read(&volume, 3 * BLOCK, Kind::Store), Err(Error::Read(_))));
    }

    #[test]
    fn a_list_that_leads_back_into_itself_ends_with_an_error() {
        let volume = [
            vec![0; BLOCK as usize],
            made::block(3, 0, BLOCK, 2 * BLOCK, &[]),
            made::block(3, 0, 2 * BLOCK, BLOCK, &[]),
        ]
        .concat();
        let mut seen = HashSet::new();
        let blocks: Vec<bool> =
            Chain::new(&volume, BLOCK, Kind::BlockList, &mut seen).map(|block| block.is_ok()).collect();
        assert_eq!(blocks, [true, true, false]);
    }
}
