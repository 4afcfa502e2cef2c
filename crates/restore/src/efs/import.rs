//! Making files of raw backup streams.

mod stream;

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use undelfs_efs::{
    Cipher, KeyRing, Metadata,
    raw::{Block, Sink, Unread, read},
};
use undelfs_source::{ErrorKind, bytes::u32_at};

use self::stream::{Output, StreamWriter, Way};
use super::host::{self, same_file, with_suffix};
use crate::Error;

/// How a file is made of a raw backup stream.
#[derive(Debug, Clone, Default)]
pub struct Import {
    /// Decrypt it with one of these keys. Without, it stays encrypted, which only a volume takes that ntfs-3g has mounted
    /// with `efs_raw`.
    pub keys: Option<Arc<KeyRing>>,
    /// It stays encrypted though there are keys: they only make encrypted zeros of what is not stored because it is zeros.
    pub keep_encrypted: bool,
    /// A file that exists may be replaced.
    pub replace: bool,
    /// Named streams are left out; otherwise they become `FILE:STREAM`, on NTFS streams of the file.
    pub drop_streams: bool,
    /// A directory is made, or an existing one taken: one in which new files are encrypted, where it stays encrypted.
    pub directory: bool,
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
/// there; where anything fails nothing is left, and a file that was there stays as it was.
///
/// # Errors
/// When the stream is none ([`ErrorKind::NotExportFormat`]), no key fits, `target` exists, or cannot be written.
pub fn import(input: &mut dyn Read, target: &Path, how: &Import) -> Result<Imported, Error> {
    let mut writer = Writer {
        target,
        how,
        way: Way::Keep(None),
        metadata: Vec::new(),
        made: Vec::new(),
        current: None,
        done: Imported::default(),
    };
    writer.need_room(target)?;
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
    way: Way,
    metadata: Vec<u8>,
    /// What was made so far: where it stands now, and where it belongs.
    made: Vec<Made>,
    /// The stream that is being written; none where it is left out.
    current: Option<StreamWriter>,
    done: Imported,
}

/// A file or an empty directory that is removed again unless it gets its name.
struct Made {
    now: PathBuf,
    then: Option<PathBuf>,
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.then.is_some() {
            // Whoever finds that it is gone has done the same.
            let _ = fs::remove_file(&self.now).or_else(|_| fs::remove_dir(&self.now));
        }
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::Write(io::Error::new(error.kind(), format!("cannot {what} {}: {error}", path.display())))
}

fn none(reason: &str) -> Error {
    Error::refused(ErrorKind::NotExportFormat, reason)
}

impl Writer<'_> {
    fn decrypts(&self) -> bool {
        matches!(self.way, Way::Decrypt(_))
    }

    /// What becomes the file itself.
    fn main(&self) -> Option<&Made> {
        self.made.iter().find(|made| made.then.as_deref() == Some(self.target))
    }

    fn need_room(&self, path: &Path) -> Result<(), Error> {
        let there = fs::symlink_metadata(path);
        let is_directory = there.as_ref().is_ok_and(fs::Metadata::is_dir);
        match there {
            Ok(_) if is_directory && self.how.directory => Ok(()),
            Ok(_) if self.how.directory => {
                Err(Error::refused(ErrorKind::NotDirectory, format!("{} is a file", path.display())))
            }
            Ok(_) if is_directory => {
                Err(Error::refused(ErrorKind::IsDirectory, format!("{} is a directory", path.display())))
            }
            Ok(_) if !self.how.replace => Err(Error::refused(
                ErrorKind::InvalidInput,
                format!("{} exists; --force replaces it", path.display()),
            )),
            _ => Ok(()),
        }
    }

    /// Makes something new beside the target, under a name that nobody has.
    fn make<T>(
        &mut self,
        then: PathBuf,
        new: impl Fn(&Path) -> io::Result<T>,
    ) -> Result<(T, PathBuf), Error> {
        /// Files that others have left with the number of this process.
        const ATTEMPTS: usize = 1000;
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let attempt = || {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let now = self.target.with_file_name(format!(".undelfs-{}-{number}", std::process::id()));
            (new(&now), now)
        };
        let mut result = attempt();
        for _ in 0..ATTEMPTS {
            match &result.0 {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => result = attempt(),
                _ => break,
            }
        }
        let (made, now) = result;
        let made = made.map_err(|error| failed("make", &now, &error))?;
        self.made.push(Made { now: now.clone(), then: Some(then) });
        Ok((made, now))
    }

    fn make_file(&mut self, then: PathBuf) -> Result<Output, Error> {
        let (file, path) = self.make(then, new_file)?;
        Ok(Output::File { file, path })
    }

