//! `undelfs volumes`: what partitions a source has and what is on them.

use std::{
    io::{self, Write},
    sync::Arc,
};

use indicatif::BinaryBytes;
use serde_json::json;
use undelfs_restore::names::printable;
use undelfs_restore::{Lost, LostVolume, Survey, bitlocker::BitLocker, survey, time, vss::ShadowCopy};
use undelfs_source::{ReadAt, Source};
use undelfs_volume::{FileSystemKind, Table, Volume};

use crate::{
    cli::{Chatter, ListFormat, VolumesArgs, exit_code},
    failure::{Failure, notice},
    keys, lost,
    output::{Output, write_failure},
    progress::Late,
};

pub(crate) fn run(args: &VolumesArgs, chatter: Chatter) -> Result<u8, Failure> {
    let source: Arc<dyn ReadAt> = Arc::new(Source::open(&args.source)?);
    let keys = keys::collect(&args.keys)?;
    let (lost, interrupted) = match args.lost.lost {
        true => lost::find(&source, &args.lost, chatter)?,
        false => (Lost::default(), None),
    };
    let survey = {
        let progress = Late::new(if args.deep { "Searching" } else { "Unlocking" }, chatter);
        survey(&source, lost, &keys, args.deep, &progress)?
    };
    let mut out = Output::new();
    let result = match args.format {
        ListFormat::Table => write_table(&survey, &mut out),
        ListFormat::Jsonl => write_jsonl(&survey, &mut out),
    };
    let code = out.finish(result.map_err(|error| write_failure(&error)))?;
    for note in &survey.disk.notes {
        notice(note);
    }
    if let Some(sentence) = interrupted {
        notice(format!("{sentence}; until then the list is not complete and its numbers may change"));
        return Ok(exit_code::FAILED);
    }
    Ok(code)
}

const HEADER: [&str; 8] =
    ["Volume", "Start sector", "Sectors", "Size", "File system", "Type", "Name", "Found by"];

/// Columns that hold numbers and stand at the right.
const NUMERIC: usize = 4;

fn write_table(survey: &Survey, out: &mut dyn Write) -> io::Result<()> {
    let disk = &survey.disk;
    let scheme = match disk.table {
        Table::None => "no partition table",
        Table::Mbr => "MBR",
        Table::Gpt => "GPT",
    };
    writeln!(out, "Partition table: {scheme}; sectors of {} bytes", disk.sector_size)?;
    if disk.volumes.is_empty() {
        return Ok(());
    }
    let rows: Vec<[String; HEADER.len()]> =
        described(survey).map(|described| row(&described, disk.sector_size)).collect();
    write_columns(&rows, out)?;
    for Described { volume, encryption, snapshots, .. } in described(survey) {
        if let Some(encryption) = encryption {
            write_encryption(volume.number, encryption, out)?;
        }
        if !snapshots.is_empty() {
            write_snapshots(volume.number, snapshots, out)?;
        }
    }
    Ok(())
}

/// A volume with what is known of it.
struct Described<'a> {
    volume: &'a Volume,
    /// What is on it.
    content: FileSystemKind,
    /// What protects it.
    encryption: Option<&'a BitLocker>,
    /// Its shadow copies.
    snapshots: &'a [ShadowCopy],
    /// How it was found, where nothing lists it.
    lost: Option<&'a LostVolume>,
}

fn described(survey: &Survey) -> impl Iterator<Item = Described<'_>> {
    let found = survey.content.iter().zip(&survey.encryption).zip(&survey.snapshots).zip(&survey.lost);
    survey.disk.volumes.iter().zip(found).map(|(volume, (((content, encryption), snapshots), lost))| {
        Described {
            volume,
            content: *content,
            encryption: encryption.as_ref(),
            snapshots,
            lost: lost.as_ref(),
        }
    })
}

fn write_encryption(number: u32, encryption: &BitLocker, out: &mut dyn Write) -> io::Result<()> {
    let Some(facts) = encryption.facts() else {
        return writeln!(out, "\nVolume {number}: BitLocker, of which no metadata is left");
    };
    let system = if facts.version == 1 { "Windows Vista" } else { "Windows 7 and later" };
    let method = facts.method.map(|method| format!(", {method}")).unwrap_or_default();
    writeln!(out, "\nVolume {number}: BitLocker of {system}{method}, {}", facts.conversion)?;
    writeln!(out, "  Identifier   {}", facts.identifier)?;
    if let Some(description) = &facts.description {
        writeln!(out, "  Description  {}", printable(description))?;
    }
    for protector in &facts.protectors {
        writeln!(out, "  Protector    {protector}")?;
    }
    Ok(())
}

fn write_snapshots(number: u32, snapshots: &[ShadowCopy], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\nVolume {number}: shadow copies, for --snapshot")?;
    for copy in snapshots {
        let identifier = copy.information.as_ref().map(|known| known.copy.to_string());
        let machine = copy.information.as_ref().map(|known| known.originating_machine.as_str());
        let machine = machine.filter(|machine| !machine.is_empty());
        writeln!(
            out,
            "  {:>6}  {}  {}  {}{}{}",
            copy.number,
            copy.created.map_or_else(|| "time unknown".to_owned(), time),
            identifier.unwrap_or_else(|| "identifier unknown".to_owned()),
            BinaryBytes(copy.volume_size),
            machine.map(|machine| format!("  of {}", printable(machine))).unwrap_or_default(),
            if copy.is_lost { "  (deleted)" } else { "" }
        )?;
    }
    Ok(())
}

