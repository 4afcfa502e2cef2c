use std::io::Write;

use undelfs_volume::filesystem::FileTime;

use crate::{RestorableFile, report};

/// Appends one file as a line of a bodyfile: `MD5|name|inode|mode|UID|GID|size|atime|mtime|ctime|crtime`.
pub(super) fn write(of: &RestorableFile<'_>, out: &mut Vec<u8>) {
    let file = of.file;
    out.extend_from_slice(b"0|/");
    for &byte in of.path {
        // What would end the field or the line is escaped as in the names of the mount.
        if byte == b'|' || byte < b' ' {
            let _ = write!(out, "%{byte:02X}");
        } else {
            out.push(byte);
        }
    }
    let deleted = if report::state(file) == "deleted" { " (deleted)" } else { "" };
    let mode = match report::kind(file) {
        "directory" => "d/dr-xr-xr-x",
        "link" => "l/lr--r--r--",
        _ => "r/rr--r--r--",
    };
    let seconds = |time: FileTime| time.unix().0;
    let _ = writeln!(
        out,
        "{deleted}|{}|{mode}|0|0|{}|{}|{}|{}|{}",
        of.record,
        file.size,
        seconds(file.accessed),
        seconds(file.modified),
        seconds(file.changed),
        seconds(file.created),
    );
}
