//! What a context stands for: a file to be exported, or the place of one to be made. Each is done once.
//!
//! The numbers that callers hold are those of [`handles`]: none is given twice.

use std::{
    collections::BTreeMap,
    io::{self, BufReader, Read},
    mem,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use undelfs_restore::{Content, Error, Import, import as import_file};
use undelfs_source::ErrorKind;

use crate::{Code, handles};

/// Bytes that a callback gets, or may give, at once.
const STEP: usize = 64 << 10;

/// What was opened.
pub(super) enum Opened {
    Export(Arc<dyn Content>),
    Import(PathBuf, Import),
}

enum State {
    Ready(Opened),
    /// A call is running.
    Running,
    Done,
}

struct Open {
    stop: AtomicBool,
    state: Mutex<State>,
    idle: Condvar,
}

impl Open {
    fn is_stopped(&self) -> Result<(), Code> {
        if self.stop.load(Ordering::Relaxed) { Err(Code::CANCELLED) } else { Ok(()) }
    }
}

static CONTEXTS: Mutex<BTreeMap<usize, Arc<Open>>> = Mutex::new(BTreeMap::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives what was opened a handle.
pub(super) fn insert(opened: Opened) -> Result<usize, Code> {
    let handle = handles::number()?;
    let open =
        Open { stop: AtomicBool::new(false), state: Mutex::new(State::Ready(opened)), idle: Condvar::new() };
    lock(&CONTEXTS).insert(handle, Arc::new(open));
    Ok(handle)
}

/// A call that is running on a context. At its end the context is done.
struct Running(Arc<Open>);

impl Drop for Running {
    fn drop(&mut self) {
        *lock(&self.0.state) = State::Done;
        self.0.idle.notify_all();
    }
}

/// Begins the call that `wanted` is opened for. A context that was opened for the other one stays as it is.
fn begin(handle: usize, wanted: fn(&Opened) -> bool) -> Result<(Running, Opened), Code> {
    let open = lock(&CONTEXTS).get(&handle).ok_or(Code::INVALID_HANDLE)?.clone();
    let mut state = lock(&open.state);
    match &*state {
        State::Ready(opened) if wanted(opened) => {}
        _ => return Err(Code::INVALID_PARAMETER),
    }
    let State::Ready(opened) = mem::replace(&mut *state, State::Running) else {
        return Err(Code::INVALID_PARAMETER);
    };
    drop(state);
    Ok((Running(open), opened))
}

/// Gives `take` all of a raw backup stream, and at last nothing. Its error ends it.
pub(super) fn export(handle: usize, take: &mut dyn FnMut(&mut [u8]) -> Result<(), Code>) -> Result<(), Code> {
    let (running, opened) = begin(handle, |opened| matches!(opened, Opened::Export(_)))?;
    let Opened::Export(content) = opened else { return Err(Code::INVALID_PARAMETER) };
    let mut buf = vec![0; STEP];
    let mut at = 0_u64;
    while at < content.size() {
        running.0.is_stopped()?;
        let read = match content.read_at(&mut buf, at)? {
            0 => return Err(Code::FILE_CORRUPT),
            read => read,
        };
        take(buf.get_mut(..read).unwrap_or_default())?;
        at = at.saturating_add(read as u64);
    }
    running.0.is_stopped()?;
    take(buf.get_mut(..0).unwrap_or_default())
}

/// Makes a file of what `give` puts into the room that it gets; no bytes are the end. Its error ends it, and nothing is
/// made.
pub(super) fn import(
    handle: usize,
    give: &mut dyn FnMut(&mut [u8]) -> Result<usize, Code>,
) -> Result<(), Code> {
    let (running, opened) = begin(handle, |opened| matches!(opened, Opened::Import(..)))?;
    let Opened::Import(target, how) = opened else { return Err(Code::INVALID_PARAMETER) };
    let mut input =
        BufReader::with_capacity(STEP, Given { open: &running.0, give, failed: None, ended: false });
    let result = import_file(&mut input, &target, &how);
    match (input.get_ref().failed, result) {
        (Some(code), _) => Err(code),
        (None, Ok(_)) => Ok(()),
        (None, Err(Error::Write(error))) => Err(Code::of_write(&error)),
        (None, Err(error)) if error.kind() == ErrorKind::KeyNeeded => Err(Code::NO_USER_KEYS),
        (None, Err(error)) => Err(error.into()),
    }
}

/// What a caller gives.
struct Given<'a> {
    open: &'a Open,
    give: &'a mut dyn FnMut(&mut [u8]) -> Result<usize, Code>,
    failed: Option<Code>,
    ended: bool,
}

impl Read for Given<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let room = buf.get_mut(..buf.len().min(STEP)).unwrap_or_default();
        if self.ended || room.is_empty() {
            return Ok(0);
        }
        let given = self.open.is_stopped().and_then(|()| (self.give)(room));
        // Whoever says that he has given more than there was room for is not believed.
        match given.and_then(|len| if len <= room.len() { Ok(len) } else { Err(Code::INVALID_PARAMETER) }) {
            Ok(len) => {
                self.ended = len == 0;
                Ok(len)
            }
            Err(code) => {
                self.failed = Some(code);
                Err(io::Error::other("the callback has failed"))
            }
        }
    }
}

/// Takes a handle away, ends the call that runs on it, and waits for that, unless this thread is in a callback. A number
/// that is no handle is left alone.
pub(super) fn close(handle: usize) {
    let Some(open) = lock(&CONTEXTS).remove(&handle) else { return };
    open.stop.store(true, Ordering::Relaxed);
    let mut state = lock(&open.state);
    while matches!(*state, State::Running) && !handles::is_in_callback() {
        state = open.idle.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    if !matches!(*state, State::Running) {
        *state = State::Done;
    }
}
