//! Pages and trees of an ESE database, made byte by byte.

/// Size of a page in bytes.
pub const PAGE: usize = 4096;
/// Size of a page's header in bytes.
const HEADER: usize = 40;
const ROOT: u32 = 0x1;
const LEAF: u32 = 0x2;
const PARENT_OF_LEAF: u32 = 0x4;
/// Records in the format of today, checksums with error correction.
const FORMAT: u32 = 0x800 | 0x2000;
/// In the flags of a page: what tree it is of.
pub const LONG_VALUE: u32 = 0x80;

/// XOR of all words but the first, begun with the magic number: the checksum of headers.
pub fn header_sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    words.skip(1).fold(0x89AB_CDEF, |sum, word| sum ^ word)
}

/// Writes the checksum of a page, bit by bit as the code is defined: the XOR of the numbers of all set bits in the low half,
/// that of their complements in the high one.
pub fn seal(page: &mut [u8], number: u32) {
    let mut xor = number;
    let (mut numbers, mut complements) = (0u16, 0u16);
    for (at, byte) in page.iter().enumerate().skip(8) {
        xor ^= u32::from(*byte) << (at % 4 * 8);
        for bit in (0..8).filter(|bit| byte >> bit & 1 == 1) {
            let index = (at * 8 + bit) as u16;
            numbers ^= index;
            complements ^= !index & (PAGE * 8 - 1) as u16;
        }
    }
    page[..4].copy_from_slice(&xor.to_le_bytes());
    page[4..8].copy_from_slice(&(u32::from(complements) << 16 | u32::from(numbers)).to_le_bytes());
}

/// The pages of a database behind its two headers.
#[derive(Debug, Default)]
pub struct Pages(Vec<Vec<u8>>);

impl Pages {
    /// The number of a new page.
    pub fn reserve(&mut self) -> u32 {
        self.0.push(vec![0; PAGE]);
        self.0.len() as u32
    }

    /// Reserves pages up to this number.
    pub fn reserve_to(&mut self, number: u32) {
        while (self.0.len() as u32) < number {
            self.reserve();
        }
    }

    /// All of them, one after the other.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.concat()
    }

    /// Makes a tree with its root at page `root`. `nodes` are keys and data, ascending.
    pub fn tree(&mut self, root: u32, object: u32, kind: u32, nodes: &[(Vec<u8>, Vec<u8>)]) {
        let room = PAGE - HEADER - 4 - 16 - 8;
        let mut leaves: Vec<&[(Vec<u8>, Vec<u8>)]> = Vec::new();
        let (mut from, mut used) = (0, 0);
        for (index, (key, data)) in nodes.iter().enumerate() {
            let size = key.len() + data.len() + 2 + 4;
            if used + size > room {
                leaves.push(&nodes[from..index]);
                (from, used) = (index, 0);
            }
            used += size;
        }
        leaves.push(&nodes[from..]);
        if let [only] = leaves[..] {
            self.write(root, object, kind | ROOT | LEAF, (0, 0), only.iter().cloned());
            return;
        }
        let numbers: Vec<u32> = leaves.iter().map(|_| self.reserve()).collect();
        let mut branches = Vec::new();
        for (index, leaf) in leaves.iter().enumerate() {
            let before = index.checked_sub(1).map_or(0, |before| numbers[before]);
            let after = numbers.get(index + 1).copied().unwrap_or(0);
            self.write(numbers[index], object, kind | LEAF, (before, after), leaf.iter().cloned());
            // All keys below are under that of the node; the last one has none.
            let above = leaves.get(index + 1).map_or(Vec::new(), |next| next[0].0.clone());
            branches.push((above, numbers[index].to_le_bytes().to_vec()));
        }
        self.write(root, object, kind | ROOT | PARENT_OF_LEAF, (0, 0), branches.into_iter());
    }

    fn write(
        &mut self,
        number: u32,
        object: u32,
        flags: u32,
        (before, after): (u32, u32),
        nodes: impl Iterator<Item = (Vec<u8>, Vec<u8>)>,
    ) {
        let mut page = vec![0u8; PAGE];
        let mut tags: Vec<(usize, usize)> = Vec::new();
        let mut at = HEADER;
        let mut add = |page: &mut Vec<u8>, bytes: &[u8]| {
            page[at..at + bytes.len()].copy_from_slice(bytes);
            tags.push((at - HEADER, bytes.len()));
            at += bytes.len();
        };
        if flags & ROOT != 0 {
            // One extent of one page, under the root of all.
            let space: Vec<u8> = [1u32, 1, 0, 1].iter().flat_map(|word| word.to_le_bytes()).collect();
            add(&mut page, &space);
        } else {
            add(&mut page, &[]);
        }
        for (key, data) in nodes {
            let node = [&(key.len() as u16).to_le_bytes()[..], &key, &data].concat();
            add(&mut page, &node);
        }
        let free = PAGE - at - tags.len() * 4;
        let fields: [(usize, &[u8]); 7] = [
            (8, &7u64.to_le_bytes()),
            (16, &before.to_le_bytes()),
            (20, &after.to_le_bytes()),
            (24, &object.to_le_bytes()),
            (28, &(free as u16).to_le_bytes()),
            (32, &((at - HEADER) as u16).to_le_bytes()),
            (34, &(tags.len() as u16).to_le_bytes()),
        ];
        for (offset, bytes) in fields {
            page[offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        page[36..40].copy_from_slice(&(flags | FORMAT).to_le_bytes());
        for (index, (offset, size)) in tags.iter().enumerate() {
            let place = PAGE - (index + 1) * 4;
            page[place..place + 2].copy_from_slice(&(*size as u16).to_le_bytes());
            page[place + 2..place + 4].copy_from_slice(&(*offset as u16).to_le_bytes());
        }
        seal(&mut page, number);
        self.0[number as usize - 1] = page;
    }
}

/// The key of a 32-bit number.
pub fn long_key(number: i32) -> Vec<u8> {
    [&[0x7F][..], &((number as u32) ^ 0x8000_0000).to_be_bytes()].concat()
}

/// The key of a 16-bit number.
pub fn short_key(number: i16) -> Vec<u8> {
    [&[0x7F][..], &((number as u16) ^ 0x8000).to_be_bytes()].concat()
}
