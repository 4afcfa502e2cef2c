//! Ending long work at the first Ctrl-C with what was done so far, and the process at the second.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::system;
use crate::failure::Failure;

/// Work that Ctrl-C ends. When it is over, Ctrl-C ends the process again.
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    pub(crate) fn new() -> io::Result<Self> {
        flag().map(Self)
    }

    /// Whether Ctrl-C has come.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Set by the first Ctrl-C that wants the restore to end; the second one ends the process.
pub(crate) fn stop_flag() -> Result<Arc<AtomicBool>, Failure> {
    flag().map_err(|error| Failure::new(format!("cannot wait for Ctrl-C: {error}")))
}

fn flag() -> io::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&flag);
    system::on_console_end(Box::new(move || !seen.swap(true, Ordering::Relaxed)))?;
    Ok(flag)
}
