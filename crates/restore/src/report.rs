//! What was found, as text: tables for people, JSON, CSV and bodyfile for programs.

mod bodyfile;
mod json;
mod overview;
mod table;

use std::{borrow::Cow, io, ops::Range};

use rayon::prelude::*;
use undelfs_volume::filesystem::{File, FileFlags, FileTime};

use crate::{
    Catalogue, Context, Error, RestorableFile,
    catalogue::{Paths, hierarchy::Node},
    check::Findings,
};

pub(crate) use overview::{overview, summary};

/// How restorable files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Columns for people.
    Table,
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
    /// The bodyfile of The Sleuth Kit 3 and later, for time lines.
    Bodyfile,
}

/// Restorable files that are rendered by one thread at a time.
const CHUNK: usize = 512;
/// Chunks that are rendered before they are written. With the longest paths they take 128 MiB.
const WINDOW: usize = 8;

/// Writes the restorable files of all `contexts` that were scanned. Where there are several, paths begin with the
/// folder of the volume, as in a mount. `terminal` makes a table safe to show: control characters in names are
/// escaped.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(
    contexts: &[Context],
    format: Format,
    out: &mut dyn io::Write,
    terminal: bool,
) -> Result<(), Error> {
    out.write_all(header(format).as_bytes())?;
    for context in contexts {
        let Some(catalogue) = context.catalogue() else { continue };
        let mut prefix = Vec::new();
        if contexts.len() > 1 {
            prefix = context.folder();
            prefix.push(b'/');
        }
        let entries: Vec<(u32, Node)> = catalogue.entries().collect();
        for window in entries.chunks(CHUNK * WINDOW) {
            let rendered: Vec<Vec<u8>> = window
                .par_chunks(CHUNK)
                .map(|chunk| {
                    catalogue.render(context, catalogue.findings(), format, &prefix, chunk, terminal)
                })
                .collect();
            for chunk in rendered {
                out.write_all(&chunk)?;
            }
        }
    }
    Ok(())
}

impl Catalogue {
    fn render(
        &self,
        context: &Context,
        findings: &Findings,
        format: Format,
        prefix: &[u8],
        entries: &[(u32, Node)],
        terminal: bool,
    ) -> Vec<u8> {
        let mut lines = Vec::with_capacity(entries.len() * 256);
        let mut paths = Paths::below(prefix);
        let mut path = Vec::new();
        let mut csv = (format == Format::Csv).then(|| csv::Writer::from_writer(Vec::new()));
        for (index, node) in entries {
            let Some(mut file) = self.restorable(findings, *index, *node, &mut paths, &mut path) else {
                continue;
            };
            // Looking for the folders of each file takes as long as all the rest.
            if format == Format::Jsonl {
                file.deleted = self.deleted_between(*index);
            }
            if format != Format::Bodyfile {
                file.efs = context.who_can_decrypt(self, *index);
            }
            match (format, &mut csv) {
                (Format::Csv, Some(csv)) => write_csv(csv, &file),
                (Format::Jsonl, _) => json::write(&file, &mut lines),
                (Format::Bodyfile, _) => bodyfile::write(&file, &mut lines),
                _ => table::write(&file, terminal, &mut lines),
            }
        }
        // Writing to memory cannot fail.
        csv.and_then(|csv| csv.into_inner().ok()).unwrap_or(lines)
    }
}

const CSV_COLUMNS: [&str; 16] = [
    "path",
    "record",
    "sequence",
    "state",
    "type",
    "size",
    "created",
    "modified",
    "changed",
    "accessed",
    "attributes",
    "clusters_used",
    "clusters_in_use",
    "confidence",
    "reason",
    "efs",
];

/// Where names of a file come from, where they do not come from its records.
const NAMES: [(FileFlags, &str); 3] = [
    (FileFlags::SLACK_NAME, ", a name from slack"),
    (FileFlags::USN_NAME, ", a name from $UsnJrnl"),
    (FileFlags::LOG_NAME, ", a name from $LogFile"),
];

/// Which structures a file's names and content come from: its own are in `origin`.
pub(crate) fn provenance<'a>(origin: &'a str, file: &File) -> Cow<'a, str> {
    let mut provenance = Cow::Borrowed(origin);
    for (flag, from) in NAMES {
        if file.flags.contains(flag) {
            provenance.to_mut().push_str(from);
        }
    }
    provenance
}

/// What stands before the first restorable file.
fn header(format: Format) -> String {
    match format {
        Format::Csv => CSV_COLUMNS.join(",") + "\n",
        Format::Table => table::HEADER.to_owned(),
        Format::Jsonl | Format::Bodyfile => String::new(),
    }
}

