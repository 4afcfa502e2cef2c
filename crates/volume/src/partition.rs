//! Entries of partition tables, whichever table they come from, and the names of their types.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use crate::notes::Notes;

/// An entry of a partition table, in sectors of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) start: u64,
    pub(crate) sectors: u64,
    /// The partition's type, for people.
    pub(crate) role: String,
    /// The name that a GPT entry carries.
    pub(crate) name: Option<String>,
}

impl Partition {
    /// First sector behind the partition.
    pub(crate) fn end(&self) -> u64 {
        self.start.saturating_add(self.sectors)
    }
}

/// Puts `partitions` into disk order and notes those that overlap or reach past the end of the source, which has
/// `sectors` sectors. They are kept: what they hold inside the source is readable.
pub(crate) fn order_and_check(partitions: &mut [Partition], sectors: u64, notes: &mut Notes) {
    partitions.sort_by_key(|partition| (partition.start, partition.sectors));
    let mut reached: Option<&Partition> = None;
    for partition in partitions.iter() {
        if partition.end() > sectors {
            notes.push(format!(
                "the partition at sector {} reaches to sector {}, but the source ends at sector {sectors}; the image \
                 is cut short, and what it lacks cannot be read",
                partition.start,
                partition.end()
            ));
        }
        if let Some(earlier) = reached.filter(|earlier| earlier.end() > partition.start) {
            notes.push(format!(
                "the partitions at sectors {} and {} overlap; at most one of them is right",
                earlier.start, partition.start
            ));
        }
        if reached.is_none_or(|earlier| earlier.end() < partition.end()) {
            reached = Some(partition);
        }
    }
}

/// The type of an MBR partition as text, such as `0x07 NTFS/exFAT`.
pub(crate) fn mbr_role(kind: u8) -> String {
    let name = match kind {
        0x01 => "FAT12",
        0x04 | 0x06 | 0x0E => "FAT16",
        0x05 | 0x0F | 0x85 => "Extended",
        0x07 => "NTFS/exFAT",
        0x0B | 0x0C => "FAT32",
        0x11 | 0x14 | 0x16 | 0x17 | 0x1B | 0x1C | 0x1E => "Hidden FAT/NTFS",
        0x27 => "Windows recovery",
        0x42 => "Windows dynamic disk",
        0x82 => "Linux swap",
        0x83 => "Linux",
        0x8E => "Linux LVM",
        0xA5 => "FreeBSD",
        0xA6 => "OpenBSD",
        0xA8 | 0xAB => "Apple",
        0xAF => "HFS/HFS+",
        0xEE => "GPT protective",
        0xEF => "EFI system",
        0xFD => "Linux RAID",
        _ => return format!("0x{kind:02X}"),
    };
    format!("0x{kind:02X} {name}")
}

/// A GUID in its usual writing. The first three fields are little-endian (UEFI specification, appendix A).
pub(crate) fn guid(bytes: [u8; 16]) -> String {
    let [a0, a1, a2, a3, b0, b1, c0, c1, d @ .., e0, e1, e2, e3, e4, e5] = bytes;
    let a = u32::from_le_bytes([a0, a1, a2, a3]);
    let b = u16::from_le_bytes([b0, b1]);
    let c = u16::from_le_bytes([c0, c1]);
    let d = u16::from_be_bytes(d);
    format!("{a:08X}-{b:04X}-{c:04X}-{d:04X}-{e0:02X}{e1:02X}{e2:02X}{e3:02X}{e4:02X}{e5:02X}")
}

/// The type of a GPT partition as text, such as `Basic data`; the GUID where it has no known name.
pub(crate) fn gpt_role(kind: [u8; 16]) -> String {
    let guid = guid(kind);
    let name = match guid.as_str() {
        "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7" => "Basic data",
        "C12A7328-F81F-11D2-BA4B-00A0C93EC93B" => "EFI system",
        "E3C9E316-0B5C-4DB8-817D-F92DF00215AE" => "Microsoft reserved",
        "DE94BBA4-06D1-4D40-A16A-BFD50179D6AC" => "Windows recovery",
        "5808C8AA-7E8F-42E0-85D2-E1E90434CFB3" => "Windows dynamic disk metadata",
        "AF9B60A0-1431-4F62-BC68-3311714A69AD" => "Windows dynamic disk data",
        "E75CAF8F-F680-4CEE-AFA3-B001E56EFC2D" => "Windows Storage Spaces",
        "0FC63DAF-8483-4772-8E79-3D69D8477DE4" => "Linux",
        "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F" => "Linux swap",
        "E6D6D379-F507-44C2-A23C-238F2A3DF928" => "Linux LVM",
        "A19D880F-05FC-4D3B-A006-743F0F84911E" => "Linux RAID",
        "21686148-6449-6E6F-744E-656564454649" => "BIOS boot",
        "024DEE41-33E7-11D3-9D69-0008C781F39F" => "MBR partition scheme",
        "48465300-0000-11AA-AA11-00306543ECAC" => "HFS+",
        "7C3457EF-0000-11AA-AA11-00306543ECAC" => "APFS",
        _ => return guid,
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: u64, sectors: u64) -> Partition {
        Partition { start, sectors, role: String::new(), name: None }
    }

    #[test]
    fn overlaps_are_told_even_behind_a_small_partition_inside_a_large_one() {
        let mut partitions = [at(90, 10), at(10, 100), at(20, 5)];
        let mut notes = Notes::default();
        order_and_check(&mut partitions, 200, &mut notes);
        assert_eq!(partitions.iter().map(|p| p.start).collect::<Vec<_>>(), [10, 20, 90]);
        let notes = notes.into_sentences();
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[1].contains("10 and 90 overlap"), "{notes:?}");
    }

    #[test]
    fn partitions_side_by_side_up_to_the_end_are_nothing_to_note() {
        let mut notes = Notes::default();
        order_and_check(&mut [at(10, 10), at(20, 80)], 100, &mut notes);
        assert!(notes.into_sentences().is_empty());
    }

    #[test]
    fn the_first_three_fields_of_a_guid_are_turned_around() {
        let bytes =
            [0xA2, 0xA0, 0xD0, 0xEB, 0xE5, 0xB9, 0x33, 0x44, 0x87, 0xC0, 0x68, 0xB6, 0xB7, 0x26, 0x99, 0xC7];
        assert_eq!(guid(bytes), "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7");
        assert_eq!(gpt_role(bytes), "Basic data");
        assert_eq!(gpt_role([0x11; 16]), "11111111-1111-1111-1111-111111111111");
    }
}
