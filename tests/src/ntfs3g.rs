//! Making NTFS volumes with `mkntfs`, and writing to and reading from them with `ntfs-3g`.

use std::{path::Path, process::Stdio};

use tempfile::TempDir;

use crate::{
    guard::{self, Mounted},
    tools,
};

/// How a volume is formatted.
#[derive(Debug, Clone)]
pub struct Format {
    /// Size in bytes.
    pub size: u64,
    /// Cluster size in bytes, 512 to 2 MiB.
    pub cluster: u32,
    /// Logical sector size in bytes, 512 to 4096. With 4096 the FILE records have 4 KiB.
    pub sector: u32,
    /// The volume's label.
    pub label: String,
}

/// Makes `image` a file of `format.size` bytes with an empty NTFS volume.
pub fn format(image: &Path, format: &Format) {
    let file = std::fs::File::create(image).expect("the image file");
    file.set_len(format.size).expect("the image's size");
    drop(file);
    format_again(image, format);
}

/// Makes an empty NTFS volume over what is in `image`, which keeps its size: a quick format.
pub fn format_again(image: &Path, format: &Format) {
    tools::succeed(
        tools::tool("mkntfs")
            .args(["--quick", "--force", "--quiet", "--partition-start", "0", "--heads", "16"])
            .args(["--sectors-per-track", "63", "--label", &format.label])
            .args(["--cluster-size", &format.cluster.to_string()])
            .args(["--sector-size", &format.sector.to_string()])
            .arg(image),
    );
}

/// How named streams are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// As `file:stream`, of any size.
    Windows,
    /// As extended attributes `user.stream` of at most 64 KiB.
    Xattr,
}

/// A volume mounted by `ntfs-3g`.
#[derive(Debug)]
pub struct Volume {
    mounted: Mounted,
    _dir: TempDir,
}

impl Volume {
    /// Mounts `image` for writing; named streams are `file:stream`, symbolic links those of WSL.
    pub fn write(image: &Path) -> Self {
        Self::mount(image, "streams_interface=windows,compression,special_files=wsl,big_writes,noatime")
    }

    /// As [`write`](Self::write), with the files that NTFS keeps for itself.
    pub fn with_system_files(image: &Path) -> Self {
        Self::mount(image, "show_sys_files,streams_interface=windows,noatime")
    }

    /// Mounts `image` so that encrypted files are written as they are stored; named streams are `file:stream`.
    pub fn efs_raw(image: &Path) -> Self {
        Self::mount(image, "efs_raw,streams_interface=windows,noatime")
    }

    /// Mounts `image` for reading only.
    pub fn read(image: &Path, streams: Streams) -> Self {
        let interface = if streams == Streams::Windows { "windows" } else { "xattr" };
        Self::mount(image, &format!("ro,streams_interface={interface}"))
    }

    fn mount(image: &Path, options: &str) -> Self {
        let dir = guard::scratch();
        // ntfs-3g runs in the foreground because only its end says that all of the volume is written.
        let mounted = Mounted::serve(
            tools::tool("ntfs-3g")
                .args(["-o", &format!("no_detach,{options}")])
                .arg(image)
                .arg(dir.path())
                .stderr(Stdio::null()),
            dir.path(),
        );
        Self { mounted, _dir: dir }
    }

    /// The root directory.
    pub fn root(&self) -> &Path {
        self.mounted.dir()
    }

    /// Unmounts and waits until everything is in the image.
    pub fn unmount(self) {
        self.mounted.unmount();
    }
}