fn row(described: &Described<'_>, sector_size: u32) -> [String; HEADER.len()] {
    let Described { volume, content, lost, .. } = *described;
    let file_system = match volume.file_system {
        kind if kind == content => kind.to_string(),
        kind => format!("{kind} ({content})"),
    };
    let unit = match volume.sector_size {
        unit if unit == sector_size => String::new(),
        unit => format!(" (of {unit} bytes)"),
    };
    [
        volume.number.to_string(),
        format!("{}{unit}", volume.start_sector),
        volume.sectors.to_string(),
        BinaryBytes(volume.sectors.saturating_mul(volume.sector_size.into())).to_string(),
        file_system,
        kind_of(volume, lost),
        printable(volume.name.as_deref().unwrap_or_default()),
        lost.map(found_by).unwrap_or_default(),
    ]
}

/// The partition's type, or which file of which volume a volume lies in.
fn kind_of(volume: &Volume, lost: Option<&LostVolume>) -> String {
    match lost.and_then(|lost| lost.inside.as_ref()) {
        Some(inside) => {
            let file = inside.file.as_deref().map(|file| format!(": {}", printable(file)));
            format!("Inside volume {}{}", inside.volume, file.unwrap_or_default())
        }
        None => printable(&volume.role),
    }
}

/// How sure it is that a lost volume is there, and by what.
fn found_by(lost: &LostVolume) -> String {
    format!("{}: {}", lost.certainty(), lost.evidence.describe(lost.volume.file_system))
}

fn write_columns(rows: &[[String; HEADER.len()]], out: &mut dyn Write) -> io::Result<()> {
    let mut header = HEADER.map(str::to_owned);
    // Only what was searched for is found by something.
    if let (Some(found_by), true) =
        (header.last_mut(), rows.iter().all(|row| row.last().is_none_or(String::is_empty)))
    {
        found_by.clear();
    }
    let lines = || std::iter::once(&header).chain(rows);
    let mut widths = [0_usize; HEADER.len()];
    for line in lines() {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    for line in lines() {
        let mut text = String::new();
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            if column > 0 {
                text.push_str("  ");
            }
            text.push_str(&if column < NUMERIC {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            });
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

fn write_jsonl(survey: &Survey, out: &mut dyn Write) -> io::Result<()> {
    for Described { volume, content, encryption, snapshots, lost } in described(survey) {
        let encryption = encryption.map(|encryption| match encryption.facts() {
            None => json!({ "kind": "BitLocker" }),
            Some(facts) => {
                let protectors = facts.protectors.iter().map(|protector| {
                    json!({ "kind": protector.kind.to_string(), "identifier": protector.identifier.to_string() })
                });
                json!({
                    "kind": "BitLocker",
                    "version": facts.version,
                    "method": facts.method.map(|method| method.to_string()),
                    "state": facts.conversion.to_string(),
                    "identifier": facts.identifier.to_string(),
                    "description": facts.description,
                    "protectors": protectors.collect::<Vec<_>>(),
                })
            }
        });
        let line = json!({
            "volume": volume.number,
            "start_sector": volume.start_sector,
            "sectors": volume.sectors,
            "sector_size": volume.sector_size,
            "file_system": volume.file_system.to_string(),
            "content": content.to_string(),
            "type": volume.role,
            "name": volume.name,
            "encryption": encryption,
            "snapshots": snapshots.iter().map(snapshot_json).collect::<Vec<_>>(),
            "lost": lost.map(|lost| json!({
                "certainty": lost.certainty().to_string(),
                "found_by": lost.evidence.describe(volume.file_system),
                "inside": lost.inside.as_ref().map(|inside| {
                    json!({ "volume": inside.volume, "file": inside.file })
                }),
            })),
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn snapshot_json(copy: &ShadowCopy) -> serde_json::Value {
    let information = copy.information.as_ref();
    json!({
        "snapshot": copy.number,
        "deleted": copy.is_lost,
        "created": copy.created.map(time),
        "identifier": information.map(|known| known.copy.to_string()),
        "set": information.map(|known| known.set.to_string()),
        "store": copy.store.map(|store| store.to_string()),
        "volume_size": copy.volume_size,
        "attributes": information.map(|known| known.attributes.bits()),
        "originating_machine": information.map(|known| known.originating_machine.as_str()),
        "service_machine": information.map(|known| known.service_machine.as_str()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_numbers_stand_at_the_right() {
        let cells = |number: &str, name: &str, found_by: &str| {
            [number, "2048", "4096", "2 MiB", "NTFS", "Basic data", name, found_by].map(str::to_owned)
        };
        let mut out = Vec::new();
        write_columns(&[cells("1", "System", ""), cells("12", "", "")], &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "Volume  Start sector  Sectors   Size  File system  Type        Name\n\
             \u{20}    1          2048     4096  2 MiB  NTFS         Basic data  System\n\
             \u{20}   12          2048     4096  2 MiB  NTFS         Basic data\n"
        );
        let mut out = Vec::new();
        write_columns(&[cells("1", "", ""), cells("2", "", "$MFT")], &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "Volume  Start sector  Sectors   Size  File system  Type        Name  Found by\n\
             \u{20}    1          2048     4096  2 MiB  NTFS         Basic data\n\
             \u{20}    2          2048     4096  2 MiB  NTFS         Basic data        $MFT\n"
        );
    }
}
