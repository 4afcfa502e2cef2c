//! Data runs: where the clusters of a non-resident attribute are.

use undelfs_volume::filesystem::{Place, Run};

/// Why an encoded list of runs ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadRuns;

/// Decodes mapping pairs, one run at a time, each counted from `first` (VCN) on.
///
/// A run that leaves the volume or is empty ends the list with [`BadRuns`]; what came before it is sound.
pub struct Runs<'a> {
    rest: &'a [u8],
    vcn: u64,
    lcn: u64,
    clusters: u64,
}

impl<'a> Runs<'a> {
    /// The runs in `mapping_pairs`, on a volume of `clusters` clusters.
    pub fn new(mapping_pairs: &'a [u8], first: u64, clusters: u64) -> Self {
        Self { rest: mapping_pairs, vcn: first, lcn: 0, clusters }
    }

    fn decode(&mut self, length_size: u8, offset_size: u8) -> Option<Run> {
        let (length, rest) = self.rest.split_at_checked(usize::from(length_size))?;
        let (offset, rest) = rest.split_at_checked(usize::from(offset_size))?;
        let count = u64::try_from(signed(length)?).ok().filter(|count| *count > 0)?;
        let place = match offset {
            [] => Place::Hole,
            _ => {
                let lcn = self.lcn.checked_add_signed(signed(offset)?)?;
                if lcn.checked_add(count)? > self.clusters {
                    return None;
                }
                self.lcn = lcn;
                Place::At(lcn)
            }
        };
        let run = Run { first: self.vcn, count, place };
        self.vcn = self.vcn.checked_add(count).filter(|vcn| *vcn <= i64::MAX.cast_unsigned())?;
        self.rest = rest;
        Some(run)
    }
}

impl Iterator for Runs<'_> {
    type Item = Result<Run, BadRuns>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&sizes, rest) = self.rest.split_first()?;
        if sizes == 0 {
            return None;
        }
        self.rest = rest;
        let run = self.decode(sizes & 0x0F, sizes >> 4);
        if run.is_none() {
            self.rest = &[];
        }
        Some(run.ok_or(BadRuns))
    }
}

/// A little-endian two's complement number of one to eight bytes.
fn signed(bytes: &[u8]) -> Option<i64> {
    let last = bytes.last()?;
    let mut all = [if last & 0x80 == 0 { 0 } else { 0xFF }; 8];
    all.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(bytes: &[u8]) -> Vec<Result<Run, BadRuns>> {
        Runs::new(bytes, 0, 1 << 40).collect()
    }

    fn at(first: u64, count: u64, lcn: u64) -> Result<Run, BadRuns> {
        Ok(Run { first, count, place: Place::At(lcn) })
    }

    #[test]
    fn offsets_are_relative_to_the_run_before_and_holes_keep_them() {
        let pairs = [0x21, 0x18, 0x34, 0x56, 0x01, 0x10, 0x11, 0x08, 0xFF, 0];
        let hole = Ok(Run { first: 0x18, count: 0x10, place: Place::Hole });
        assert_eq!(decode(&pairs), [at(0, 0x18, 0x5634), hole, at(0x28, 8, 0x5633)]);
    }

    #[test]
    fn a_run_outside_the_volume_ends_the_list_and_what_came_before_stays() {
        let pairs = [0x11, 4, 10, 0x11, 4, 0x80, 0x11, 1, 1];
        assert_eq!(decode(&pairs), [at(0, 4, 10), Err(BadRuns)]);
        assert_eq!(Runs::new(&[0x11, 4, 10], 0, 13).next(), Some(Err(BadRuns)));
        assert_eq!(Runs::new(&[0x11, 4, 10], 0, 14).next(), Some(at(0, 4, 10)));
    }

    #[test]
    fn empty_and_negative_lengths_and_cut_lists_are_errors() {
        for pairs in [&[0x11, 0, 1][..], &[0x11, 0x80, 1], &[0x21, 1], &[0x10, 1], &[0x9F, 1, 2, 3]] {
            assert_eq!(decode(pairs).last(), Some(&Err(BadRuns)), "{pairs:x?}");
        }
    }

    proptest! {
        #[test]
        fn runs_ascend_without_gaps_and_stay_on_the_volume(bytes: Vec<u8>, clusters in 1_u64..1 << 48) {
            let mut vcn = 5;
            for run in Runs::new(&bytes, 5, clusters).flatten() {
                prop_assert_eq!(run.first, vcn);
                vcn += run.count;
                if let Place::At(lcn) = run.place {
                    prop_assert!(lcn + run.count <= clusters);
                }
            }
        }
    }
}
