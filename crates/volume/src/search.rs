//! The search of a whole source for volumes that no partition table names.
//!
//! It has two halves. [`Search::run`] reads the source once and keeps the places that look like a boot sector, the
//! first record of a `$MFT`, or a metadata block of BitLocker: nothing but the sector itself decides, so that it does
//! not matter in which pieces, in which order and in how many runs the source is read. [`resolve()`] then makes volumes of
//! these places, by the structures that they name and by each other.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod evidence;
mod fat;
mod mft;
mod ntfs;
mod resolve;
mod sieve;

use std::{
    collections::BTreeMap,
    num::NonZero,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use undelfs_source::ReadAt;

use crate::filesystem::Watch;

pub use evidence::{Certainty, Evidence};
pub use resolve::{Found, MAX_FOUND, Resolved, resolve};

/// How much is read at once, in bytes: a multiple of every sector size, and little enough to stay in a core's cache.
const PIECE: u64 = 1 << 20;

/// Most threads that read. More bring nothing: looking at the sectors costs less than getting them.
const MAX_THREADS: usize = 4;

/// How far one thread goes ahead of what others still read, in bytes; and how long it waits then.
const AHEAD: u64 = 8 << 20;
const PAUSE: Duration = Duration::from_millis(1);

/// Structures begin at multiples of this many bytes.
const STEP: u64 = 512;

/// What a sector looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HitKind {
    /// A boot sector that makes sense.
    BootSector,
    /// The FILE record of `$MFT` itself, in `$MFT` or in `$MFTMirr`.
    MftRecord,
    /// An FVE metadata block of BitLocker.
    FveBlock,
}

/// A place that a search keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    /// Where the sector begins, in bytes.
    pub at: u64,
    /// What it looks like.
    pub kind: HitKind,
}

/// How far a search is, and what it has found. A finished one is the same, whether or not it was interrupted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// All before this byte was looked at.
    pub position: u64,
    /// What was found there, ascending: at most [`MAX_HITS`](Self::MAX_HITS).
    pub hits: Vec<Hit>,
    /// How many hits there were beyond those.
    pub left_out: u64,
    /// How many bytes could not be read.
    pub unreadable: u64,
}

/// A piece of the source that was looked at.
struct Piece {
    at: u64,
    len: u64,
    hits: Vec<Hit>,
    unreadable: u64,
}

impl Search {
    /// How many hits are kept.
    pub const MAX_HITS: usize = 1 << 16;

    /// Whether all of `source` was looked at.
    pub fn is_complete(&self, source: &dyn ReadAt) -> bool {
        self.position >= source.size()
    }

    /// Looks at the rest of `source`; what its medium cannot deliver is counted and passed over. `watch` follows it in
    /// bytes, and `advanced` is called with each step of the [`position`](Self::position). False when `watch`
    /// cancelled; the next call goes on where this one ended.
    pub fn run(&mut self, source: &dyn ReadAt, watch: &dyn Watch, advanced: &mut dyn FnMut(&Self)) -> bool {
        let end = source.size();
        watch.total(end);
        watch.advance(self.position.min(end));
        let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
        let next = AtomicU64::new(self.position);
        let done = AtomicU64::new(self.position);
        thread::scope(|scope| {
            let (sender, pieces) = mpsc::sync_channel(threads);
            for _ in 0..threads {
                let (sender, next, done) = (sender.clone(), &next, &done);
                scope.spawn(move || {
                    let mut buffer = Vec::new();
                    while !watch.cancelled() {
                        let at = next.fetch_add(PIECE, Ordering::Relaxed);
                        while at > done.load(Ordering::Relaxed).saturating_add(AHEAD) && !watch.cancelled() {
                            thread::sleep(PAUSE);
                        }
                        if at >= end || sender.send(look(source, at, end, &mut buffer)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            let mut waiting = BTreeMap::new();
            for piece in pieces {
                waiting.insert(piece.at, piece);
                while let Some(piece) = waiting.remove(&self.position) {
                    watch.advance(piece.len);
                    self.add(piece);
                    done.store(self.position, Ordering::Relaxed);
                    advanced(self);
                }
            }
        });
        self.is_complete(source)
    }

    fn add(&mut self, piece: Piece) {
        let room = Self::MAX_HITS.saturating_sub(self.hits.len());
        let beyond = piece.hits.len().saturating_sub(room) as u64;
        self.hits.extend(piece.hits.into_iter().take(room));
        self.left_out = self.left_out.saturating_add(beyond);
        self.unreadable = self.unreadable.saturating_add(piece.unreadable);
        self.position = piece.at.saturating_add(piece.len);
    }
}

/// Looks at the piece of `source` from byte `at` on. `buffer` is for its bytes.
fn look(source: &dyn ReadAt, at: u64, end: u64, buffer: &mut Vec<u8>) -> Piece {
    let len = end.saturating_sub(at).min(PIECE);
    let mut piece = Piece { at, len, hits: Vec::new(), unreadable: 0 };
    let skipped = source.next_data(at).saturating_sub(at).min(len);
    // A piece begins at a sector, so a hole is passed over up to the sector in which it ends.
    let skipped = skipped.saturating_sub(skipped.checked_rem(STEP).unwrap_or(0));
    let from = at.saturating_add(skipped);
    if skipped == len {
        return piece;
    }
    buffer.resize(usize::try_from(len.saturating_sub(skipped)).unwrap_or(0), 0);
    let bad = source.read_salvage(buffer, from);
    let lost = bad.iter().filter(|bad| bad.error.is_some()).map(|bad| bad.range.len() as u64);
    piece.unreadable = lost.fold(0, u64::saturating_add);
    let sectors = buffer.chunks_exact(crate::boot_sector::LEN);
    piece.hits.extend((from..).step_by(crate::boot_sector::LEN).zip(sectors).filter_map(|(at, sector)| {
        let kind = sieve::sieve(sector)?;
        Some(Hit { at, kind })
    }));
    piece
}

#[cfg(test)]
mod tests;
