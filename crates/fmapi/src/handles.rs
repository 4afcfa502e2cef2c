//! Handles: what callers hold of a context.
//!
//! A handle is a number that is never given twice, not an address, so that a closed, foreign or invented one is found
//! out without looking at any memory. Every call counts itself in its context; closing takes the handle away at once, tells
//! running calls to stop, and waits for them.

use std::{
    cell::Cell,
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    ops::Deref,
    sync::{
        Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use undelfs_volume::filesystem::Watch;

use crate::{Code, context::RestoreContext};

/// Handles are multiples of this, as those of Windows are.
const STEP: usize = 4;

/// An open context.
pub(crate) struct Open {
    handle: usize,
    stop: AtomicBool,
    running: Mutex<usize>,
    idle: Condvar,
    pub(crate) context: RestoreContext,
}

impl Open {
    /// What callers hold of it.
    pub(crate) fn handle(&self) -> usize {
        self.handle
    }

    /// True once the context was closed.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Closing ends what goes on.
impl Watch for Open {
    fn cancelled(&self) -> bool {
        self.is_stopped()
    }
}

struct Registry {
    /// The next handle; 0 where there is none left.
    next: usize,
    /// Holds no memory while it is empty, so that nothing is left when all contexts are closed.
    open: BTreeMap<usize, Arc<Open>>,
}

static REGISTRY: LazyLock<Mutex<Registry>> = LazyLock::new(|| {
    // A start that differs by process and by loaded copy of the library makes foreign handles known as such.
    let start = RandomState::new().hash_one("handles") as usize & (usize::MAX >> 4);
    let next = start.next_multiple_of(STEP).saturating_add(STEP);
    Mutex::new(Registry { next, open: BTreeMap::new() })
});

thread_local! {
    /// How many callbacks of callers this thread is in.
    static CALLBACKS: Cell<u32> = const { Cell::new(0) };
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    /// A number that nothing else was given.
    fn number(&mut self) -> Result<usize, Code> {
        let handle = self.next;
        if handle == 0 {
            return Err(Code::NO_SYSTEM_RESOURCES);
        }
        self.next = handle.checked_add(STEP).unwrap_or(0);
        Ok(handle)
    }
}

/// A handle for something that is no restore context.
#[cfg(unix)]
pub(crate) fn number() -> Result<usize, Code> {
    lock(&REGISTRY).number()
}

/// Gives a context a handle.
pub(crate) fn insert(context: RestoreContext) -> Result<usize, Code> {
    let mut registry = lock(&REGISTRY);
    let handle = registry.number()?;
    let open =
        Open { handle, stop: AtomicBool::new(false), running: Mutex::new(0), idle: Condvar::new(), context };
    registry.open.insert(handle, Arc::new(open));
    Ok(handle)
}

/// A call that is running on a context.
pub(crate) struct Call(Arc<Open>);

impl Deref for Call {
    type Target = Open;

    fn deref(&self) -> &Open {
        &self.0
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut running = lock(&self.0.running);
        *running = running.saturating_sub(1);
        self.0.idle.notify_all();
    }
}

/// Begins a call on the context of a handle.
pub(crate) fn enter(handle: usize) -> Result<Call, Code> {
    let registry = lock(&REGISTRY);
    let open = registry.open.get(&handle).ok_or(Code::INVALID_HANDLE)?.clone();
    // Counted while the registry is locked: a close that comes next finds the call.
    let mut running = lock(&open.running);
    *running = running.saturating_add(1);
    drop(running);
    Ok(Call(open))
}

/// Takes a handle away, ends the calls that run on its context, and closes the context. Waits for those calls, unless
/// this thread is in a callback: then the last of them closes the context.
pub(crate) fn close(handle: usize) -> Result<(), Code> {
    let open = lock(&REGISTRY).open.remove(&handle).ok_or(Code::INVALID_HANDLE)?;
    open.stop.store(true, Ordering::Relaxed);
    if is_in_callback() {
        return Ok(());
    }
    let mut running = lock(&open.running);
    while *running > 0 {
        running = open.idle.wait(running).unwrap_or_else(PoisonError::into_inner);
    }
    drop(running);
    // A call that has ended may hold the context a moment longer; what it has open must be closed now.
    open.context.close();
    Ok(())
}

/// True where this thread is in a callback of a caller, and must not wait for a call to end.
pub(crate) fn is_in_callback() -> bool {
    CALLBACKS.get() > 0
}

/// Runs a callback of a caller.
pub(crate) fn in_callback<R>(callback: impl FnOnce() -> R) -> R {
    struct Inside;
    impl Drop for Inside {
        fn drop(&mut self) {
            CALLBACKS.set(CALLBACKS.get().saturating_sub(1));
        }
    }
    CALLBACKS.set(CALLBACKS.get().saturating_add(1));
    let _inside = Inside;
    callback()
}
