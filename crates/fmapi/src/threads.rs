//! Worker threads of a scan. None of them lives longer than the call: a program may unload the library once its
//! contexts are closed.

use std::thread::{self, JoinHandle};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::Code;

/// Threads, and the pool that they work for.
struct Workers {
    pool: Option<ThreadPool>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Tells the threads to end, and does not wait for them.
        self.pool = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Runs `work` with worker threads, and ends them before it returns.
pub(crate) fn with_workers<R: Send>(work: impl FnOnce() -> R + Send) -> Result<R, Code> {
    let mut workers = Workers { pool: None, threads: Vec::new() };
    let spawn = |worker: rayon::ThreadBuilder| {
        workers.threads.push(thread::Builder::new().spawn(|| worker.run())?);
        Ok(())
    };
    workers.pool = ThreadPoolBuilder::new().spawn_handler(spawn).build().ok();
    match &workers.pool {
        Some(pool) => Ok(pool.install(work)),
        None => Err(Code::NO_SYSTEM_RESOURCES),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn workers_are_gone_when_the_work_is_done() {
        static ALIVE: AtomicUsize = AtomicUsize::new(0);
        struct Alive;
        impl Drop for Alive {
            fn drop(&mut self) {
                ALIVE.fetch_sub(1, Ordering::SeqCst);
            }
        }
        thread_local!(static OF_THREAD: Alive = { ALIVE.fetch_add(1, Ordering::SeqCst); Alive });
        for _ in 0..100 {
            let workers = with_workers(|| rayon::broadcast(|_| OF_THREAD.with(|_| ())).len()).unwrap();
            assert!(workers > 0);
            assert_eq!(ALIVE.load(Ordering::SeqCst), 0);
        }
    }

    #[test]
    fn workers_are_gone_after_a_panic_too() {
        let end = std::panic::catch_unwind(|| with_workers(|| panic!("planted")));
        assert!(end.is_err());
    }
}
