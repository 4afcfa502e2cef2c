//! What the targets for BitLocker share: a small volume, its structures, and what must hold of every read.

pub mod checks;
pub mod made;

use std::{
    io,
    ops::Range,
    sync::{Arc, LazyLock},
};

use undelfs_source::{ReadAt, ReadError};

/// Size in bytes of the volumes.
pub const SIZE: usize = 256 << 10;

/// Where their metadata blocks stand.
pub const PLACES: [u64; 3] = [0x8000, 0x18000, 0x28000];
/// Where their relocated sectors stand.
pub const RELOCATED: u64 = 0x38000;
/// Where both copies of the record of a conversion stand.
pub const RECORDS: [u64; 2] = [0x3A000, 0x3B000];
/// Where the structures of the record's regions stand.
pub const REGIONS: [u64; 2] = [0x3C000, 0x3D000];

/// Clusters of noise, of text and of zeros by turns, so that some show that they are not encrypted; and one before and
/// one behind the metadata that are text once they are decrypted, so that the key shows that it fits.
static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    let text = b"All happy families are alike. ";
    let byte = |at: usize| match at / 4096 % 5 {
        1 => text[at % text.len()],
        3 => 0,
        _ => noise(),
    };
    let mut content: Vec<u8> = (0..SIZE).map(byte).collect();
    for at in [0x4000, 0x3F000] {
        let text = content[0x1000..0x2000].to_vec();
        content[at..at + 0x1000].copy_from_slice(&made::encrypted(at as u64, &text));
    }
    content
});

/// A volume in memory, of which a part may be unreadable.
pub struct Volume {
    pub bytes: Vec<u8>,
    /// More than there are bytes where the image is cut short.
    pub size: u64,
    pub bad: Range<u64>,
}

impl Volume {
    pub fn new() -> Self {
        Self { bytes: CONTENT.clone(), size: SIZE as u64, bad: 0..0 }
    }

    /// Cuts some bytes off, so that the last sector is no whole one.
    pub fn shorten(&mut self, by: u16) {
        self.bytes.truncate(SIZE - usize::from(by % 8192));
        self.size = self.bytes.len() as u64;
    }

    /// Writes as much of `bytes` as the volume has room for.
    pub fn put(&mut self, at: u64, bytes: &[u8]) {
        let from = usize::try_from(at).unwrap_or(usize::MAX).min(self.bytes.len());
        let room = &mut self.bytes[from..];
        let len = room.len().min(bytes.len());
        room[..len].copy_from_slice(&bytes[..len]);
    }

    /// Whether the volume gives all the bytes that it says it has.
    pub fn is_whole(&self) -> bool {
        self.bad.is_empty() && self.size == self.bytes.len() as u64
    }

    pub fn share(self) -> Arc<dyn ReadAt> {
        Arc::new(self)
    }
}

impl ReadAt for Volume {
    fn size(&self) -> u64 {
        self.size
    }

    fn present(&self) -> u64 {
        self.size.min(self.bytes.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        let len = buf.len() as u64;
        if offset < self.bad.end && self.bad.start < offset.saturating_add(len) {
            let error = io::Error::other("bad sector");
            return Err(ReadError::Medium { what: "fuzz".to_owned(), offset, len, error });
        }
        self.bytes.read_at(buf, offset)
    }
}

/// The fuzzer's bytes, taken from the front. Past their end all are zero.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let taken = self.take(N);
        bytes[..taken.len()].copy_from_slice(taken);
        bytes
    }

    pub fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }
}
