//! Encrypted files: who can decrypt them, their streams as plain text, and as raw backup streams.

mod host;
mod import;
#[cfg(unix)]
mod mounted;
mod raw;

use std::sync::{Arc, OnceLock};

use undelfs_efs::{Cipher, Efs, Entry, KeyRing, MAX_METADATA, Metadata};
use undelfs_source::{ErrorKind, ReadAt, ReadError};
use undelfs_volume::filesystem::{File, FileFlags, Refusal, Scan, Stream};

use crate::{Catalogue, Content, Context, Error, content::Plain};

pub use import::{Import, Imported, import};
#[cfg(unix)]
pub use mounted::{mounted_raw, ntfs_attributes, takes_encrypted};
pub(crate) use raw::Raw;

/// What a file is called whose raw backup stream is shown, behind its own name.
pub(crate) const SUFFIX: &str = ".efsraw";

/// The keys of encrypted files that were given to a context.
#[derive(Debug, Default)]
pub(crate) struct Keys(OnceLock<Arc<KeyRing>>);

/// What is known of how a file is encrypted.
pub(crate) struct Encryption {
    /// The `$EFS` attribute.
    pub(crate) attribute: Vec<u8>,
    /// What it says.
    pub(crate) metadata: Result<Metadata, undelfs_volume::Error>,
}

impl Context {
    /// Gives the private keys with which encrypted files are read. Must be called before the volume is scanned, and once.
    ///
    /// # Errors
    /// When it was scanned, or has keys already.
    pub fn set_efs_keys(&self, keys: Arc<KeyRing>) -> Result<(), Error> {
        let late = self.catalogue().is_some() || self.efs_keys().0.set(keys).is_err();
        match late {
            true => {
                let reason = "keys must be given before the volume is scanned";
                Err(Error::refused(ErrorKind::InvalidInput, reason))
            }
            false => Ok(()),
        }
    }

    /// The `$EFS` attribute of the file with this index, where it has one.
    ///
    /// # Errors
    /// When it cannot be read, or other files have overwritten it.
    pub(crate) fn efs_of(&self, catalogue: &Catalogue, index: u32) -> Result<Option<Encryption>, Error> {
        let Some((state, content)) = self.open_encryption(catalogue, index)? else {
            return Ok(None);
        };
        if !state.overwritten.is_empty() {
            let reason = "the `$EFS` attribute, without which nobody can decrypt the file, is overwritten";
            return Err(Error::refused(ErrorKind::Damaged, reason));
        }
        let size = usize::try_from(content.size()).unwrap_or(usize::MAX);
        let mut attribute = vec![0; size.min(MAX_METADATA)];
        let read = content.read_at(&mut attribute, 0)?;
        attribute.truncate(read);
        let metadata = Metadata::parse(&attribute);
        Ok(Some(Encryption { attribute, metadata }))
    }

    /// Who can decrypt the file with this index; nobody where it is not encrypted or nothing tells.
    pub(crate) fn who_can_decrypt(&self, catalogue: &Catalogue, index: u32) -> Vec<Entry> {
        let encrypted = catalogue.file(index).is_some_and(is_encrypted);
        let known = encrypted.then(|| self.efs_of(catalogue, index).ok().flatten()).flatten();
        known.and_then(|known| known.metadata.ok()).map_or(Vec::new(), |metadata| metadata.entries)
    }

    /// Lets encrypted streams of the file with this index be decrypted, or says with which keys they could be.
    pub(crate) fn decrypt(&self, catalogue: &Catalogue, index: u32, streams: &mut [Stream]) {
        // What is refused for another reason could not be read with a key either.
        let waits = |stream: &Stream| {
            let refusal = stream.refusal.as_ref();
            stream.encrypted && refusal.is_some_and(|refusal| refusal.kind == ErrorKind::KeyNeeded)
        };
        if !streams.iter().any(waits) {
            return;
        }
        let unlocked = self.unlock_file(catalogue, index);
        for stream in streams.iter_mut().filter(|stream| waits(stream)) {
            match &unlocked {
                Ok(efs) => {
                    stream.codec = Some(Arc::new(efs.clone()));
                    stream.refusal = None;
                }
                Err(refusal) => stream.refusal = Some(refusal.clone()),
            }
        }
    }