    /// Where the content of a named stream goes.
    fn named(&mut self, name: &[u8]) -> Result<Output, Error> {
        let suffix = [b":", name].concat();
        if self.decrypts() {
            let then = with_suffix(self.target, &suffix);
            self.need_room(&then)?;
            return self.make_file(then);
        }
        let Some(main) = self.main().map(|made| made.now.clone()) else {
            return Err(none("a named stream stands before the unnamed one"));
        };
        // Where streams have names in paths, the stream is a part of the file; elsewhere that is another file.
        let path = with_suffix(&main, &suffix);
        if let Ok(file) = new_file(&path) {
            if same_file(&file, &main) {
                return Ok(Output::File { file, path });
            }
            drop(file);
            let _ = fs::remove_file(&path);
        }
        Ok(Output::Attribute { of: main, name: name.to_vec(), bytes: Vec::new() })
    }

    fn end_stream(&mut self) -> Result<(), Error> {
        let size = self.current.take().map_or(Ok(0), |current| current.end(&self.way))?;
        self.done.bytes = self.done.bytes.saturating_add(size);
        Ok(())
    }

    /// Gives everything that was made its name, the file itself last: whoever finds it finds its streams.
    fn name_all(&mut self) -> Result<(), Error> {
        let target = self.target;
        self.made.sort_by_key(|made| made.then.as_deref() == Some(target));
        for at in 0..self.made.len() {
            let Some(then) = self.made.get(at).and_then(|made| made.then.clone()) else { continue };
            let renamed = self.made.get(at).map_or(Ok(()), |made| fs::rename(&made.now, &then));
            if let Err(error) = renamed {
                for made in self.made.iter_mut().filter(|made| made.then.is_none()) {
                    let _ = fs::remove_file(&made.now);
                }
                return Err(failed("make", &then, &error));
            }
            if let Some(made) = self.made.get_mut(at) {
                (made.now, made.then) = (then, None);
            }
        }
        Ok(())
    }
}

fn new_file(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create_new(true).open(path)
}

impl Sink for Writer<'_> {
    type Error = Error;

    fn metadata(&mut self, efs: &[u8]) -> Result<(), Error> {
        if u32_at(efs, 0).and_then(|length| usize::try_from(length).ok()) != Some(efs.len()) {
            return Err(none("the metadata of the raw backup stream has another length than they say"));
        }
        self.metadata = efs.to_vec();
        let Some(keys) = self.how.keys.as_ref().filter(|_| !self.how.directory) else { return Ok(()) };
        if self.how.keep_encrypted {
            // Without a key that fits, only what has to be filled cannot be written.
            let fek = Metadata::parse(efs).ok().and_then(|metadata| Some(keys.unlock(&metadata).ok()?.0));
            self.way = Way::Keep(fek.as_ref().and_then(Cipher::new));
            return Ok(());
        }
        let metadata = Metadata::parse(efs)?;
        let (fek, _) = keys.unlock(&metadata).map_err(|locked| Error::refused(locked.kind, locked.reason))?;
        self.way = Cipher::new(&fek).map_or(Way::Keep(None), Way::Decrypt);
        Ok(())
    }

    fn stream(&mut self, name: &[u8], encrypted: bool) -> Result<(), Error> {
        self.end_stream()?;
        if !name.is_empty() && self.how.drop_streams {
            self.done.dropped = self.done.dropped.saturating_add(1);
            return Ok(());
        }
        if self.how.directory {
            return Err(match name {
                [] => none("the raw backup stream is that of a file, not of a directory"),
                _ => Error::refused(
                    ErrorKind::Unsupported,
                    "named streams of a directory cannot be written; leave them out",
                ),
            });
        }
        if !encrypted && !self.decrypts() {
            let reason = "one of the streams is not encrypted, and ntfs-3g takes only files of which all are; \
                          give a key, so that it is decrypted";
            return Err(Error::refused(ErrorKind::Unsupported, reason));
        }
        let output = match name {
            [] => self.make_file(self.target.to_owned())?,
            name => {
                self.done.streams = self.done.streams.saturating_add(1);
                self.named(name)?
            }
        };
        self.current = Some(StreamWriter::new(output));
        Ok(())
    }

    fn block(&mut self, block: Block<'_>) -> Result<(), Error> {
        self.current.as_mut().map_or(Ok(()), |current| current.block(&block, &self.way))
    }

    fn plain(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.current.as_mut().map_or(Ok(()), |current| current.plain(bytes))
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.end_stream()?;
        if self.how.directory {
            let stays_encrypted = self.how.keys.is_none() || self.how.keep_encrypted;
            let path = match self.target.is_dir() {
                true => self.target.to_owned(),
                false => self.make(self.target.to_owned(), |path| fs::create_dir(path))?.1,
            };
            if stays_encrypted {
                host::set_metadata(&path, &self.metadata)?;
            }
            return self.name_all();
        }
        let Some(main) = self.main() else {
            let reason = "the raw backup stream ends before the content of the file; it is cut, or that of a directory";
            return Err(none(reason));
        };
        if !self.decrypts() {
            host::set_metadata(&main.now, &self.metadata)?;
        }
        self.name_all()
    }
}
