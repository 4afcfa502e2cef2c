//! Values that are stored compressed: seven bits for each character, or XPRESS.

use undelfs_source::bytes::{u16_at, u32_at};

/// What the five high bits of the first byte say.
const SEVEN_BIT_ASCII: u8 = 1;
const SEVEN_BIT_UNICODE: u8 = 2;
const XPRESS: u8 = 3;

/// Decompresses a value; `None` where it is damaged, or compressed in a way that is not known.
pub(super) fn decompress(value: &[u8], limit: usize) -> Option<Vec<u8>> {
    let (first, rest) = value.split_first()?;
    match first >> 3 {
        SEVEN_BIT_ASCII => Some(seven_bit(*first, rest)),
        SEVEN_BIT_UNICODE => Some(seven_bit(*first, rest).into_iter().flat_map(|byte| [byte, 0]).collect()),
        XPRESS => xpress(rest.get(2..)?, usize::from(u16_at(rest, 0)?).min(limit)),
        0 => Some(value.to_vec()),
        _ => None,
    }
}

/// `first` says in its low bits how many bits of the last byte count, less one.
fn seven_bit(first: u8, bytes: &[u8]) -> Vec<u8> {
    let bits = bytes
        .len()
        .saturating_sub(1)
        .saturating_mul(8)
        .saturating_add(usize::from(first & 7))
        .saturating_add(1);
    let bit = |at: usize| bytes.get(at >> 3).is_some_and(|byte| byte >> (at & 7) & 1 == 1);
    let characters = bits.checked_div(7).unwrap_or(0);
    (0..characters)
        .map(|index| {
            let from = index.saturating_mul(7);
            (0..7)
                .filter(|offset| bit(from.saturating_add(*offset)))
                .fold(0, |byte, offset| byte | 1u8 << offset)
        })
        .collect()
}

/// Plain LZ77 of MS-XCA 2.4, which makes `size` bytes.
fn xpress(bytes: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::with_capacity(size);
    let (mut at, mut flags, mut left) = (0usize, 0u32, 0u32);
    // Where half a byte of a length is left over from the match before.
    let mut nibble: Option<usize> = None;
    while out.len() < size {
        if left == 0 {
            flags = u32_at(bytes, at)?;
            at = at.checked_add(4)?;
            left = 32;
        }
        left = left.saturating_sub(1);
        if flags >> left & 1 == 0 {
            out.push(*bytes.get(at)?);
            at = at.checked_add(1)?;
            continue;
        }
        let word = usize::from(u16_at(bytes, at)?);
        at = at.checked_add(2)?;
        let (distance, mut length) = ((word >> 3).checked_add(1)?, word & 7);
        if length == 7 {
            length = match nibble.take() {
                Some(place) => usize::from(*bytes.get(place)? >> 4),
                None => {
                    nibble = Some(at);
                    let half = usize::from(*bytes.get(at)? & 0xF);
                    at = at.checked_add(1)?;
                    half
                }
            };
            if length == 15 {
                length = usize::from(*bytes.get(at)?);
                at = at.checked_add(1)?;
                if length == 255 {
                    length = usize::from(u16_at(bytes, at)?);
                    at = at.checked_add(2)?;
                    if length == 0 {
                        length = usize::try_from(u32_at(bytes, at)?).ok()?;
                        at = at.checked_add(4)?;
                    }
                    length = length.checked_sub(22)?;
                }
                length = length.checked_add(15)?;
            }
            length = length.checked_add(7)?;
        }
        let length = length.checked_add(3)?.min(size.saturating_sub(out.len()));
        let from = out.len().checked_sub(distance)?;
        for index in 0..length {
            out.push(*out.get(from.checked_add(index)?)?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seven_bit_text_has_as_many_characters_as_its_bits_make() {
        // `abc`: 21 bits, of which the last byte has 5.
        let mut bits = 0u32;
        for (index, byte) in b"abc".iter().enumerate() {
            bits |= u32::from(*byte) << (7 * index);
        }
        let mut value = vec![SEVEN_BIT_ASCII << 3 | 4];
        value.extend(&bits.to_le_bytes()[..3]);
        assert_eq!(decompress(&value, 100).unwrap(), b"abc");
        value[0] = SEVEN_BIT_UNICODE << 3 | 4;
        assert_eq!(decompress(&value, 100).unwrap(), b"a\0b\0c\0");
    }

    #[test]
    fn xpress_repeats_what_stands_before() {
        // The example of MS-XCA 3.1: 300 times `abc`, a literal each and one match.
        let compressed = [0xFF, 0xFF, 0xFF, 0x1F, 0x61, 0x62, 0x63, 0x17, 0x00, 0x0F, 0xFF, 0x26, 0x01];
        assert_eq!(xpress(&compressed, 300).unwrap(), b"abc".repeat(100));
    }

    proptest! {
        #[test]
        fn any_bytes_are_decompressed_or_refused(value in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decompress(&value, 1 << 16);
        }
    }
}
