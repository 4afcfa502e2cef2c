//! Bits of a compressed chunk: 16-bit little-endian units, of each the most significant bit first.

/// Reads bits, and bytes that stand between the units.
///
/// Beyond the end of the chunk the bits are zeros; [`overran`](Bits::overran) tells whether any of them was used.
pub(super) struct Bits<'a> {
    packed: &'a [u8],
    /// Where the next unit stands.
    at: usize,
    /// The bits at hand, the next one on top. Below them stand bits of the units that follow, or zeros.
    buffer: u64,
    /// How many bits are at hand.
    count: u32,
}

impl<'a> Bits<'a> {
    /// How many bits [`refill`](Self::refill) puts at hand.
    pub(super) const AT_HAND: u32 = 49;

    pub(super) fn new(packed: &'a [u8]) -> Self {
        Self { packed, at: 0, buffer: 0, count: 0 }
    }

    /// Puts at least [`AT_HAND`](Self::AT_HAND) bits at hand.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        if self.count >= Self::AT_HAND {
            return;
        }
        let Some(units) = self.packed.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) else {
            return self.refill_at_end();
        };
        let pairs = u64::from_le_bytes(*units).rotate_left(32);
        let units = ((pairs & 0x0000_FFFF_0000_FFFF) << 16) | ((pairs >> 16) & 0x0000_FFFF_0000_FFFF);
        self.buffer |= units.wrapping_shr(self.count);
        let taken = 64_u32.wrapping_sub(self.count) >> 4;
        self.at = self.at.wrapping_add((taken << 1) as usize);
        self.count = self.count.wrapping_add(taken << 4);
    }

    #[cold]
    fn refill_at_end(&mut self) {
        while self.count < Self::AT_HAND {
            let byte = |at: usize| self.packed.get(at).copied().unwrap_or(0);
            let unit = u16::from_le_bytes([byte(self.at), byte(self.at.saturating_add(1))]);
            self.buffer |= u64::from(unit).wrapping_shl(48_u32.wrapping_sub(self.count));
            self.at = self.at.saturating_add(2);
            self.count = self.count.wrapping_add(16);
        }
    }

    /// The next `count` bits, 1 to 32 of those at hand.
    #[inline(always)]
    pub(super) fn peek(&self, count: u32) -> u32 {
        (self.buffer >> 32).wrapping_shr(32_u32.wrapping_sub(count)) as u32
    }

    /// Drops the next `count` bits, fewer than there are at hand.
    #[inline(always)]
    pub(super) fn consume(&mut self, count: u32) {
        debug_assert!(count <= self.count, "more bits are used than were put at hand");
        self.buffer = self.buffer.wrapping_shl(count);
        self.count = self.count.wrapping_sub(count);
    }

    /// Takes the next `count` bits, 0 to 31 of those at hand.
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> u32 {
        let bits = (self.buffer >> 33).wrapping_shr(31_u32.wrapping_sub(count)) as u32;
        self.consume(count);
        bits
    }

    /// Takes the next `count` bits, 0 to 31.
    pub(super) fn read(&mut self, count: u32) -> u32 {
        self.refill();
        self.take(count)
    }

    /// Gives back units until 16 to 31 bits are at hand: as far as XPRESS reads ahead, so that [`byte`](Self::byte)
    /// is the one that its compressor put there. At least 16 bits must be at hand.
    pub(super) fn read_ahead_as_xpress(&mut self) {
        let units = (self.count >> 4).saturating_sub(1);
        self.give_back(units);
    }

    /// Drops the rest of the unit that the last bit stands in, or all of the next one where it was the unit's last,
    /// so that the bytes that follow are next.
    pub(super) fn align(&mut self) {
        self.refill();
        let rest = self.count & 0xF;
        self.consume(if rest == 0 { 16 } else { rest });
        self.give_back(self.count >> 4);
    }

    fn give_back(&mut self, units: u32) {
        self.at = self.at.saturating_sub((units << 1) as usize);
        self.count = self.count.saturating_sub(units << 4);
        self.buffer &= !u64::MAX.checked_shr(self.count).unwrap_or(0);
    }

    /// The next byte behind the units that were read; `None` at the end.
    pub(super) fn byte(&mut self) -> Option<u8> {
        self.bytes(1)?.first().copied()
    }

    /// The next `count` bytes behind the units that were read; `None` where there are fewer.
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let bytes = self.packed.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    /// True where bits were used that stand beyond the end.
    pub(super) fn overran(&self) -> bool {
        let used = self.at.saturating_mul(8).saturating_sub(self.count as usize);
        used > self.packed.len().saturating_mul(8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The bits one by one, as the format defines them.
    fn plain(packed: &[u8], from: usize, count: u32) -> u32 {
        (from..from + count as usize).fold(0, |bits, at| {
            let byte = packed.get(at / 16 * 2 + usize::from(at % 16 < 8)).copied().unwrap_or(0);
            bits << 1 | u32::from(byte >> (7 - at % 8) & 1)
        })
    }

    #[test]
    fn bytes_stand_behind_the_units_that_were_read_ahead() {
        let packed: Vec<u8> = (0..20).collect();
        let mut bits = Bits::new(&packed);
        assert_eq!(bits.read(8), 1);
        bits.read_ahead_as_xpress();
        assert_eq!(bits.byte(), Some(4));
        assert_eq!(bits.read(16), 0x0003);
        assert_eq!(bits.read(16), 0x0206);
        let mut bits = Bits::new(&packed);
        bits.read(17);
        bits.read_ahead_as_xpress();
        assert_eq!(bits.byte(), Some(6));
    }

    #[test]
    fn aligning_drops_one_to_sixteen_bits() {
        let packed: Vec<u8> = (0..20).collect();
        for (used, next) in [(1, 2), (15, 2), (16, 4), (17, 4), (32, 6)] {
            let mut bits = Bits::new(&packed);
            bits.read(used);
            bits.align();
            assert_eq!(bits.byte(), Some(next), "after {used} bits");
        }
    }

    proptest! {
        #[test]
        fn bits_come_in_the_order_of_the_format(packed: Vec<u8>, counts in proptest::collection::vec(0_u32..=31, 0..60)) {
            let mut bits = Bits::new(&packed);
            let mut at = 0;
            for count in counts {
                let whole = packed.len() / 2 * 16;
                if at + count as usize <= whole {
                    prop_assert_eq!(bits.read(count), plain(&packed, at, count));
                    prop_assert!(!bits.overran());
                } else {
                    bits.read(count);
                }
                at += count as usize;
                prop_assert_eq!(bits.overran(), at > packed.len() * 8);
            }
        }
    }
}
