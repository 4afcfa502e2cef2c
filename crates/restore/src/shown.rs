//! Folders and files that stand on no volume: what a layer above makes of files of a context, shown in a tree.

use std::sync::Arc;

use crate::{Content, Error};

/// The files of one folder. Nothing of them is made before it is asked for.
pub trait Files: Send + Sync {
    /// How many there are.
    fn count(&self) -> usize;

    /// The name of one; WTF-8.
    fn name(&self, index: usize) -> Option<Vec<u8>>;

    /// The size of one in bytes.
    ///
    /// # Errors
    /// When it cannot be told.
    fn size(&self, index: usize) -> Result<u64, Error>;

    /// Opens one.
    ///
    /// # Errors
    /// When it cannot be given.
    fn open(&self, index: usize) -> Result<Arc<dyn Content>, Error>;

    /// The file of this name.
    fn find(&self, name: &[u8]) -> Option<usize> {
        (0..self.count()).find(|index| self.name(*index).as_deref() == Some(name))
    }
}

/// A folder without files.
impl Files for () {
    fn count(&self) -> usize {
        0
    }

    fn name(&self, _: usize) -> Option<Vec<u8>> {
        None
    }

    fn size(&self, _: usize) -> Result<u64, Error> {
        Err(Error::not_found(b"file"))
    }

    fn open(&self, _: usize) -> Result<Arc<dyn Content>, Error> {
        Err(Error::not_found(b"file"))
    }
}

struct Folder {
    name: Vec<u8>,
    above: u16,
    inside: Vec<u16>,
    files: Arc<dyn Files>,
}

/// A tree of such folders.
pub struct Shown {
    folders: Vec<Folder>,
}

impl Default for Shown {
    fn default() -> Self {
        let root = Folder { name: Vec::new(), above: 0, inside: Vec::new(), files: Arc::new(()) };
        Self { folders: vec![root] }
    }
}

impl Shown {
    /// The root.
    pub const ROOT: u16 = 0;
    /// Most folders; what comes after them is left out.
    const MAX: usize = 60_000;

    /// Adds a folder in the folder `above`; its number. A name that is taken there gets ` (2)` and so on.
    pub fn add(&mut self, above: u16, name: &[u8], files: Arc<dyn Files>) -> u16 {
        let number = match u16::try_from(self.folders.len()) {
            Ok(number) if self.folders.len() < Self::MAX => number,
            _ => return Self::ROOT,
        };
        let escaped = crate::names::escape(name).into_owned();
        let mut own = escaped.clone();
        let mut count = 2u32;
        while self.inside(above, &own).is_some() {
            own = [&escaped, format!(" ({count})").as_bytes()].concat();
            count = count.saturating_add(1);
        }
        self.folders.push(Folder { name: own, above, inside: Vec::new(), files });
        if let Some(folder) = self.folders.get_mut(usize::from(above)) {
            folder.inside.push(number);
        }
        number
    }

    fn folder(&self, number: u16) -> Result<&Folder, Error> {
        self.folders.get(usize::from(number)).ok_or_else(|| Error::not_found(b"folder"))
    }

    /// The folder above one; the root is above itself.
    pub(crate) fn above(&self, number: u16) -> Result<u16, Error> {
        Ok(self.folder(number)?.above)
    }

    /// The folder of this name in another one.
    pub(crate) fn inside(&self, number: u16, name: &[u8]) -> Option<u16> {
        let named = |inside: &&u16| self.folder(**inside).is_ok_and(|folder| folder.name == name);
        self.folder(number).ok()?.inside.iter().find(named).copied()
    }

    pub(crate) fn files(&self, number: u16) -> Result<&Arc<dyn Files>, Error> {
        Ok(&self.folder(number)?.files)
    }

    /// The folder, or the file, at an index of a folder, with its name: folders come first.
    pub(crate) fn entry(&self, number: u16, index: usize) -> Result<Option<(Vec<u8>, Entry)>, Error> {
        let folder = self.folder(number)?;
        if let Some(inside) = folder.inside.get(index) {
            return Ok(Some((self.folder(*inside)?.name.clone(), Entry::Folder(*inside))));
        }
        let file = index.saturating_sub(folder.inside.len());
        Ok(folder.files.name(file).map(|name| (name, Entry::File(file))))
    }
}

/// What stands in such a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    Folder(u16),
    /// A file by its index.
    File(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_folders_of_one_name_are_both_there() {
        let mut shown = Shown::default();
        let first = shown.add(Shown::ROOT, b"CA", Arc::new(()));
        let second = shown.add(Shown::ROOT, b"CA", Arc::new(()));
        let inside = shown.add(second, b"DataBase", Arc::new(()));
        assert_eq!(shown.inside(Shown::ROOT, b"CA"), Some(first));
        assert_eq!(shown.inside(Shown::ROOT, b"CA (2)"), Some(second));
        assert_eq!(shown.inside(second, b"DataBase"), Some(inside));
        assert_eq!(shown.above(inside).unwrap(), second);
        assert_eq!(shown.entry(Shown::ROOT, 1).unwrap(), Some((b"CA (2)".to_vec(), Entry::Folder(second))));
        assert_eq!(shown.entry(Shown::ROOT, 2).unwrap(), None);
    }
}
