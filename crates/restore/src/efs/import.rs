//! Making files of raw backup streams.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use undelfs_efs::{
    Cipher, KeyRing, Metadata,
    raw::{Block, Sink, Unread, read},
};
use undelfs_source::ErrorKind;

use crate::Error;

/// Bytes that are encrypted as one run.
const UNIT: u64 = undelfs_efs::UNIT as u64;

/// How a file is made of a raw backup stream.
#[derive(Debug, Clone, Default)]
pub struct Import {
    /// Decrypt it with one of these keys. Without, it stays encrypted, which only a volume takes that ntfs-3g has mounted
    /// with `efs_raw`.
    pub keys: Option<Arc<KeyRing>>,
    /// A file that exists may be replaced.
    pub replace: bool,
    /// Named streams are left out; otherwise they become `FILE:STREAM`, on NTFS streams of the file.
    pub drop_streams: bool,
}

/// What was made of a raw backup stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Bytes of all streams.
    pub bytes: u64,
    /// Named streams that were written.
    pub streams: usize,
    /// Named streams that were left out.
    pub dropped: usize,
}

/// Makes `target` of the raw backup stream that `input` gives in pieces of any size. It has its name once all of it is
/// there; where anything fails nothing is left.
///
/// # Errors
/// When the stream is none ([`ErrorKind::NotExportFormat`]), no key fits, `target` exists, or cannot be written.
pub fn import(input: &mut dyn Read, target: &Path, how: &Import) -> Result<Imported, Error> {
    let mut writer = Writer {
        target,
        how,
        cipher: None,
        metadata: Vec::new(),
        made: Vec::new(),
        current: Current::None,
        done: Imported::default(),
    };
    writer.check_target()?;
    match read(input, &mut writer) {
        Ok(()) => Ok(writer.done),
        Err(Unread::Bad(bad)) => Err(Error::refused(ErrorKind::NotExportFormat, bad.to_string())),
        Err(Unread::Read(error)) => {
            Err(Error::refused(error.kind().into(), format!("cannot read the raw backup stream: {error}")))
        }
        Err(Unread::Sink(error)) => Err(error),
    }
}

struct Writer<'a> {
    target: &'a Path,
    how: &'a Import,
    cipher: Option<Cipher>,
    metadata: Vec<u8>,
    /// What was made so far: where it stands now, and where it belongs. The unnamed stream comes first.
    made: Vec<Made>,
    current: Current,
    done: Imported,
}

/// A file that is removed again unless it gets its name.
struct Made {
    now: PathBuf,
    then: Option<PathBuf>,
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.then.is_some() {
            // Whoever finds that it is gone has done the same.
            let _ = fs::remove_file(&self.now);
        }
    }
}

/// The stream that is being written: its size so far, and the encrypted bytes that were written where it stays so.
enum Current {
    None,
    Dropped,
    File {
        file: File,
        path: PathBuf,
        size: u64,
        written: u64,
    },
    /// A named stream that becomes an extended attribute.
    Attribute {
        name: Vec<u8>,
        bytes: Vec<u8>,
        size: u64,
        written: u64,
    },
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::refused(error.kind().into(), format!("cannot {what} {}: {error}", path.display()))
}

fn with_suffix(path: &Path, suffix: &[u8]) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(bytes_as_os(suffix));
    name.into()
}

#[cfg(unix)]
fn bytes_as_os(bytes: &[u8]) -> OsString {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(bytes).to_owned()
}

#[cfg(not(unix))]
fn bytes_as_os(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}

