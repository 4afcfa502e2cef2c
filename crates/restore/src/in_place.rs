//! Streams whose units become content where they stand, such as encrypted ones. Nothing of them is cached: the page cache
//! keeps what was decrypted, and decrypting costs less than looking it up.

use std::{ops::Range, sync::Arc};

use undelfs_source::{ErrorKind, ReadAt, ReadError};
use undelfs_volume::filesystem::{Codec, Place, Run, RunReader};

use crate::{Content, Error, Overwritten};

/// A range of the stored bytes that is read in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    /// Where it ends; it begins where the one before ends.
    end: u64,
    way: Way,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It is stored and decoded.
    Decoded,
    /// It is another file's by now, and given as it is.
    AsItIs,
    /// It is not stored: zeros.
    Zeros,
    /// It is gone, which is an error.
    Gone,
}

/// A stream that a codec decodes in place.
pub(crate) struct InPlaceContent {
    codec: Arc<dyn Codec>,
    raw: RunReader,
    parts: Vec<Part>,
    size: u64,
    valid: u64,
    unit: u64,
}

impl InPlaceContent {
    /// The content of `size` bytes, of which `valid` were written, in `raw`, whose runs have what is overwritten as lost
    /// unless it is to be read as it is; `gone` are the bytes that are overwritten, in whole units, ascending.
    pub(crate) fn new(
        codec: Arc<dyn Codec>,
        raw: RunReader,
        cluster: u32,
        size: u64,
        valid: u64,
        gone: &[Range<u64>],
        overwritten: Overwritten,
    ) -> Self {
        let unit = codec.unit().max(1);
        let lost = match overwritten {
            Overwritten::Error => Way::Gone,
            Overwritten::Zeros | Overwritten::Raw => Way::Zeros,
        };
        let parts = parts(raw.runs(), cluster, gone, lost, overwritten == Overwritten::Raw);
        Self { codec, raw, parts, size, valid: valid.min(size), unit }
    }

    /// Fills `buf`, whole units or a part of one, from a part that is read in one way.
    fn read_part(&self, way: Way, buf: &mut [u8], offset: u64) -> Result<(), Error> {
        match way {
            Way::Zeros => buf.fill(0),
            Way::AsItIs => self.raw.read_exact_at(buf, offset)?,
            Way::Gone => {
                let reason = format!("the bytes at byte {offset} of the file are overwritten");
                return Err(Error::refused(ErrorKind::Damaged, reason));
            }
            Way::Decoded => self.decode(buf, offset)?,
        }
        Ok(())
    }

    fn decode(&self, buf: &mut [u8], offset: u64) -> Result<(), ReadError> {
        let Some(codec) = self.codec.in_place() else {
            let reason = format!("{:?} does not work in place", self.codec);
            return Err(ReadError::Refused { kind: ErrorKind::Other, reason });
        };
        let unit = usize::try_from(self.unit).unwrap_or(usize::MAX);
        let within = usize::try_from(offset % self.unit).unwrap_or(0);
        // Units of which all is asked for are decoded where they are wanted, those at the ends beside it.
        let (mut rest, mut at) = (buf, offset);
        if within > 0 || rest.len() < unit {
            let len = (unit - within).min(rest.len());
            let Some((piece, others)) = rest.split_at_mut_checked(len) else { return Ok(()) };
            self.decode_piece(codec, piece, at - within as u64, within)?;
            (rest, at) = (others, at + len as u64);
        }
        let whole = rest.len() - rest.len() % unit;
        let Some((units, end)) = rest.split_at_mut_checked(whole) else { return Ok(()) };
        if !units.is_empty() {
            self.raw.read_exact_at(units, at)?;
            codec.decode(units, at);
        }
        match end.is_empty() {
            true => Ok(()),
            false => self.decode_piece(codec, end, at + whole as u64, 0),
        }
    }

    /// Fills `piece` from the unit at byte `start`, from its byte `within` on.
    fn decode_piece(
        &self,
        codec: &dyn undelfs_volume::filesystem::InPlace,
        piece: &mut [u8],
        start: u64,
        within: usize,
    ) -> Result<(), ReadError> {
        let mut unit = vec![0; usize::try_from(self.unit).unwrap_or(0)];
        self.raw.read_exact_at(&mut unit, start)?;
        codec.decode(&mut unit, start);
        unit.get(within..).unwrap_or_default().read_exact_at(piece, 0)
    }
}

/// The parts of a stream. Runs of clusters and overwritten ranges have whole units.
fn parts(runs: &[Run], cluster: u32, gone: &[Range<u64>], lost: Way, as_it_is: bool) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut push = |end: u64, way: Way| match parts.last_mut() {
        Some(last) if last.end >= end => {}
        Some(last) if last.way == way => last.end = end,
        _ => parts.push(Part { end, way }),
    };
    for run in runs {
        let bytes = |clusters: u64| clusters.saturating_mul(u64::from(cluster));
        let (start, end) = (bytes(run.first), bytes(run.first.saturating_add(run.count)));
        match run.place {
            Place::Hole => push(end, Way::Zeros),
            Place::Lost => push(end, lost),
            Place::At(_) => {
                // Where what is overwritten is no run of its own, it is asked for as it is.
                let from = gone.partition_point(|range| range.end <= start);
                let here = gone.iter().skip(from).take_while(|range| as_it_is && range.start < end);
                for range in here {
                    push(range.start.max(start), Way::Decoded);
                    push(range.end.min(end), Way::AsItIs);
                }
                push(end, Way::Decoded);
            }
        }
    }
    parts
}

