//! Restoring one file: its unnamed stream becomes a new file, its named streams extended attributes of it.

use std::{
    fs::{self, File},
    path::Path,
    sync::Arc,
};

use undelfs_restore::{
    Content, DataStream,
    copy::{self, NotCopied},
};

use crate::{Code, handles::Open, info::Token, platform};

/// Longest value of an extended attribute on Linux, in bytes, and longest name (xattr(7)).
const MAX_VALUE: u64 = 64 << 10;
const MAX_NAME: usize = 255;

/// What the names of attributes begin with that are ours in a mount.
const RESERVED: &[u8] = b"undelfs.";

/// How far a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Bytes of all streams that are copied.
    pub(crate) total: u64,
    /// Bytes of them that are done.
    pub(crate) done: u64,
    /// Bytes of the stream that is being copied.
    pub(crate) stream: u64,
    /// Bytes of it that are done.
    pub(crate) stream_done: u64,
}

/// Who follows a restore.
pub(crate) trait Follower {
    /// Some more was copied. False cancels.
    fn progress(&mut self, progress: Progress) -> bool;
    /// The restore is over, with this as the last error; `success` where the file stands at its place.
    fn finished(&mut self, success: bool, result: Code);
}

/// Copies the file of `token` to `destination`, which must not exist. `Ok` is 0 or [`Code::PARTIAL_COPY`].
pub(crate) fn restore(
    open: &Open,
    token: Token,
    destination: &Path,
    follower: &mut dyn Follower,
) -> Result<Code, Code> {
    if token.handle != open.handle() as u64 {
        return Err(Code::INVALID_PARAMETER);
    }
    open.context.check(token)?;
    // From here on the follower is told how it ends.
    let result =
        open.context.streams(token).and_then(|streams| copy_to(open, streams, destination, follower));
    let (success, code) = match result {
        Ok(code) => (true, code),
        Err(code) => (false, code),
    };
    follower.finished(success, code);
    result
}

fn copy_to(
    open: &Open,
    streams: Vec<DataStream>,
    destination: &Path,
    follower: &mut dyn Follower,
) -> Result<Code, Code> {
    let mut copier = Copier { open, follower, total: 0, done: 0, whole: true };
    let mut unnamed = None;
    let mut named = Vec::new();
    for DataStream { name, overwritten, content } in streams {
        match content {
            Ok(content) if name.is_empty() => {
                copier.total = copier.total.saturating_add(content.size());
                copier.whole &= !overwritten;
                unnamed = Some(content);
            }
            Err(error) if name.is_empty() => return Err(error.into()),
            // A value could not say which of its bytes are gone.
            Ok(content) if fits(&name, content.size()) && !overwritten => {
                copier.total = copier.total.saturating_add(content.size());
                named.push((name, content));
            }
            _ => copier.whole = false,
        }
    }
    let file = File::create_new(destination).map_err(|error| Code::of_write(&error))?;
    if let Err(code) = copier.copy(unnamed.as_deref(), &named, &file, destination) {
        // What cannot be removed must not be taken for the file.
        return Err(if remove(&file, destination) { code } else { Code::PARTIAL_COPY });
    }
    Ok(if copier.whole { Code::SUCCESS } else { Code::PARTIAL_COPY })
}

/// Removes a file that was made at `path`, and nothing else that may stand there by now. True where it is gone.
fn remove(file: &File, path: &Path) -> bool {
    match platform::is_still(file, path) {
        Some(true) => fs::remove_file(path).is_ok(),
        Some(false) => false,
        None => true,
    }
}

/// True where a stream of this name and size can be an extended attribute.
fn fits(name: &[u8], size: u64) -> bool {
    let longest = MAX_NAME.saturating_sub(PREFIX.len());
    size <= MAX_VALUE && name.len() <= longest && !name.contains(&0) && !name.starts_with(RESERVED)
}

/// Name space of the attributes that users have.
const PREFIX: &[u8] = b"user.";

struct Copier<'a> {
    open: &'a Open,
    follower: &'a mut dyn Follower,
    total: u64,
    done: u64,
    /// Nothing is missing so far.
    whole: bool,
}

impl Copier<'_> {
    fn copy(
        &mut self,
        unnamed: Option<&dyn Content>,
        named: &[(Vec<u8>, Arc<dyn Content>)],
        file: &File,
        destination: &Path,
    ) -> Result<(), Code> {
        if let Some(content) = unnamed {
            self.copy_content(content, file)?;
        }
        for (name, content) in named {
            let limit = usize::try_from(MAX_VALUE).unwrap_or(usize::MAX);
            let value = copy::read_small(&**content, limit);
            let set =
                value.is_some_and(|value| platform::set_stream(file, destination, name, &value).is_ok());
            self.whole &= set;
            let size = content.size();
            self.advance(size, size, size)?;
        }
        Ok(())
    }

    fn copy_content(&mut self, content: &dyn Content, file: &File) -> Result<(), Code> {
        let size = content.size();
        let mut stream_done = 0_u64;
        let mut stopped = Ok(());
        let mut advance = |bytes: u64| {
            stream_done = stream_done.saturating_add(bytes);
            stopped = self.advance(bytes, size, stream_done);
            stopped.is_ok()
        };
        let copied = copy::copy(content, file, &mut Vec::new(), &mut advance);
        stopped?;
        match copied {
            Ok(copied) => self.whole &= copied.problem.is_none() && copied.unreadable.is_empty(),
            Err(NotCopied::Content(error)) => return Err(error.into()),
            Err(NotCopied::Write(error)) => return Err(Code::of_write(&error)),
            Err(NotCopied::Stopped) => return Err(Code::CANCELLED),
        }
        // The end of a stream is told even where it has no bytes.
        if size == 0 { self.advance(0, 0, 0) } else { Ok(()) }
    }

    /// Tells the follower of `bytes` more. An error where the restore is to end.
    fn advance(&mut self, bytes: u64, stream: u64, stream_done: u64) -> Result<(), Code> {
        if self.open.is_stopped() {
            return Err(Code::CANCELLED);
        }
        self.done = self.done.saturating_add(bytes);
        let progress = Progress { total: self.total, done: self.done, stream, stream_done };
        match self.follower.progress(progress) && !self.open.is_stopped() {
            true => Ok(()),
            false => Err(Code::CANCELLED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Windows may let a removed file stand there until it is closed.
    #[cfg(unix)]
    #[test]
    fn only_the_file_that_was_made_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("file"), dir.path().join("moved"));
        let made = File::create_new(&path).unwrap();
        fs::rename(&path, &moved).unwrap();
        assert!(!remove(&made, &path));
        fs::write(&path, b"of somebody else").unwrap();
        assert!(!remove(&made, &path));
        assert!(path.exists() && moved.exists());
        assert!(remove(&made, &moved) && !moved.exists());
        assert!(remove(&made, &path) && path.exists());
    }

    #[test]
    fn only_streams_that_linux_takes_as_attributes_become_some() {
        assert!(fits(b"Zone.Identifier", 26) && fits(&[b'a'; 250], 65_536));
        assert!(!fits(b"a", 65_537) && !fits(&[b'a'; 251], 1) && !fits(b"a\0", 1));
        assert!(!fits(b"undelfs.confidence", 1));
    }
}
