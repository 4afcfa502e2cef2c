//! Bytes that were never encrypted on an encrypted volume.
//!
//! Where only used space was encrypted, what lay in free clusters stays as it was, and nothing on the volume says
//! where that is. It shows in the bytes: what is encrypted looks like noise, and so does what is decrypted with the
//! key although it never was encrypted. Noise both ways is compressed content; there the rest of the file decides.

use std::{ops::Range, sync::Arc};

use undelfs_source::{ReadAt, ReadError};

use crate::{
    Unlocked,
    layout::{Kind, Piece},
};

/// Largest unit that is judged, in bytes.
const MAX_UNIT: usize = 4096;
/// How much is read at once where ranges are asked for.
const PIECE: usize = 1 << 20;

/// Whether bytes were encrypted when they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// They were, or their place on the volume is one where all is.
    Encrypted,
    /// They stand on the volume as they are.
    Plain,
    /// They look like noise both ways.
    Unclear,
}

/// An unlocked volume as what was deleted from it needs it: what was never encrypted is given as it stands.
#[derive(Debug, Clone)]
pub struct Remnants {
    volume: Arc<Unlocked>,
    /// Bytes that are encrypted or not as a whole: a cluster, or a part of one.
    unit: usize,
    /// What is taken for plain although it may be encrypted.
    unclear_is_plain: bool,
}

impl Remnants {
    /// `cluster` is the size of a cluster in bytes.
    pub fn new(volume: Arc<Unlocked>, cluster: u32) -> Self {
        let sector = usize::try_from(volume.layout.sector().get()).unwrap_or(MAX_UNIT);
        let unit = usize::try_from(cluster).unwrap_or(MAX_UNIT).clamp(sector.min(MAX_UNIT), MAX_UNIT);
        // No file system has other clusters than powers of two; then a unit is whole sectors.
        let unit = unit.checked_next_power_of_two().unwrap_or(MAX_UNIT);
        Self { volume, unit, unclear_is_plain: false }
    }

    /// Takes what looks like noise both ways for what the other bytes of the same file are.
    #[must_use]
    pub fn unclear_as(self, origin: Origin) -> Self {
        Self { unclear_is_plain: origin == Origin::Plain, ..self }
    }

