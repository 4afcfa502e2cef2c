//! The bytes of an unlocked volume.

use std::{num::NonZeroUsize, sync::Arc};

use undelfs_source::{ReadAt, ReadError};

use crate::{
    cipher::SectorCipher,
    layout::{Kind, Layout, Piece},
};

/// A BitLocker volume as Windows presents it: decrypted, its first sectors in place, its metadata as zeros.
#[derive(Clone)]
pub struct Unlocked {
    volume: Arc<dyn ReadAt>,
    pub(crate) layout: Arc<Layout>,
    /// `None` where nothing is encrypted.
    cipher: Option<Arc<SectorCipher>>,
    /// What Windows Vista keeps in the metadata: the cluster of `$MFTMirr`.
    mirror: u64,
    pub(crate) notes: Vec<String>,
    pub(crate) is_judged: bool,
}

/// Size of the largest sector.
const MAX_SECTOR: usize = 4096;

impl Unlocked {
    pub(crate) fn new(
        volume: Arc<dyn ReadAt>,
        layout: Layout,
        cipher: Option<SectorCipher>,
        mirror: u64,
    ) -> Self {
        let (layout, cipher) = (Arc::new(layout), cipher.map(Arc::new));
        Self { volume, layout, cipher, mirror, notes: Vec::new(), is_judged: false }
    }

    /// Whether which parts are encrypted shows only in the bytes themselves, so that the volume is better read as
    /// [`Remnants`](crate::Remnants).
    pub fn is_judged(&self) -> bool {
        self.is_judged
    }

    /// What was doubtful in unlocking, one sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The volume as it stands on the disk.
    pub fn encrypted(&self) -> &Arc<dyn ReadAt> {
        &self.volume
    }

    fn read_piece(&self, buf: &mut [u8], piece: Piece) -> Result<usize, ReadError> {
        match piece.kind {
            Kind::Plain => self.volume.read_at(buf, piece.at),
            Kind::Metadata => {
                buf.fill(0);
                Ok(buf.len())
            }
            Kind::Encrypted => self.decrypt(buf, piece.at),
            Kind::VistaBoot => {
                let read = self.volume.read_at(buf, piece.at)?;
                self.present_boot_sector(buf.get_mut(..read).unwrap_or_default(), piece.at);
                Ok(read)
            }
        }
    }

    /// Gives back to bytes of a Vista boot sector, read from `at` on, what BitLocker has changed.
    fn present_boot_sector(&self, buf: &mut [u8], at: u64) {
        for (field, bytes) in [(3, *b"NTFS    "), (0x38, self.mirror.to_le_bytes())] {
            for (place, byte) in (field..).zip(bytes) {
                let index = u64::checked_sub(place, at).and_then(|index| usize::try_from(index).ok());
                if let Some(target) = index.and_then(|index| buf.get_mut(index)) {
                    *target = byte;
                }
            }
        }
    }

    /// Fills `buf` with the decrypted bytes from byte `at` on, where they stand. What is less than a sector at the end
    /// of the data cannot be decrypted and is not there.
    fn decrypt(&self, buf: &mut [u8], at: u64) -> Result<usize, ReadError> {
        let sector = self.sector_len();
        let within = usize::try_from(at % self.layout.sector()).unwrap_or(0);
        let len = buf.len();
        let mut done = 0;
        if within > 0 || len < sector.get() {
            let (read, wanted) = self.part(buf, at, within)?;
            if read < wanted {
                return Ok(read);
            }
            done = read;
        }
        let whole = |n: usize| n.saturating_sub(n % sector);
        let middle = whole(len.saturating_sub(done));
        let start = at.saturating_add(done as u64);
        if let Some(piece) = buf.get_mut(done..done.saturating_add(middle)).filter(|piece| !piece.is_empty())
        {
            let read = whole(self.volume.read_at(piece, start)?);
            self.decipher(piece.get_mut(..read).unwrap_or_default(), start);
            done = done.saturating_add(read);
            if read < middle {
                return Ok(done);
            }
        }
        if let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let (read, _) = self.part(rest, at.saturating_add(done as u64), 0)?;
            done = done.saturating_add(read);
        }
        Ok(done)
    }

    /// Fills the begin of `buf` from one sector, from its byte `within` on; says how much that was and should have
    /// been.
    fn part(&self, buf: &mut [u8], at: u64, within: usize) -> Result<(usize, usize), ReadError> {
        let size = self.sector_len().get();
        let mut space = [0; MAX_SECTOR];
        let sector = space.get_mut(..size).unwrap_or_default();
        let start = at.saturating_sub(within as u64);
        let wanted = size.saturating_sub(within).min(buf.len());
        if self.volume.read_at(sector, start)? < size {
            return Ok((0, wanted));
        }
        self.decipher(sector, start);
        if let (Some(to), Some(from)) =
            (buf.get_mut(..wanted), sector.get(within..within.saturating_add(wanted)))
        {
            to.copy_from_slice(from);
        }
        Ok((wanted, wanted))
    }

    /// Of bytes from `at` on, `read` instead of `wanted` ones are there. Those of the relocated sectors are not at the
    /// volume's end although they stand behind it.
    pub(crate) fn check_end(
        &self,
        piece: Piece,
        at: u64,
        read: usize,
        wanted: usize,
    ) -> Result<(), ReadError> {
        if read < wanted && piece.at != at {
            return Err(ReadError::PastEnd { offset: piece.at, len: wanted as u64, size: self.present() });
        }
        Ok(())
    }

    /// Decrypts whole sectors, which stand at `at`.
    pub(crate) fn decipher(&self, sectors: &mut [u8], at: u64) {
        if let Some(cipher) = &self.cipher {
            cipher.decrypt(sectors, self.sector_len().get(), at);
        }
    }

    fn sector_len(&self) -> NonZeroUsize {
        NonZeroUsize::try_from(self.layout.sector()).unwrap_or(NonZeroUsize::MIN)
    }
}

impl std::fmt::Debug for Unlocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unlocked").field("cipher", &self.cipher).finish_non_exhaustive()
    }
}

impl ReadAt for Unlocked {
    fn size(&self) -> u64 {
        self.volume.size()
    }

    fn present(&self) -> u64 {
        // What is less than a sector at the end of a cut image cannot be decrypted.
        let present = self.volume.present();
        present.saturating_sub(present % self.layout.sector())
    }

    fn sector_size(&self) -> u32 {
        self.volume.sector_size().max(u32::try_from(self.layout.sector().get()).unwrap_or(u32::MAX))
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        let left = usize::try_from(self.size().saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = buf.len().min(left);
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..len).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(done as u64);
            let piece = self.layout.piece(at);
            let here = usize::try_from(piece.len).unwrap_or(usize::MAX).min(rest.len());
            let read = self.read_piece(rest.get_mut(..here).unwrap_or_default(), piece)?;
            self.check_end(piece, at, read, here)?;
            done = done.saturating_add(read);
            if read < here {
                break;
            }
        }
        Ok(done)
    }
}
