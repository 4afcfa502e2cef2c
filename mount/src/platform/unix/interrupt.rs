//! Ending long work at the first signal with what was done so far, and the process at the second.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use signal_hook::{
    SigId,
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag, low_level,
};

use crate::failure::Failure;

/// What is registered, until somebody else takes care of signals.
static REGISTERED: Mutex<Vec<SigId>> = Mutex::new(Vec::new());

/// Work that a signal ends. When it is over, signals end the process again.
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    pub(crate) fn new() -> io::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In this order, so that the first signal finds the flag still unset.
            registered.push(flag::register_conditional_default(signal, Arc::clone(&flag))?);
            registered.push(flag::register(signal, Arc::clone(&flag))?);
        }
        Ok(Self(flag))
    }

    /// Whether a signal has come.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whoever waits for signals himself from now on calls this first.
pub(super) fn leave_signals() {
    let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    for id in registered.drain(..) {
        low_level::unregister(id);
    }
}

/// Set by the first signal that wants the restore to end; the second one ends the process.
pub(crate) fn stop_flag() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    leave_signals();
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| Failure::new(format!("cannot wait for signals: {error}")))?;
    }
    Ok(stop)
}
