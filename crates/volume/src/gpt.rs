//! The GUID partition table. Layout: UEFI specification, section 5.3.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use undelfs_source::{
    ReadAt,
    bytes::{array, u16_at, u32_at, u64_at},
};

use crate::{
    notes::Notes,
    partition::{Partition, gpt_role},
};

/// Smallest size of a header, and of an entry, in bytes.
const MIN_HEADER: u32 = 92;
const MIN_ENTRY: u32 = 128;
const MAX_ENTRY: u32 = 4096;
/// Most bytes of entries that are read: 64 times what every table in use has.
const MAX_TABLE: u64 = 1 << 20;

/// A table that was read: from one header and the entries that it points at.
#[derive(Debug)]
pub(crate) struct Gpt {
    /// Sector of the header.
    pub(crate) header_at: u64,
    pub(crate) sector_size: u32,
    /// Where the header says that its other copy is.
    other_copy: u64,
    pub(crate) partitions: Vec<Partition>,
    /// What is wrong with the header or its entries; nothing in a table whose check sums fit.
    complaints: Vec<String>,
    /// What is wrong with single entries.
    entry_notes: Vec<String>,
}

impl Gpt {
    /// The check sums fit and the header is where it says.
    pub(crate) fn is_sound(&self) -> bool {
        self.complaints.is_empty()
    }

    /// Reads the table whose header is in sector `at`, or says why there is none.
    pub(crate) fn read(source: &dyn ReadAt, at: u64, sector_size: u32) -> Result<Self, String> {
        let position = at.checked_mul(u64::from(sector_size)).ok_or("it is out of range")?;
        let len = usize::try_from(sector_size).unwrap_or(usize::MAX).clamp(512, 4096);
        let mut sector = vec![0; len];
        source.read_exact_at(&mut sector, position).map_err(|error| error.to_string())?;
        let header = Header::parse(&sector)?;

        let mut complaints = Vec::new();
        if !header.crc_fits(&sector) {
            complaints.push("the check sum of the header is wrong".to_owned());
        }
        if header.own != at {
            complaints.push(format!("the header says that it is in sector {}", header.own));
        }
        let table = header.read_entries(source, sector_size, &mut complaints)?;

        let sectors = source.size().checked_div(u64::from(sector_size)).unwrap_or(0);
        let limit = header.last_usable.max(sectors.saturating_sub(1));
        let mut partitions = Vec::new();
        let mut entry_notes = Vec::new();
        let entries = table.chunks_exact(usize::try_from(header.entry_size).unwrap_or(usize::MAX));
        for (number, raw) in (1u32..).zip(entries) {
            match entry(raw, limit) {
                Ok(None) => {}
                Ok(Some((partition, note))) => {
                    partitions.push(partition);
                    entry_notes.extend(note.map(|note| format!("GPT entry {number}: {note}")));
                }
                Err(why) => entry_notes.push(format!("GPT entry {number}: {why}; it is left out")),
            }
        }
        let other_copy = header.alternate;
        Ok(Self { header_at: at, sector_size, other_copy, partitions, complaints, entry_notes })
    }
}

/// Looks for a table at each of `sector_sizes`: from the primary header, and where that is damaged from the
/// backup, in the last sector, where the primary header says, or in sector `backup_hint`.
///
/// A table that is damaged but still names partitions is better than none, and its damage is noted.
pub(crate) fn find(
    source: &dyn ReadAt,
    sector_sizes: &[u32],
    backup_hint: Option<u64>,
    notes: &mut Notes,
) -> Option<Gpt> {
    let mut usable: Option<Gpt> = None;
    let mut reasons = Vec::new();
    for &size in sector_sizes {
        let last = source.size().checked_div(u64::from(size)).unwrap_or(0).saturating_sub(1);
        let mut backups = vec![last];
        let primary = Gpt::read(source, 1, size);
        let why = match primary {
            Ok(gpt) if gpt.is_sound() => return Some(accept(gpt, None, notes)),
            Ok(gpt) => {
                backups.push(gpt.other_copy);
                let why = gpt.complaints.join(", and ");
                if usable.is_none() && !gpt.partitions.is_empty() {
                    usable = Some(gpt);
                }
                why
            }
            Err(why) => why,
        };
        backups.extend(backup_hint);
        backups.retain(|&at| at > 1);
        backups.dedup();
        for at in backups {
            match Gpt::read(source, at, size) {
                Ok(gpt) if gpt.is_sound() => return Some(accept(gpt, Some(&why), notes)),
                Ok(gpt) if usable.is_none() && !gpt.partitions.is_empty() => usable = Some(gpt),
                Ok(_) => {}
                Err(why) => reasons.push(format!("backup header at sector {at} of {size} bytes: {why}")),
            }
        }
        reasons.push(format!("primary header at sector 1 of {size} bytes: {why}"));
    }
    if let Some(gpt) = usable {
        let backup = (gpt.header_at > 1).then_some("no usable header is there");
        return Some(accept(gpt, backup, notes));
    }
    if backup_hint.is_some() {
        notes.push(format!(
            "the protective MBR announces a GPT, but none can be read ({}); its volumes can \
             be given with --start-sector",
            reasons.join("; ")
        ));
    }
    None
}

