//! The master boot record and the chain of extended boot records. Layout: UEFI specification, section 5.2, and for
//! extended partitions what Windows and Linux write.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::collections::HashSet;

use undelfs_source::{
    ReadAt,
    bytes::{array, u32_at},
};

use crate::{
    notes::Notes,
    partition::{Partition, mbr_role},
};

/// Bytes of a record, whatever the sector size.
pub(crate) const LEN: usize = 512;
/// Longest chain of extended boot records that is followed.
const MAX_CHAIN: usize = 128;
const PROTECTIVE: u8 = 0xEE;

/// One of the four entries, if it names a partition. Sectors are relative to what the record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    kind: u8,
    start: u32,
    sectors: u32,
}

impl Entry {
    fn is_extended(self) -> bool {
        matches!(self.kind, 0x05 | 0x0F | 0x85)
    }
}

/// A boot record that carries the signature 55 AA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BootRecord {
    entries: [Option<Entry>; 4],
    /// All four boot indicators are 00 or 80. Where they are not, the bytes are probably no partition table.
    pub(crate) plausible: bool,
}

impl BootRecord {
    /// `None` without the signature.
    pub(crate) fn parse(sector: &[u8]) -> Option<Self> {
        if array::<2>(sector, 510)? != [0x55, 0xAA] {
            return None;
        }
        let mut plausible = true;
        let mut entries = [None; 4];
        for (entry, raw) in entries.iter_mut().zip(sector.get(446..510)?.chunks_exact(16)) {
            let indicator = array::<1>(raw, 0)?[0];
            let kind = array::<1>(raw, 4)?[0];
            let (start, sectors) = (u32_at(raw, 8)?, u32_at(raw, 12)?);
            if !matches!(indicator, 0x00 | 0x80) {
                plausible = false;
            } else if kind != 0 && sectors > 0 {
                *entry = Some(Entry { kind, start, sectors });
            }
        }
        Some(Self { entries, plausible })
    }

    /// An entry of type EE says that the disk has a GPT; this is the last sector that it covers, where the backup
    /// header is expected.
    pub(crate) fn protects_until(&self) -> Option<u64> {
        let entry = self.entries.iter().flatten().find(|entry| entry.kind == PROTECTIVE)?;
        u64::from(entry.start).saturating_add(u64::from(entry.sectors)).checked_sub(1)
    }

    /// Whether an entry names a partition, other than to protect a GPT.
    pub(crate) fn has_partitions(&self) -> bool {
        self.primary().next().is_some()
    }

    fn primary(&self) -> impl Iterator<Item = Entry> {
        self.entries.iter().flatten().copied().filter(|entry| entry.kind != PROTECTIVE && entry.start > 0)
    }

    /// The partitions, those in extended partitions included, in the order of the records.
    pub(crate) fn partitions(
        &self,
        source: &dyn ReadAt,
        sector_size: u32,
        notes: &mut Notes,
    ) -> Vec<Partition> {
        let mut partitions = Vec::new();
        let mut seen = HashSet::new();
        for entry in self.primary() {
            if entry.is_extended() {
                follow_chain(source, sector_size, u64::from(entry.start), &mut seen, &mut partitions, notes);
            } else {
                partitions.push(partition(entry, 0));
            }
        }
        partitions
    }
}

fn partition(entry: Entry, base: u64) -> Partition {
    Partition {
        start: base.saturating_add(u64::from(entry.start)),
        sectors: u64::from(entry.sectors),
        role: mbr_role(entry.kind),
        name: None,
    }
}

