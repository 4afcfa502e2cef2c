//! The contents that are being read, by inode.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lru::LruCache;
use undelfs_restore::{Content, Error, Inode};

/// Files whose content stays put together. One more than this costs its reader to put it together again.
const CONTENTS: NonZeroUsize = NonZeroUsize::new(128).unwrap();

/// Runs that all of them may hold, some 50 MiB. The last content that was read stays whatever it holds.
const RUNS: usize = 1 << 21;

/// The contents that were read last. A read takes the lock only to copy a reference.
pub(crate) struct Contents(Mutex<Held>);

struct Held {
    contents: LruCache<Inode, Arc<dyn Content>>,
    runs: usize,
}

impl Contents {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Held { contents: LruCache::new(CONTENTS), runs: 0 }))
    }

    /// The content of a file, from `open` where it is not held.
    pub(crate) fn get(
        &self,
        inode: Inode,
        open: impl FnOnce() -> Result<Arc<dyn Content>, Error>,
    ) -> Result<Arc<dyn Content>, Error> {
        if let Some(content) = self.lock().contents.get(&inode) {
            return Ok(content.clone());
        }
        let content = open()?;
        // What falls out is dropped after the lock: dropping it may free a lot.
        let _fallen = self.lock().keep(inode, &content);
        Ok(content)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Keeps a content, and gives back those that make room for it.
    fn keep(&mut self, inode: Inode, content: &Arc<dyn Content>) -> Vec<Arc<dyn Content>> {
        let mut fallen = Vec::new();
        self.runs += content.runs();
        fallen.extend(self.contents.push(inode, content.clone()).map(|(_, old)| old));
        while self.runs - fallen.iter().map(|old| old.runs()).sum::<usize>() > RUNS && self.contents.len() > 1
        {
            fallen.extend(self.contents.pop_lru().map(|(_, old)| old));
        }
        self.runs -= fallen.iter().map(|old| old.runs()).sum::<usize>();
        fallen
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

        fn runs(&self) -> usize {
            usize::try_from(self.0).unwrap()
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
        assert_eq!(contents.lock().contents.len(), CONTENTS.get());
        assert_eq!(contents.get(Inode(0), || open(5)).unwrap().size(), 5);
    }

    #[test]
    fn contents_of_very_many_runs_make_each_other_fall_out() {
        let contents = Contents::new();
        for inode in 0..20 {
            contents.get(Inode(inode), || open(RUNS as u64 / 4)).unwrap();
            assert!(contents.lock().runs <= RUNS);
        }
        assert_eq!(contents.lock().contents.len(), 4);
        contents.get(Inode(99), || open(2 * RUNS as u64)).unwrap();
        assert_eq!(contents.lock().contents.len(), 1);
    }

    #[test]
    fn an_error_is_not_held() {
        let contents = Contents::new();
        let refused = || Err(Error::Refused { kind: ErrorKind::KeyNeeded, reason: String::new() });
        assert!(contents.get(Inode(7), refused).is_err());
        assert!(contents.get(Inode(7), || open(1)).is_ok());
    }
}
