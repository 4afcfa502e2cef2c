//! Files as the Windows Overlay Filter compresses them (CompactOS, `compact /exe`), made without our code: wimlib
//! compresses, because a resource in a WIM image has the layout of the stream `WofCompressedData`, and ntfs-3g
//! writes.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use crate::{guard, tools};

/// Name of the stream with the compressed content.
pub const STREAM: &str = "WofCompressedData";
/// Reparse tag.
pub const TAG: u32 = 0x8000_0017;

/// A method of compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Algorithm {
    Xpress4k,
    Lzx,
    Xpress8k,
    Xpress16k,
}

impl Algorithm {
    /// All methods.
    pub const ALL: [Self; 4] = [Self::Xpress4k, Self::Lzx, Self::Xpress8k, Self::Xpress16k];

    /// `FILE_PROVIDER_COMPRESSION_*` of `ntifs.h`.
    pub fn number(self) -> u32 {
        match self {
            Self::Xpress4k => 0,
            Self::Lzx => 1,
            Self::Xpress8k => 2,
            Self::Xpress16k => 3,
        }
    }

    /// Content of a chunk in bytes.
    pub fn chunk(self) -> usize {
        match self {
            Self::Xpress4k => 4 << 10,
            Self::Xpress8k => 8 << 10,
            Self::Xpress16k => 16 << 10,
            Self::Lzx => 32 << 10,
        }
    }
}

/// The stream `WofCompressedData` of a file with this content.
pub fn compress(content: &[u8], algorithm: Algorithm) -> Vec<u8> {
    if content.is_empty() {
        return Vec::new();
    }
    let dir = guard::scratch();
    let (plain, wim) = (dir.path().join("plain"), dir.path().join("one.wim"));
    fs::create_dir(&plain).expect("a folder");
    fs::write(plain.join("content"), content).expect("the content");
    let method = if algorithm == Algorithm::Lzx { "LZX" } else { "XPRESS" };
    tools::succeed(
        tools::tool("wimlib-imagex")
            .arg("capture")
            .args([&plain, &wim])
            .args(["--no-acls", &format!("--compress={method}")])
            .arg(format!("--chunk-size={}", algorithm.chunk())),
    );
    resource(&fs::read(&wim).expect("the WIM image"), content.len())
        .unwrap_or_else(|| stored(content, algorithm.chunk()))
}

/// The compressed resource of the only file in a WIM image; `None` where it is not compressed.
fn resource(wim: &[u8], content: usize) -> Option<Vec<u8>> {
    /// The resource is compressed; it holds the tree of the image.
    const COMPRESSED: u8 = 4;
    const METADATA: u8 = 2;
    /// Size of an entry in the table of resources.
    const ENTRY: usize = 50;
    let number = |at: usize, len: usize| -> usize {
        let mut bytes = [0; 8];
        bytes[..len].copy_from_slice(&wim[at..at + len]);
        usize::try_from(u64::from_le_bytes(bytes)).expect("a size")
    };
    let (size, at) = (number(48, 7), number(56, 8));
    let mut entries = (at..at + size).step_by(ENTRY).filter(|at| wim[at + 7] & METADATA == 0);
    let entry = entries.next().expect("the resource of the file");
    assert_eq!(entries.next(), None, "the image has one file");
    assert_eq!(number(entry + 16, 8), content, "the size of the resource");
    let (size, at) = (number(entry, 7), number(entry + 8, 8));
    (wim[entry + 7] & COMPRESSED != 0).then(|| wim[at..at + size].to_vec())
}

/// The stream of a file none of whose chunks is compressed.
pub fn stored(content: &[u8], chunk: usize) -> Vec<u8> {
    let chunks = content.len().div_ceil(chunk);
    let entry = |number: usize| u32::try_from(number * chunk).expect("a small file").to_le_bytes();
    (1..chunks).flat_map(entry).chain(content.iter().copied()).collect()
}

/// The reparse point of a compressed file.
pub fn reparse_point(algorithm: u32) -> Vec<u8> {
    external(1, 2, &[1, algorithm])
}

/// A reparse point of the Windows Overlay Filter: its version, the provider, and what that one stores.
pub fn external(version: u32, provider: u32, more: &[u32]) -> Vec<u8> {
    let data = [version, provider].into_iter().chain(more.iter().copied());
    let data: Vec<u8> = data.flat_map(u32::to_le_bytes).collect();
    let mut point = TAG.to_le_bytes().to_vec();
    point.extend(u16::try_from(data.len()).expect("a small reparse point").to_le_bytes());
    point.extend([0; 2]);
    point.extend(data);
    point
}

/// Makes `file`, on a volume mounted by ntfs-3g for writing, a compressed one of `size` bytes: `packed` is its stream
/// `WofCompressedData`, if it is to have one, `point` its reparse point.
pub fn write(file: &Path, size: u64, packed: Option<&[u8]>, point: &[u8]) {
    File::create(file).and_then(|file| file.set_len(size)).expect("an empty file");
    if let Some(packed) = packed {
        fs::write(stream(file), packed).expect("the compressed stream");
    }
    set_reparse_point(file, point);
}

/// Path of the compressed stream of `file`.
pub fn stream(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(":");
    path.push(STREAM);
    path.into()
}

/// Gives `file` a reparse point.
pub fn set_reparse_point(file: &Path, point: &[u8]) {
    let hex: String = point.iter().map(|byte| format!("{byte:02x}")).collect();
    tools::succeed(
        tools::tool("setfattr")
            .args(["--no-dereference", "-n", "system.ntfs_reparse_data", "-v"])
            .arg(format!("0x{hex}"))
            .arg(file),
    );
}

/// Reads files with libfsntfs and writes their contents to the files `0`, `1` and so on.
const READER: &str = "
import pathlib, sys
import pyfsntfs

image, out, *names = sys.argv[1:]
volume = pyfsntfs.volume()
volume.open(image)
for number, name in enumerate(names):
    entry = volume.get_file_entry_by_path('\\\\' + name)
    try:
        content = entry.read_buffer(entry.get_size())
    except OSError:
        continue
    pathlib.Path(out, str(number)).write_bytes(content)
";

/// What libfsntfs reads as the contents of these files in the root of the volume in `image`; `None` where it fails.
pub fn read_with_libfsntfs(image: &Path, names: &[&str]) -> Vec<Option<Vec<u8>>> {
    let dir = guard::scratch();
    // The library belongs to the system's own Python.
    tools::succeed(
        tools::tool("/usr/bin/python3").args(["-c", READER]).arg(image).arg(dir.path()).args(names),
    );
    (0..names.len()).map(|number| fs::read(dir.path().join(number.to_string())).ok()).collect()
}
