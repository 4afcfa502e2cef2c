//! Names of devices (Win32 "Naming Files, Paths, and Namespaces").

use std::path::{Path, PathBuf};

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// A file.
    File,
    /// A device.
    Device(Device),
}

/// A device.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Device {
    /// Its name as the system takes it: one with a backslash at its end would be the root directory of a volume.
    pub(super) path: PathBuf,
    /// The number of a physical drive.
    pub(super) drive: Option<u32>,
}

/// Tells the names of devices from those of files: `\\.\NAME`, `\\?\Volume{…}` and what lies below `GLOBALROOT`.
pub(super) fn parse(path: &Path) -> Named {
    let Some(text) = path.to_str() else { return Named::File };
    let Some(rest) = text.strip_prefix(r"\\.\").or_else(|| text.strip_prefix(r"\\?\")) else {
        return Named::File;
    };
    let name = rest.strip_suffix('\\').unwrap_or(rest);
    let below_root = starts_with(name, r"GLOBALROOT\Device\");
    if name.is_empty() || (name.contains('\\') && !below_root) {
        return Named::File;
    }
    let drive = starts_with(name, "PhysicalDrive").then(|| name.get("PhysicalDrive".len()..)?.parse().ok());
    let prefix = text.get(..text.len().saturating_sub(rest.len())).unwrap_or_default();
    Named::Device(Device { path: format!("{prefix}{name}").into(), drive: drive.flatten() })
}

fn starts_with(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(path: &str, drive: Option<u32>) -> Named {
        Named::Device(Device { path: path.into(), drive })
    }

    #[test]
    fn drives_volumes_and_shadow_copies_are_devices() {
        assert_eq!(parse(Path::new(r"\\.\PhysicalDrive2")), device(r"\\.\PhysicalDrive2", Some(2)));
        assert_eq!(parse(Path::new(r"\\.\physicaldrive10")), device(r"\\.\physicaldrive10", Some(10)));
        assert_eq!(parse(Path::new(r"\\.\C:")), device(r"\\.\C:", None));
        assert_eq!(parse(Path::new(r"\\?\Volume{1}\")), device(r"\\?\Volume{1}", None));
        let copy = r"\\?\GLOBALROOT\Device\HarddiskVolumeShadowCopy3";
        assert_eq!(parse(Path::new(copy)), device(copy, None));
    }

    #[test]
    fn files_are_no_devices_also_below_a_drive_that_is_named_like_one() {
        for name in
            [r"C:\disk.img", "disk.img", r"\\?\C:\disk.img", r"\\.\C:\disk.img", r"\\server\share\x", r"\\.\"]
        {
            assert_eq!(parse(Path::new(name)), Named::File, "{name}");
        }
    }
}
