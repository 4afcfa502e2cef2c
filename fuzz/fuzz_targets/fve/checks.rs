//! What must hold of every read, whatever the volume says of itself.

use std::sync::Arc;

use undelfs_bitlocker::{Origin, Remnants, Unlocked};
use undelfs_source::ReadAt;

use super::Input;

/// Largest range that is read at once, in bytes.
const MOST: usize = 20 << 10;

/// A range, and where it is cut in two.
#[derive(Clone, Copy)]
pub struct Range {
    pub offset: u64,
    pub len: usize,
    pub cut: usize,
}

impl Range {
    /// Eight of the fuzzer's bytes, made to begin in a volume of `size` bytes, or a little behind it.
    pub fn take(input: &mut Input<'_>, size: u64) -> Self {
        let offset = u64::from(input.u32()) % (size + 512);
        let len = usize::from(input.u16()) % MOST;
        Self { offset, len, cut: usize::from(input.u16()) % (len + 1) }
    }
}

/// What a read gives; `None` for an error.
fn read(source: &dyn ReadAt, offset: u64, len: usize) -> Option<Vec<u8>> {
    let mut buf = vec![0xA5; len];
    let read = source.read_at(&mut buf, offset).ok()?;
    assert!(read <= len, "{read} bytes of {len} at {offset:#x}");
    buf.truncate(read);
    Some(buf)
}

/// Two reads of a range agree, and so do the reads of its two parts: the bytes of a place do not depend on how they
/// are asked for, and a read ends early only where all reads do.
pub fn agree(source: &dyn ReadAt, range: &Range) {
    let Range { offset, len, cut } = *range;
    let whole = read(source, offset, len);
    assert!(whole == read(source, offset, len), "two reads of {len} bytes at {offset:#x} differ");
    let (head, tail) = (read(source, offset, cut), read(source, offset + cut as u64, len - cut));
    match (whole, head, tail) {
        (None, head, tail) => {
            assert!(
                head.is_none() || tail.is_none(),
                "{len} bytes at {offset:#x} fail as a whole, not in parts"
            )
        }
        (Some(whole), Some(head), Some(tail)) => {
            let lens = (whole.len(), head.len(), tail.len());
            let parts = [head, tail].concat();
            let first = whole.iter().zip(&parts).position(|(a, b)| a != b);
            assert!(
                whole == parts,
                "{len} bytes at {offset:#x} cut at {cut}: {lens:?}, differ from {first:?} on"
            );
        }
        (Some(_), ..) => panic!("{len} bytes at {offset:#x} fail in parts, not as a whole"),
    }
}

/// The whole volume, read in large pieces and in small ones, is the same where neither read fails.
pub fn all_agree(source: &dyn ReadAt) {
    const LARGE: usize = 64 << 10;
    const SMALL: usize = 12345;
    let (mut large, mut small) = (vec![0; LARGE], vec![0; SMALL]);
    for offset in (0..source.size()).step_by(LARGE) {
        let Ok(read) = source.read_at(&mut large, offset) else { continue };
        for (from, expected) in (0..).step_by(SMALL).zip(large[..read].chunks(SMALL)) {
            let small = &mut small[..expected.len()];
            if let Ok(read) = source.read_at(small, offset + from) {
                assert!(read == expected.len(), "{read} bytes at {:#x} where there are more", offset + from);
                assert!(small == expected, "large and small reads at {:#x} differ", offset + from);
            }
        }
    }
}

/// What was never encrypted is given as it stands, the rest as the unlocked volume gives it; `head` bytes at the begin
/// stand elsewhere. `range` begins at a unit's begin.
pub fn remnants_agree(unlocked: &Arc<Unlocked>, remnants: &Remnants, range: &Range, head: u64) {
    let Range { offset, len, .. } = *range;
    let Ok(plain) = remnants.plain(offset, len as u64, usize::MAX) else { return };
    let end = offset + len as u64;
    assert!(plain.iter().all(|range| offset <= range.start && range.start < range.end && range.end <= end));
    assert!(plain.is_sorted_by(|a, b| a.end < b.start), "{plain:?} touch each other");
    let (Some(given), Some(decrypted), Some(raw)) =
        (read(remnants, offset, len), read(unlocked, offset, len), read(unlocked.encrypted(), offset, len))
    else {
        return;
    };
    let common = given.len().min(decrypted.len()).min(raw.len());
    let mut at = 0;
    for range in plain {
        let (start, stop) = ((range.start - offset) as usize, (range.end - offset) as usize);
        let (start, stop) = (start.min(common), stop.min(common));
        assert!(given[at..start] == decrypted[at..start], "not decrypted from {at:#x} behind {offset:#x} on");
        let moved = head.saturating_sub(offset).min(stop as u64) as usize;
        let from = start.max(moved);
        assert!(
            given[from..stop] == raw[from..stop],
            "not as it stands from {from:#x} behind {offset:#x} on"
        );
        at = stop;
    }
    assert!(given[at..common] == decrypted[at..common], "not decrypted from {at:#x} behind {offset:#x} on");
}

/// Reads an unlocked volume in every way. `is_whole`: the volume below gives all of its bytes.
pub fn unlocked(unlocked: Unlocked, input: &mut Input<'_>, cluster: u32, is_whole: bool, head: u64) {
    let _ = (unlocked.notes().len(), format!("{unlocked:?}"));
    let unlocked = Arc::new(unlocked);
    let size = unlocked.size();
    let ranges = [Range::take(input, size), Range::take(input, size)];
    let remnants = Remnants::new(unlocked.clone(), cluster);
    let remnants = [remnants.clone().unclear_as(Origin::Plain), remnants];
    for source in [&unlocked as &dyn ReadAt, &remnants[0], &remnants[1]] {
        if is_whole {
            ranges.iter().for_each(|range| agree(source, range));
        } else {
            let mut buf = vec![0; SALVAGED];
            (0..size).step_by(SALVAGED).for_each(|offset| drop(source.read_salvage(&mut buf, offset)));
        }
        let _ = read(source, u64::MAX - 100, 200);
        let _ = read(source, size - 1, 2);
    }
    if is_whole {
        // Judging all of a volume takes long; one of the ways is enough for one input.
        let sources: [&dyn ReadAt; 3] = [&unlocked, &remnants[0], &remnants[1]];
        all_agree(sources[ranges[0].cut % 3]);
    }
    for remnants in &remnants {
        for Range { offset, len, cut } in ranges {
            let (offset, len) = (offset & !0xFFF, len & !0xFFF);
            let _ = (remnants.judge(offset, true), remnants.judge(offset, false));
            if is_whole {
                remnants_agree(&unlocked, remnants, &Range { offset, len, cut }, head);
            }
            let _ = remnants.plain(offset | 1, len as u64, 2);
        }
    }
}

/// How much is read at once from a volume with gaps.
const SALVAGED: usize = 64 << 10;
