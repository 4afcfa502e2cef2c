//! The file in which a search keeps how far it is and what it has found.
//!
//! One JSON object a line: the first says which source it is of and how far the search is, each other one is a place
//! that was found.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use undelfs_source::{ErrorKind, ReadAt};
use undelfs_volume::search::{Hit, HitKind, Search};

use crate::Error;

/// What the first line begins with: no other file is taken for one of these, or written over.
const MARK: &str = "undelfs search for lost volumes";
const VERSION: u32 = 1;

/// How much of the source is in its fingerprint: so many pieces of so many bytes, evenly spread.
const SAMPLES: u64 = 64;
const SAMPLE: usize = 4096;

/// A search with the source that it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSearch {
    size: u64,
    fingerprint: String,
}

#[derive(Serialize, Deserialize)]
struct Head {
    catalogue: String,
    version: u32,
    /// Size of the source in bytes.
    source_size: u64,
    /// SHA-256 of samples of the source.
    fingerprint: String,
    /// Bytes that were searched, from the begin on.
    position: u64,
    complete: bool,
    unreadable: u64,
    left_out: u64,
    /// Number of lines that follow.
    hits: usize,
}

#[derive(Serialize, Deserialize)]
struct Line {
    at: u64,
    found: Name,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
enum Name {
    #[serde(rename = "boot sector")]
    BootSector,
    #[serde(rename = "FILE record of $MFT")]
    MftRecord,
    #[serde(rename = "FVE metadata block")]
    FveBlock,
}

impl From<HitKind> for Name {
    fn from(kind: HitKind) -> Self {
        match kind {
            HitKind::BootSector => Self::BootSector,
            HitKind::MftRecord => Self::MftRecord,
            HitKind::FveBlock => Self::FveBlock,
        }
    }
}

impl From<Name> for HitKind {
    fn from(name: Name) -> Self {
        match name {
            Name::BootSector => Self::BootSector,
            Name::MftRecord => Self::MftRecord,
            Name::FveBlock => Self::FveBlock,
        }
    }
}

impl KeptSearch {
    /// For searches of `source`, of which some hundred KiB are read.
    pub fn new(source: &dyn ReadAt) -> Self {
        let size = source.size();
        let mut digest = Sha256::new();
        digest.update(size.to_le_bytes());
        let mut sample = vec![0; SAMPLE];
        let last = size.saturating_sub(SAMPLE as u64);
        for number in 0..SAMPLES {
            let at = u128::from(last) * u128::from(number) / u128::from(SAMPLES - 1);
            // What cannot be read counts as zeros, so that a bad sector does not make it another source.
            source.read_salvage(&mut sample, u64::try_from(at).unwrap_or(last));
            digest.update(&sample);
        }
        let fingerprint = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { size, fingerprint }
    }

