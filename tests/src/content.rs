//! Content of the files in the images: made from a seed, so that a manifest can name it in a few bytes and make
//! it again to compare byte by byte.

use sha2::{Digest, Sha256};

/// How bytes are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Every 512 bytes begin with the seed and their own number, so that a byte in the wrong place tells whose it is.
    Tagged,
    /// Without any pattern.
    Random,
    /// Words: compresses well.
    Text,
    /// Text, random bytes and zeros in turns of 1 to 20 KiB: some compression units shrink, some do not.
    Mixed,
}

/// Content of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// How its bytes are made.
    pub fill: Fill,
    /// From what.
    pub seed: u64,
    /// Size in bytes.
    pub len: usize,
    /// Size in bytes of a block of which about half are left out, to become holes; zero for none.
    pub hole: usize,
}

impl Content {
    /// Content without holes.
    pub fn new(fill: Fill, seed: u64, len: usize) -> Self {
        Self { fill, seed, len, hole: 0 }
    }

    /// All bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = match self.fill {
            Fill::Tagged => tagged(self.seed, self.len),
            Fill::Random => random(self.seed, self.len),
            Fill::Text => text(self.seed, self.len),
            Fill::Mixed => mixed(self.seed, self.len),
        };
        if self.hole > 0 {
            for (number, block) in out.chunks_mut(self.hole).enumerate() {
                if self.is_hole(number) {
                    block.fill(0);
                }
            }
        }
        out
    }

    /// Whether block `number` of [`hole`](Self::hole) bytes is left out.
    pub fn is_hole(&self, number: usize) -> bool {
        self.hole > 0
            && fastrand::Rng::with_seed(self.seed ^ (number as u64).wrapping_mul(0x9E37_79B9)).bool()
    }

    /// SHA-256 of all bytes, in hexadecimal.
    pub fn sha256(&self) -> String {
        sha256(&self.bytes())
    }
}

/// SHA-256 of `bytes`, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    fastrand::Rng::with_seed(seed).fill(&mut out);
    out
}

fn tagged(seed: u64, len: usize) -> Vec<u8> {
    let mut out = random(seed, len);
    for (number, sector) in out.chunks_mut(512).enumerate() {
        let tag = format!("<{seed:016x}:{number:08x}>");
        let n = tag.len().min(sector.len());
        sector[..n].copy_from_slice(&tag.as_bytes()[..n]);
    }
    out
}

fn text(seed: u64, len: usize) -> Vec<u8> {
    const WORDS: [&str; 24] = [
        "the", "river", "ran", "past", "an", "old", "mill", "and", "nobody", "knew", "when", "its", "wheel",
        "had", "last", "turned", "water", "grey", "morning", "letter", "found", "under", "stone", "again",
    ];
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut out = Vec::with_capacity(len + 16);
    let mut column = 0;
    while out.len() < len {
        let word = WORDS[rng.usize(..WORDS.len())];
        out.extend_from_slice(word.as_bytes());
        column += word.len() + 1;
        out.push(if column > 70 { b'\n' } else { b' ' });
        column = if column > 70 { 0 } else { column };
    }
    out.truncate(len);
    out
}

fn mixed(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut out = Vec::with_capacity(len + 20_480);
    while out.len() < len {
        let part = rng.usize(1024..20_480);
        match rng.u8(..3) {
            0 => out.extend(text(rng.u64(..), part)),
            1 => out.extend(random(rng.u64(..), part)),
            _ => out.resize(out.len() + part, 0),
        }
    }
    out.truncate(len);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_bytes_and_another_seed_makes_others() {
        for fill in [Fill::Tagged, Fill::Random, Fill::Text, Fill::Mixed] {
            let content = Content::new(fill, 7, 100_000);
            assert_eq!(content.bytes().len(), 100_000);
            assert_eq!(content.sha256(), content.sha256());
            assert_ne!(content.sha256(), Content { seed: 8, ..content }.sha256());
        }
    }

    #[test]
    fn a_sparse_content_has_holes_and_data() {
        let content = Content { hole: 4096, ..Content::new(Fill::Tagged, 3, 1 << 20) };
        let holes = (0..256).filter(|n| content.is_hole(*n)).count();
        assert!((64..192).contains(&holes), "{holes}");
        let bytes = content.bytes();
        assert!(bytes.chunks(4096).enumerate().all(|(n, b)| content.is_hole(n) == b.iter().all(|b| *b == 0)));
    }
}
