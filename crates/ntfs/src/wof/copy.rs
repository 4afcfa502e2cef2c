//! Copying what stands earlier in the same chunk.

/// Fills `out[at..at + length]` with the bytes that stand `distance` before, which may overlap. False where the
/// distance reaches before the begin or the length beyond the end; then nothing is written.
///
/// Bytes behind the copy may be changed too: they are still to be written.
#[inline(always)]
pub(super) fn copy_back(out: &mut [u8], at: usize, distance: usize, length: usize) -> bool {
    const STEP: usize = 16;
    let end = at.saturating_add(length);
    if distance == 0 || distance > at || end > out.len() {
        return false;
    }
    let from = at.wrapping_sub(distance);
    if distance < STEP || out.len().wrapping_sub(end) < STEP {
        copy_slowly(out, from, at, end);
        return true;
    }
    let mut done = 0;
    while done < length {
        let source = from.wrapping_add(done);
        out.copy_within(source..source.wrapping_add(STEP), at.wrapping_add(done));
        done = done.wrapping_add(STEP);
    }
    true
}

/// Copies in pieces that double: what was copied is the source of the next piece.
fn copy_slowly(out: &mut [u8], from: usize, at: usize, end: usize) {
    if at.wrapping_sub(from) == 1 {
        let byte = out.get(from).copied().unwrap_or(0);
        out.get_mut(at..end).unwrap_or_default().fill(byte);
        return;
    }
    let mut done = at;
    while done < end {
        let step = done.wrapping_sub(from).min(end.wrapping_sub(done));
        out.copy_within(from..from.wrapping_add(step), done);
        done = done.wrapping_add(step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_copy_is_the_same_as_byte_by_byte(at in 0_usize..80, distance in 0_usize..90, length in 0_usize..120) {
            let mut out: Vec<u8> = (0..150).collect();
            let mut slow = out.clone();
            let sound = distance > 0 && distance <= at && at + length <= out.len();
            prop_assert_eq!(copy_back(&mut out, at, distance, length), sound);
            if sound {
                for index in at..at + length {
                    slow[index] = slow[index - distance];
                }
                prop_assert_eq!(&out[..at + length], &slow[..at + length]);
            }
        }
    }
}