fn write_csv(csv: &mut csv::Writer<Vec<u8>>, of: &RestorableFile<'_>) {
    let file = of.file;
    let mut field = |bytes: &[u8]| drop(csv.write_field(bytes));
    field(of.path);
    let mut digits = itoa::Buffer::new();
    field(digits.format(of.record).as_bytes());
    field(digits.format(file.generation).as_bytes());
    field(state(file).as_bytes());
    field(kind(file).as_bytes());
    field(digits.format(file.size).as_bytes());
    for at in [file.created, file.modified, file.changed, file.accessed] {
        field(time(at).as_bytes());
    }
    field(digits.format(file.attributes).as_bytes());
    field(digits.format(file.clusters).as_bytes());
    field(digits.format(of.clusters_in_use).as_bytes());
    field(of.confidence.as_str().as_bytes());
    field(of.reason.as_bytes());
    field(who(of).as_bytes());
    let _ = csv.write_record(None::<&[u8]>);
}

/// Who can decrypt a file, in one line; empty where it is not encrypted.
fn who(of: &RestorableFile<'_>) -> String {
    let entries: Vec<String> =
        of.efs.iter().map(|entry| format!("{} {entry}", entry.list.as_str())).collect();
    entries.join("; ")
}

/// `deleted` or `regular`.
pub(crate) fn state(file: &File) -> &'static str {
    if file.flags.contains(FileFlags::REMOVED) { "deleted" } else { "regular" }
}

/// What kind of file it is.
pub(crate) fn kind(file: &File) -> &'static str {
    if file.flags.contains(FileFlags::DIRECTORY) {
        "directory"
    } else if file.flags.contains(FileFlags::LINK) {
        "link"
    } else {
        "file"
    }
}

/// A time in RFC 3339; one that no calendar has as its number.
pub fn time(at: FileTime) -> String {
    let (seconds, nanos) = at.unix();
    match jiff::Timestamp::new(seconds, nanos.cast_signed()) {
        Ok(time) => time.to_string(),
        Err(_) => format!("FILETIME {}", at.0),
    }
}

/// A rendering of all restorable files that is never held: its size and its parts are made when asked for. It says what
/// was known when it was first asked for, so that its parts fit together.
pub(crate) struct Rendering {
    format: Format,
    findings: Findings,
    entries: Vec<(u32, Node)>,
    /// By chunk: where it begins, then the size of all.
    offsets: Vec<u64>,
}

impl Rendering {
    pub(crate) fn new(context: &Context, catalogue: &Catalogue, format: Format) -> Self {
        let entries: Vec<(u32, Node)> = catalogue.entries().collect();
        let findings = catalogue.findings().snapshot();
        let sizes: Vec<u64> = entries
            .par_chunks(CHUNK)
            .map(|chunk| catalogue.render(context, &findings, format, &[], chunk, false).len() as u64)
            .collect();
        let mut offsets = vec![header(format).len() as u64];
        for size in sizes {
            let end = offsets.last().copied().unwrap_or(0) + size;
            offsets.push(end);
        }
        Self { format, findings, entries, offsets }
    }

    pub(crate) fn size(&self) -> u64 {
        self.offsets.last().copied().unwrap_or(0)
    }

    /// The part of the text that holds byte `offset`, and where that part begins.
    pub(crate) fn part(&self, context: &Context, catalogue: &Catalogue, offset: u64) -> (u64, Vec<u8>) {
        let chunk = self.offsets.partition_point(|start| *start <= offset);
        let Some(chunk) = chunk.checked_sub(1) else {
            return (0, header(self.format).into_bytes());
        };
        let range: Range<usize> = chunk * CHUNK..((chunk + 1) * CHUNK).min(self.entries.len());
        let start = self.offsets.get(chunk).copied().unwrap_or(0);
        let entries = self.entries.get(range).unwrap_or_default();
        (start, catalogue.render(context, &self.findings, self.format, &[], entries, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc_and_impossible_ones_as_numbers() {
        assert_eq!(time(FileTime::UNIX_EPOCH), "1970-01-01T00:00:00Z");
        assert_eq!(time(FileTime(133_617_504_001_234_567)), "2024-06-01T21:20:00.1234567Z");
        assert_eq!(time(FileTime(0)), "1601-01-01T00:00:00Z");
        assert_eq!(time(FileTime(u64::MAX)), format!("FILETIME {}", u64::MAX));
    }
}
