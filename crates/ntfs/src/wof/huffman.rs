//! Canonical Huffman codes, of which only the length of each symbol's code word is stored.

use super::{Bad, bits::Bits};

/// Longest code word in bits.
const LONGEST: usize = 16;

/// A code of `SYMBOLS` symbols. `ENTRIES`, a power of two, is how many of the shortest code words a table holds.
pub(super) struct Huffman<const SYMBOLS: usize, const ENTRIES: usize> {
    /// By the next bits: `symbol << 4 | length`; zero where the code word is longer than these bits, or none.
    table: [u16; ENTRIES],
    /// Symbols by the length of their code words, then by number.
    sorted: [u16; SYMBOLS],
    /// By length: the first of all 16-bit words that begin with no code word of this length or a shorter one.
    limits: [u32; LONGEST + 1],
    /// By length: what is to be added to a code word to get its symbol's place in `sorted`.
    places: [u32; LONGEST + 1],
}

impl<const SYMBOLS: usize, const ENTRIES: usize> Huffman<SYMBOLS, ENTRIES> {
    /// Bits that the table is asked with.
    const BITS: u32 = ENTRIES.trailing_zeros();

    /// The code whose words have these lengths, 0 to 16; a symbol of length 0 does not occur.
    ///
    /// # Errors
    /// Where the lengths are those of no code, because there are too many short words.
    pub(super) fn new(lengths: &[u8; SYMBOLS]) -> Result<Self, Bad> {
        let mut counts = [0_u32; LONGEST + 1];
        for length in lengths {
            if let Some(count) = counts.get_mut(usize::from(*length)) {
                *count = count.saturating_add(1);
            }
        }
        let mut code = Self {
            table: [0; ENTRIES],
            sorted: [0; SYMBOLS],
            limits: [0; LONGEST + 1],
            places: [0; LONGEST + 1],
        };
        let mut next = [0_usize; LONGEST + 1];
        let (mut limit, mut place) = (0_u32, 0_u32);
        let by_length = code.limits.iter_mut().zip(&mut code.places).zip(&mut next).zip(counts).zip(0_u32..);
        for ((((limit_here, place_here), next), count), length) in by_length.skip(1) {
            let spare = 16_u32.saturating_sub(length);
            *next = place as usize;
            *place_here = place.wrapping_sub(limit.wrapping_shr(spare));
            place = place.wrapping_add(count);
            limit = limit.saturating_add(count.wrapping_shl(spare));
            *limit_here = limit;
        }
        if limit > 1 << 16 {
            return Err(Bad::Code);
        }
        for (symbol, length) in (0_u16..).zip(lengths) {
            if *length == 0 {
                continue;
            }
            if let Some(next) = next.get_mut(usize::from(*length)) {
                if let Some(sorted) = code.sorted.get_mut(*next) {
                    *sorted = symbol;
                }
                *next = next.wrapping_add(1);
            }
        }
        code.fill_table(&counts);
        Ok(code)
    }

    /// Code words ascend with their length, so the table is filled from its begin on.
    fn fill_table(&mut self, counts: &[u32; LONGEST + 1]) {
        let (mut entries, mut symbols) = (self.table.as_mut_slice(), self.sorted.as_slice());
        for (length, count) in (0_u16..).zip(counts).skip(1).take(Self::BITS as usize) {
            let width = 1_usize.wrapping_shl(Self::BITS.saturating_sub(u32::from(length)));
            let Some((here, others)) = symbols.split_at_checked(*count as usize) else { return };
            symbols = others;
            for symbol in here {
                let Some((own, rest)) = entries.split_at_mut_checked(width) else { return };
                own.fill(symbol << 4 | length);
                entries = rest;
            }
        }
    }

    /// Takes the next symbol. At least 16 bits must be at hand.
    #[inline(always)]
    pub(super) fn take(&self, bits: &mut Bits<'_>) -> Result<usize, Bad> {
        let entry = self.table.get(bits.peek(Self::BITS) as usize).copied().unwrap_or(0);
        if entry == 0 {
            return self.take_long(bits);
        }
        bits.consume(u32::from(entry & 0xF));
        Ok(usize::from(entry >> 4))
    }

    #[cold]
    fn take_long(&self, bits: &mut Bits<'_>) -> Result<usize, Bad> {
        let word = bits.peek(16);
        let by_length = self.limits.iter().zip(&self.places).zip(0_u32..);
        let longer = by_length.skip((Self::BITS as usize).saturating_add(1));
        for ((limit, place), length) in longer {
            if word < *limit {
                let index = place.wrapping_add(word >> 16_u32.saturating_sub(length));
                bits.consume(length);
                return self.sorted.get(index as usize).map(|symbol| usize::from(*symbol)).ok_or(Bad::Word);
            }
        }
        Err(Bad::Word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Code words of `lengths`, made by counting as RFC 1951 3.2.2 describes; `None` where they are no code.
    fn words(lengths: &[u8]) -> Option<Vec<(usize, u32, u32)>> {
        let (mut word, mut words) = (0_u64, Vec::new());
        for length in 1..=16_u32 {
            word <<= 1;
            for (symbol, _) in lengths.iter().enumerate().filter(|(_, l)| u32::from(**l) == length) {
                words.push((symbol, word as u32, length));
                word += 1;
            }
            if word > 1 << length {
                return None;
            }
        }
        Some(words)
    }

    fn packed(word: u32, length: u32) -> [u8; 2] {
        ((word << (16 - length)) as u16).to_le_bytes()
    }

    proptest! {
        #[test]
        fn each_code_word_gives_its_symbol_and_no_other_word_gives_one(
            lengths in proptest::collection::vec(prop_oneof![3 => Just(0_u8), 1 => 2..=16_u8], 40),
        ) {
            let lengths: [u8; 40] = lengths.try_into().unwrap();
            let code = Huffman::<40, 64>::new(&lengths);
            let Some(words) = words(&lengths) else {
                prop_assert!(code.is_err());
                return Ok(());
            };
            let code = code.unwrap_or_else(|_| panic!("a code was refused"));
            let mut known = 0_u32;
            for (symbol, word, length) in words {
                let bytes = packed(word, length);
                let mut bits = Bits::new(&bytes);
                bits.refill();
                prop_assert_eq!(code.take(&mut bits).ok(), Some(symbol));
                bits.read(16 - length);
                prop_assert!(!bits.overran());
                known = (word + 1) << (16 - length);
            }
            if known < 1 << 16 {
                let bytes = packed(known, 16);
                let mut bits = Bits::new(&bytes);
                bits.refill();
                prop_assert!(code.take(&mut bits).is_err());
            }
        }
    }
}
