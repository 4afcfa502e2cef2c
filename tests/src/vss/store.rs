//! Writing the catalogue and the stores.

use std::fs;

use super::Made;

/// Size of a block in bytes.
pub const BLOCK: usize = 0x4000;
const PAGE: usize = 4096;
const IDENTIFIER: [u8; 16] =
    [0x6B, 0x87, 0x08, 0x38, 0x76, 0xC1, 0x48, 0x4E, 0xB7, 0xAE, 0x04, 0x04, 0x6E, 0x6C, 0xC7, 0x52];
/// Begins every page of the file that the stores lie in until they are written.
const MARK: &[u8] = b"room for a block of a store";
/// Blocks in the list of a store that one of its blocks holds.
const PER_LIST: usize = (BLOCK - 128) / 32;

/// How stores describe blocks beside plain copies.
#[derive(Debug, Clone, Copy)]
pub struct Tricks {
    /// Blocks are moved to free ones instead of being copied, some twice, some are copied after that.
    pub forwarders: bool,
    /// Of some blocks only the sectors that changed are kept.
    pub overlays: bool,
    /// Descriptors that are void or superseded stand between the others.
    pub noise: bool,
}

impl Tricks {
    /// Every kind.
    pub fn all() -> Self {
        Self { forwarders: true, overlays: true, noise: true }
    }
}

/// Content of the file that the stores come to lie in.
pub(super) fn marked(size: usize) -> Vec<u8> {
    let mut bytes = vec![0xA5; size];
    bytes.chunks_mut(PAGE).for_each(|page| page[..MARK.len()].copy_from_slice(MARK));
    bytes
}

/// Blocks by number.
fn block(volume: &[u8], number: usize) -> &[u8] {
    &volume[number * BLOCK..(number + 1) * BLOCK]
}

/// Whether a cluster of the block is in use, by the bitmap of a volume with clusters of 4 KiB.
fn in_use(bitmap: &[u8], number: usize) -> bool {
    bitmap.get(number / 2).is_none_or(|byte| byte >> (number % 2 * 4) & 0xF != 0)
}

/// Blocks that are given out one after the other.
struct Room {
    blocks: std::vec::IntoIter<usize>,
}

impl Room {
    fn take(&mut self) -> usize {
        self.blocks.next().expect("room for a block")
    }
}

/// One store as it is put together.
struct Store {
    /// Its blocks, in the order of the store.
    blocks: Vec<usize>,
    descriptors: Vec<[u8; 32]>,
}

impl Store {
    /// Gives it a block; where that stands in the store.
    fn own(&mut self, number: usize) -> u64 {
        self.blocks.push(number);
        ((self.blocks.len() - 1) * BLOCK) as u64
    }

    fn describe(&mut self, original: usize, relative: u64, at: usize, flags: u32, sectors: u32) {
        let mut bytes = [0; 32];
        let fields = [(original * BLOCK) as u64, relative, (at * BLOCK) as u64];
        for (to, field) in bytes.chunks_mut(8).zip(fields) {
            to.copy_from_slice(&field.to_le_bytes());
        }
        bytes[24..28].copy_from_slice(&flags.to_le_bytes());
        bytes[28..].copy_from_slice(&sectors.to_le_bytes());
        self.descriptors.push(bytes);
    }
}

