//! The checksums of headers and pages.

use undelfs_source::bytes::{u32_at, u64_at};

/// What the XOR of a header, and of a page in the old format, begins with.
pub(super) const SEED: u32 = 0x89AB_CDEF;
/// Largest page that has one checksum; larger ones have four, each of a quarter.
pub(super) const SMALL_PAGE: usize = 8192;
/// `fPageNewChecksumFormat` in the flags of a page, whose bytes are 36 to 39.
const NEW_FORMAT: u32 = 0x2000;
/// Where the checksums of the second to fourth quarter of a large page stand.
const QUARTERS: [usize; 3] = [40, 48, 56];

/// The checksum of a header: the XOR of all its 32-bit words but the first, in which it stands.
pub fn header(bytes: &[u8]) -> u32 {
    words(bytes).skip(1).fold(SEED, |sum, word| sum ^ word)
}

/// True where page `number` has the checksum that it says.
pub fn page_is_sound(page: &[u8], number: u32) -> bool {
    let flags = u32_at(page, 36).unwrap_or(0);
    if page.len() > SMALL_PAGE {
        return large_is_sound(page, number);
    }
    // The flag itself may be what is damaged: a page is sound in either format only where the other one fails by chance.
    let new = || u64_at(page, 0) == Some(block(page, number, true));
    let old = || u32_at(page, 0) == Some(header(page)) && u32_at(page, 4) == Some(number);
    if flags & NEW_FORMAT != 0 { new() } else { old() }
}

fn large_is_sound(page: &[u8], number: u32) -> bool {
    let quarter = page.len().checked_div(4).unwrap_or(0).max(1);
    let stored = [0, QUARTERS[0], QUARTERS[1], QUARTERS[2]].map(|at| u64_at(page, at));
    let mut blocks = page.chunks_exact(quarter).enumerate();
    blocks
        .all(|(index, bytes)| stored.get(index).copied().flatten() == Some(block(bytes, number, index == 0)))
}

/// XOR and error correcting code of a block, as ESE's `checksum.cxx` describes them: the low half is the XOR of all words
/// and the page number; the high half has the XOR of the numbers of all bits that are set, and of their complements. With
/// `holds_sum` the first 8 bytes, in which the checksum stands, count as zeros.
pub fn block(bytes: &[u8], number: u32, holds_sum: bool) -> u64 {
    let skip = if holds_sum { 2 } else { 0 };
    let (mut xor, mut odd_words) = (0u32, 0u32);
    for (index, word) in words(bytes).enumerate().skip(skip) {
        xor ^= word;
        if word.count_ones() & 1 == 1 {
            odd_words ^= (index as u32) << 5;
        }
    }
    let in_word = (0..32u32).filter(|bit| xor >> bit & 1 == 1).fold(0, |sum, bit| sum ^ bit);
    let numbers = (odd_words ^ in_word) & 0xFFFF;
    let mask = (bytes.len() as u32).saturating_mul(8).saturating_sub(1) & 0xFFFF;
    let complements = if xor.count_ones() & 1 == 1 { numbers ^ 0xFFFF } else { numbers } & mask;
    u64::from(complements << 16 | numbers) << 32 | u64::from(xor ^ number)
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|word| u32::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_flipped_bit_is_the_difference_of_two_codes_and_its_complement() {
        let mut bytes = vec![0x5A; 4096];
        let before = block(&bytes, 7, true) >> 32;
        bytes[1000] ^= 0x10;
        let difference = (before ^ block(&bytes, 7, true) >> 32) as u32;
        assert_eq!(difference & 0xFFFF, 1000 * 8 + 4);
        assert_eq!((difference >> 16 ^ difference) & 0x7FFF, 0x7FFF);
    }

    #[test]
    fn a_page_at_another_place_is_not_sound() {
        for size in [4096, 8192, 32768] {
            let mut page = vec![0xC3; size];
            page[36..40].copy_from_slice(&NEW_FORMAT.to_le_bytes());
            set_page(&mut page, 9);
            assert!(page_is_sound(&page, 9) && !page_is_sound(&page, 10), "{size}");
            page[size - 1] ^= 1;
            assert!(!page_is_sound(&page, 9), "{size}");
        }
    }

    #[test]
    fn a_page_in_the_old_format_has_its_number_behind_the_sum() {
        let mut page = vec![0; 4096];
        page[100] = 1;
        page[4..8].copy_from_slice(&3u32.to_le_bytes());
        let sum = header(&page);
        page[..4].copy_from_slice(&sum.to_le_bytes());
        assert!(page_is_sound(&page, 3) && !page_is_sound(&page, 4));
    }

    fn set_page(page: &mut [u8], number: u32) {
        if page.len() > SMALL_PAGE {
            let quarter = page.len() / 4;
            for (index, at) in QUARTERS.into_iter().enumerate() {
                let from = (index + 1) * quarter;
                let sum = block(&page[from..from + quarter], number, false);
                page[at..at + 8].copy_from_slice(&sum.to_le_bytes());
            }
            let sum = block(&page[..quarter], number, true);
            page[..8].copy_from_slice(&sum.to_le_bytes());
        } else {
            let sum = block(page, number, true);
            page[..8].copy_from_slice(&sum.to_le_bytes());
        }
    }
}
