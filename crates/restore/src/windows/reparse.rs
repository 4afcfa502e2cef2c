//! Symbolic links as reparse points: SYMBOLIC_LINK_REPARSE_DATA_BUFFER (MS-FSCC 2.1.2.4).

use super::names;

/// Tag of a symbolic link.
pub const SYMLINK: u32 = 0xA000_000C;

/// The target is relative to the folder of the link.
const RELATIVE: u32 = 1;

/// Most bytes of a reparse point.
const MAX: usize = 16 << 10;

/// The reparse point of a link whose target the tree gives as `target`, with `/` between names; `None` where it is longer
/// than a reparse point can be.
pub fn symlink(target: &[u8]) -> Option<Vec<u8>> {
    let relative = !target.starts_with(b"/");
    let mut path: Vec<u16> = Vec::new();
    for (number, part) in target.split(|byte| *byte == b'/').enumerate() {
        if number > 0 {
            path.push(u16::from(b'\\'));
        }
        match part {
            b"" | b"." | b".." => path.extend(part.iter().copied().map(u16::from)),
            name => path.extend(names::shown(name)),
        }
    }
    let name: Vec<u8> = path.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let len = u16::try_from(name.len()).ok()?;
    // Offsets, lengths and flags take 12 bytes; the name stands twice: for the system and for the user.
    let data = u16::try_from(name.len().checked_mul(2)?.checked_add(12)?).ok()?;
    let mut buffer = Vec::with_capacity(usize::from(data).saturating_add(8));
    buffer.extend(SYMLINK.to_le_bytes());
    buffer.extend(data.to_le_bytes());
    buffer.extend(0_u16.to_le_bytes());
    for field in [0, len, len, len] {
        buffer.extend(field.to_le_bytes());
    }
    buffer.extend(if relative { RELATIVE } else { 0 }.to_le_bytes());
    buffer.extend(&name);
    buffer.extend(&name);
    (buffer.len() <= MAX).then_some(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_has_its_target_twice_and_with_backslashes() {
        let buffer = symlink(b"../a/b").unwrap();
        assert_eq!(buffer[..4], SYMLINK.to_le_bytes());
        assert_eq!(usize::from(buffer[4]), buffer.len() - 8);
        assert_eq!(buffer[8..16], [0, 0, 12, 0, 12, 0, 12, 0]);
        assert_eq!(buffer[16..20], [1, 0, 0, 0]);
        let name: Vec<u8> = r"..\a\b".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!((&buffer[20..32], &buffer[32..]), (&name[..], &name[..]));
    }

    #[test]
    fn a_target_that_no_reparse_point_can_hold_gives_none() {
        assert!(symlink(&b"a/".repeat(20_000)).is_none());
        assert!(symlink(&b"a/".repeat(3_000)).is_none());
        assert!(symlink(&b"a/".repeat(1_000)).is_some());
    }
}
