//! What a look at a content has found, in one byte a file, and what it means for a file of that name.

use std::{
    fmt,
    sync::atomic::{AtomicU8, Ordering},
};

use super::kinds::{KINDS, Kind, Strength, extension, promised};
use crate::Confidence;

/// What a drive gives for what it has discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blank {
    Zeros,
    /// 0xFF, which erased flash memory reads as.
    Ones,
}

impl fmt::Display for Blank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zeros => "zeros",
            Self::Ones => "bytes 0xFF",
        })
    }
}

/// What a look at a content has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Finding(u8);

impl Finding {
    /// There is nothing to look at, or what there is says nothing.
    pub(crate) const NOTHING: Self = Self(1);
    /// It cannot be read.
    pub(crate) const UNREADABLE: Self = Self(2);
    /// It begins as no known kind does.
    pub(crate) const UNKNOWN: Self = Self(3);
    const ALL: u8 = 4;
    const PARTLY: u8 = 6;
    const KIND: u8 = 16;
    const WHOLE: u8 = 128;

    /// Everything that was looked at is one byte.
    pub(crate) fn all(byte: Blank) -> Self {
        Self(Self::ALL + byte as u8)
    }

    /// Some of what was looked at is one byte.
    pub(crate) fn partly(byte: Blank) -> Self {
        Self(Self::PARTLY + byte as u8)
    }

    /// It begins as the kind at this place.
    pub(crate) fn kind(place: u8) -> Self {
        Self(Self::KIND.saturating_add(place))
    }

    /// It is whole, of the kind at this place.
    pub(crate) fn whole(place: u8) -> Self {
        Self(Self::WHOLE.saturating_add(place))
    }

    fn content(self) -> Content {
        match self.0 {
            4 => Content::All(Blank::Zeros),
            5 => Content::All(Blank::Ones),
            6 => Content::Partly(Blank::Zeros),
            7 => Content::Partly(Blank::Ones),
            2 => Content::Unreadable,
            3 => Content::Unknown,
            other => {
                let whole = other.checked_sub(Self::WHOLE);
                let place = whole.or(other.checked_sub(Self::KIND));
                let kind = place.and_then(|place| KINDS.get(usize::from(place)));
                kind.map_or(Content::Nothing, |kind| Content::Kind(kind, whole.is_some()))
            }
        }
    }
}

#[derive(Debug)]
enum Content {
    Nothing,
    Unreadable,
    Unknown,
    All(Blank),
    Partly(Blank),
    /// Of this kind, and whether it was seen that it is whole.
    Kind(&'static Kind, bool),
}

/// The findings of all files, one byte each, filled in from any thread.
pub(crate) struct Findings(Vec<AtomicU8>);

impl Findings {
    /// None yet, of so many files.
    pub(crate) fn new(files: usize) -> Self {
        Self(std::iter::repeat_with(AtomicU8::default).take(files).collect())
    }

    pub(crate) fn get(&self, index: u32) -> Option<Finding> {
        let byte = self.0.get(index as usize)?.load(Ordering::Relaxed);
        (byte > 0).then_some(Finding(byte))
    }

    pub(crate) fn set(&self, index: u32, finding: Finding) {
        if let Some(byte) = self.0.get(index as usize) {
            byte.store(finding.0, Ordering::Relaxed);
        }
    }

