//! What a caller calls a source: a device by its Windows name, or a path of the host.

use std::path::PathBuf;

use crate::{Code, wide};

/// What Windows puts before the name of a device.
const DEVICES: [&[u8]; 2] = [br"\\.\", br"\\?\"];

/// A source as it was named.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    /// A path of the host.
    Path(Vec<u8>),
    /// A volume by its letter, in lower case.
    Drive(char),
    /// Another device, `/` between the parts of its name.
    Device(Vec<u8>),
}

fn parse(name: &[u16]) -> Result<Named, Code> {
    let name = wide::to_wtf8(name);
    if name.is_empty() || name.contains(&0) {
        return Err(Code::INVALID_PARAMETER);
    }
    let Some(device) = DEVICES.iter().find_map(|prefix| name.strip_prefix(*prefix)) else {
        return Ok(Named::Path(name));
    };
    match *device {
        [letter, b':'] | [letter, b':', b'\\'] if letter.is_ascii_alphabetic() => {
            Ok(Named::Drive(letter.to_ascii_lowercase().into()))
        }
        _ => {
            let device: Vec<u8> =
                device.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect();
            // Nothing but a device can be meant.
            let is_part = |part: &[u8]| !part.is_empty() && part != b"." && part != b"..";
            match device.split(|byte| *byte == b'/').all(is_part) {
                true => Ok(Named::Device(device)),
                false => Err(Code::FILE_NOT_FOUND),
            }
        }
    }
}

/// Where the source is that a caller calls so. A drive letter is looked up where Wine keeps the devices of its drives.
#[cfg(unix)]
pub(crate) fn resolve(name: &[u16]) -> Result<PathBuf, Code> {
    use std::path::Path;

    match parse(name)? {
        Named::Path(path) => Ok(host_path(path)),
        Named::Device(device) => Ok(Path::new("/dev").join(host_path(device))),
        Named::Drive(letter) => drive(letter as u8),
    }
}

/// The device of a drive, an ASCII letter, where Wine keeps it.
#[cfg(unix)]
pub(crate) fn drive(letter: u8) -> Result<PathBuf, Code> {
    use std::env;

    let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
    let letter = char::from(letter.to_ascii_lowercase());
    let prefix = variable("WINEPREFIX").map(PathBuf::from);
    let prefix = prefix.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".wine")));
    let device = prefix.map(|prefix| prefix.join("dosdevices").join(format!("{letter}::")));
    device.filter(|device| device.exists()).ok_or(Code::FILE_NOT_FOUND)
}

/// A path that is the host's own.
#[cfg(unix)]
pub(crate) fn host_path(path: Vec<u8>) -> PathBuf {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt};

    PathBuf::from(OsString::from_vec(path))
}

/// The path of a file to write.
#[cfg(unix)]
pub(crate) fn destination(name: &[u16]) -> Result<PathBuf, Code> {
    let path = wide::to_wtf8(name);
    if path.is_empty() || path.contains(&0) {
        return Err(Code::INVALID_PARAMETER);
    }
    Ok(host_path(path))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(name: &str) -> Result<Named, Code> {
        parse(&name.encode_utf16().collect::<Vec<u16>>())
    }

    #[test]
    fn drives_devices_and_paths_are_told_apart() {
        assert_eq!(named(r"\\.\C:"), Ok(Named::Drive('c')));
        assert_eq!(named(r"\\.\x:\"), Ok(Named::Drive('x')));
        assert_eq!(named(r"\\.\PhysicalDrive0"), Ok(Named::Device(b"PhysicalDrive0".to_vec())));
        assert_eq!(named(r"\\.\mapper\vg-data"), Ok(Named::Device(b"mapper/vg-data".to_vec())));
        assert_eq!(named("/dev/loop0"), Ok(Named::Path(b"/dev/loop0".to_vec())));
        assert_eq!(named("disk.img"), Ok(Named::Path(b"disk.img".to_vec())));
    }

    #[test]
    fn a_device_name_leads_nowhere_but_to_devices() {
        for name in [r"\\.\..\etc\passwd", r"\\.\a/../../b", r"\\.\", r"\\.\a\\b", r"\\.\."] {
            assert_eq!(named(name), Err(Code::FILE_NOT_FOUND), "{name}");
        }
    }

    #[test]
    fn a_device_name_stands_for_a_node_in_dev() {
        let name: Vec<u16> = r"\\.\loop7".encode_utf16().collect();
        assert_eq!(resolve(&name), Ok(PathBuf::from("/dev/loop7")));
    }

    #[test]
    fn an_empty_name_is_no_source() {
        assert_eq!(named(""), Err(Code::INVALID_PARAMETER));
    }

    proptest! {
        #[test]
        fn no_device_name_leaves_dev(rest in "[a.:/\\\\]{0,12}") {
            let name: Vec<u16> = format!(r"\\.\{rest}").encode_utf16().collect();
            if let Ok(Named::Device(device)) = parse(&name) {
                let path = String::from_utf8(device).unwrap();
                prop_assert!(!path.starts_with('/') && path.split('/').all(|part| part != ".."));
            }
        }
    }
}