impl Content for InPlaceContent {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Error> {
        let left =
            |end: u64| usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
        let (total, stored) = (left(self.size), left(self.valid));
        let mut index = self.parts.partition_point(|part| part.end <= offset);
        let mut done = 0;
        while done < stored {
            let at = offset + done as u64;
            let (end, way) = match self.parts.get(index) {
                Some(part) => (part.end, part.way),
                // The runs end before the content does: reading there says so.
                None => (u64::MAX, Way::AsItIs),
            };
            let step = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(stored - done);
            let Some(piece) = buf.get_mut(done..done + step) else { break };
            self.read_part(way, piece, at)?;
            done += step;
            index += 1;
        }
        buf.get_mut(stored..total).unwrap_or_default().fill(0);
        Ok(total)
    }

    fn runs(&self) -> usize {
        self.raw.runs().len() + self.parts.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use undelfs_volume::filesystem::{InPlace, Lost};

    use super::*;

    const UNIT: u64 = 512;

    /// Turns every byte by one that depends on the unit.
    #[derive(Debug)]
    struct Turn;

    impl Codec for Turn {
        fn unit(&self) -> u64 {
            UNIT
        }

        fn decode(&self, _: u64, _: &dyn ReadAt, _: &mut [u8]) -> Result<(), ReadError> {
            unreachable!("it works in place")
        }

        fn in_place(&self) -> Option<&dyn InPlace> {
            Some(self)
        }
    }

    impl InPlace for Turn {
        fn decode(&self, units: &mut [u8], offset: u64) {
            assert!(units.len().is_multiple_of(512) && offset.is_multiple_of(UNIT));
            for (unit, number) in units.chunks_mut(512).zip(offset / UNIT..) {
                unit.iter_mut().for_each(|byte| *byte ^= key(number));
            }
        }
    }

    fn key(unit: u64) -> u8 {
        (unit % 255) as u8 + 1
    }

    const SIZE: u64 = 9000;
    const VALID: u64 = 8300;

    /// Nine clusters of 1024 bytes: two that are stored, a hole, a lost one, five more of which the second is another
    /// file's by now.
    fn content(overwritten: Overwritten) -> InPlaceContent {
        let runs = [
            Run { first: 0, count: 2, place: Place::At(3) },
            Run { first: 2, count: 1, place: Place::Hole },
            Run { first: 3, count: 1, place: Place::Lost },
            Run { first: 4, count: 1, place: Place::At(6) },
            Run {
                first: 5,
                count: 1,
                place: if overwritten == Overwritten::Raw { Place::At(7) } else { Place::Lost },
            },
            Run { first: 6, count: 3, place: Place::At(8) },
        ];
        let volume: Vec<u8> = (0..12 * 1024_u32).map(|at| (at % 253) as u8).collect();
        let raw = RunReader::new(Arc::new(volume), runs.into(), 1024, 9 * 1024, 9 * 1024, Lost::Error);
        let gone = [3 * 1024..4 * 1024, 5 * 1024..6 * 1024];
        InPlaceContent::new(Arc::new(Turn), raw, 1024, SIZE, VALID, &gone, overwritten)
    }

    fn expected(at: u64, overwritten: Overwritten) -> u8 {
        let stored = |cluster: u64| ((cluster * 1024 + at % 1024) % 253) as u8;
        match at / 1024 {
            _ if at >= VALID => 0,
            cluster @ 0..2 => stored(cluster + 3) ^ key(at / UNIT),
            2 | 3 => 0,
            4 => stored(6) ^ key(at / UNIT),
            5 if overwritten == Overwritten::Raw => stored(7),
            5 => 0,
            cluster => stored(cluster + 2) ^ key(at / UNIT),
        }
    }

    proptest! {
        #[test]
        fn any_part_is_decoded_where_it_is_stored_and_zeros_elsewhere(
            at in 0..SIZE + 10, len in 0_usize..9000, raw: bool,
        ) {
            let overwritten = if raw { Overwritten::Raw } else { Overwritten::Zeros };
            let mut buf = vec![0xAA; len];
            let read = content(overwritten).read_at(&mut buf, at).unwrap();
            prop_assert_eq!(read as u64, SIZE.saturating_sub(at).min(len as u64));
            for (byte, at) in buf[..read].iter().zip(at..) {
                prop_assert_eq!(*byte, expected(at, overwritten), "byte {}", at);
            }
        }
    }

    #[test]
    fn what_is_gone_is_an_error_where_that_is_asked_for_and_nothing_else_is() {
        let content = content(Overwritten::Error);
        for unit in 0..SIZE.div_ceil(UNIT) {
            let gone = matches!(unit / 2, 3 | 5);
            assert_eq!(content.read_at(&mut [0; 512], unit * UNIT).is_err(), gone, "unit {unit}");
        }
    }
}
