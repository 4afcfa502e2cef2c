//! How `undelfs umount` tells the process that serves a tree: by an event with the name of the mount point.

use std::{fmt::Write, path::Path};

/// The name of the event of a mount point, which is a full path or a drive. Upper and lower case are the same, as they
/// are to the system.
pub(super) fn name(mountpoint: &Path) -> String {
    let text = mountpoint.to_string_lossy().to_uppercase();
    let mut name = String::from(r"Global\undelfs-mount-");
    // A backslash would lead into another name space, and the name of an event has at most 260 units.
    for byte in text.trim_end_matches('\\').bytes() {
        match byte {
            b'A'..=b'Z' | b'0'..=b'9' => name.push(byte.into()),
            _ => {
                let _ = write!(name, "%{byte:02X}");
            }
        }
    }
    if name.len() > 200 {
        let hash = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
        name.truncate(180);
        let _ = write!(name, "-{hash:016X}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_has_one_name_however_it_is_written() {
        assert_eq!(name(Path::new("x:")), name(Path::new("X:\\")));
        assert_ne!(name(Path::new("X:")), name(Path::new("Y:")));
    }

    #[test]
    fn a_name_fits_and_has_no_backslash_in_it_after_its_name_space() {
        let long = format!(r"C:\{}", "é".repeat(4000));
        let name = name(Path::new(&long));
        assert!(name.len() < 260 && name.matches('\\').count() == 1, "{name}");
    }
}
