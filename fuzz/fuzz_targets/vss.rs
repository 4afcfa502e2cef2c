//! A volume of a few blocks whose shadow copy structures are the fuzzer's: listed, searched, every snapshot read in two
//! ways that have to agree.
//!
//! The input: how many of the volume's blocks get a sound header of which kind, then patches: a position of two bytes, in
//! units of eight bytes, and eight bytes.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use undelfs_source::ReadAt;
use undelfs_vss::{Gaps, Vss};

const BLOCK: usize = 0x4000;
const BLOCKS: usize = 24;
const IDENTIFIER: [u8; 16] =
    [0x6B, 0x87, 0x08, 0x38, 0x76, 0xC1, 0x48, 0x4E, 0xB7, 0xAE, 0x04, 0x04, 0x6E, 0x6C, 0xC7, 0x52];

/// The volume's blocks after the first, by record type; 0 for none.
const KINDS: [u32; BLOCKS - 1] = [2, 4, 3, 5, 6, 6, 4, 3, 5, 6, 6, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn put(volume: &mut [u8], at: usize, bytes: &[u8]) {
    volume[at..at + bytes.len()].copy_from_slice(bytes);
}

fn volume() -> Vec<u8> {
    let mut volume = vec![0x5A; BLOCK * BLOCKS];
    volume[..BLOCK].fill(0);
    put(&mut volume, 0x1E00, &IDENTIFIER);
    put(&mut volume, 0x1E10, &[1, 0, 0, 0, 1]);
    put(&mut volume, 0x1E30, &(BLOCK as u64).to_le_bytes());
    for (n, kind) in (1..).zip(KINDS).filter(|(_, kind)| *kind != 0) {
        let at = n * BLOCK;
        volume[at..at + BLOCK].fill(0);
        put(&mut volume, at, &IDENTIFIER);
        put(&mut volume, at + 16, &[1, 0, 0, 0, kind as u8]);
        put(&mut volume, at + 32, &(at as u64).to_le_bytes());
    }
    // Two shadow copies: their header, block list, block range list and bitmaps.
    for (copy, first) in [(0, 2), (1, 7)] {
        let block = |n: usize| ((first + n) * BLOCK) as u64;
        let entry = BLOCK + 128 + copy * 256;
        let fields = [2, (BLOCK * BLOCKS) as u64, copy as u64 + 1, 0, copy as u64 + 1, 0, copy as u64 + 9];
        put(&mut volume, entry, &fields.map(u64::to_le_bytes).concat());
        let previous = if copy == 1 { block(4) } else { 0 };
        let fields = [3, block(1), copy as u64 + 1, 0, block(0), block(2), block(3), 0, 0, previous];
        put(&mut volume, entry + 128, &fields.map(u64::to_le_bytes).concat());
    }
    volume
}

fuzz_target!(|data: &[u8]| {
    let mut volume = volume();
    for patch in data.as_chunks::<10>().0 {
        let [low, high, value @ ..] = patch;
        let at = usize::from(u16::from_le_bytes([*low, *high])) * 8 % (volume.len() - 8);
        put(&mut volume, at, value);
    }
    let volume: Arc<dyn ReadAt> = Arc::new(volume);
    let opened = Vss::open(volume.clone()).ok().flatten();
    let searched = Vss::search(volume, &()).expect("nobody cancels");
    for vss in opened.iter().chain([&searched]) {
        for copy in vss.copies() {
            let Ok(snapshot) = vss.snapshot(copy.number) else { continue };
            for gaps in [Gaps::Presented, Gaps::Zeros, Gaps::Later] {
                let snapshot = snapshot.with_gaps(gaps);
                let mut whole = vec![0; snapshot.size() as usize];
                let bad = snapshot.read_salvage(&mut whole, 0);
                let mut part = [0; 1000];
                for at in (0..whole.len()).step_by(7777) {
                    let within = at..(at + part.len()).min(whole.len());
                    if let Ok(read) = snapshot.read_at(&mut part, at as u64)
                        && bad.iter().all(|bad| bad.range.end <= at || bad.range.start >= within.end)
                    {
                        assert!(part[..read] == whole[within][..read]);
                    }
                }
            }
            let mut last = 0;
            snapshot.unkept(0..u64::MAX, |range, _| {
                assert!(range.start >= last && range.end > range.start && range.end <= snapshot.size());
                last = range.end;
            });
        }
    }
});
