//! `undelfs volumes`: what partitions a source has and what is on them.

use std::{
    io::{self, Write},
    sync::Arc,
};

use indicatif::BinaryBytes;
use serde_json::json;
use undelfs_restore::names::printable;
use undelfs_source::Source;
use undelfs_volume::{Disk, Table, Volume};

use crate::{
    cli::{ListFormat, VolumesArgs},
    failure::{Failure, notice},
    output::{Output, write_failure},
};

pub(crate) fn run(args: &VolumesArgs) -> Result<u8, Failure> {
    let source = Arc::new(Source::open(&args.source)?);
    let disk = Disk::read(source)?;
    let mut out = Output::new();
    let result = match args.format {
        ListFormat::Table => write_table(&disk, &mut out),
        ListFormat::Jsonl => write_jsonl(&disk, &mut out),
    };
    let code = out.finish(result.map_err(|error| write_failure(&error)))?;
    for note in &disk.notes {
        notice(note);
    }
    Ok(code)
}

const HEADER: [&str; 7] = ["Volume", "Start sector", "Sectors", "Size", "File system", "Type", "Name"];

/// Columns that hold numbers and stand at the right.
const NUMERIC: usize = 4;

fn write_table(disk: &Disk, out: &mut dyn Write) -> io::Result<()> {
    let scheme = match disk.table {
        Table::None => "no partition table",
        Table::Mbr => "MBR",
        Table::Gpt => "GPT",
    };
    writeln!(out, "Partition table: {scheme}; sectors of {} bytes", disk.sector_size)?;
    if disk.volumes.is_empty() {
        return Ok(());
    }
    let rows: Vec<[String; 7]> = disk.volumes.iter().map(|volume| row(volume, disk.sector_size)).collect();
    write_columns(&rows, out)
}

fn row(volume: &Volume, sector_size: u32) -> [String; 7] {
    [
        volume.number.to_string(),
        volume.start_sector.to_string(),
        volume.sectors.to_string(),
        BinaryBytes(volume.sectors.saturating_mul(sector_size.into())).to_string(),
        volume.file_system.to_string().to_owned(),
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

fn write_jsonl(disk: &Disk, out: &mut dyn Write) -> io::Result<()> {
    for volume in &disk.volumes {
        let line = json!({
            "volume": volume.number,
            "start_sector": volume.start_sector,
            "sectors": volume.sectors,
            "sector_size": disk.sector_size,
            "file_system": volume.file_system.to_string(),
            "type": volume.role,
            "name": volume.name,
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
