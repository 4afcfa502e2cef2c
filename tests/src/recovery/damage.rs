//! What can happen to a volume as a whole.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::layout;
use crate::{
    mft::number,
    ntfs3g::{self, Format},
    recipe::Recipe,
};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Formatted again, with clusters of that many bytes.
    QuickFormat(u32),
    /// The boot sector and its backup are zeros.
    BootSectors,
    /// The first 16 records of `$MFT` are zeros.
    MftStart,
    /// The first 16 records of `$MFT` and all of `$MFTMirr` are zeros.
    MftStartAndMirror,
    /// All of that but the format.
    All,
}

/// FILE records of the system files.
const SYSTEM: u64 = 16;
/// Records that `$MFTMirr` holds.
const MIRRORED: u64 = 4;

impl Damage {
    /// Makes a copy of `image`, which `recipe` made, beside it and damages that.
    pub fn copy(self, recipe: &Recipe, image: &Path) -> PathBuf {
        let copy = image.with_extension("damaged.img");
        copy_with_holes(image, &copy);
        let file = OpenOptions::new().read(true).write(true).open(&copy).expect("the image");
        let boot = layout::bytes(&file, 0..512);
        let (cluster, size) = layout::sizes(&boot);
        let wipe = |at: u64, len: u64| file.write_all_at(&vec![0; len as usize], at).expect("zeros");
        let mft = number(&boot, 0x30, 8) * cluster;
        let mirror = number(&boot, 0x38, 8) * cluster;
        if matches!(self, Self::BootSectors | Self::All) {
            // NTFS counts its sectors without the last one, where the backup is.
            let backup = number(&boot, 0x28, 8) * number(&boot, 11, 2);
            assert_eq!(layout::bytes(&file, backup..backup + 512), boot, "the backup boot sector");
            wipe(0, 512);
            wipe(backup, 512);
        }
        if matches!(self, Self::MftStart | Self::MftStartAndMirror | Self::All) {
            assert_eq!(&layout::bytes(&file, mft..mft + 4)[..], b"FILE");
            wipe(mft, SYSTEM * size);
        }
        if matches!(self, Self::MftStartAndMirror | Self::All) {
            assert_eq!(&layout::bytes(&file, mirror..mirror + 4)[..], b"FILE");
            wipe(mirror, MIRRORED * size);
        }
        drop(file);
        if let Self::QuickFormat(cluster) = self {
            let (size, sector) = (recipe.size, recipe.sector);
            ntfs3g::format_again(&copy, &Format { size, cluster, sector, label: "New".into() });
        }
        copy
    }
}

fn copy_with_holes(from: &Path, to: &Path) {
    crate::tools::run("cp", ["--sparse=always".as_ref(), from.as_os_str(), to.as_os_str()]);
    assert_eq!(fs::metadata(from).expect("an image").len(), fs::metadata(to).expect("a copy").len());
}
