//! Records of the change journal, after Microsoft's documentation of `USN_RECORD_V2` and `USN_RECORD_V3`.

use super::Reference;

/// Size of the pages that no record crosses, in bytes.
const PAGE: u64 = 4096;

/// Reasons, named as Microsoft's documentation does without `USN_REASON_`.
pub mod reason {
    #![expect(missing_docs, reason = "the names are the documentation")]
    pub const DATA_EXTEND: u32 = 2;
    pub const FILE_CREATE: u32 = 0x100;
    pub const FILE_DELETE: u32 = 0x200;
    pub const RENAME_OLD_NAME: u32 = 0x1000;
    pub const RENAME_NEW_NAME: u32 = 0x2000;
    pub const HARD_LINK_CHANGE: u32 = 0x1_0000;
    pub const CLOSE: u32 = 0x8000_0000;
}

/// A change journal that is being written.
#[derive(Debug, Clone)]
pub struct Usn {
    /// Where its first byte is in the stream.
    pub first: u64,
    /// Its bytes from there on.
    pub bytes: Vec<u8>,
    version: u16,
}

/// What changes.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// The file.
    pub file: Reference,
    /// The folder that the name is in.
    pub parent: Reference,
    /// The name.
    pub name: &'a str,
    /// See [`reason`].
    pub reasons: u32,
    /// When, see [`time`](super::time).
    pub time: u64,
    /// Whether it is a folder.
    pub is_folder: bool,
}

impl Usn {
    /// A journal of which the first `first` bytes are gone, with records of version 2 or 3.
    pub fn new(first: u64, version: u16) -> Self {
        Self { first, bytes: Vec::new(), version }
    }

    /// Writes a record.
    pub fn write(&mut self, change: &Change<'_>) {
        let name: Vec<u8> = change.name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let wide = self.version == 3;
        let header = if wide { 76 } else { 60 };
        let length = (header + name.len()).next_multiple_of(8);
        let at = self.first + self.bytes.len() as u64;
        if at % PAGE + length as u64 > PAGE {
            let rest = PAGE - at % PAGE;
            self.bytes.resize(self.bytes.len() + rest as usize, 0);
        }
        let usn = self.first + self.bytes.len() as u64;
        let end = self.bytes.len() + length;
        let mut put = |bytes: &[u8]| self.bytes.extend_from_slice(bytes);
        put(&(length as u32).to_le_bytes());
        put(&self.version.to_le_bytes());
        put(&[0, 0]);
        for reference in [change.file, change.parent] {
            put(&reference.raw().to_le_bytes());
            put(&[0; 8][..if wide { 8 } else { 0 }]);
        }
        put(&usn.to_le_bytes());
        put(&change.time.to_le_bytes());
        put(&change.reasons.to_le_bytes());
        put(&[0; 8]);
        put(&(if change.is_folder { 0x10_u32 } else { 0x20 }).to_le_bytes());
        put(&(name.len() as u16).to_le_bytes());
        put(&(header as u16).to_le_bytes());
        put(&name);
        self.bytes.resize(end, 0);
    }

    /// Writes that a file was made, and closed a second later.
    pub fn create(&mut self, change: Change<'_>) {
        self.write(&Change { reasons: reason::FILE_CREATE, ..change });
        let reasons = reason::FILE_CREATE | reason::DATA_EXTEND | reason::CLOSE;
        self.write(&Change { reasons, time: change.time + 10_000_000, ..change });
    }

    /// Writes that a file was deleted.
    pub fn delete(&mut self, change: Change<'_>) {
        self.write(&Change { reasons: reason::FILE_DELETE | reason::CLOSE, ..change });
    }

    /// Writes that a file was renamed from `old`, in the same folder.
    pub fn rename(&mut self, old: &str, change: Change<'_>) {
        self.write(&Change { name: old, reasons: reason::RENAME_OLD_NAME, ..change });
        self.write(&Change { reasons: reason::RENAME_NEW_NAME, ..change });
        self.write(&Change { reasons: reason::RENAME_NEW_NAME | reason::CLOSE, ..change });
    }
}