    fn unlock_file(&self, catalogue: &Catalogue, index: u32) -> Result<Efs, Refusal> {
        let refused = |kind: ErrorKind, reason: String| Refusal { kind, reason };
        let known =
            self.efs_of(catalogue, index).map_err(|error| refused(error.kind(), error.to_string()))?;
        let Some(known) = known else {
            let reason = "the content is encrypted by EFS, and the `$EFS` attribute, without which nobody can decrypt \
                          it, is lost";
            return Err(refused(ErrorKind::Damaged, reason.to_owned()));
        };
        let metadata = known.metadata.map_err(|error| refused(error.kind(), error.to_string()))?;
        let none = KeyRing::default();
        let keys = self.efs_keys().0.get().map_or(&none, |keys| keys);
        let (fek, entry) = keys.unlock(&metadata).map_err(|locked| refused(locked.kind, locked.reason))?;
        tracing::debug!(index, %entry, cipher = %fek.algorithm(), "decrypted a file's key");
        let cipher = Cipher::new(&fek).ok_or_else(|| {
            refused(
                ErrorKind::Unsupported,
                format!("a key of {} has a length that it cannot have", fek.algorithm()),
            )
        })?;
        Ok(Efs::new(Arc::new(cipher)))
    }

    /// The size of the raw backup stream of the file with this index, in bytes.
    ///
    /// # Errors
    /// As [`open_raw`](Self::open_raw).
    pub(crate) fn raw_size(&self, index: u32) -> Result<u64, Error> {
        raw::size(self, self.need_catalogue()?, index)
    }

    /// Opens the raw backup stream of the file with this index, whether it is shown so or not.
    ///
    /// # Errors
    /// When the file is not encrypted, or its `$EFS` attribute or a stream is lost.
    pub(crate) fn open_raw(&self, index: u32) -> Result<Arc<dyn Content>, Error> {
        Ok(Arc::new(Raw::open(self, self.need_catalogue()?, index)?))
    }
}

/// The same raw backup stream without the named streams.
///
/// # Errors
/// When it cannot be read.
pub fn without_named_streams(raw: Arc<dyn Content>) -> Result<Arc<dyn Content>, Error> {
    let bytes = raw::Opened(raw);
    let size = undelfs_efs::raw::without_named_streams(&bytes)?;
    Ok(Arc::new(Plain(Begin { bytes, size })))
}

/// The begin of something.
struct Begin<R> {
    bytes: R,
    /// How much of it, in bytes.
    size: u64,
}

impl<R: ReadAt> ReadAt for Begin<R> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = buf.len().min(left);
        self.bytes.read_at(buf.get_mut(..len).unwrap_or_default(), offset)
    }
}

/// Whether a file is encrypted, or a directory in which new files are.
fn is_encrypted(file: &File) -> bool {
    /// `FILE_ATTRIBUTE_ENCRYPTED`.
    const ATTRIBUTE: u32 = 0x4000;
    file.flags.contains(FileFlags::ENCRYPTED) || file.attributes & ATTRIBUTE != 0
}

/// Whether the raw backup stream of a file is reached beside it, under a name that is not listed: it is encrypted, and
/// not shown so anyway.
pub(crate) fn has_hidden_raw(file: &File) -> bool {
    is_encrypted(file) && !file.flags.intersects(FileFlags::LINK | FileFlags::RAW)
}

/// Lets encrypted files be shown as their raw backup streams, under names that say so. Their named streams are parts of
/// these.
pub(crate) fn show_raw(scan: &mut Scan) {
    for file in &mut scan.files {
        let other = FileFlags::DIRECTORY | FileFlags::LINK;
        if file.flags.contains(FileFlags::ENCRYPTED) && !file.flags.intersects(other) {
            file.flags.insert(FileFlags::RAW);
            file.flags.remove(FileFlags::NAMED_STREAMS);
        }
    }
    for link in &mut scan.links {
        let file = scan.files.get(link.file as usize);
        if !file.is_some_and(|file| file.flags.contains(FileFlags::RAW)) {
            continue;
        }
        let start = link.name_at as usize;
        let name = scan.names.get(start..start + usize::from(link.name_len)).map(<[u8]>::to_vec);
        let at = u32::try_from(scan.names.len());
        let len = link.name_len.checked_add(SUFFIX.len() as u16);
        if let (Some(name), Ok(at), Some(len)) = (name, at, len) {
            scan.names.extend_from_slice(&name);
            scan.names.extend_from_slice(SUFFIX.as_bytes());
            (link.name_at, link.name_len) = (at, len);
        }
    }
}

/// Gives encrypted files the sizes of their raw backup streams. One that has none keeps its own, and cannot be read.
pub(crate) fn set_sizes(context: &Context, catalogue: &mut Catalogue) {
    let raw = |index: &u32| catalogue.file(*index).is_some_and(|file| file.flags.contains(FileFlags::RAW));
    let sizes: Vec<(u32, u64)> = (0..catalogue.files())
        .filter(raw)
        .filter_map(|index| Some((index, raw::size(context, catalogue, index).ok()?)))
        .collect();
    for (index, size) in sizes {
        catalogue.set_size(index, size);
    }
}
