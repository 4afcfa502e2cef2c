use std::{borrow::Cow, fmt::Write};

use serde::Serialize;

use crate::{RestorableFile, report};

#[derive(Serialize)]
struct Line<'a> {
    path: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    record: u32,
    sequence: u16,
    state: &'static str,
    r#type: &'static str,
    size: u64,
    created: String,
    modified: String,
    changed: String,
    accessed: String,
    attributes: u32,
    clusters_used: u64,
    clusters_in_use: u64,
    confidence: &'static str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'static str>,
    provenance: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_before: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    efs: Vec<Efs<'a>>,
}

/// One who can decrypt a file.
#[derive(Serialize)]
struct Efs<'a> {
    list: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
}

impl<'a> From<&'a undelfs_efs::Entry> for Efs<'a> {
    fn from(entry: &'a undelfs_efs::Entry) -> Self {
        Self {
            list: entry.list.as_str(),
            name: entry.name.as_deref(),
            sid: entry.owner.as_ref().map(ToString::to_string),
            certificate: entry.thumbprint.as_ref().map(ToString::to_string),
        }
    }
}

/// The bytes of a path that is no valid Unicode, in hexadecimal: JSON cannot say an unpaired surrogate in a form that
/// every parser takes.
fn hex(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len() * 2);
    for byte in path {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Appends one file as a line of JSON.
pub(super) fn write(of: &RestorableFile<'_>, out: &mut Vec<u8>) {
    let file = of.file;
    let path = String::from_utf8_lossy(of.path);
    let line = Line {
        path_hex: matches!(path, Cow::Owned(_)).then(|| hex(of.path)),
        path,
        record: of.record,
        sequence: file.generation,
        state: report::state(file),
        r#type: report::kind(file),
        size: file.size,
        created: report::time(file.created),
        modified: report::time(file.modified),
        changed: report::time(file.changed),
        accessed: report::time(file.accessed),
        attributes: file.attributes,
        clusters_used: file.clusters,
        clusters_in_use: of.clusters_in_use,
        confidence: of.confidence.as_str(),
        reason: &of.reason,
        content: of.content,
        provenance: report::provenance(of.provenance, file),
        deleted_after: of.deleted.and_then(|between| between.after).map(report::time),
        deleted_before: of.deleted.and_then(|between| between.before).map(report::time),
        efs: of.efs.iter().map(Efs::from).collect(),
    };
    let start = out.len();
    if serde_json::to_writer(&mut *out, &line).is_err() {
        out.truncate(start);
        return;
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Confidence;
    use undelfs_volume::filesystem::{File, FileFlags, FileTime};

    #[test]
    fn a_path_that_is_no_unicode_survives_in_json_that_every_parser_takes() {
        let time = FileTime::UNIX_EPOCH;
        let file = File {
            record: 40,
            generation: 2,
            flags: FileFlags::REMOVED,
            attributes: 0,
            first_link: 0,
            size: 1,
            clusters: 1,
            created: time,
            modified: time,
            changed: time,
            accessed: time,
        };
        let line = |path: &[u8]| -> serde_json::Value {
            let reason = "a reason".to_owned();
            let confidence = Confidence::Likely;
            let mut out = Vec::new();
            let of = RestorableFile {
                path,
                file: &file,
                record: file.record,
                provenance: "$MFT",
                clusters_in_use: 0,
                confidence,
                reason,
                deleted: None,
                content: None,
                efs: Vec::new(),
            };
            write(&of, &mut out);
            serde_json::from_slice(&out).unwrap()
        };
        assert_eq!(line("dir/é".as_bytes())["path"], "dir/é");
        assert!(line("dir/é".as_bytes()).get("path_hex").is_none());
        assert_eq!(line(b"a\xED\xA0\x80")["path_hex"], "61eda080");
    }
}