    /// Judges the unit that begins at `offset`. `first`: it is the first of a file, which many formats begin with a
    /// signature.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn judge(&self, offset: u64, first: bool) -> Result<Origin, ReadError> {
        let (piece, is_judged) = self.span(offset, self.unit as u64);
        match piece.kind {
            Kind::Encrypted if is_judged => {}
            Kind::Encrypted => return Ok(Origin::Encrypted),
            // All that is here is plain, which tells nothing of the rest of a file.
            Kind::Plain | Kind::Metadata | Kind::VistaBoot => return Ok(Origin::Unclear),
        }
        let mut space = [0; MAX_UNIT];
        let len = usize::try_from(piece.len).unwrap_or(MAX_UNIT);
        let unit = space.get_mut(..len).unwrap_or_default();
        let read = self.whole_sectors(self.volume.encrypted().read_at(unit, piece.at)?);
        let unit = unit.get_mut(..read).unwrap_or_default();
        if is_uneven(unit) || (first && has_signature(unit)) {
            return Ok(Origin::Plain);
        }
        self.volume.decipher(unit, piece.at);
        Ok(match is_uneven(unit) || (first && has_signature(unit)) {
            true => Origin::Encrypted,
            false => Origin::Unclear,
        })
    }

    /// Those of `len` bytes from `offset` on that are given as they stand on the volume; ascending, not touching. Of more
    /// ranges than `most` those that follow are left out.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn plain(&self, offset: u64, len: u64, most: usize) -> Result<Vec<Range<u64>>, ReadError> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let unit = self.unit as u64;
        let end = offset.saturating_add(len).min(self.size());
        let push = |ranges: &mut Vec<Range<u64>>, start: u64, len: u64| {
            let (start, stop) = (start.max(offset), start.saturating_add(len).min(end));
            match ranges.last_mut() {
                _ if start >= stop => {}
                Some(last) if last.end == start => last.end = stop,
                _ => ranges.push(start..stop),
            }
        };
        let mut raw = vec![0; PIECE];
        // Whole units are looked at, of which the first and the last may be asked for in part.
        let mut at = offset.saturating_sub(offset.checked_rem(unit).unwrap_or(0));
        let stop = end.checked_next_multiple_of(unit).unwrap_or(end).min(self.size());
        while at < stop && ranges.len() <= most {
            let (piece, is_judged) = self.span(at, stop.saturating_sub(at).min(PIECE as u64));
            match piece.kind {
                Kind::Plain => push(&mut ranges, at, piece.len),
                Kind::Encrypted if is_judged => {
                    let room = raw.get_mut(..usize::try_from(piece.len).unwrap_or(PIECE)).unwrap_or_default();
                    let bad = self.volume.encrypted().read_salvage(room, piece.at);
                    let mut from: usize = 0;
                    for unit in room.chunks(self.unit) {
                        let to = from.saturating_add(unit.len());
                        let lost = bad.iter().any(|bad| bad.range.start < to && from < bad.range.end);
                        if !lost && self.is_plain(unit, piece.at.saturating_add(from as u64)) {
                            push(&mut ranges, at.saturating_add(from as u64), unit.len() as u64);
                        }
                        from = to;
                    }
                }
                Kind::Encrypted | Kind::Metadata | Kind::VistaBoot => {}
            }
            at = at.saturating_add(piece.len.max(1));
        }
        Ok(ranges)
    }

    /// The bytes from `offset` on that are read in one way, at most `most`, and whether their units are judged. Where
    /// they begin within a unit they end with it, so that a unit is judged in the same parts wherever a read begins.
    /// What is no whole sector is not judged.
    fn span(&self, offset: u64, most: u64) -> (Piece, bool) {
        let unit = self.unit as u64;
        let mut piece = self.volume.layout.piece(offset);
        piece.len = piece.len.min(most);
        let within = offset.checked_rem(unit).unwrap_or(0);
        piece.len = match within {
            0 if piece.len > unit => piece.len.saturating_sub(piece.len.checked_rem(unit).unwrap_or(0)),
            _ => piece.len.min(unit.saturating_sub(within)),
        };
        let sector = self.volume.layout.sector();
        let is_judged = piece.kind == Kind::Encrypted && piece.at % sector == 0 && piece.len >= sector.get();
        if is_judged {
            piece.len = piece.len.saturating_sub(piece.len % sector);
        }
        (piece, is_judged)
    }

    /// What is less than a sector at the end of a cut image cannot be decrypted.
    fn whole_sectors(&self, read: usize) -> usize {
        let sector = usize::try_from(self.volume.layout.sector().get()).unwrap_or(MAX_UNIT);
        read.saturating_sub(read.checked_rem(sector).unwrap_or(0))
    }

    /// Whether a unit, which stands at `at`, is given as it stands.
    fn is_plain(&self, unit: &[u8], at: u64) -> bool {
        if !self.unclear_is_plain {
            return is_content(unit);
        }
        if is_uneven(unit) {
            return true;
        }
        let mut space = [0; MAX_UNIT];
        let Some(copy) = space.get_mut(..unit.len()) else { return false };
        copy.copy_from_slice(unit);
        self.volume.decipher(copy, at);
        !is_uneven(copy)
    }

    /// Decrypts those units of `buf` that are encrypted. `buf` holds whole units, which stand at `at`.
    fn decipher(&self, buf: &mut [u8], at: u64) {
        let mut start = 0;
        while start < buf.len() {
            // Encrypted units that follow each other are decrypted together, which is much faster.
            let rest = buf.get(start..).unwrap_or_default();
            let mut encrypted = 0;
            let mut skipped = 0;
            for unit in rest.chunks(self.unit) {
                if self.is_plain(unit, at.saturating_add(start as u64).saturating_add(encrypted as u64)) {
                    skipped = unit.len();
                    break;
                }
                encrypted = usize::saturating_add(encrypted, unit.len());
            }
            let end = start.saturating_add(encrypted);
            self.volume
                .decipher(buf.get_mut(start..end).unwrap_or_default(), at.saturating_add(start as u64));
            start = end.saturating_add(skipped);
        }
    }

    /// Reads the part of a unit: from byte `within` of the unit that begins at `offset` on, as much as `buf` takes.
    fn part(&self, buf: &mut [u8], offset: u64, within: usize) -> Result<usize, ReadError> {
        let mut space = [0; MAX_UNIT];
        let unit = space.get_mut(..self.unit).unwrap_or_default();
        let read = self.whole(unit, offset)?;
        let from = unit.get(within.min(read)..read).unwrap_or_default();
        let len = from.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..len), from.get(..len)) {
            to.copy_from_slice(from);
        }
        Ok(len)
    }

    /// Reads whole units.
    fn whole(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        let left = usize::try_from(self.size().saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = buf.len().min(left);
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..len).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(done as u64);
            let (piece, is_judged) = self.span(at, rest.len() as u64);
            let here = usize::try_from(piece.len).unwrap_or(usize::MAX).min(rest.len());
            let room = rest.get_mut(..here).unwrap_or_default();
            let read = match is_judged {
                true => {
                    let read = self.whole_sectors(self.volume.encrypted().read_at(room, piece.at)?);
                    self.volume.check_end(piece, at, read, here)?;
                    self.decipher(room.get_mut(..read).unwrap_or_default(), piece.at);
                    read
                }
                false => self.volume.read_at(room, at)?,
            };
            done = done.saturating_add(read);
            if read < here {
                break;
            }
        }
        Ok(done)
    }
}

