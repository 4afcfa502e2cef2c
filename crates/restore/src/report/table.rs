use std::io::Write;

use crate::{RestorableFile, names::printable, report};

/// Names of the columns.
pub(super) const HEADER: &str = "STATE    CONFIDENCE          SIZE  MODIFIED                PATH\n";

/// Appends one file as a line of a table.
pub(super) fn write(of: &RestorableFile<'_>, terminal: bool, out: &mut Vec<u8>) {
    let file = of.file;
    let modified = report::time(file.modified);
    let modified = modified.split('.').next().unwrap_or_default().trim_end_matches('Z');
    let size = match report::kind(file) {
        "file" => file.size.to_string(),
        kind => kind.to_owned(),
    };
    let state = report::state(file);
    let confidence = of.confidence.as_str();
    let _ = write!(out, "{state:<8} {confidence:<10} {size:>13}  {modified:<22}  ");
    if terminal {
        out.extend_from_slice(printable(&String::from_utf8_lossy(of.path)).as_bytes());
    } else {
        out.extend_from_slice(of.path);
    }
    out.push(b'\n');
    if !of.efs.is_empty() {
        let _ = writeln!(out, "         encrypted, for {}", printable(&report::who(of)));
    }
}
