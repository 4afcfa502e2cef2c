//! `FILE_ATTRIBUTE_*` bits (MS-FSCC 2.6).

use crate::NodeKind;

/// Cannot be changed.
pub const READONLY: u32 = 0x1;
/// Not shown unless asked for.
pub const HIDDEN: u32 = 0x2;
/// Belongs to the system.
pub const SYSTEM: u32 = 0x4;
/// A directory.
pub const DIRECTORY: u32 = 0x10;
/// Changed since the last backup.
pub const ARCHIVE: u32 = 0x20;
/// Has a reparse point.
pub const REPARSE_POINT: u32 = 0x400;
/// Is not indexed.
pub const NOT_CONTENT_INDEXED: u32 = 0x2000;

/// What of a file's own attributes is true of the file that is shown as well. Compressed, encrypted, sparse, offline
/// and the rest say how it is stored on its volume, which is not how the mount stores it.
const KEPT: u32 = READONLY | HIDDEN | SYSTEM | ARCHIVE | NOT_CONTENT_INDEXED;

/// The attributes that a node of this kind is shown with; `own` are those on its volume. That the volume is read-only is no
/// attribute of a file: what is copied from it would keep that.
pub fn shown(kind: NodeKind, own: u32) -> u32 {
    let kept = own & KEPT;
    match kind {
        NodeKind::Directory => kept | DIRECTORY,
        NodeKind::File => kept,
        NodeKind::Link => kept | REPARSE_POINT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_file_is_stored_is_not_shown_and_what_it_is_to_the_user_is() {
        assert_eq!(shown(NodeKind::File, 0x4A20), ARCHIVE);
        assert_eq!(shown(NodeKind::Directory, 0x16), DIRECTORY | HIDDEN | SYSTEM);
        assert_eq!(shown(NodeKind::File, REPARSE_POINT | READONLY), READONLY);
        assert_eq!(shown(NodeKind::Link, 0), REPARSE_POINT);
    }
}