impl Writer<'_> {
    fn check_target(&self) -> Result<(), Error> {
        self.need_room(self.target)
    }

    fn need_room(&self, path: &Path) -> Result<(), Error> {
        match fs::symlink_metadata(path) {
            Ok(there) if there.is_dir() => {
                Err(Error::refused(ErrorKind::IsDirectory, format!("{} is a directory", path.display())))
            }
            Ok(_) if !self.how.replace => Err(Error::refused(
                ErrorKind::InvalidInput,
                format!("{} exists; --force replaces it", path.display()),
            )),
            _ => Ok(()),
        }
    }

    /// A new file beside the target.
    fn make(&mut self, then: PathBuf) -> Result<(File, PathBuf), Error> {
        let mut name = OsString::from(".undelfs-");
        name.push(format!("{}-{}", std::process::id(), self.made.len()));
        let now = self.target.with_file_name(name);
        let file = File::options().read(true).write(true).create_new(true).open(&now);
        let file = file.map_err(|error| failed("make", &now, &error))?;
        self.made.push(Made { now: now.clone(), then: Some(then) });
        Ok((file, now))
    }

    /// Where the content of a named stream goes.
    fn named(&mut self, name: &[u8]) -> Result<Current, Error> {
        let suffix = [b":", name].concat();
        if self.cipher.is_some() {
            let then = with_suffix(self.target, &suffix);
            self.need_room(&then)?;
            let (file, path) = self.make(then)?;
            return Ok(Current::File { file, path, size: 0, written: 0 });
        }
        let Some(main) = self.made.first().map(|made| made.now.clone()) else {
            let reason = "a named stream stands before the unnamed one";
            return Err(Error::refused(ErrorKind::NotExportFormat, reason));
        };
        // Where streams have names in paths, the stream is a part of the file; elsewhere that is another file.
        let path = with_suffix(&main, &suffix);
        if let Ok(file) = File::options().read(true).write(true).create_new(true).open(&path) {
            if same_file(&file, &main) {
                return Ok(Current::File { file, path, size: 0, written: 0 });
            }
            drop(file);
            let _ = fs::remove_file(&path);
        }
        Ok(Current::Attribute { name: name.to_vec(), bytes: Vec::new(), size: 0, written: 0 })
    }

    /// Fails unless a block that stays encrypted is all there and follows what was written.
    fn need_stored(&mut self, block: &Block<'_>) -> Result<(), Error> {
        let (Current::File { written, .. } | Current::Attribute { written, .. }) = &mut self.current else {
            return Ok(());
        };
        if block.offset != *written || block.valid < block.end {
            return Err(not_stored());
        }
        *written = written.saturating_add(block.stored.len() as u64);
        Ok(())
    }

    /// Ends the stream that is being written.
    fn end_stream(&mut self) -> Result<(), Error> {
        let decrypted = self.cipher.is_some();
        if let Current::File { written, size, .. } | Current::Attribute { written, size, .. } = &self.current
            && !decrypted
            && *written != size.next_multiple_of(UNIT)
        {
            return Err(not_stored());
        }
        match std::mem::replace(&mut self.current, Current::None) {
            Current::None | Current::Dropped => Ok(()),
            Current::File { mut file, path, size, .. } => {
                self.done.bytes = self.done.bytes.saturating_add(size);
                let written = match decrypted {
                    true => file.set_len(size),
                    false => file.seek(io::SeekFrom::End(0)).and_then(|_| file.write_all(&trailer(size))),
                };
                written.and_then(|()| file.sync_all()).map_err(|error| failed("write", &path, &error))
            }
            Current::Attribute { name, mut bytes, size, .. } => {
                self.done.bytes = self.done.bytes.saturating_add(size);
                bytes.extend(trailer(size));
                let main = self.made.first().map(|made| made.now.clone()).unwrap_or_default();
                let stream = String::from_utf8_lossy(&name).into_owned();
                let attribute = [&b"user."[..], &name].concat();
                set_attribute(&main, &attribute, &bytes).map_err(|error| {
                    let reason = format!(
                        "the named stream `{stream}` cannot be written ({error}); mount the volume with \
                         streams_interface=windows, or leave such streams out"
                    );
                    Error::refused(ErrorKind::Unsupported, reason)
                })
            }
        }
    }
}