    /// As they are now.
    pub(crate) fn snapshot(&self) -> Self {
        Self(self.0.iter().map(|byte| AtomicU8::new(byte.load(Ordering::Relaxed))).collect())
    }
}

/// What is said of a content that was looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Remark {
    /// It begins as this kind, which the name does not contradict.
    Begins(&'static Kind),
    /// It begins as one kind, and the name promises another. `whole`: all of the content is of that kind.
    Other { found: &'static Kind, promised: &'static Kind, whole: bool },
    /// It begins as no known kind does, and the name promises one.
    Unlike { promised: &'static Kind },
    /// It begins as no known kind does, and need not.
    Unknown,
    /// Everything that was looked at is one byte. `promised`: the name promises that it is not.
    All { byte: Blank, promised: Option<&'static Kind> },
    /// Some of it is.
    Partly { byte: Blank, promised: Option<&'static Kind> },
    /// It cannot be read.
    Unreadable,
}

impl Remark {
    /// The best that a file of which this is said can be.
    pub(crate) fn at_best(&self) -> Confidence {
        match self {
            Self::Other { found, whole: false, .. } if found.strength == Strength::Proof => {
                Confidence::Partial
            }
            Self::Partly { promised: Some(_), .. } => Confidence::Partial,
            Self::All { promised: Some(_), .. } => Confidence::Lost,
            _ => Confidence::Certain,
        }
    }

    /// What the content was found to be, in a word.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Begins(kind) | Self::Other { found: kind, .. } => kind.name,
            Self::Unlike { .. } | Self::Unknown => "unknown",
            Self::All { byte: Blank::Zeros, .. } => "zeros",
            Self::All { byte: Blank::Ones, .. } => "0xFF",
            Self::Partly { byte: Blank::Zeros, .. } => "zeros in part",
            Self::Partly { byte: Blank::Ones, .. } => "0xFF in part",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begins(kind) => write!(f, "the content begins as {} does", kind.name),
            Self::Other { found, promised, whole: true } => write!(
                f,
                "the content is {} from its first byte to its last, though the name is one of {}",
                found.name, promised.name
            ),
            Self::Other { found, promised, whole: false } => write!(
                f,
                "the content begins as {} does, but the name is one of {}",
                found.name, promised.name
            ),
            Self::Unlike { promised } => write!(
                f,
                "the content does not begin as {} does, though the name is one of it",
                promised.name
            ),
            Self::Unknown => f.write_str("the content begins as no known type does"),
            Self::All { byte, promised: Some(promised) } => write!(
                f,
                "wherever it was looked at the content is {byte}, which {} never is: the drive has discarded it, or it was never written",
                promised.name
            ),
            Self::All { byte, promised: None } => {
                write!(f, "wherever it was looked at the content is {byte}")
            }
            Self::Partly { byte, promised: Some(promised) } => write!(
                f,
                "whole clusters of the content are {byte}, which {} does not have: the drive has discarded them, or they were never written",
                promised.name
            ),
            Self::Partly { byte, promised: None } => write!(f, "whole clusters of the content are {byte}"),
            Self::Unreadable => f.write_str("the content cannot be read to look at it"),
        }
    }
}

/// The kind that every one of `names` promises, where each promises one.
pub(crate) fn promise<'a>(names: impl Iterator<Item = &'a [u8]>) -> Option<&'static Kind> {
    let mut first = None;
    for name in names {
        let kind = promised(extension(name)?)?;
        first = first.or(Some(kind));
    }
    first
}

