//! LZX as WIM images and WOF have it: chunks of 32 KiB that know nothing of each other.
//!
//! The variant differs from the one of MS-PATCH (LZXD) in the size of a block, of which 32 KiB is one bit, and in
//! the translation of x86 calls, which is always on and counts from the begin of the chunk. It is described in
//! the source of wimlib.

use super::{Bad, bits::Bits, copy::copy_back, huffman::Huffman};

/// Largest content of a chunk in bytes; also the size of a block that says that it has the usual size.
pub const CHUNK: usize = 32 << 10;

const LITERALS: usize = 256;
/// Slots of distances in a window of 32 KiB.
const SLOTS: usize = 30;
const MAIN: usize = LITERALS + 8 * SLOTS;
const LENGTHS: usize = 249;
const ALIGNED: usize = 8;
/// Symbols of the code that the lengths of the other codes' words are stored in.
const PRECODE: usize = 20;

const SHORTEST_MATCH: usize = 2;
/// The match length in a main symbol which says that a symbol of the length code follows.
const LONG: usize = 7;
/// Distances that a match can name by their place among the last ones.
const RECENT: usize = 3;
/// A stored distance is so much larger than the distance.
const DISTANCE_BIAS: usize = 2;
/// Bits of a distance that the aligned code stands for.
const ALIGNED_BITS: u32 = 3;

/// What a block inherits from the one before it in the same chunk.
struct State {
    main: [u8; MAIN],
    lengths: [u8; LENGTHS],
    recent: [usize; RECENT],
}

/// The codes of a block.
struct Codes {
    main: Huffman<MAIN, 2048>,
    lengths: Huffman<LENGTHS, 512>,
    aligned: Option<Huffman<ALIGNED, 128>>,
}

/// Decompresses one chunk, the content of which has the size of `out`, at most [`CHUNK`].
///
/// # Errors
/// Where the chunk is not sound.
pub fn decompress(packed: &[u8], out: &mut [u8]) -> Result<(), Bad> {
    let mut bits = Bits::new(packed);
    let mut state = State { main: [0; MAIN], lengths: [0; LENGTHS], recent: [1; RECENT] };
    let mut have = 0_usize;
    while have < out.len() {
        let kind = bits.read(3);
        let size = if bits.read(1) == 1 { CHUNK } else { bits.read(16) as usize };
        let left = out.len().saturating_sub(have);
        if size == 0 || size > left {
            return Err(Bad::BlockSize { size, left });
        }
        let end = have.saturating_add(size);
        match kind {
            1 | 2 => {
                let codes = read_codes(&mut bits, &mut state, kind == 2)?;
                // A match does not reach beyond its block.
                let block = out.get_mut(..end).unwrap_or_default();
                match &codes.aligned {
                    None => decode::<false>(&mut bits, &codes, &mut state.recent, block, have)?,
                    Some(_) => decode::<true>(&mut bits, &codes, &mut state.recent, block, have)?,
                }
            }
            3 => {
                let block = out.get_mut(have..end).unwrap_or_default();
                copy_stored(&mut bits, &mut state.recent, block)?;
            }
            _ => return Err(Bad::BlockKind(kind)),
        }
        if bits.overran() {
            return Err(Bad::Cut);
        }
        have = end;
    }
    translate_calls(out);
    Ok(())
}

fn read_codes(bits: &mut Bits<'_>, state: &mut State, aligned: bool) -> Result<Codes, Bad> {
    let aligned = if aligned {
        let mut lengths = [0_u8; ALIGNED];
        lengths.fill_with(|| bits.read(3) as u8);
        Some(Huffman::new(&lengths)?)
    } else {
        None
    };
    let (literals, matches) = state.main.split_at_mut(LITERALS);
    read_lengths(bits, literals)?;
    read_lengths(bits, matches)?;
    read_lengths(bits, &mut state.lengths)?;
    Ok(Codes { main: Huffman::new(&state.main)?, lengths: Huffman::new(&state.lengths)?, aligned })
}

/// Reads lengths of code words, which are stored as what changed since the block before.
fn read_lengths(bits: &mut Bits<'_>, lengths: &mut [u8]) -> Result<(), Bad> {
    let mut precode = [0_u8; PRECODE];
    precode.fill_with(|| bits.read(4) as u8);
    let precode = Huffman::<PRECODE, 64>::new(&precode)?;
    let next = |bits: &mut Bits<'_>| {
        bits.refill();
        precode.take(bits)
    };
    let changed = |old: u8, by: usize| old.wrapping_add(17).wrapping_sub(by as u8) % 17;
    let mut rest = lengths;
    while let Some(old) = rest.first().copied() {
        let symbol = next(bits)?;
        let (count, length) = match symbol {
            17 => (4_u32.wrapping_add(bits.take(4)), 0),
            18 => (20_u32.wrapping_add(bits.take(5)), 0),
            19 => {
                let count = 4_u32.wrapping_add(bits.take(1));
                match next(bits)? {
                    by @ ..17 => (count, changed(old, by)),
                    _ => return Err(Bad::Word),
                }
            }
            by => (1, changed(old, by)),
        };
        // Some compressors let the last run reach beyond the end.
        let (run, others) = rest.split_at_mut(rest.len().min(count as usize));
        run.fill(length);
        rest = others;
    }
    Ok(())
}

