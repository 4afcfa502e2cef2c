//! Reparse points as Windows stores them, for the images' symbolic links.

/// `SYMLINK_FLAG_RELATIVE`, MS-FSCC 2.1.2.4.
const RELATIVE: u32 = 1;

/// The reparse data of a relative symbolic link to `target`, which is written with `/`. MS-FSCC 2.1.2.4.
pub fn symlink(target: &str) -> Vec<u8> {
    let name: Vec<u8> = target.replace('/', "\\").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let len = short(name.len());
    let mut data = Vec::new();
    for number in [len, len, 0, len] {
        data.extend(number.to_le_bytes());
    }
    data.extend(RELATIVE.to_le_bytes());
    data.extend(&name);
    data.extend(&name);
    with_header(0xA000_000C, &data)
}

fn with_header(tag: u32, data: &[u8]) -> Vec<u8> {
    let mut out = tag.to_le_bytes().to_vec();
    out.extend(short(data.len()).to_le_bytes());
    out.extend([0; 2]);
    out.extend(data);
    out
}

fn short(len: usize) -> u16 {
    u16::try_from(len).expect("reparse data below 64 KiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_length_counts_what_follows_the_header() {
        let data = symlink("a/b");
        assert_eq!(usize::from(u16::from_le_bytes([data[4], data[5]])), data.len() - 8);
        assert_eq!(&data[20..26], b"a\0\\\0b\0");
    }
}