/// Notes what is wrong with the table that was chosen, and `primary`, what is wrong with the one that was not.
fn accept(mut gpt: Gpt, primary: Option<&str>, notes: &mut Notes) -> Gpt {
    if let Some(why) = primary {
        notes.push(format!(
            "the primary GPT header at sector 1 is damaged ({why}); the backup at sector {} is used",
            gpt.header_at
        ));
    }
    for complaint in &gpt.complaints {
        notes.push(format!(
            "GPT header at sector {}: {complaint}; its partitions are used all the same, compare them with what you \
             know of the disk",
            gpt.header_at
        ));
    }
    std::mem::take(&mut gpt.entry_notes).into_iter().for_each(|note| notes.push(note));
    gpt
}

/// The fields of a header that are needed to find partitions. All places are in sectors.
#[derive(Debug)]
struct Header {
    size: u32,
    crc: u32,
    own: u64,
    alternate: u64,
    last_usable: u64,
    entries_at: u64,
    entries: u32,
    entry_size: u32,
    entries_crc: u32,
}

impl Header {
    fn parse(sector: &[u8]) -> Result<Self, String> {
        if array::<8>(sector, 0) != Some(*b"EFI PART") {
            return Err("expected the signature `EFI PART`, found other bytes".to_owned());
        }
        let header = Self::fields(sector).ok_or("the sector is too short for a header")?;
        let fits =
            (MIN_ENTRY..=MAX_ENTRY).contains(&header.entry_size) && header.entry_size.is_multiple_of(8);
        if !fits {
            return Err(format!("expected entries of {MIN_ENTRY} bytes, found {}", header.entry_size));
        }
        Ok(header)
    }

    fn fields(sector: &[u8]) -> Option<Self> {
        Some(Self {
            size: u32_at(sector, 12)?,
            crc: u32_at(sector, 16)?,
            own: u64_at(sector, 24)?,
            alternate: u64_at(sector, 32)?,
            last_usable: u64_at(sector, 48)?,
            entries_at: u64_at(sector, 72)?,
            entries: u32_at(sector, 80)?,
            entry_size: u32_at(sector, 84)?,
            entries_crc: u32_at(sector, 88)?,
        })
    }

    /// The check sum is that of the header with its own field zero.
    fn crc_fits(&self, sector: &[u8]) -> bool {
        let header = usize::try_from(self.size).ok().and_then(|size| sector.get(..size));
        let Some(header) = header.filter(|_| self.size >= MIN_HEADER) else {
            return false;
        };
        let mut crc = crc32fast::Hasher::new();
        crc.update(header.get(..16).unwrap_or_default());
        crc.update(&[0; 4]);
        crc.update(header.get(20..).unwrap_or_default());
        crc.finalize() == self.crc
    }

    /// The entries as they are on the disk; what cannot be read is zero, which is what unused entries are.
    fn read_entries(
        &self,
        source: &dyn ReadAt,
        sector_size: u32,
        complaints: &mut Vec<String>,
    ) -> Result<Vec<u8>, String> {
        let position = self.entries_at.checked_mul(u64::from(sector_size)).filter(|&at| at < source.size());
        let position = position.ok_or_else(|| {
            format!("its entries are in sector {}, behind the end of the source", self.entries_at)
        })?;
        let declared = u64::from(self.entries).saturating_mul(u64::from(self.entry_size));
        let len = declared.min(MAX_TABLE);
        let mut table = vec![0; usize::try_from(len).unwrap_or(0)];
        let bad = source.read_salvage(&mut table, position);
        if declared > MAX_TABLE {
            complaints.push(format!("it announces {} entries, of which the first are read", self.entries));
        } else if !bad.is_empty() {
            complaints.push("some of its entries cannot be read".to_owned());
        } else if crc32fast::hash(&table) != self.entries_crc {
            complaints.push("the check sum of the entries is wrong".to_owned());
        }
        Ok(table)
    }
}

/// The partition of one entry, with a note where it was clipped to the sectors up to `limit`; `None` where the
/// entry is unused.
fn entry(raw: &[u8], limit: u64) -> Result<Option<(Partition, Option<String>)>, String> {
    let fields = || Some((array::<16>(raw, 0)?, u64_at(raw, 32)?, u64_at(raw, 40)?));
    let Some((kind, first, last)) = fields().filter(|(kind, ..)| *kind != [0; 16]) else {
        return Ok(None);
    };
    if first == 0 || last < first {
        return Err(format!("expected a range of sectors, found {first} to {last}"));
    }
    // A partition that begins behind the limit as well has nothing to be clipped to.
    let clipped = last > limit && first <= limit;
    let end = if clipped { limit } else { last };
    let sectors = end.saturating_sub(first).saturating_add(1);
    if first.saturating_add(sectors) > u64::MAX >> 13 {
        return Err(format!("sectors {first} to {last} are on no disk"));
    }
    let note =
        clipped.then(|| format!("it reaches to sector {last}, the disk only to {limit}; it is cut there"));
    let name = name(raw.get(56..128).unwrap_or_default());
    Ok(Some((Partition { start: first, sectors, role: gpt_role(kind), name }, note)))
}

/// A name in UTF-16, ended by a zero unless it fills its field.
fn name(raw: &[u8]) -> Option<String> {
    let units: Vec<u16> =
        raw.chunks_exact(2).filter_map(|unit| u16_at(unit, 0)).take_while(|&unit| unit != 0).collect();
    (!units.is_empty()).then(|| String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests;
