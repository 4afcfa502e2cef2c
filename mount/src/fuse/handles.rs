//! Open files, by the handle that the kernel was given.

use std::sync::{Arc, PoisonError, RwLock};

use fuser::FileHandle;
use slab::Slab;
use undelfs_restore::Content;

/// An open file.
#[derive(Clone)]
pub(crate) struct Open {
    pub(crate) content: Arc<dyn Content>,
    /// Reads of it bypass the page cache.
    pub(crate) direct: bool,
}

/// The open files of a mount. A read takes the lock only to copy a reference.
#[derive(Default)]
pub(crate) struct Handles(RwLock<Slab<Open>>);

impl Handles {
    pub(crate) fn insert(&self, open: Open) -> FileHandle {
        let key = self.0.write().unwrap_or_else(PoisonError::into_inner).insert(open);
        FileHandle(key as u64)
    }

    pub(crate) fn get(&self, handle: FileHandle) -> Option<Open> {
        let key = usize::try_from(handle.0).ok()?;
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    pub(crate) fn remove(&self, handle: FileHandle) {
        if let Ok(key) = usize::try_from(handle.0) {
            // The content is dropped after the lock: dropping it may free a lot.
            let _open = self.0.write().unwrap_or_else(PoisonError::into_inner).try_remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use undelfs_restore::Error;

    use super::*;

    struct Sized(u64);

    impl Content for Sized {
        fn read_at(&self, _: &mut [u8], _: u64) -> Result<usize, Error> {
            Ok(0)
        }

        fn size(&self) -> u64 {
            self.0
        }
    }

    fn open(size: u64) -> Open {
        Open { content: Arc::new(Sized(size)), direct: false }
    }

    #[test]
    fn a_handle_gives_its_own_file_until_it_is_released() {
        let handles = Handles::default();
        let (first, second) = (handles.insert(open(1)), handles.insert(open(2)));
        assert_eq!(handles.get(first).unwrap().content.size(), 1);
        assert_eq!(handles.get(second).unwrap().content.size(), 2);
        handles.remove(first);
        assert!(handles.get(first).is_none());
        assert_eq!(handles.get(second).unwrap().content.size(), 2);
    }

    #[test]
    fn a_released_file_that_is_being_read_lives_until_the_read_ends() {
        let handles = Handles::default();
        let handle = handles.insert(open(7));
        let reading = handles.get(handle).unwrap();
        handles.remove(handle);
        handles.remove(handle);
        assert_eq!(reading.content.size(), 7);
    }
}