fn not_stored() -> Error {
    let reason = "parts of the file are not stored because they are zeros, and ntfs-3g takes only files that are stored in \
                  full; give a key, so that it is decrypted";
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

impl Sink for Writer<'_> {
    type Error = Error;

    fn metadata(&mut self, efs: &[u8]) -> Result<(), Error> {
        self.metadata = efs.to_vec();
        let Some(keys) = &self.how.keys else { return Ok(()) };
        let metadata = Metadata::parse(efs)?;
        let (fek, _) = keys.unlock(&metadata).map_err(|locked| Error::refused(locked.kind, locked.reason))?;
        self.cipher = Cipher::new(&fek);
        Ok(())
    }

    fn stream(&mut self, name: &[u8], encrypted: bool) -> Result<(), Error> {
        self.end_stream()?;
        if !name.is_empty() && self.how.drop_streams {
            self.done.dropped = self.done.dropped.saturating_add(1);
            self.current = Current::Dropped;
            return Ok(());
        }
        if !encrypted && self.cipher.is_none() {
            let reason = "one of the streams is not encrypted, and ntfs-3g takes only files of which all are; \
                          give a key, so that it is decrypted";
            return Err(Error::refused(ErrorKind::Unsupported, reason));
        }
        self.current = match name {
            [] => {
                let (file, path) = self.make(self.target.to_owned())?;
                // What is written first stands first.
                Current::File { file, path, size: 0, written: 0 }
            }
            name => {
                self.done.streams = self.done.streams.saturating_add(1);
                self.named(name)?
            }
        };
        Ok(())
    }

    fn block(&mut self, block: Block<'_>) -> Result<(), Error> {
        if self.cipher.is_none() {
            self.need_stored(&block)?;
        }
        match &mut self.current {
            Current::File { file, path, size, .. } => {
                let mut bytes = block.stored.to_vec();
                if let Some(cipher) = &self.cipher {
                    cipher.decrypt(&mut bytes, block.offset);
                    let valid = block.valid.min(block.end).saturating_sub(block.offset);
                    bytes.truncate(usize::try_from(valid).unwrap_or(usize::MAX));
                }
                *size = (*size).max(block.end);
                if bytes.is_empty() {
                    return Ok(());
                }
                let written =
                    file.seek(io::SeekFrom::Start(block.offset)).and_then(|_| file.write_all(&bytes));
                written.map_err(|error| failed("write", path, &error))
            }
            Current::Attribute { bytes, size, .. } => {
                /// Longest value of an extended attribute on Linux, in bytes.
                const MAX: usize = 64 << 10;
                *size = (*size).max(block.end);
                bytes.extend_from_slice(block.stored);
                if bytes.len() > MAX {
                    let reason = "a named stream is larger than an extended attribute can be; mount the volume with \
                                  streams_interface=windows";
                    return Err(Error::refused(ErrorKind::Unsupported, reason));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn plain(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let Current::File { file, path, size, .. } = &mut self.current {
            let written = file.seek(io::SeekFrom::Start(*size)).and_then(|_| file.write_all(bytes));
            written.map_err(|error| failed("write", path, &error))?;
            *size = size.saturating_add(bytes.len() as u64);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.end_stream()?;
        let Some(main) = self.made.first() else {
            let reason = "the raw backup stream is that of a directory, which has no content";
            return Err(Error::refused(ErrorKind::Unsupported, reason));
        };
        if self.cipher.is_none() {
            set_efs(&main.now, &self.metadata)?;
        }
        // The file itself last: whoever finds it finds its streams.
        for made in self.made.iter_mut().rev() {
            if let Some(then) = &made.then {
                fs::rename(&made.now, then).map_err(|error| failed("make", then, &error))?;
                made.then = None;
            }
        }
        Ok(())
    }
}

/// Lets a file whose streams hold encrypted bytes be an encrypted file.
fn set_efs(path: &Path, metadata: &[u8]) -> Result<(), Error> {
    // Its other name, user.ntfs.efsinfo, every file system would take.
    set_attribute(path, b"system.ntfs_efsinfo", metadata).map_err(|error| {
        let reason = format!(
            "an encrypted file can be made only on NTFS that ntfs-3g has mounted with the option efs_raw ({error}); give a \
             key, so that it is decrypted"
        );
        Error::refused(ErrorKind::Unsupported, reason)
    })
}

#[cfg(unix)]
fn set_attribute(path: &Path, name: &[u8], value: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty())?)
}

#[cfg(not(unix))]
fn set_attribute(_: &Path, _: &[u8], _: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(unix)]
fn same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(one), Ok(other)) => place(one) == place(other),
        _ => false,
    }
}

#[cfg(not(unix))]
fn same_file(_: &File, _: &Path) -> bool {
    false
}