    /// Writes `search`.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write(&self, search: &Search, out: &mut dyn Write) -> io::Result<()> {
        let head = Head {
            catalogue: MARK.to_owned(),
            version: VERSION,
            source_size: self.size,
            fingerprint: self.fingerprint.clone(),
            position: search.position,
            complete: search.position >= self.size,
            unreadable: search.unreadable,
            left_out: search.left_out,
            hits: search.hits.len(),
        };
        serde_json::to_writer(&mut *out, &head)?;
        out.write_all(b"\n")?;
        for hit in &search.hits {
            serde_json::to_writer(&mut *out, &Line { at: hit.at, found: hit.kind.into() })?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Reads what [`write`](Self::write) wrote. `path` is what the file is called in messages.
    ///
    /// # Errors
    /// When the text is something else, is damaged, or is of another source.
    pub fn read(&self, text: &str, path: &str) -> Result<Search, Error> {
        let invalid = |reason: String| Error::refused(ErrorKind::InvalidInput, reason);
        let mut lines = text.lines();
        let head: Head = lines
            .next()
            .and_then(|line| serde_json::from_str(line).ok())
            .filter(|head: &Head| head.catalogue == MARK)
            .ok_or_else(|| {
                invalid(format!(
                    "{path} exists and is no catalogue of a search for lost volumes; it is left as it is, name \
                     another file"
                ))
            })?;
        if head.version != VERSION {
            return Err(invalid(format!(
                "{path} is a catalogue of version {}, this program reads version {VERSION}; name another file to search \
                 anew",
                head.version
            )));
        }
        if (head.source_size, &head.fingerprint) != (self.size, &self.fingerprint) {
            let what = match head.source_size {
                size if size == self.size => "its content is another or was changed".to_owned(),
                size => format!("that one has {size} bytes, this one {}", self.size),
            };
            return Err(invalid(format!(
                "{path} is the catalogue of another source: {what}; name another file, or remove it to search anew"
            )));
        }
        let damaged = |line: usize, what: &str| {
            invalid(format!("{path} is damaged in line {line}: {what}; remove it to search anew"))
        };
        let sector_ends = head.position.is_multiple_of(512) || head.position == self.size;
        if head.position > self.size || !sector_ends || head.hits > Search::MAX_HITS {
            return Err(damaged(1, "a position or a number that cannot be"));
        }
        let mut hits: Vec<Hit> = Vec::new();
        for (number, line) in (2..).zip(lines) {
            let line: Line =
                serde_json::from_str(line).map_err(|error| damaged(number, &error.to_string()))?;
            let hit = Hit { at: line.at, kind: line.found.into() };
            let follows = hits.last().is_none_or(|last| last.at < hit.at);
            if !follows || hit.at >= head.position || hits.len() >= head.hits {
                return Err(damaged(number, "a place that was not searched, or is out of order"));
            }
            hits.push(hit);
        }
        if hits.len() != head.hits {
            return Err(damaged(hits.len().saturating_add(2), "the file ends too early"));
        }
        Ok(Search { position: head.position, hits, left_out: head.left_out, unreadable: head.unreadable })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Vec<u8> {
        (0..1_000_000u32).map(|n| (n % 251) as u8).collect()
    }

    fn search() -> Search {
        let hit = |at, kind| Hit { at, kind };
        Search {
            position: 512_000,
            hits: vec![
                hit(512, HitKind::BootSector),
                hit(1024, HitKind::MftRecord),
                hit(4096, HitKind::FveBlock),
            ],
            left_out: 7,
            unreadable: 1024,
        }
    }

    fn text() -> String {
        let mut out = Vec::new();
        KeptSearch::new(&source()).write(&search(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn refusal(source: &dyn ReadAt, text: &str) -> String {
        KeptSearch::new(source).read(text, "kept.jsonl").unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(KeptSearch::new(&source()).read(&text(), "kept.jsonl").unwrap(), search());
    }

    #[test]
    fn the_catalogue_of_another_source_is_refused_with_the_reason() {
        let mut other = source();
        other[0] ^= 1;
        assert!(refusal(&other, &text()).contains("content"));
        let shorter = source()[..900_000].to_vec();
        let said = refusal(&shorter, &text());
        assert!(said.contains("1000000") && said.contains("900000"), "{said}");
    }

    #[test]
    fn other_files_and_damaged_ones_are_refused() {
        let said = refusal(&source(), "{\"name\": 1}\n");
        assert!(said.contains("no catalogue"), "{said}");
        assert!(refusal(&source(), "").contains("no catalogue"));
        let whole = text();
        let cut: String = whole.lines().take(3).map(|line| format!("{line}\n")).collect();
        assert!(refusal(&source(), &cut).contains("too early"));
        for (from, to) in [
            ("\"at\":1024", "\"at\":1023000"),
            ("\"at\":1024", "\"at\":100"),
            ("\"position\":512000", "\"position\":512001"),
            ("\"position\":512000", "\"position\":1512000"),
            ("\"hits\":3", "\"hits\":2"),
            ("FVE metadata block", "something"),
        ] {
            let damaged = whole.replace(from, to);
            assert_ne!(damaged, whole);
            assert!(refusal(&source(), &damaged).contains("damaged"), "{from} {to}");
        }
        let newer = whole.replace("\"version\":1", "\"version\":9");
        assert!(refusal(&source(), &newer).contains("version 9"));
    }

    #[test]
    fn a_source_smaller_than_a_sample_has_a_fingerprint() {
        let one = KeptSearch::new(&vec![1u8; 100]);
        assert_ne!(one, KeptSearch::new(&vec![2u8; 100]));
        assert_eq!(one, KeptSearch::new(&vec![1u8; 100]));
    }
}
