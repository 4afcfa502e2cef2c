use std::sync::Arc;

use undelfs_source::{ErrorKind, ReadAt, ReadError};

use super::{Place, Run};

/// The bytes of a list of runs, as they are stored on a volume.
///
/// Holes read as zeros. [`Place::Lost`] reads as zeros or is an error, as the reader was made.
#[derive(Clone)]
pub struct RunReader {
    volume: Arc<dyn ReadAt>,
    runs: Arc<[Run]>,
    cluster: u64,
    size: u64,
    valid: u64,
    lost: Lost,
}

/// How a [`RunReader`] answers for clusters whose place is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// They read as zeros.
    Zeros,
    /// Reading them is an error.
    Error,
}

impl RunReader {
    /// A reader of `size` bytes in `runs`, which ascend from cluster 0 without gaps. `cluster` is the cluster
    /// size in bytes; bytes from `valid` on read as zeros.
    pub fn new(
        volume: Arc<dyn ReadAt>,
        runs: Arc<[Run]>,
        cluster: u32,
        size: u64,
        valid: u64,
        lost: Lost,
    ) -> Self {
        Self { volume, runs, cluster: u64::from(cluster.max(1)), size, valid: valid.min(size), lost }
    }

    /// The runs.
    pub fn runs(&self) -> &Arc<[Run]> {
        &self.runs
    }

    /// Reads `buf.len()` bytes that all lie in one run, at `within` bytes from the run's start.
    fn read_run(&self, run: &Run, within: u64, buf: &mut [u8], at: u64) -> Result<(), ReadError> {
        match (run.place, self.lost) {
            (Place::At(first), _) => {
                let offset = first.checked_mul(self.cluster).and_then(|start| start.checked_add(within));
                self.volume.read_exact_at(buf, offset.unwrap_or(u64::MAX))
            }
            (Place::Hole, _) | (Place::Lost, Lost::Zeros) => {
                buf.fill(0);
                Ok(())
            }
            (Place::Lost, Lost::Error) => Err(unknown_place(at, buf.len())),
        }
    }
}

fn unknown_place(offset: u64, len: usize) -> ReadError {
    ReadError::Refused {
        kind: ErrorKind::Damaged,
        reason: format!(
            "the {len} bytes at byte {offset} of the file are overwritten, or the structure that says where they are is lost"
        ),
    }
}

impl ReadAt for RunReader {
    fn size(&self) -> u64 {
        self.size
    }

    fn sector_size(&self) -> u32 {
        self.volume.sector_size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        let left = self.size.saturating_sub(offset);
        let total = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let stored = total.min(usize::try_from(self.valid.saturating_sub(offset)).unwrap_or(usize::MAX));
        let mut index = self.runs.partition_point(|run| {
            run.first.saturating_add(run.count).saturating_mul(self.cluster) <= offset
        });
        let mut done = 0_usize;
        while done < stored {
            let at = offset.saturating_add(done as u64);
            let Some(run) = self.runs.get(index) else {
                return Err(unknown_place(at, stored.saturating_sub(done)));
            };
            let within = at.saturating_sub(run.first.saturating_mul(self.cluster));
            let in_run = run.count.saturating_mul(self.cluster).saturating_sub(within);
            let step = stored.saturating_sub(done).min(usize::try_from(in_run).unwrap_or(usize::MAX));
            let end = done.saturating_add(step);
            let Some(piece) = buf.get_mut(done..end) else {
                break;
            };
            self.read_run(run, within, piece, at)?;
            done = end;
            index = index.saturating_add(1);
        }
        buf.get_mut(stored..total).unwrap_or_default().fill(0);
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(runs: &[Run], size: u64, valid: u64, lost: Lost) -> RunReader {
        let volume: Vec<u8> = (0..64_u8).collect();
        RunReader::new(Arc::new(volume), runs.into(), 4, size, valid, lost)
    }

    const RUNS: [Run; 4] = [
        Run { first: 0, count: 2, place: Place::At(10) },
        Run { first: 2, count: 1, place: Place::Hole },
        Run { first: 3, count: 1, place: Place::At(0) },
        Run { first: 4, count: 1, place: Place::Lost },
    ];

    #[test]
    fn reads_across_runs_and_holes() {
        let mut buf = [9; 10];
        let n = reader(&RUNS, 16, 16, Lost::Error).read_at(&mut buf, 5).unwrap();
        assert_eq!((n, buf), (10, [45, 46, 47, 0, 0, 0, 0, 0, 1, 2]));
    }

    #[test]
    fn bytes_beyond_the_valid_length_are_zeros_and_the_end_is_short() {
        let mut buf = [9; 10];
        let n = reader(&RUNS, 16, 6, Lost::Error).read_at(&mut buf, 4).unwrap();
        assert_eq!((n, buf), (10, [44, 45, 0, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(reader(&RUNS, 16, 16, Lost::Error).read_at(&mut buf, 13).unwrap(), 3);
        assert_eq!(reader(&RUNS, 16, 16, Lost::Error).read_at(&mut buf, 99).unwrap(), 0);
    }

    #[test]
    fn lost_clusters_are_an_error_or_zeros_as_asked() {
        let mut buf = [9; 4];
        assert!(reader(&RUNS, 20, 20, Lost::Error).read_at(&mut buf, 15).is_err());
        assert_eq!(reader(&RUNS, 20, 20, Lost::Zeros).read_at(&mut buf, 15).unwrap(), 4);
        assert_eq!(buf, [3, 0, 0, 0]);
    }

    #[test]
    fn runs_that_end_before_the_size_are_an_error_not_zeros() {
        let mut buf = [9; 4];
        assert!(reader(&RUNS, 40, 40, Lost::Zeros).read_at(&mut buf, 20).is_err());
    }
}
