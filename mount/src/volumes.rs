//! `undelfs volumes`: what partitions a source has and what is on them.

use std::{
    io::{self, Write},
    sync::Arc,
};

use indicatif::BinaryBytes;
use serde_json::json;
use undelfs_restore::names::printable;
use undelfs_restore::{Survey, bitlocker::BitLocker, survey};
use undelfs_source::{ReadAt, Source};
use undelfs_volume::{FileSystemKind, Table, Volume};

use crate::{
    cli::{Chatter, ListFormat, VolumesArgs},
    failure::{Failure, notice},
    keys,
    output::{Output, write_failure},
    progress::Late,
};

pub(crate) fn run(args: &VolumesArgs, chatter: Chatter) -> Result<u8, Failure> {
    let source: Arc<dyn ReadAt> = Arc::new(Source::open(&args.source)?);
    let keys = keys::collect(&args.keys)?;
    let survey = survey(&source, &keys, &Late::new("Unlocking", chatter))?;
    let mut out = Output::new();
    let result = match args.format {
        ListFormat::Table => write_table(&survey, &mut out),
        ListFormat::Jsonl => write_jsonl(&survey, &mut out),
    };
    let code = out.finish(result.map_err(|error| write_failure(&error)))?;
    for note in &survey.disk.notes {
        notice(note);
    }
    Ok(code)
}

const HEADER: [&str; 7] = ["Volume", "Start sector", "Sectors", "Size", "File system", "Type", "Name"];

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
    let rows: Vec<[String; 7]> =
        described(survey).map(|(volume, content, _)| row(volume, content, disk.sector_size)).collect();
    write_columns(&rows, out)?;
    for (volume, _, encryption) in described(survey) {
        if let Some(encryption) = encryption {
            write_encryption(volume.number, encryption, out)?;
        }
    }
    Ok(())
}

/// Each volume with what is on it and what protects it.
fn described(survey: &Survey) -> impl Iterator<Item = (&Volume, FileSystemKind, Option<&BitLocker>)> {
    let found = survey.content.iter().zip(&survey.encryption);
    let volumes = survey.disk.volumes.iter().zip(found);
    volumes.map(|(volume, (content, encryption))| (volume, *content, encryption.as_ref()))
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

fn row(volume: &Volume, content: FileSystemKind, sector_size: u32) -> [String; 7] {
    let file_system = match volume.file_system {
        kind if kind == content => kind.to_string(),
        kind => format!("{kind} ({content})"),
    };
    [
        volume.number.to_string(),
        volume.start_sector.to_string(),
        volume.sectors.to_string(),
        BinaryBytes(volume.sectors.saturating_mul(sector_size.into())).to_string(),
        file_system,
        printable(&volume.role),
        printable(volume.name.as_deref().unwrap_or_default()),
    ]
}

fn write_columns(rows: &[[String; 7]], out: &mut dyn Write) -> io::Result<()> {
    let header = HEADER.map(str::to_owned);
    let lines = || std::iter::once(&header).chain(rows);
    let mut widths = [0_usize; 7];
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
    for (volume, content, encryption) in described(survey) {
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
            "sector_size": survey.disk.sector_size,
            "file_system": volume.file_system.to_string(),
            "content": content.to_string(),
            "type": volume.role,
            "name": volume.name,
            "encryption": encryption,
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_numbers_stand_at_the_right() {
        let cells = |number: &str, name: &str| {
            [number, "2048", "4096", "2 MiB", "NTFS", "Basic data", name].map(str::to_owned)
        };
        let mut out = Vec::new();
        write_columns(&[cells("1", "System"), cells("12", "")], &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "Volume  Start sector  Sectors   Size  File system  Type        Name\n\
             \u{20}    1          2048     4096  2 MiB  NTFS         Basic data  System\n\
             \u{20}   12          2048     4096  2 MiB  NTFS         Basic data\n"
        );
    }
}
