//! Encrypted volumes with deleted files, and what is asked of all of them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    bitlocker::{Made, Maker, Protector, recovery_password},
    check::{self, Names},
    guard,
    manifest::Manifest,
    program::{Tree, assert_refused, undelfs},
    recipe::Recipe,
};

/// The password of every volume here.
pub const PASSWORD: &str = "correct horse";

/// The recovery password of every volume here.
pub fn recovery() -> String {
    recovery_password(7)
}

/// One protector of each kind that a fixed disk has.
pub fn protectors() -> Vec<Protector> {
    vec![
        Protector::Password(PASSWORD.to_owned()),
        Protector::RecoveryPassword(recovery()),
        Protector::StartupKey,
        Protector::Tpm,
    ]
}

/// An encrypted volume of which half of the files are deleted.
#[derive(Debug)]
pub struct Encrypted {
    /// Where it is, and room for key files.
    pub dir: TempDir,
    /// The volume and its secrets.
    pub made: Made,
    /// What is on it.
    pub manifest: Manifest,
}

impl Encrypted {
    /// Makes one. Deleted files that are scattered over all of a volume lose clusters to BitLocker's own structures, as
    /// on Windows; those of the seeds from 300 to 309 don't, and only they have scattered files.
    pub fn new(seed: u64, maker: &Maker) -> Self {
        let dir = guard::scratch();
        let fragments = (300..310).contains(&seed);
        let recipe =
            Recipe { files: 60, size: 160 << 20, sector: maker.sector, fragments, ..Recipe::new(seed) };
        let plain = recipe.make(dir.path());
        let made = maker.make(&plain.image, &dir.path().join("encrypted.img"));
        Self { dir, made, manifest: plain.manifest }
    }

    /// The image.
    pub fn image(&self) -> &Path {
        &self.made.image
    }

    /// Writes a file beside the image.
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, content).expect("a key file");
        path
    }

    /// Every deleted file is there, and `.undelfs/volume.img` is the volume as Windows presents it.
    ///
    /// # Panics
    /// When that is not so.
    pub fn assert_opens(&self, key: &[&str]) {
        let tree = Tree::mount(self.image(), key);
        self.assert_files(&tree);
        self.made.compare(&tree.join(".undelfs/volume.img"), &[]);
        tree.unmount();
    }

    /// Every deleted file is there.
    ///
    /// # Panics
    /// When that is not so.
    pub fn assert_files(&self, tree: &Tree) {
        let complaints = check::content(tree.root(), self.manifest.deleted(), Names::AnyDeleted);
        check::assert_none("deleted files", &complaints);
    }

    /// A scan with `key` ends with exit code 3 and one sentence in which `words` stand.
    ///
    /// # Panics
    /// When that is not so.
    pub fn refused(&self, key: &[&str], words: &[&str]) {
        let output = undelfs([&["scan", self.image().to_str().expect("a path")], key].concat());
        assert_refused(&output, 3, words);
    }

    /// How `manage-bde` prints the identifier of a protector.
    pub fn identifier(&self, is: impl Fn(&Protector) -> bool) -> String {
        self.made.protector(is).id.to_string()
    }
}
