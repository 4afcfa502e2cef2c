//! One stream of a file that is made of a raw backup stream.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    path::PathBuf,
};

use undelfs_efs::{Cipher, raw::Block};
use undelfs_source::ErrorKind;

use super::{super::host, failed};
use crate::Error;

/// Bytes that are encrypted as one run.
const UNIT: u64 = undelfs_efs::UNIT as u64;
/// Zeros that are encrypted at once, in bytes.
const STEP: u64 = 64 << 10;

/// How encrypted streams are written.
pub(super) enum Way {
    /// As plain text.
    Decrypt(Cipher),
    /// As they are stored. The cipher makes encrypted zeros of what is not.
    Keep(Option<Cipher>),
}

/// Where a stream is written to.
pub(super) enum Output {
    File {
        file: File,
        path: PathBuf,
    },
    /// An extended attribute of the file with this path, which is set once all of it is known.
    Attribute {
        of: PathBuf,
        name: Vec<u8>,
        bytes: Vec<u8>,
    },
}

/// A stream that is being written.
pub(super) struct StreamWriter {
    output: Output,
    /// Its size so far, in bytes.
    size: u64,
    /// Where the next stored unit belongs, where streams stay encrypted.
    at: u64,
}

impl StreamWriter {
    pub(super) fn new(output: Output) -> Self {
        Self { output, size: 0, at: 0 }
    }

    /// Writes a part of an encrypted stream.
    pub(super) fn block(&mut self, block: &Block<'_>, way: &Way) -> Result<(), Error> {
        let mut bytes = block.stored.to_vec();
        let valid = usize::try_from(block.valid.min(block.end).saturating_sub(block.offset));
        let valid = valid.unwrap_or(usize::MAX);
        match way {
            Way::Decrypt(cipher) => {
                cipher.decrypt(&mut bytes, block.offset);
                bytes.truncate(valid);
            }
            Way::Keep(filler) => {
                self.zeros(block.offset, filler.as_ref())?;
                if valid < bytes.len() && block.valid < block.end {
                    // What is stored behind the valid bytes is not zeros; it only is to be read so.
                    let cipher = filler.as_ref().ok_or_else(not_stored)?;
                    cipher.decrypt(&mut bytes, block.offset);
                    bytes.get_mut(valid..).unwrap_or_default().fill(0);
                    cipher.encrypt(&mut bytes, block.offset);
                }
                self.at = block.offset.saturating_add(bytes.len() as u64);
            }
        }
        self.size = self.size.max(block.end);
        self.put(block.offset, &bytes)
    }

    /// Writes the next bytes of a stream that is not encrypted.
    pub(super) fn plain(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let at = self.size;
        self.size = self.size.saturating_add(bytes.len() as u64);
        self.put(at, bytes)
    }

    /// Ends the stream, and says how large it is.
    pub(super) fn end(mut self, way: &Way) -> Result<u64, Error> {
        let size = self.size;
        if let Way::Keep(filler) = way {
            let end = size.next_multiple_of(UNIT);
            self.zeros(end, filler.as_ref())?;
            self.put(end, &trailer(size))?;
        }
        match self.output {
            Output::File { file, path } => {
                let sized = match way {
                    Way::Decrypt(_) => file.set_len(size),
                    Way::Keep(_) => Ok(()),
                };
                sized.and_then(|()| file.sync_all()).map_err(|error| failed("write", &path, &error))?;
            }
            Output::Attribute { of, name, bytes } => {
                let attribute = [&b"user."[..], &name].concat();
                host::set_attribute(&of, &attribute, &bytes).map_err(|error| {
                    let reason = format!(
                        "the named stream `{}` cannot be written ({error}); mount the volume with \
                         streams_interface=windows, or leave such streams out",
                        String::from_utf8_lossy(&name)
                    );
                    Error::refused(ErrorKind::Unsupported, reason)
                })?;
            }
        }
        Ok(size)
    }

    /// Lets everything from where the stream has come to `end` be zeros once it is decrypted: encrypted ones, or clusters
    /// of which nothing is stored.
    fn zeros(&mut self, end: u64, filler: Option<&Cipher>) -> Result<(), Error> {
        if self.at >= end {
            return Ok(());
        }
        let Some(cipher) = filler else {
            let Output::File { file, .. } = &self.output else { return Err(not_stored()) };
            let cluster = host::cluster_size(file);
            if !self.at.is_multiple_of(cluster) || !end.is_multiple_of(cluster) {
                return Err(not_stored());
            }
            self.at = end;
            return Ok(());
        };
        if let Output::File { file, path } = &self.output
            && host::free_space(file) < end.saturating_sub(self.at)
        {
            return Err(failed("write", path, &io::ErrorKind::StorageFull.into()));
        }
        while self.at < end {
            let len = end.saturating_sub(self.at).min(STEP);
            let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
            cipher.encrypt(&mut bytes, self.at);
            self.put(self.at, &bytes)?;
            self.at = self.at.saturating_add(len);
        }
        Ok(())
    }

    fn put(&mut self, at: u64, what: &[u8]) -> Result<(), Error> {
        if what.is_empty() {
            return Ok(());
        }
        match &mut self.output {
            Output::File { file, path } => {
                let written = file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(what));
                written.map_err(|error| failed("write", path, &error))
            }
            Output::Attribute { bytes, .. } => {
                /// Longest value of an extended attribute on Linux, in bytes.
                const MAX: usize = 64 << 10;
                bytes.extend_from_slice(what);
                if bytes.len() > MAX {
                    let reason = "a named stream is larger than an extended attribute can be; mount the volume with \
                                  streams_interface=windows";
                    return Err(Error::refused(ErrorKind::Unsupported, reason));
                }
                Ok(())
            }
        }
    }
}

fn not_stored() -> Error {
    let reason = "parts of the file are not stored because they are zeros, and do not begin and end with clusters of this \
                  volume; give a key and --keep-encrypted, so that they become encrypted zeros, or a key alone, so that the \
                  file is decrypted";
    Error::refused(ErrorKind::Unsupported, reason)
}

/// What ntfs-3g takes behind the encrypted bytes: how many of them lie beyond the stream's end. Nothing behind none.
fn trailer(size: u64) -> Vec<u8> {
    let padding = size.next_multiple_of(UNIT).saturating_sub(size);
    match size {
        0 => Vec::new(),
        _ => u16::try_from(padding).unwrap_or(0).to_le_bytes().to_vec(),
    }
}