/// Puts the catalogue and the stores onto the volume.
pub(super) fn write(made: &Made, rng: &mut fastrand::Rng, tricks: Tricks) {
    let then: Vec<Vec<u8>> = made.then.iter().map(|path| fs::read(path).expect("a volume")).collect();
    let mut now = fs::read(&made.image).expect("the volume");
    let bitmaps: Vec<Vec<u8>> =
        made.then.iter().chain([&made.image]).map(|path| Made::bitmap(path)).collect();
    let count = now.len() / BLOCK;
    let is_room = |number: &usize| block(&now, *number).chunks(PAGE).all(|page| page.starts_with(MARK));
    let area: Vec<usize> = (0..count).filter(is_room).collect();
    let unused: Vec<usize> = (0..count - 1)
        .filter(|number| bitmaps.iter().all(|bitmap| !in_use(bitmap, *number)))
        // No file has ever been there, so what is moved there takes nothing from one that was deleted.
        .filter(|number| {
            let mut volumes = then.iter().chain([&now]);
            volumes.all(|volume| block(volume, *number).iter().all(|byte| *byte == 0))
        })
        .collect();
    let mut room = Room { blocks: area.clone().into_iter() };
    let mut unused = Room { blocks: unused.into_iter() };
    let catalogue = [room.take(), room.take()];
    assert_eq!(catalogue[0] + 1, catalogue[1]);
    let mut entries = Vec::new();
    // Blocks that the shadow copies before do not need, because they were free or are kept already.
    let mut before: Option<Vec<u8>> = None;
    for (index, was) in then.iter().enumerate() {
        let mut store = Store { blocks: Vec::new(), descriptors: Vec::new() };
        let head: Vec<usize> = (0..3).map(|_| room.take()).collect();
        head.iter().for_each(|number| {
            store.own(*number);
        });
        let next = then.get(index + 1).map_or_else(|| now.clone(), Clone::clone);
        let is_set = |bits: &[u8], number: usize| bits[number / 8] >> (number % 8) & 1 == 1;
        let kept = |number: usize| {
            in_use(&bitmaps[index], number) || before.as_ref().is_some_and(|bits| !is_set(bits, number))
        };
        let mut copied = Vec::new();
        let mut moved = 0;
        for number in (0..count).filter(|number| area.binary_search(number).is_err() && kept(*number)) {
            let (old, new) = (block(was, number), block(&next, number));
            let sectors = (0..32).filter(|n| old[n * 512..(n + 1) * 512] != new[n * 512..(n + 1) * 512]);
            let sectors = sectors.fold(0_u32, |bits, n| bits | 1 << n);
            if sectors == 0 {
                continue;
            }
            copied.push(number);
            let mut put = |at: usize, bytes: &[u8]| now[at * BLOCK..(at + 1) * BLOCK].copy_from_slice(bytes);
            if tricks.noise && rng.u8(..) < 20 {
                store.describe(number, 0, area[0], 4, 0);
            }
            if tricks.forwarders && moved < 30 && rng.u8(..) < 90 {
                moved += 1;
                let to = unused.take();
                store.describe(number, (to * BLOCK) as u64, 0, 1, 0);
                match rng.u8(0..3) {
                    0 => put(to, old),
                    1 => {
                        let again = unused.take();
                        put(again, old);
                        store.describe(to, (again * BLOCK) as u64, 0, 1, 0);
                    }
                    _ => {
                        let at = room.take();
                        put(at, old);
                        let relative = store.own(at);
                        store.describe(to, relative, at, 0x88, 0);
                    }
                }
                continue;
            }
            let at = room.take();
            let relative = store.own(at);
            if tricks.overlays && index == 0 && sectors != u32::MAX {
                let junk = vec![0xEE; BLOCK];
                put(at, &junk);
                for n in (0..32).filter(|n| sectors >> n & 1 == 1) {
                    now[at * BLOCK + n * 512..][..512].copy_from_slice(&old[n * 512..][..512]);
                }
                let first = sectors & rng.u32(..);
                store.describe(number, relative, at, 2, first);
                store.describe(number, 1, at, 2, sectors & !first);
                continue;
            }
            if tricks.noise && rng.u8(..) < 20 {
                store.describe(number, 0, area[area.len() - 1], 0, 0);
            }
            put(at, old);
            store.describe(number, relative, at, if rng.bool() { 0x88 } else { 0 }, 0);
        }
        // Windows does not keep what was free, nor the stores themselves.
        let mut bits = vec![0_u8; count.div_ceil(8)];
        for number in (0..count).filter(|n| !in_use(&bitmaps[index], *n) || area.binary_search(n).is_ok()) {
            bits[number / 8] |= 1 << (number % 8);
        }
        let places = finish(&mut now, store, &head, &mut room, &bits, before.as_deref());
        for (byte, before) in bits.iter_mut().zip(before.iter().flatten()) {
            *byte &= before;
        }
        copied.iter().for_each(|number| bits[number / 8] |= 1 << (number % 8));
        before = Some(bits);
        entries.extend(catalogue_entries(index, was.len(), places));
    }
    // Entries need not stand in the order of age, and some are void.
    entries.rotate_left(2);
    entries.insert(1, header_field(1, 128));
    let half = entries.len() / 2;
    for (n, part) in [&entries[..half], &entries[half..]].into_iter().enumerate() {
        let next = if n == 0 { catalogue[1] * BLOCK } else { 0 };
        put_block(&mut now, catalogue[n], 2, n * BLOCK, next, 0, &part.concat());
    }
    let mut header = IDENTIFIER.to_vec();
    header.extend([1_u32, 1].map(u32::to_le_bytes).concat());
    header.extend([0x1E00, 0x1E00, 0, (catalogue[0] * BLOCK) as u64, 0].map(u64::to_le_bytes).concat());
    header.extend([7; 32]);
    now[0x1E00..0x1E00 + header.len()].copy_from_slice(&header);
    fs::write(&made.image, now).expect("the volume");
}

