//! The last error of each thread.

use std::cell::Cell;

use crate::{Code, platform};

thread_local! {
    static LAST: Cell<u32> = const { Cell::new(0) };
}

/// Sets the last error of this thread. A thread that is ending has none.
pub(crate) fn set(code: Code) {
    let _ = LAST.try_with(|last| last.set(code.0));
    platform::set_last_error(code.0);
}

/// The last error of this thread.
pub(crate) fn get() -> u32 {
    LAST.try_with(Cell::get).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_its_own_last_error() {
        set(Code::INVALID_HANDLE);
        std::thread::spawn(|| {
            assert_eq!(get(), 0);
            set(Code::NO_MORE_FILES);
        })
        .join()
        .unwrap();
        assert_eq!(get(), 6);
    }
}