impl ReadAt for Remnants {
    fn size(&self) -> u64 {
        self.volume.size()
    }

    fn present(&self) -> u64 {
        self.volume.present()
    }

    fn sector_size(&self) -> u32 {
        self.volume.sector_size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        let mut done: usize = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(done as u64);
            let unit = self.unit as u64;
            let within = usize::try_from(at.checked_rem(unit).unwrap_or(0)).unwrap_or(0);
            let whole = rest.len().saturating_sub(rest.len().checked_rem(self.unit).unwrap_or(0));
            let (read, wanted) = if within > 0 || whole == 0 {
                let wanted = self.unit.saturating_sub(within).min(rest.len());
                (
                    self.part(
                        rest.get_mut(..wanted).unwrap_or_default(),
                        at.saturating_sub(within as u64),
                        within,
                    )?,
                    wanted,
                )
            } else {
                (self.whole(rest.get_mut(..whole).unwrap_or_default(), at)?, whole)
            };
            done = done.saturating_add(read);
            if read < wanted {
                break;
            }
        }
        Ok(done)
    }
}

/// How unevenly bytes are spread over their values: chi-square with 255 degrees of freedom, of which noise has about
/// 255 and never, in the life of all disks, more than [`UNEVEN`].
fn chi_square(bytes: &[u8]) -> u32 {
    let mut counts = [0u16; 256];
    let mut total = 0u32;
    for byte in bytes.iter().copied() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count = count.wrapping_add(1);
        }
        total = total.wrapping_add(1);
    }
    let squares = counts
        .iter()
        .fold(0u32, |sum, count| sum.wrapping_add(u32::from(*count).wrapping_mul(u32::from(*count))));
    let scaled = u64::from(squares).saturating_mul(256).checked_div(u64::from(total)).unwrap_or(0);
    u32::try_from(scaled).unwrap_or(u32::MAX).saturating_sub(total)
}

/// The same for a sample of a unit of at least 512 bytes: sixteen bytes from each of eight places.
fn sample_chi_square(unit: &[u8]) -> u32 {
    const PLACES: usize = 8;
    const BYTES: usize = 16;
    let step = unit.len().checked_div(PLACES).unwrap_or(0).max(BYTES);
    // The sum of the counts before each byte; each square is twice what it adds, and one.
    let mut sum = 0u32;
    let mut counts = [0u8; 256];
    for place in unit.chunks_exact(step).take(PLACES) {
        for byte in place.iter().take(BYTES) {
            if let Some(count) = counts.get_mut(usize::from(*byte)) {
                sum = sum.wrapping_add(u32::from(*count));
                *count = count.wrapping_add(1);
            }
        }
    }
    // With 256 values and half as many bytes nothing else is left of the formula.
    sum.wrapping_mul(4).wrapping_add((PLACES * BYTES) as u32)
}

/// Fifteen standard deviations above what noise has.
const UNEVEN: u32 = 600;
/// What one sample of noise in forty has; then all bytes are counted.
const SUSPICIOUS: u32 = 300;

/// Whether a unit holds content that is no noise, by all of its bytes.
fn is_uneven(unit: &[u8]) -> bool {
    chi_square(unit) > UNEVEN
}

/// The same, at less cost where it is noise.
fn is_content(unit: &[u8]) -> bool {
    sample_chi_square(unit) > SUSPICIOUS && is_uneven(unit)
}