fn header_field(value: u64, len: usize) -> Vec<u8> {
    let mut bytes = value.to_le_bytes().to_vec();
    bytes.resize(len, 0);
    bytes
}

fn put_block(
    now: &mut [u8],
    at: usize,
    kind: u32,
    relative: usize,
    next: usize,
    information: usize,
    body: &[u8],
) {
    let mut bytes = IDENTIFIER.to_vec();
    bytes.extend([1, kind].map(u32::to_le_bytes).concat());
    bytes.extend([relative, at * BLOCK, next, information].map(|n| (n as u64).to_le_bytes()).concat());
    bytes.resize(128, 0);
    bytes.extend(body);
    bytes.resize(BLOCK, 0);
    now[at * BLOCK..(at + 1) * BLOCK].copy_from_slice(&bytes);
}

/// Writes the structures of a store. Where its block list, header, block range list and bitmaps are, in blocks.
fn finish(
    now: &mut [u8],
    mut store: Store,
    head: &[usize],
    room: &mut Room,
    bits: &[u8],
    before: Option<&[u8]>,
) -> [usize; 5] {
    let mut bitmaps = [0; 2];
    for (place, bits) in bitmaps.iter_mut().zip([Some(bits), before]) {
        let Some(bits) = bits else { continue };
        *place = room.take();
        let relative = store.own(*place) as usize;
        put_block(now, *place, 6, relative, 0, 0, bits);
    }
    let mut lists: Vec<(usize, usize)> = vec![(head[1], BLOCK)];
    while lists.len() * PER_LIST < store.descriptors.len() {
        let at = room.take();
        lists.push((at, store.own(at) as usize));
    }
    for (n, (at, relative)) in lists.iter().enumerate() {
        let part = store.descriptors.chunks(PER_LIST).nth(n).unwrap_or_default().concat();
        let next = lists.get(n + 1).map_or(0, |(next, _)| next * BLOCK);
        put_block(now, *at, 3, *relative, next, 0, &part);
    }
    let ranges = store
        .blocks
        .iter()
        .enumerate()
        .skip(3)
        .map(|(n, at)| [at * BLOCK, n * BLOCK, BLOCK].map(|field| (field as u64).to_le_bytes()).concat());
    let mut ranges: Vec<u8> = ranges.collect::<Vec<_>>().concat();
    // One block of the list is enough for the first ones, by which the others are found.
    ranges.truncate((BLOCK - 128) / 24 * 24);
    put_block(now, head[2], 5, 2 * BLOCK, 0, 0, &ranges);
    let mut body = vec![1; 16];
    body.extend([head[0] as u8; 16]);
    body.extend([2; 16]);
    body.extend([9_u32, 1, 0x0042_0009, 0].map(u32::to_le_bytes).concat());
    for machine in ["maker", "service"] {
        let text: Vec<u8> = machine.encode_utf16().flat_map(u16::to_le_bytes).collect();
        body.extend((text.len() as u16).to_le_bytes());
        body.extend(text);
    }
    put_block(now, head[0], 4, 0, 0, body.len(), &body);
    [head[1], head[0], head[2], bitmaps[0], bitmaps[1]]
}

/// The two entries of a shadow copy.
fn catalogue_entries(index: usize, size: usize, places: [usize; 5]) -> [Vec<u8>; 2] {
    let [list, header, ranges, bitmap, previous] = places.map(|place| (place * BLOCK) as u64);
    let identifier = [index as u8 + 1; 16];
    let time = 130_000_000_000_000_000 + index as u64 * 864_000_000_000;
    let mut copy = [2, size as u64].map(u64::to_le_bytes).concat();
    copy.extend(identifier);
    copy.extend([index as u64 + 1, 0x40, time].map(u64::to_le_bytes).concat());
    let mut store = [3, list].map(u64::to_le_bytes).concat();
    store.extend(identifier);
    store.extend([header, ranges, bitmap, 0x30, 0, previous, 0].map(u64::to_le_bytes).concat());
    [copy, store].map(|mut entry| {
        entry.resize(128, 0);
        entry
    })
}
