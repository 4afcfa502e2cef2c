use std::fmt::Write;

use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;

use crate::{RestorableFile, report};

#[derive(Serialize)]
struct Line<'a> {
    path: Text<'a>,
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
    provenance: &'static str,
}

/// WTF-8 as a JSON string: an unpaired surrogate becomes its `\u` escape, so that nothing is lost.
struct Text<'a>(&'a [u8]);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let quoted = RawValue::from_string(quote(self.0)).map_err(S::Error::custom)?;
                quoted.serialize(serializer)
            }
        }
    }
}

fn quote(text: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for unit in undelfs_ntfs::name::to_utf16(text) {
        match char::from_u32(u32::from(unit)) {
            Some(c @ ('"' | '\\')) => quoted.extend(['\\', c]),
            Some(c @ ' '..='~') => quoted.push(c),
            _ => drop(write!(quoted, "\\u{unit:04x}")),
        }
    }
    quoted.push('"');
    quoted
}

/// Appends one file as a line of JSON.
pub(super) fn write(of: &RestorableFile<'_>, out: &mut Vec<u8>) {
    let file = of.file;
    let line = Line {
        path: Text(of.path),
        record: file.record,
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
        provenance: report::PROVENANCE,
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

    #[test]
    fn unpaired_surrogates_survive_in_json() {
        let text = serde_json::to_string(&Text(b"a\xED\xA0\x80\"\n\xF0\x9F\xA6\x80")).unwrap();
        assert_eq!(text, r#""a\ud800\"\u000a\ud83e\udd80""#);
        assert_eq!(serde_json::to_string(&Text("é".as_bytes())).unwrap(), "\"é\"");
    }
}
