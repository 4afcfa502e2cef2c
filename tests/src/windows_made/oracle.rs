//! What other programs read of a volume that Windows encrypted.
//!
//! | volumes | libbde | dislocker | dissect.fve |
//! |---|---|---|---|
//! | AES-CBC with and without diffuser, XTS-AES 128 | yes | yes | yes, slowly |
//! | XTS-AES 256 | no | yes | yes, slowly |
//! | sectors of 4096 bytes, To Go | yes | yes | yes |
//! | startup key of Windows 11 | yes | no | yes |
//! | suspended, on a complete volume without encryption on write | no | yes | yes |
//! | Windows Vista | no | no | yes, slowly |
//! | stopped while converting, border in the metadata | no | up to the border | yes, slowly |
//! | encryption on write, also while converting or decrypted | no | no | yes |

use std::{
    fs::File,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{Key, Kind, Protector, Sample, set};
use crate::{
    guard::{self, Mounted},
    tools,
};

/// Our reader of volumes with dissect.fve.
const READER: &str = include_str!("reader.py");

/// Unit of comparing, in bytes.
const PIECE: usize = 1 << 20;

/// Largest number of differences that a test shows.
const SHOWN: usize = 8;

/// The volume as dislocker decrypts it, in `dir`.
///
/// # Panics
/// When dislocker cannot open the volume with `key`.
pub fn dislocker(sample: &Sample, key: &Key, dir: &Path) -> PathBuf {
    let out = dir.join(format!("{}.dislocker", sample.name));
    let mut command = tools::tool("dislocker-file");
    command.arg("-V").arg(&sample.image);
    match key {
        Key::Nothing => command.arg("-c"),
        Key::Password(password) => command.arg(format!("-u{password}")),
        Key::RecoveryPassword(digits) => command.arg(format!("-p{digits}")),
        Key::StartupKey(path) => command.arg("-f").arg(path),
        Key::Fvek(_) => panic!("dislocker wants the method beside the key: give it another one"),
    };
    tools::succeed(command.arg("--").arg(&out));
    out
}

/// The volume as libbde decrypts it, mounted; see [`Bde::path`].
#[derive(Debug)]
pub struct Bde {
    mounted: Mounted,
    _dir: TempDir,
}

impl Bde {
    /// Mounts it with `bdemount`.
    ///
    /// # Panics
    /// When libbde cannot open the volume with `key`.
    pub fn mount(sample: &Sample, key: &Key) -> Self {
        let dir = guard::scratch();
        let mut command = tools::tool("bdemount");
        match key {
            Key::Nothing => &mut command,
            Key::Password(password) => command.arg("-p").arg(password),
            Key::RecoveryPassword(digits) => command.arg("-r").arg(digits),
            Key::StartupKey(path) => command.arg("-s").arg(path),
            Key::Fvek(digits) => command.arg("-k").arg(digits),
        };
        tools::succeed(command.arg(&sample.image).arg(dir.path()));
        Self { mounted: Mounted::new(dir.path(), None), _dir: dir }
    }

    /// The decrypted volume. What the image lacks of it cannot be read.
    pub fn path(&self) -> PathBuf {
        self.mounted.dir().join("bde1")
    }
}

/// The volume as dissect.fve decrypts it, in `dir`: `ranges` of it, or all with none.
///
/// # Panics
/// When dissect.fve cannot open the volume with `key`.
pub fn dissect(sample: &Sample, key: &Key, ranges: &[Range<u64>], dir: &Path) -> PathBuf {
    let out = dir.join(format!("{}.dissect", sample.name));
    let (kind, secret) = match key {
        Key::Nothing => ("none", "".into()),
        Key::Password(password) => ("password", password.into()),
        Key::RecoveryPassword(digits) => ("recovery", digits.into()),
        Key::StartupKey(path) => ("bek", path.clone().into_os_string()),
        Key::Fvek(digits) => ("fvek", digits.into()),
    };
    let mut command = python("read", &sample.image);
    command.arg(&out).arg(kind).arg(secret);
    for range in ranges {
        command.arg(range.start.to_string()).arg((range.end - range.start).to_string());
    }
    tools::succeed(&mut command);
    out
}

/// All key protectors of the volume, as dissect.fve reads them.
pub fn protectors(image: &Path) -> Vec<Protector> {
    let output = tools::succeed(&mut python("protectors", image));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let protector = |line: &str| {
        let (kind, identifier) = line.split_once(' ').expect("a kind and an identifier");
        let kind = match kind {
            "clear" => Kind::ClearKey,
            "password" => Kind::Password,
            "recovery" => Kind::RecoveryPassword,
            "external" => Kind::StartupKey,
            "certificate" => Kind::SmartCard,
            other => panic!("{}: a key protector of kind {other}", image.display()),
        };
        Protector { kind, identifier: identifier.to_owned() }
    };
    text.lines().map(protector).collect()
}

/// The ranges that Windows presents as zeros, as dissect.fve finds them, without those behind the image's end.
pub fn reserved(image: &Path) -> Vec<Range<u64>> {
    let length = length(image);
    let output = tools::succeed(&mut python("regions", image));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let range = |line: &str| {
        let (offset, length) = line.split_once(' ').expect("an offset and a length");
        let [offset, length] = [offset, length].map(|number| number.parse::<u64>().expect("a number"));
        offset..offset + length
    };
    let inside = |range: Range<u64>| range.start..range.end.min(length);
    text.lines().map(range).map(inside).filter(|range| !range.is_empty()).collect()
}

/// Where a wrong reading would show: the begin and the end, what is around each reserved range and each of
/// `borders`, and a little of everywhere else. For oracles that take minutes for a whole volume.
pub fn places(image: &Path, borders: &[u64]) -> Vec<Range<u64>> {
    const AROUND: u64 = 32 << 10;
    const SAMPLES: u64 = 64;
    let length = length(image);
    let mut centres: Vec<Range<u64>> = reserved(image);
    centres.extend(borders.iter().map(|border| *border..*border));
    centres.extend([0..AROUND, length..length]);
    let mut places: Vec<_> = centres
        .into_iter()
        .flat_map(|range| {
            let around = |at: u64| at.saturating_sub(AROUND)..(at + AROUND).min(length);
            [around(range.start), around(range.end)]
        })
        .collect();
    places.extend((0..SAMPLES).map(|number| length / SAMPLES * number / 4096 * 4096).map(|at| at..at + 4096));
    places.retain(|range| !range.is_empty());
    places
}

/// The begin of a volume, up to byte `end`, as ranges to compare.
pub fn until(end: u64) -> Vec<Range<u64>> {
    std::iter::once(0..end).collect()
}

/// Length in bytes.
pub fn length(image: &Path) -> u64 {
    image.metadata().unwrap_or_else(|error| panic!("{}: {error}", image.display())).len()
}

/// Asserts that `ours` and `theirs` are the same in each of `ranges`.
///
/// # Panics
/// When they are not, with the first ranges that differ, in whole sectors of 512 bytes.
pub fn assert_same(what: &str, ours: &Path, theirs: &Path, ranges: &[Range<u64>]) {
    let open = |path: &Path| File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (left, right) = (open(ours), open(theirs));
    let mut differences: Vec<Range<u64>> = Vec::new();
    let (mut a, mut b) = (vec![0; PIECE], vec![0; PIECE]);
    for range in ranges {
        let mut at = range.start;
        while at < range.end {
            let count = usize::try_from(range.end - at).map_or(PIECE, |rest| rest.min(PIECE));
            let (a, b) = (&mut a[..count], &mut b[..count]);
            for (file, path, buffer) in [(&left, ours, &mut *a), (&right, theirs, &mut *b)] {
                file.read_exact_at(buffer, at)
                    .unwrap_or_else(|error| panic!("{what}: {} at {at}: {error}", path.display()));
            }
            if a != b {
                add_differences(&mut differences, at, a, b);
            }
            at += count as u64;
        }
    }
    let shown: Vec<String> = differences.iter().take(SHOWN).map(|range| format!("{range:?}")).collect();
    assert!(
        differences.is_empty(),
        "{what}: {} and {} differ in {} ranges of bytes: {}",
        ours.display(),
        theirs.display(),
        differences.len(),
        shown.join(", ")
    );
}

fn add_differences(found: &mut Vec<Range<u64>>, start: u64, a: &[u8], b: &[u8]) {
    let sectors = (start..).step_by(512).zip(a.chunks(512).zip(b.chunks(512)));
    for (at, (left, _)) in sectors.filter(|(_, (left, right))| left != right) {
        let end = at + left.len() as u64;
        match found.last_mut() {
            Some(last) if last.end == at => last.end = end,
            _ => found.push(at..end),
        }
    }
}

fn python(command: &str, image: &Path) -> std::process::Command {
    let mut python = tools::tool("python3");
    // Isolated from the user's own packages; ours stand beside the samples.
    python.env("PYTHONPATH", set("python")).env("PYTHONDONTWRITEBYTECODE", "1");
    python.args(["-s", "-c", READER, command]).arg(image);
    python
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_shown_as_ranges_of_whole_sectors() {
        let dir = guard::scratch();
        let [ours, theirs] = ["ours", "theirs"].map(|name| dir.path().join(name));
        let mut bytes = vec![7; 3 << 20];
        std::fs::write(&theirs, &bytes).unwrap();
        for at in [600, 1100, (1 << 20) - 1, 1 << 20, (3 << 20) - 1] {
            bytes[at] = 0;
        }
        std::fs::write(&ours, &bytes).unwrap();
        assert_same("outside of them", &ours, &theirs, &[0..512, 2048..4096]);
        let end = 3 << 20;
        let panic =
            std::panic::catch_unwind(|| assert_same("volume", &ours, &theirs, &until(end))).unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.ends_with("3 ranges of bytes: 512..1536, 1048064..1049088, 3145216..3145728"), "{text}");
    }
}
