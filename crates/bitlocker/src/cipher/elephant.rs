//! AES in CBC mode with the Elephant diffuser, as Microsoft's paper "AES-CBC + Elephant diffuser" (Ferguson, 2006)
//! specifies it.
//!
//! The diffuser works word by word, and in its second half each word needs the one before last: within a sector little
//! can be done at once. So eight sectors are decrypted together, one in each lane of the vectors.

use std::{array, cell::Cell};

use aes::{
    Block,
    cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit, consts::U16},
};
use fearless_simd::{Level, Simd, dispatch, prelude::*, u32x8};

use super::{Count, cbc::Cbc};

/// Sectors that are decrypted together.
const LANES: usize = 8;

/// The sector keys of as many sectors, two blocks each.
type SectorKeys = [Block; 2 * LANES];

/// The key schedules of a volume with the diffuser.
pub(super) struct Elephant<C> {
    cbc: Cbc<C>,
    tweak: C,
}

impl<C> Elephant<C>
where
    C: BlockSizeUser<BlockSize = U16> + BlockCipherEncrypt + BlockCipherDecrypt + KeyInit,
{
    /// Takes the FVEK at byte 0 and the TWEAK key at byte 32 of `key`; `None` where it ends before them.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        let (fvek, tweak) = key.split_at_checked(32)?;
        let size = C::key_size();
        Some(Self { cbc: Cbc::new(fvek.get(..size)?)?, tweak: C::new_from_slice(tweak.get(..size)?).ok()? })
    }

    pub(super) fn decrypt(&self, level: Level, sectors: &mut [u8], sector_size: usize, offset: u64) {
        let mut offsets = Count { next: offset, step: sector_size as u64 };
        for group in sectors.chunks_mut(LANES * sector_size) {
            self.cbc.decrypt(group, sector_size, offsets.next);
            let mut keys = SectorKeys::default();
            let count = group.len() / sector_size;
            for (pair, offset) in keys.as_chunks_mut().0.iter_mut().zip(offsets.by_ref().take(count)) {
                // The second block differs from the first in its last byte alone, which is 128.
                let number = u128::from(offset);
                *pair = [number, number | 1 << 127].map(|number| Block::from(number.to_le_bytes()));
            }
            self.tweak.encrypt_blocks(&mut keys);
            dispatch!(level, simd => match sector_size {
                512 => diffuse::<_, 128>(simd, group, &keys),
                1024 => diffuse::<_, 256>(simd, group, &keys),
                2048 => diffuse::<_, 512>(simd, group, &keys),
                _ => diffuse::<_, 1024>(simd, group, &keys),
            });
        }
    }
}

/// Undoes the diffusers and the sector keys of at most [`LANES`] sectors of `W` words.
#[inline(always)]
fn diffuse<S: Simd, const W: usize>(simd: S, group: &mut [u8], keys: &SectorKeys) {
    /// What is read where there are fewer sectors than lanes.
    const NOTHING: [u8; 32] = [0; 32];
    let mut words = [u32x8::splat(simd, 0); W];
    let mut sectors = group.chunks_exact(4 * W);
    let mut rows: [_; LANES] = array::from_fn(|_| sectors.next().unwrap_or_default().as_chunks().0.iter());
    for columns in words.as_chunks_mut().0 {
        *columns = transpose(rows.each_mut().map(|row| load(simd, row.next().unwrap_or(&NOTHING))));
    }
    for _ in 0..3 {
        diffuse_b(&mut words);
    }
    for _ in 0..5 {
        diffuse_a(&mut words);
    }
    let mut keys = keys.as_chunks::<2>().0.iter();
    let keys: [_; LANES] = array::from_fn(|_| {
        let pair = keys.next().map_or(&[][..], |pair| Array::slice_as_flattened(pair));
        load(simd, pair.as_array().unwrap_or(&NOTHING))
    });
    let mut sectors = group.chunks_exact_mut(4 * W);
    let mut rows: [_; LANES] =
        array::from_fn(|_| sectors.next().unwrap_or_default().as_chunks_mut().0.iter_mut());
    for columns in words.as_chunks().0 {
        for ((row, words), key) in rows.iter_mut().zip(transpose(*columns)).zip(keys) {
            if let Some(bytes) = row.next() {
                store(words ^ key, bytes);
            }
        }
    }
}

/// One cycle of diffuser B: each word, from the first on, takes in the second and the fifth after it.
#[inline(always)]
fn diffuse_b<S: Simd>(words: &mut [u32x8<S>]) {
    /// Changes the first four of nine words that follow each other.
    #[inline(always)]
    fn four<S: Simd>([a, b, c, d, e, f, g, h, i]: [&Cell<u32x8<S>>; 9]) {
        a.set(a.get() + (c.get() ^ f.get()));
        b.set(b.get() + (d.get() ^ rotate::<S, 10>(g.get())));
        c.set(c.get() + (e.get() ^ h.get()));
        d.set(d.get() + (f.get() ^ rotate::<S, 25>(i.get())));
    }
    let words = Cell::from_mut(words).as_slice_of_cells();
    for nine in words.array_windows().step_by(4) {
        four(nine.each_ref());
    }
    // The windows end eight words before the end, where the first words follow, which are changed already.
    if let ([a, b, c, d, e, ..], [.., s, t, u, v, w, x, y, z]) = (words, words) {
        four([s, t, u, v, w, x, y, z, a]);
        four([w, x, y, z, a, b, c, d, e]);
    }
}

/// One cycle of diffuser A: each word, from the first on, takes in the second and the fifth before it.
#[inline(always)]
fn diffuse_a<S: Simd>(words: &mut [u32x8<S>]) {
    let [.., mut fifth, mut fourth, mut third, mut second, mut first] = *words else { return };
    for [a, b, c, d] in words.as_chunks_mut().0 {
        *a += second ^ rotate::<S, 9>(fifth);
        *b += first ^ fourth;
        *c += *a ^ rotate::<S, 13>(third);
        *d += *b ^ second;
        (fifth, fourth, third, second, first) = (first, *a, *b, *c, *d);
    }
}

#[inline(always)]
fn rotate<S: Simd, const BITS: u32>(words: u32x8<S>) -> u32x8<S> {
    (words << BITS) | (words >> (32 - BITS))
}

/// Eight vectors of eight words with rows and columns exchanged. Each of the three rounds deals the rows like a pack
/// of cards that is riffled, which rotates by one bit what row and column number make together.
#[inline(always)]
fn transpose<S: Simd>(mut rows: [u32x8<S>; 8]) -> [u32x8<S>; 8] {
    for _ in 0..3 {
        let [a, b, c, d, e, f, g, h] = rows;
        let ((a, e), (b, f)) = (a.interleave(e), b.interleave(f));
        let ((c, g), (d, h)) = (c.interleave(g), d.interleave(h));
        rows = [a, e, b, f, c, g, d, h];
    }
    rows
}

#[inline(always)]
fn load<S: Simd>(simd: S, bytes: &[u8; 32]) -> u32x8<S> {
    let mut words = [0; 8];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    u32x8::load_array(simd, words)
}

#[inline(always)]
fn store<S: Simd>(words: u32x8<S>, bytes: &mut [u8; 32]) {
    for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(words.to_array()) {
        *bytes = word.to_le_bytes();
    }
}
