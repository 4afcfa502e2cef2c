//! Breaking a volume's free space into small pieces.
//!
//! `ntfs-3g` looks for contiguous space so well that writing files in turns leaves them whole. So the bitmap is
//! made to say that most of the free clusters are taken, all but short gaps; whatever is written then falls into
//! the gaps, `$MFT` itself included. Afterwards the bitmap loses exactly the bits that were added.

use std::path::Path;

use fastrand::Rng;

use crate::{guard, tools};

/// MFT record number of `$Bitmap`.
const BITMAP_RECORD: &str = "6";

/// The bits that were added to a volume's bitmap.
#[derive(Debug)]
#[must_use = "the volume stays full until the bits are taken away"]
pub struct Cheese {
    added: Vec<u8>,
}

impl Cheese {
    /// Leaves only gaps of 1 to `longest` clusters free on the unmounted volume in `image`, with as much between.
    pub fn make(image: &Path, seed: u64, longest: usize) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut bitmap = read(image);
        let mut added = vec![0; bitmap.len()];
        let clusters = bitmap.len() * 8;
        let mut at = 0;
        let mut gap = false;
        while at < clusters {
            let end = (at + rng.usize(1..=longest)).min(clusters);
            for cluster in at..end {
                let bit = 1 << (cluster % 8);
                if !gap && bitmap[cluster / 8] & bit == 0 {
                    bitmap[cluster / 8] |= bit;
                    added[cluster / 8] |= bit;
                }
            }
            gap = !gap;
            at = end;
        }
        write(image, &bitmap);
        Self { added }
    }

    /// Frees what [`make`](Self::make) took.
    pub fn unmake(self, image: &Path) {
        let mut bitmap = read(image);
        assert!(
            bitmap.iter().zip(&self.added).all(|(now, added)| now & added == *added),
            "somebody freed them"
        );
        for (now, added) in bitmap.iter_mut().zip(&self.added) {
            *now &= !added;
        }
        write(image, &bitmap);
    }
}

fn read(image: &Path) -> Vec<u8> {
    tools::succeed(tools::tool("ntfscat").args(["--force", "--inode", BITMAP_RECORD]).arg(image)).stdout
}

fn write(image: &Path, bitmap: &[u8]) {
    let dir = guard::scratch();
    let file = dir.path().join("bitmap");
    std::fs::write(&file, bitmap).expect("the bitmap's copy");
    tools::succeed(
        tools::tool("ntfscp").args(["--force", "--inode"]).arg(image).arg(&file).arg(BITMAP_RECORD),
    );
}
