//! Files of the Windows Overlay Filter: the first byte says what is tried, the next two how much content there is.
#![no_main]

use std::ops::Range;

use libfuzzer_sys::fuzz_target;
use undelfs_ntfs::wof::{Algorithm, Chunks, lzx, xpress};

fuzz_target!(|data: &[u8]| {
    let Some((&[what, low, high], rest)) = data.split_first_chunk::<3>() else { return };
    let size = usize::from(u16::from_le_bytes([low, high]));
    let mut out = vec![0; size];
    match what % 6 {
        0 => {
            let _ = xpress::decompress(rest, &mut out);
        }
        1 => {
            let _ = lzx::decompress(rest, &mut out);
        }
        2 => {
            // Most lengths of code words are those of no code.
            let mut packed = vec![0x99; 256];
            packed.extend(rest);
            let _ = xpress::decompress(&packed, &mut out);
        }
        3 => {
            // A block of the size of the whole content.
            let kind = u32::from(what >> 6).max(1);
            let begin = kind << 29 | u32::from(u16::from_le_bytes([low, high])) << 12;
            let units = [(begin >> 16) as u16, begin as u16];
            let mut packed: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
            if let Some((first, more)) = rest.split_first() {
                packed[2] |= first & 0xF;
                packed.extend(more);
            }
            let _ = lzx::decompress(&packed, &mut out);
        }
        4 => {
            let _ = Algorithm::of_reparse_point(rest);
        }
        _ => table(size as u64, rest),
    }
});

/// What depends on lost bytes is in order, and names every chunk that cannot be read without them.
fn table(size: u64, data: &[u8]) {
    let Some((&[from, length, more], raw)) = data.split_first_chunk::<3>() else { return };
    let raw = raw.to_vec();
    let chunks = Chunks::new(size * 16, 4096, raw.len() as u64);
    let lost = u64::from(from)..u64::from(from) + u64::from(length) + 1;
    let other = lost.end + 1 + u64::from(more)..lost.end + 9 + u64::from(more);
    let found = chunks.depends_on(&[lost.clone(), other.clone()], &raw);
    assert!(found.iter().all(|range| range.start < range.end && range.end <= size * 16));
    assert!(found.windows(2).all(|pair| pair[0].end < pair[1].start));
    let places: Vec<Range<u64>> =
        (0..(size * 16).div_ceil(4096)).map_while(|index| chunks.stored(index, &raw).ok()?.ok()).collect();
    if places.len() as u64 != (size * 16).div_ceil(4096) {
        return;
    }
    for (index, place) in (0..).zip(places) {
        let touched = [&lost, &other].iter().any(|lost| lost.start < place.end && place.start < lost.end);
        let named = found.iter().any(|range| range.contains(&(index * 4096)));
        assert!(named || !touched || place.is_empty(), "chunk {index} at {place:?} is not in {found:?}");
    }
}