/// What `finding` means for a file with these names.
pub(crate) fn remark<'a>(finding: Finding, names: impl Iterator<Item = &'a [u8]> + Clone) -> Option<Remark> {
    let promised = promise(names.clone());
    let fits = |found: &Kind| names.clone().filter_map(extension).any(|extension| found.fits(extension));
    Some(match (finding.content(), promised) {
        (Content::Nothing, _) => return None,
        (Content::Unreadable, _) => Remark::Unreadable,
        (Content::All(byte), promised) => Remark::All { byte, promised },
        (Content::Partly(byte), promised) => Remark::Partly { byte, promised },
        (Content::Kind(found, _), _) if fits(found) => Remark::Begins(found),
        (Content::Kind(found, whole), Some(promised)) if found.strength > Strength::Hint => {
            Remark::Other { found, promised, whole }
        }
        (Content::Kind(found, _), None) if found.strength > Strength::Hint => Remark::Begins(found),
        (Content::Unknown | Content::Kind(..), Some(promised)) => Remark::Unlike { promised },
        (Content::Unknown | Content::Kind(..), None) => Remark::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::kinds::recognise;

    fn said(finding: Finding, names: &[&str]) -> (Confidence, String) {
        let remark = remark(finding, names.iter().map(|name| name.as_bytes())).unwrap();
        (remark.at_best(), remark.to_string())
    }

    fn begin(bytes: &[u8]) -> Finding {
        Finding::kind(recognise(bytes).unwrap())
    }

    const PNG: &[u8] = b"\x89PNG\r\n\x1A\n";
    const MP3: &[u8] = b"\xFF\xFB\x90\x44";
    const HTML: &[u8] = b"<!DOCTYPE html>";
    const ZIP: &[u8] = b"PK\x03\x04";

    #[test]
    fn a_strong_signature_of_another_kind_makes_a_file_partial() {
        let (at_best, reason) = said(begin(PNG), &["photo.jpg"]);
        assert_eq!(at_best, Confidence::Partial);
        assert!(reason.contains("PNG") && reason.contains("JPEG"), "{reason}");
        assert_eq!(said(begin(PNG), &["photo.PNG"]).0, Confidence::Certain);
        let whole = Finding::whole(recognise(PNG).unwrap());
        assert_eq!(said(whole, &["photo.jpg"]).0, Confidence::Certain);
    }

    #[test]
    fn what_proves_nothing_costs_no_confidence() {
        for (finding, name) in [
            (begin(ZIP), "letter.docx"),
            (begin(ZIP), "letter.doc"),
            (begin(ZIP), "data.bin"),
            (begin(PNG), "no extension"),
            (begin(HTML), "photo.jpg"),
            (Finding::UNKNOWN, "photo.jpg"),
            (Finding::UNREADABLE, "photo.jpg"),
            (Finding::all(Blank::Zeros), "data.bin"),
            (Finding::partly(Blank::Ones), "data.bin"),
        ] {
            assert_eq!(said(finding, &[name]).0, Confidence::Certain, "{finding:?} {name}");
        }
    }

    #[test]
    fn a_hint_counts_only_where_the_name_says_the_same() {
        assert_eq!(said(begin(MP3), &["a.mp3"]).1, "the content begins as MPEG audio does");
        assert_eq!(said(begin(MP3), &["a.jpg"]), said(Finding::UNKNOWN, &["a.jpg"]));
        assert_eq!(said(begin(MP3), &["a.bin"]), said(Finding::UNKNOWN, &["a.bin"]));
    }

    #[test]
    fn what_a_drive_has_discarded_is_lost_where_the_name_promises_a_signature() {
        for byte in [Blank::Zeros, Blank::Ones] {
            assert_eq!(said(Finding::all(byte), &["a.pdf"]).0, Confidence::Lost);
            assert_eq!(said(Finding::partly(byte), &["a.pdf"]).0, Confidence::Partial);
        }
    }

    #[test]
    fn every_name_of_a_file_has_to_be_contradicted() {
        assert_eq!(said(begin(PNG), &["a.jpg", "a.gif"]).0, Confidence::Partial);
        assert_eq!(said(begin(PNG), &["a.jpg", "a.png"]).0, Confidence::Certain);
        assert_eq!(said(begin(PNG), &["a.jpg", "a"]).0, Confidence::Certain);
        assert_eq!(said(Finding::all(Blank::Zeros), &["a.jpg", "a"]).0, Confidence::Certain);
        assert_eq!(said(Finding::all(Blank::Zeros), &[]).0, Confidence::Certain);
    }

    #[test]
    fn findings_are_kept_and_a_snapshot_does_not_follow_them() {
        let findings = Findings::new(3);
        assert_eq!(findings.get(1), None);
        let before = findings.snapshot();
        findings.set(1, Finding::UNKNOWN);
        findings.set(7, Finding::UNKNOWN);
        assert_eq!(findings.get(1), Some(Finding::UNKNOWN));
        assert_eq!((before.get(1), findings.get(7)), (None, None));
    }

    #[test]
    fn every_finding_survives_its_byte() {
        for byte in [Blank::Zeros, Blank::Ones] {
            assert!(matches!(Finding::all(byte).content(), Content::All(b) if b == byte));
            assert!(matches!(Finding::partly(byte).content(), Content::Partly(b) if b == byte));
        }
        for (place, kind) in KINDS.iter().enumerate() {
            let found = Finding::kind(place as u8).content();
            assert!(matches!(found, Content::Kind(found, false) if found.name == kind.name));
            let found = Finding::whole(place as u8).content();
            assert!(matches!(found, Content::Kind(found, true) if found.name == kind.name));
        }
    }
}