/// Whether a file begins as files do whose content looks like noise from the first cluster on.
fn has_signature(unit: &[u8]) -> bool {
    const SIGNATURES: [&[u8]; 20] = [
        b"PK\x03\x04",
        b"\xFF\xD8\xFF\xE0",
        b"\xFF\xD8\xFF\xE1",
        b"\xFF\xD8\xFF\xDB",
        b"\x89PNG\r\n\x1A\n",
        b"%PDF-",
        b"GIF87a",
        b"GIF89a",
        b"Rar!\x1A\x07",
        b"7z\xBC\xAF\x27\x1C",
        b"\x1F\x8B\x08\x00",
        b"\x1F\x8B\x08\x08",
        b"BZh9",
        b"\xFD7zXZ\0",
        b"\x28\xB5\x2F\xFD",
        b"OggS\0",
        b"ID3\x03",
        b"ID3\x04",
        b"fLaC\0",
        b"\x1A\x45\xDF\xA3",
    ];
    let boxes = unit.get(4..8) == Some(b"ftyp") || (unit.starts_with(b"RIFF") && unit.len() > 12);
    boxes || SIGNATURES.iter().any(|signature| unit.starts_with(signature))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cipher::{Method, SectorCipher},
        layout::{Encrypted, Head, Layout},
    };

    const KEY: [u8; 32] = [0x42; 32];

    fn noise(seed: u64, len: usize) -> Vec<u8> {
        // What decrypting a constant gives is noise.
        let mut bytes = vec![0; len];
        SectorCipher::new(Method::Aes256Xts, &[&KEY[..], &[7; 32]].concat()).unwrap().decrypt(
            &mut bytes,
            512,
            seed << 20,
        );
        bytes
    }

    /// A volume on which every second cluster was never encrypted. `encrypted` holds the ciphertext's plain text: since
    /// only decryption is at hand, the ciphertext is noise and its plain text what comes of it.
    fn volume(content: &[u8]) -> Arc<Unlocked> {
        let layout = Layout::new(512, Head::Relocated { at: 0, len: 0 }, Vec::new(), Encrypted::All);
        let cipher = SectorCipher::new(Method::Aes128Xts, &KEY).unwrap();
        Arc::new(Unlocked::new(Arc::new(content.to_vec()), layout, Some(cipher), 0))
    }

    fn text(len: usize) -> Vec<u8> {
        b"All happy families are alike. ".iter().copied().cycle().take(len).collect()
    }

    #[test]
    fn noise_is_never_content_and_content_of_every_kind_is() {
        for seed in 0..2000 {
            assert!(!is_content(&noise(seed, 4096)), "{seed}");
            assert!(!is_content(&noise(seed, 512)), "{seed}");
        }
        let mut half = noise(1, 4096);
        half[2048..].fill(0);
        let numbers: Vec<u8> = (0u32..1024).flat_map(u32::to_le_bytes).collect();
        let base64: Vec<u8> = noise(3, 4096).iter().map(|byte| b'0' + byte % 64).collect();
        for content in [text(4096), vec![0; 512], vec![0xFF; 4096], half, numbers, base64] {
            assert!(is_content(&content), "{:?}", &content[..16]);
        }
    }

    #[test]
    fn what_was_never_encrypted_is_read_as_it_stands_and_the_rest_decrypted() {
        let mut disk = noise(9, 64 << 10);
        disk[0x3000..0x6000].copy_from_slice(&text(0x3000));
        disk[0x8000..0x9000].fill(0);
        let unlocked = volume(&disk);
        let mut expected = vec![0; disk.len()];
        unlocked.read_exact_at(&mut expected, 0).unwrap();
        expected[0x3000..0x6000].copy_from_slice(&disk[0x3000..0x6000]);
        expected[0x8000..0x9000].fill(0);
        let remnants = Remnants::new(unlocked, 4096);
        for (at, len) in
            [(0, disk.len()), (1, 70), (0x2FFF, 0x3003), (0x3010, 5), (0x7E00, 0x1400), (0xFFFF, 1)]
        {
            let mut buf = vec![0; len];
            remnants.read_exact_at(&mut buf, at as u64).unwrap();
            assert!(buf == expected[at..at + len], "{at:#x} {len:#x}");
        }
        assert_eq!(remnants.plain(0, disk.len() as u64, 100).unwrap(), [0x3000..0x6000, 0x8000..0x9000]);
        assert_eq!(remnants.judge(0x3000, false).unwrap(), Origin::Plain);
        assert_eq!(remnants.judge(0x1000, false).unwrap(), Origin::Unclear);
    }

    #[test]
    fn a_unit_is_judged_alike_wherever_a_read_begins() {
        let mut disk = noise(9, 64 << 10);
        // Ends within a unit, as zeros that reach into the next one.
        disk[0x2000..0x5600].fill(0);
        // Structures of BitLocker that do not end with a unit.
        let metadata = Vec::from([0x2000..0x2200, 0x7000..0x7200]);
        let layout = Layout::new(512, Head::Relocated { at: 0, len: 0 }, metadata, Encrypted::All);
        let cipher = SectorCipher::new(Method::Aes128Xts, &KEY).unwrap();
        let unlocked = Unlocked::new(Arc::new(disk.clone()), layout, Some(cipher), 0);
        let remnants = Remnants::new(Arc::new(unlocked), 4096);
        let mut whole = vec![0; disk.len()];
        remnants.read_exact_at(&mut whole, 0).unwrap();
        for at in (0..disk.len()).step_by(0x200) {
            let mut sector = [0; 0x200];
            remnants.read_exact_at(&mut sector, at as u64).unwrap();
            assert!(whole[at..at + 0x200] == sector, "{at:#x}");
        }
        let plain = remnants.plain(0, disk.len() as u64, 100).unwrap();
        for (start, end) in [(0, 0x2345), (0x2345, 0x3001), (0x3001, 0x5555), (0x5555, 0x10000)] {
            let expected: Vec<_> = plain
                .iter()
                .map(|range| range.start.max(start)..range.end.min(end))
                .filter(|range| range.start < range.end)
                .collect();
            assert_eq!(remnants.plain(start, end - start, 100).unwrap(), expected);
        }
    }

    #[test]
    fn a_last_sector_that_is_cut_is_not_given_as_plain_text() {
        let disk = noise(9, 0x3000)[..0x2F9C].to_vec();
        let layout = Layout::new(512, Head::Relocated { at: 0, len: 0 }, Vec::new(), Encrypted::All);
        let cipher = SectorCipher::new(Method::Aes128Xts, &KEY).unwrap();
        let unlocked = Arc::new(Unlocked::new(Arc::new(disk), layout, Some(cipher), 0));
        let mut buf = vec![0; 0x3000];
        assert_eq!(unlocked.read_at(&mut buf, 0).unwrap(), 0x2E00);
        assert_eq!(Remnants::new(unlocked, 4096).read_at(&mut buf, 0).unwrap(), 0x2E00);
    }

    #[test]
    fn relocated_sectors_behind_the_end_are_an_error_not_the_end() {
        let layout =
            Layout::new(512, Head::Relocated { at: 1 << 40, len: 0x2000 }, Vec::new(), Encrypted::All);
        let cipher = SectorCipher::new(Method::Aes128Xts, &KEY).unwrap();
        let unlocked = Arc::new(Unlocked::new(Arc::new(noise(9, 0x8000)), layout, Some(cipher), 0));
        let remnants = Remnants::new(unlocked.clone(), 4096);
        for volume in [&unlocked as &dyn ReadAt, &remnants] {
            let mut buf = vec![0; 0x4000];
            assert!(matches!(volume.read_at(&mut buf, 0), Err(ReadError::PastEnd { .. })));
            assert_eq!(volume.read_at(&mut buf, 0x2000).unwrap(), 0x4000);
        }
    }

    #[test]
    fn compressed_content_follows_the_rest_of_its_file() {
        let mut disk = noise(9, 16 << 10);
        disk[..6].copy_from_slice(b"PK\x03\x04\x14\0");
        let remnants = Remnants::new(volume(&disk), 4096);
        let origin = remnants.judge(0, true).unwrap();
        assert_eq!(origin, Origin::Plain);
        let remnants = remnants.unclear_as(origin);
        let mut buf = vec![0; disk.len()];
        remnants.read_exact_at(&mut buf, 0).unwrap();
        assert!(buf == disk);
        let plain = remnants.plain(0, 0x4000, 100).unwrap();
        assert_eq!((plain.len(), plain[0].clone()), (1, 0..0x4000));
    }
}