/// Decodes a block, which begins at `have` and ends where `out` does.
fn decode<const WITH_ALIGNED: bool>(
    bits: &mut Bits<'_>,
    codes: &Codes,
    recent: &mut [usize; RECENT],
    out: &mut [u8],
    mut have: usize,
) -> Result<(), Bad> {
    let mut last = *recent;
    while have < out.len() {
        // The words of main symbol and length have 16 bits at most, what follows of the distance 17.
        bits.refill();
        let symbol = codes.main.take(bits)?;
        let Some(matched) = symbol.checked_sub(LITERALS) else {
            if let Some(to) = out.get_mut(have) {
                *to = symbol as u8;
            }
            have = have.wrapping_add(1);
            continue;
        };
        let mut length = (matched & LONG).wrapping_add(SHORTEST_MATCH);
        if matched & LONG == LONG {
            length = length.wrapping_add(codes.lengths.take(bits)?);
        }
        let [first, second, third] = last;
        last = match matched >> 3 {
            0 => last,
            1 => [second, first, third],
            2 => [third, second, first],
            slot => [read_distance::<WITH_ALIGNED>(bits, codes, slot)?, first, second],
        };
        let [distance, ..] = last;
        if !copy_back(out, have, distance, length) {
            return Err(Bad::Match { distance, length, have });
        }
        have = have.wrapping_add(length);
    }
    *recent = last;
    Ok(())
}

/// Reads the rest of a distance of this slot, 3 to 29.
#[inline(always)]
fn read_distance<const WITH_ALIGNED: bool>(
    bits: &mut Bits<'_>,
    codes: &Codes,
    slot: usize,
) -> Result<usize, Bad> {
    let extra = (slot >> 1).saturating_sub(1) as u32;
    let base = if slot < 4 { slot } else { (2 | slot & 1).wrapping_shl(extra) };
    let more = match (&codes.aligned, extra.checked_sub(ALIGNED_BITS)) {
        (Some(aligned), Some(upper)) if WITH_ALIGNED => {
            let upper = bits.take(upper) as usize;
            upper.wrapping_shl(ALIGNED_BITS) | aligned.take(bits)?
        }
        _ => bits.take(extra) as usize,
    };
    Ok(base.wrapping_add(more).wrapping_sub(DISTANCE_BIAS))
}

/// Copies a block that is stored as it is, behind the distances that it sets.
fn copy_stored(bits: &mut Bits<'_>, recent: &mut [usize; RECENT], out: &mut [u8]) -> Result<(), Bad> {
    bits.align();
    for distance in recent {
        let bytes = bits.bytes(4).and_then(|bytes| bytes.first_chunk()).ok_or(Bad::Cut)?;
        *distance = u32::from_le_bytes(*bytes) as usize;
    }
    out.copy_from_slice(bits.bytes(out.len()).ok_or(Bad::Cut)?);
    if out.len() % 2 == 1 {
        // The padding of the chunk's last block may be left out.
        let _ = bits.byte();
    }
    Ok(())
}

/// Bytes at the end in which no call is translated.
const TAIL: usize = 10;
/// The size that the translation takes every file to have.
const FILE_SIZE: i32 = 12_000_000;
/// Opcode of an x86 call.
const CALL: u8 = 0xE8;

/// Makes the targets of x86 calls, which are stored from the begin of the chunk, relative again.
fn translate_calls(out: &mut [u8]) {
    let searched = out.len().saturating_sub(TAIL);
    let mut at = 0_usize;
    while let Some(found) = out.get(at..searched).and_then(|rest| rest.iter().position(|byte| *byte == CALL))
    {
        let call = at.saturating_add(found);
        at = call.saturating_add(5);
        let Some(target) = out.get_mut(call.saturating_add(1)..).and_then(|rest| rest.first_chunk_mut::<4>())
        else {
            return;
        };
        let position = call as i32;
        let absolute = i32::from_le_bytes(*target);
        if (0..FILE_SIZE).contains(&absolute) {
            *target = absolute.wrapping_sub(position).to_le_bytes();
        } else if (position.wrapping_neg()..0).contains(&absolute) {
            *target = absolute.wrapping_add(FILE_SIZE).to_le_bytes();
        }
    }
}
