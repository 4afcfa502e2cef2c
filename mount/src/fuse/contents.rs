//! The contents that are being read, by inode.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lru::LruCache;
use undelfs_restore::{Content, Error, Inode};

/// Files whose content stays put together. One more than this costs its reader to put it together again.
const CONTENTS: NonZeroUsize = NonZeroUsize::new(128).unwrap();

/// The contents that were read last. A read takes the lock only to copy a reference.
pub(crate) struct Contents(Mutex<LruCache<Inode, Arc<dyn Content>>>);

impl Contents {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(LruCache::new(CONTENTS)))
    }

    /// The content of a file, from `open` where it is not held.
    pub(crate) fn get(
        &self,
        inode: Inode,
        open: impl FnOnce() -> Result<Arc<dyn Content>, Error>,
    ) -> Result<Arc<dyn Content>, Error> {
        if let Some(content) = self.lock().get(&inode) {
            return Ok(content.clone());
        }
        let content = open()?;
        // What falls out is dropped after the lock: dropping it may free a lot.
        let _fallen = self.lock().push(inode, content.clone());
        Ok(content)
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<Inode, Arc<dyn Content>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use undelfs_source::ErrorKind;

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

    fn open(size: u64) -> Result<Arc<dyn Content>, Error> {
        Ok(Arc::new(Sized(size)))
    }

    #[test]
    fn a_content_is_put_together_once_while_it_is_in_use() {
        let contents = Contents::new();
        assert_eq!(contents.get(Inode(7), || open(1)).unwrap().size(), 1);
        assert_eq!(contents.get(Inode(7), || unreachable!()).unwrap().size(), 1);
        assert_eq!(contents.get(Inode(8), || open(2)).unwrap().size(), 2);
    }

    #[test]
    fn contents_are_bounded_and_come_back() {
        let contents = Contents::new();
        for inode in 0..10 * CONTENTS.get() as u64 {
            contents.get(Inode(inode), || open(inode)).unwrap();
        }
        assert_eq!(contents.lock().len(), CONTENTS.get());
        assert_eq!(contents.get(Inode(0), || open(5)).unwrap().size(), 5);
    }

    #[test]
    fn an_error_is_not_held() {
        let contents = Contents::new();
        let refused = || Err(Error::Refused { kind: ErrorKind::KeyNeeded, reason: String::new() });
        assert!(contents.get(Inode(7), refused).is_err());
        assert!(contents.get(Inode(7), || open(1)).is_ok());
    }
}
