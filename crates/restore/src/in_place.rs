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