/// Follows the chain of extended boot records that begins at sector `first`. Each holds one logical partition,
/// relative to itself, and a link to the next record, relative to `first`.
fn follow_chain(
    source: &dyn ReadAt,
    sector_size: u32,
    first: u64,
    seen: &mut HashSet<u64>,
    partitions: &mut Vec<Partition>,
    notes: &mut Notes,
) {
    let broken = |at: u64, why: &str| {
        format!("extended boot record at sector {at}: {why}; logical partitions behind it are not listed")
    };
    let mut next = Some(first);
    while let Some(at) = next.take() {
        if seen.len() >= MAX_CHAIN {
            notes.push(broken(at, &format!("the chain has more than {MAX_CHAIN} records")));
            return;
        }
        if !seen.insert(at) {
            notes.push(broken(at, "the chain comes back to it"));
            return;
        }
        let mut sector = [0; LEN];
        if let Err(error) = source.read_exact_at(&mut sector, at.saturating_mul(u64::from(sector_size))) {
            notes.push(broken(at, &error.to_string()));
            return;
        }
        let Some(record) = BootRecord::parse(&sector).filter(|record| record.plausible) else {
            notes.push(broken(at, "expected a partition table and the signature 55 AA, found other bytes"));
            return;
        };
        // The third and fourth entries are unused by definition, and hold garbage on some disks.
        for entry in record.entries.iter().take(2).flatten() {
            if entry.is_extended() {
                next = next.or(Some(first.saturating_add(u64::from(entry.start))));
            } else {
                partitions.push(partition(*entry, at));
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod samples {
    //! Boot records made entry by entry.

    use super::LEN;

    /// Writes the entries (type, start, sectors) and the signature into a record.
    pub(crate) fn write(sector: &mut [u8], entries: &[(u8, u32, u32)]) {
        for (raw, (kind, start, sectors)) in sector[446..510].chunks_exact_mut(16).zip(entries) {
            raw[4] = *kind;
            raw[8..12].copy_from_slice(&start.to_le_bytes());
            raw[12..16].copy_from_slice(&sectors.to_le_bytes());
        }
        sector[510..LEN].copy_from_slice(&[0x55, 0xAA]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(disk: &[u8]) -> (Vec<(u64, u64)>, Vec<String>) {
        let mut notes = Notes::default();
        let record = BootRecord::parse(disk).unwrap();
        let found = record.partitions(&disk, 512, &mut notes);
        (found.iter().map(|p| (p.start, p.sectors)).collect(), notes.into_sentences())
    }

    /// Type, start and sectors of an entry.
    type Raw = (u8, u32, u32);

    fn disk_with(records: &[(usize, &[Raw])]) -> Vec<u8> {
        let mut disk = vec![0; 1000 * 512];
        for (at, entries) in records {
            samples::write(&mut disk[at * 512..][..512], entries);
        }
        disk
    }

    #[test]
    fn logical_partitions_are_found_through_the_chain() {
        let disk = disk_with(&[
            (0, &[(7, 10, 90), (0x0F, 100, 800)]),
            (100, &[(7, 5, 50), (5, 200, 100)]),
            (300, &[(0x83, 1, 99), (5, 400, 100)]),
            (500, &[(0x0C, 2, 60)]),
        ]);
        let (partitions, notes) = read(&disk);
        assert_eq!(partitions, [(10, 90), (105, 50), (301, 99), (502, 60)]);
        assert!(notes.is_empty(), "{notes:?}");
    }

    #[test]
    fn a_chain_that_bites_its_tail_ends_with_a_note() {
        let disk = disk_with(&[
            (0, &[(5, 100, 800)]),
            (100, &[(7, 5, 50), (5, 200, 9)]),
            (300, &[(7, 1, 9), (5, 0, 9)]),
        ]);
        let (partitions, notes) = read(&disk);
        assert_eq!(partitions, [(105, 50), (301, 9)]);
        assert_eq!(notes.len(), 1, "{notes:?}");
    }

    #[test]
    fn a_broken_or_missing_record_keeps_what_was_found_before() {
        let disk = disk_with(&[(0, &[(5, 100, 800), (7, 10, 20)]), (100, &[(7, 5, 50), (5, 200, 9)])]);
        let (partitions, notes) = read(&disk);
        assert_eq!(partitions, [(105, 50), (10, 20)]);
        assert!(notes[0].contains("sector 300"), "{notes:?}");
        let disk = disk_with(&[(0, &[(5, 5000, 800)])]);
        assert!(read(&disk).1[0].contains("sector 5000"));
    }

    #[test]
    fn the_same_partitions_as_mbrman_are_read() {
        use mbrman::{CHS, MBR, MBRPartitionEntry};
        use std::io::Cursor;

        let mut disk = Cursor::new(vec![0u8; 4000 * 512]);
        let mut mbr = MBR::new_from(&mut disk, 512, [1, 2, 3, 4]).unwrap();
        mbr.align = 1;
        let entry = |sys, starting_lba, sectors| MBRPartitionEntry {
            boot: mbrman::BOOT_INACTIVE,
            first_chs: CHS::empty(),
            sys,
            last_chs: CHS::empty(),
            starting_lba,
            sectors,
        };
        mbr[1] = entry(0x07, 1, 499);
        mbr[3] = entry(0x0F, 1000, 3000);
        mbr.push(0x07, 1001, 700).unwrap();
        mbr.push(0x83, 1800, 200).unwrap();
        mbr.push(0x0C, 2500, 1000).unwrap();
        mbr.write_into(&mut disk).unwrap();

        let parsed = MBR::read_from(&mut disk, 512).unwrap();
        let mut theirs: Vec<(u64, u64)> = parsed
            .iter()
            .filter(|(_, p)| p.is_used() && !p.is_extended())
            .map(|(_, p)| (u64::from(p.starting_lba), u64::from(p.sectors)))
            .collect();
        let (mut ours, notes) = read(disk.get_ref());
        ours.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(ours.len(), 4);
        assert_eq!(ours, theirs);
        assert!(notes.is_empty(), "{notes:?}");
    }

    proptest! {
        #[test]
        fn any_chain_of_links_ends(links in prop::collection::vec((any::<bool>(), 0u32..60), 60)) {
            let mut disk = vec![0; 60 * 512];
            samples::write(&mut disk, &[(5, 1, 59), (0x0F, 2, 50)]);
            for (at, (signed, link)) in links.iter().enumerate().skip(1) {
                if *signed {
                    samples::write(&mut disk[at * 512..][..512], &[(7, 1, 1), (5, *link, 1)]);
                }
            }
            let (partitions, _) = read(&disk);
            prop_assert!(partitions.len() <= MAX_CHAIN);
        }

        #[test]
        fn any_bytes_parse_or_not_without_panic(sector in prop::collection::vec(any::<u8>(), 0..1024)) {
            let _ = BootRecord::parse(&sector);
            let mut signed = sector;
            if let Some(end) = signed.get_mut(510..512) {
                end.copy_from_slice(&[0x55, 0xAA]);
                let record = BootRecord::parse(&signed).unwrap();
                let _ = record.protects_until();
                record.partitions(&signed, 4096, &mut Notes::default());
            }
        }
    }
}
