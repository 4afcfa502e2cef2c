//! Reading a device, which takes only whole sectors, at any offset.

use std::io;

/// Bytes that are read at once through a buffer of our own.
const PIECE: usize = 1 << 20;

/// Alignment in memory that every device is content with, in bytes.
const ALIGN: usize = 4096;

/// Fills `buf` from `offset` on by as many calls of `read` as it takes; fewer bytes only where it gives none.
pub(super) fn fill(
    buf: &mut [u8],
    offset: u64,
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut done = 0usize;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match read(rest, offset.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(n) => done = done.saturating_add(n),
            // The end of a file or device.
            Err(error) if error.raw_os_error() == Some(38) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// As [`fill`], from a device of `size` bytes, which `read` reads whole sectors of, into aligned memory.
pub(super) fn read(
    buf: &mut [u8],
    offset: u64,
    sector: u32,
    size: u64,
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<usize> {
    let sector = u64::from(sector.max(1));
    let len = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
    let Some(buf) = buf.get_mut(..len).filter(|buf| !buf.is_empty()) else { return Ok(0) };
    let whole = |bytes: u64| bytes.is_multiple_of(sector);
    if whole(offset) && whole(len as u64) && buf.as_ptr().align_offset(512) == 0 {
        return fill(buf, offset, read);
    }
    let span = len.saturating_add(2 * usize::try_from(sector).unwrap_or(ALIGN)).min(PIECE);
    let mut memory = vec![0u8; span.next_multiple_of(ALIGN).saturating_add(ALIGN)];
    let pad = memory.as_ptr().align_offset(ALIGN);
    let room = span.next_multiple_of(ALIGN).max(usize::try_from(sector).unwrap_or(ALIGN));
    let Some(bounce) = memory.get_mut(pad..).and_then(|rest| rest.get_mut(..room)) else {
        return Err(io::ErrorKind::OutOfMemory.into());
    };
    let mut done = 0usize;
    while done < len {
        let at = offset.saturating_add(done as u64);
        let skip = usize::try_from(at % sector).unwrap_or(0);
        let start = at.saturating_sub(skip as u64);
        let want = skip.saturating_add(len.saturating_sub(done)) as u64;
        let want = usize::try_from(want.next_multiple_of(sector)).unwrap_or(usize::MAX).min(bounce.len());
        let Some(piece) = bounce.get_mut(..want) else { break };
        let got = fill(piece, start, &mut read)?;
        let content = piece.get(skip..got).unwrap_or_default();
        let Some(target) = buf.get_mut(done..) else { break };
        let n = content.len().min(target.len());
        if let (Some(target), Some(content)) = (target.get_mut(..n), content.get(..n)) {
            target.copy_from_slice(content);
        }
        done = done.saturating_add(n);
        if n == 0 {
            break;
        }
    }
    Ok(done)
}

/// Size in bytes of a device that does not tell it, by reading: the end of the last sector of [`ALIGN`] bytes that is
/// there. Takes some hundred reads at most. An error of the medium in a place that is tried counts as its end.
pub(super) fn probe(mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>) -> io::Result<u64> {
    let mut memory = vec![0u8; 2 * ALIGN];
    let pad = memory.as_ptr().align_offset(ALIGN);
    let Some(piece) = memory.get_mut(pad..).and_then(|rest| rest.get_mut(..ALIGN)) else {
        return Err(io::ErrorKind::OutOfMemory.into());
    };
    // The first one tells what is wrong with a device that cannot be read at all.
    let first = fill(piece, 0, &mut read)?;
    if first < ALIGN {
        return Ok(first as u64);
    }
    const UNIT: u64 = ALIGN as u64;
    let mut there = |unit: u64| {
        let read = unit.checked_mul(UNIT).map(|at| fill(piece, at, &mut read));
        read.is_some_and(|read| read.is_ok_and(|read| read > 0))
    };
    let mut beyond = 1u64;
    while beyond < u64::MAX / UNIT / 2 && there(beyond) {
        beyond = beyond.saturating_mul(2);
    }
    let mut within = beyond / 2;
    while beyond.saturating_sub(within) > 1 {
        let middle = within.midpoint(beyond);
        if there(middle) { within = middle } else { beyond = middle }
    }
    let last = within.saturating_mul(UNIT);
    Ok(last.saturating_add(fill(piece, last, &mut read).unwrap_or(0) as u64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_size_of_a_device_that_does_not_tell_it_is_found(size in prop_oneof![0u64..200_000, any::<u64>()]) {
            let size = size >> 3 & !511;
            let found = probe(|piece, at| {
                Ok(usize::try_from(size.saturating_sub(at)).unwrap().min(piece.len()))
            }).unwrap();
            prop_assert_eq!(found, size);
        }

        #[test]
        fn any_range_of_a_device_is_read_by_whole_sectors(
            sectors in 1usize..40,
            shift in prop::sample::select(vec![9u32, 12]),
            offset in 0u64..200_000,
            len in 0usize..200_000,
            lead in 0usize..3,
        ) {
            let sector = 1u32 << shift;
            let device: Vec<u8> = (0..sectors * sector as usize).map(|i| (i / 7) as u8).collect();
            let mut memory = vec![0xAA; len + lead];
            let buf = &mut memory[lead..];
            let got = read(buf, offset, sector, device.len() as u64, |piece, at| {
                assert!(at % u64::from(sector) == 0 && piece.len() % sector as usize == 0);
                assert!(piece.as_ptr().align_offset(512) == 0);
                let from = (at as usize).min(device.len());
                let n = piece.len().min(device.len() - from);
                piece[..n].copy_from_slice(&device[from..from + n]);
                Ok(n)
            }).unwrap();
            let from = (offset as usize).min(device.len());
            prop_assert_eq!(got, len.min(device.len() - from));
            prop_assert_eq!(&buf[..got], &device[from..from + got]);
        }
    }
}
