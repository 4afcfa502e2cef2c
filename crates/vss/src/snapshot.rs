//! The bytes of a volume as they were.

use std::{ops::Range, sync::Arc};

use undelfs_source::{ErrorKind, ReadAt, ReadError};

use crate::map::{Map, Target};

/// A volume as it was when a shadow copy of it was made.
///
/// Blocks of 16 KiB that were written since are read from the stores of this shadow copy and the newer ones, the others
/// from the volume. Those that were free then were not copied before they were written: [`Gaps`] says how they read, and
/// [`unkept`](Self::unkept) which they are.
#[derive(Clone)]
pub struct Snapshot {
    volume: Arc<dyn ReadAt>,
    map: Arc<Map>,
    size: u64,
    gaps: Gaps,
}

/// How blocks read that were free when a snapshot was made and that it has therefore not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gaps {
    /// As other readers of the format present them, because Windows leaves it undefined: of the newest shadow copy as
    /// zeros, of an older one as what the next newer one has there, and at last the volume.
    #[default]
    Presented,
    /// As zeros. Nothing of a later time is read then.
    Zeros,
    /// As what a newer shadow copy has there, and at last the volume.
    Later,
}

/// What is known of blocks that a snapshot has not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unkept {
    /// They were free in every newer snapshot too: they read as what is on the volume now.
    Now,
    /// They were in use when a newer snapshot was made.
    Later,
}

impl Snapshot {
    pub(crate) fn new(volume: Arc<dyn ReadAt>, map: Map, size: u64) -> Self {
        Self { volume, map: Arc::new(map), size, gaps: Gaps::default() }
    }

    /// The same snapshot, with what it has not kept read so.
    #[must_use]
    pub fn with_gaps(&self, gaps: Gaps) -> Self {
        Self { gaps, ..self.clone() }
    }

    /// Calls `each` with the parts of `bytes` that were free when the snapshot was made and that it has therefore not
    /// kept, in order: whatever reads there may have been written later.
    pub fn unkept(&self, bytes: Range<u64>, mut each: impl FnMut(Range<u64>, Unkept)) {
        let bytes = bytes.start..bytes.end.min(self.size);
        self.map.unkept(bytes, |part, newer| each(part, if newer { Unkept::Later } else { Unkept::Now }));
    }

    /// What of the snapshot cannot be told, one sentence each.
    pub fn notes(&self) -> &[String] {
        &self.map.notes
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("size", &self.size).finish_non_exhaustive()
    }
}

impl ReadAt for Snapshot {
    fn size(&self) -> u64 {
        self.size
    }

    fn present(&self) -> u64 {
        self.size.min(self.volume.present())
    }

    fn sector_size(&self) -> u32 {
        self.volume.sector_size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = buf.len().min(left);
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..len).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(done as u64);
            let (target, here) = self.map.find(at, rest.len() as u64, self.gaps == Gaps::Zeros);
            let here = usize::try_from(here).unwrap_or(usize::MAX).clamp(1, rest.len());
            let piece = rest.get_mut(..here).unwrap_or_default();
            let read = match target {
                Target::At(to) => {
                    let read = self.volume.read_at(piece, to)?;
                    // Only where a byte stands at its own place can the volume end before it.
                    if read < here && to != at {
                        let (len, size) = (here as u64, self.volume.present());
                        return Err(ReadError::PastEnd { offset: to, len, size });
                    }
                    read
                }
                Target::Undefined if self.gaps == Gaps::Later => self.volume.read_at(piece, at)?,
                Target::Undefined => {
                    piece.fill(0);
                    here
                }
                Target::Unknown => {
                    let reason = self.map.damage.as_deref().unwrap_or_default();
                    return Err(ReadError::Refused {
                        kind: ErrorKind::Damaged,
                        reason: format!(
                            "where the {here} bytes at byte {at} of the snapshot are is lost: {reason}; try another snapshot"
                        ),
                    });
                }
            };
            done = done.saturating_add(read);
            if read < here {
                break;
            }
        }
        Ok(done)
    }
}
