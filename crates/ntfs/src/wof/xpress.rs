//! XPRESS with Huffman codes, MS-XCA 2.2, in chunks of at most 64 KiB, which have one code each.

use super::{Bad, bits::Bits, copy::copy_back, huffman::Huffman};

const SYMBOLS: usize = 512;
/// Bytes of the code: the length of each symbol's code word in four bits.
const CODE: usize = SYMBOLS / 2;
/// Symbols below are literal bytes.
const LITERALS: usize = 256;
const SHORTEST_MATCH: usize = 3;
/// The first match length, less the shortest, that stands in a byte of its own.
const LONG: usize = 15;

/// Decompresses one chunk, the content of which has the size of `out`, at most 64 KiB.
///
/// # Errors
/// Where the chunk is not sound.
pub fn decompress(packed: &[u8], out: &mut [u8]) -> Result<(), Bad> {
    let (code, packed) = packed.split_first_chunk::<CODE>().ok_or(Bad::Cut)?;
    let mut lengths = [0_u8; SYMBOLS];
    for (pair, both) in lengths.as_chunks_mut::<2>().0.iter_mut().zip(code) {
        *pair = [both & 0xF, both >> 4];
    }
    let code = Huffman::<SYMBOLS, 2048>::new(&lengths)?;
    let mut bits = Bits::new(packed);
    let mut have = 0_usize;
    while have < out.len() {
        bits.refill();
        let mut symbol = code.take(&mut bits)?;
        if let (Some(to), true) = (out.get_mut(have), symbol < LITERALS) {
            *to = symbol as u8;
            have = have.wrapping_add(1);
            if have == out.len() {
                break;
            }
            // Two code words and a distance have 45 bits at most.
            symbol = code.take(&mut bits)?;
        }
        if let (Some(to), true) = (out.get_mut(have), symbol < LITERALS) {
            *to = symbol as u8;
            have = have.wrapping_add(1);
            continue;
        }
        let symbol = symbol.wrapping_sub(LITERALS);
        let length = match symbol & 0xF {
            LONG => long_length(&mut bits)?,
            short => short,
        };
        let length = length.saturating_add(SHORTEST_MATCH);
        let distance_bits = (symbol >> 4) as u32;
        let distance = (1_usize.wrapping_shl(distance_bits)) | bits.take(distance_bits) as usize;
        if !copy_back(out, have, distance, length) {
            return Err(Bad::Match { distance, length, have });
        }
        have = have.wrapping_add(length);
    }
    if bits.overran() { Err(Bad::Cut) } else { Ok(()) }
}

/// The length of a match, less the shortest, that stands in bytes between the units.
#[cold]
fn long_length(bits: &mut Bits<'_>) -> Result<usize, Bad> {
    bits.read_ahead_as_xpress();
    let byte = bits.byte().ok_or(Bad::Cut)?;
    if byte < 255 {
        return Ok(LONG.wrapping_add(usize::from(byte)));
    }
    let [low, high] = [bits.byte().ok_or(Bad::Cut)?, bits.byte().ok_or(Bad::Cut)?];
    let length = usize::from(u16::from_le_bytes([low, high]));
    if length < LONG { Err(Bad::Length(length)) } else { Ok(length) }
}
