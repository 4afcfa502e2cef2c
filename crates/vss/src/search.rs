//! The search of a whole volume for stores that no catalogue lists.

use std::collections::{BTreeMap, HashSet};

use memchr::memmem;
use undelfs_source::{ErrorKind, ReadAt, bytes::u64_at};
use undelfs_volume::{Error, filesystem::Watch};

use crate::{
    block::{Block, Chain, Header, IDENTIFIER, Kind},
    catalogue::{Entries, Entry, MAX_COPIES, Places},
};

/// How much is read at once.
const PIECE: usize = 1 << 20;
/// Blocks begin at sectors.
const STEP: u64 = 512;
/// Most blocks that are kept, 40 MiB of them; the lists of a store of 8 TiB.
const MAX_FOUND: usize = 1 << 20;
/// Size of an entry of a block range list in bytes.
const RANGE: usize = 24;

/// What a search has found.
pub(crate) struct Found {
    /// Stores by where they stand, with what a catalogue, in force or not, says of them.
    pub(crate) stores: Vec<(Option<Entry>, Places)>,
    pub(crate) notes: Vec<String>,
}

/// Searches `volume` for stores.
///
/// # Errors
/// When `watch` cancelled it.
pub(crate) fn stores(volume: &dyn ReadAt, watch: &dyn Watch) -> Result<Found, Error> {
    let (blocks, mut notes) = blocks(volume, watch)?;
    let mut entries = Entries::default();
    for header in blocks.iter().filter(|header| header.kind == Kind::Catalogue) {
        if let Ok(block) = Block::read(volume, header.at, Kind::Catalogue) {
            entries.add(&block);
        }
    }
    let (entries, more) = entries.into_copies();
    notes.extend(more);
    let parts = Parts::new(&blocks);
    let mut stores = Vec::new();
    for header in blocks.iter().filter(|header| header.kind == Kind::Store).take(MAX_COPIES) {
        let listed = |entry: &&Entry| entry.places.is_some_and(|places| places.header == header.at);
        match entries.iter().find(listed) {
            Some(entry) => stores.extend(entry.places.map(|places| (Some(*entry), places))),
            None => stores.push((None, parts.places(volume, header.at))),
        }
    }
    stores.sort_by_key(|(entry, places)| (entry.map(|entry| entry.created), places.header));
    Ok(Found { stores, notes })
}

/// All blocks that say of themselves that they stand where they do, in order.
fn blocks(volume: &dyn ReadAt, watch: &dyn Watch) -> Result<(Vec<Header>, Vec<String>), Error> {
    let end = volume.present();
    let finder = memmem::Finder::new(&IDENTIFIER);
    let mut found = Vec::new();
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    watch.total(end);
    while at < end {
        if watch.cancelled() {
            let reason = "the search for shadow copies was cancelled".to_owned();
            return Err(Error::Refused { kind: ErrorKind::Cancelled, reason });
        }
        // A hole of a sparse image holds nothing.
        let data = volume.next_data(at).min(end);
        let data = data.saturating_sub(data % STEP).max(at);
        watch.advance(data.saturating_sub(at));
        at = data;
        let len = usize::try_from(end.saturating_sub(at)).unwrap_or(PIECE).min(PIECE);
        let bytes = piece.get_mut(..len).unwrap_or_default();
        volume.read_salvage(bytes, at);
        for hit in finder.find_iter(bytes) {
            let place = at.saturating_add(hit as u64);
            let header = bytes.get(hit..).and_then(Header::parse);
            if let Some(header) = header.filter(|header| place % STEP == 0 && header.at == place) {
                if found.len() == MAX_FOUND {
                    let note = format!(
                        "more than {MAX_FOUND} blocks of shadow copies were found; the rest is left out"
                    );
                    return Ok((found, vec![note]));
                }
                found.push(header);
            }
        }
        at = at.saturating_add(len as u64);
        watch.advance(len as u64);
    }
    Ok((found, Vec::new()))
}

/// The blocks that lists begin with, by kind and place in the store.
struct Parts {
    heads: BTreeMap<(u8, u64), Vec<u64>>,
}

impl Parts {
    fn new(blocks: &[Header]) -> Self {
        let followers: HashSet<(Kind, u64)> = blocks
            .iter()
            .filter(|header| header.next != 0)
            .map(|header| (header.kind, header.next))
            .collect();
        let mut heads: BTreeMap<(u8, u64), Vec<u64>> = BTreeMap::new();
        for header in blocks {
            if !followers.contains(&(header.kind, header.at)) {
                heads.entry((header.kind as u8, header.relative)).or_default().push(header.at);
            }
        }
        Self { heads }
    }

    /// Where the lists of the store whose header stands at byte `header` begin. A block belongs to it that stands where
    /// the store has what is as far from its begin as the block says: right behind the header, or where the block range
    /// list has it.
    fn places(&self, volume: &dyn ReadAt, header: u64) -> Places {
        let behind = |relative: u64| header.checked_add(relative);
        let lists = self.of(Kind::RangeList, &behind);
        let ranges = ranges(volume, lists.first().copied().unwrap_or(0));
        let place = |relative: u64| {
            let inside = |(start, (at, len)): (&u64, &(u64, u64))| {
                let within = relative.checked_sub(*start).filter(|within| within < len)?;
                at.checked_add(within)
            };
            ranges.range(..=relative).next_back().and_then(inside).or_else(|| behind(relative))
        };
        let bitmaps = self.of(Kind::Bitmap, &place);
        Places {
            header,
            block_list: self.of(Kind::BlockList, &place).first().copied().unwrap_or(0),
            bitmap: bitmaps.first().copied().unwrap_or(0),
            previous_bitmap: bitmaps.get(1).copied().unwrap_or(0),
        }
    }

    /// The first two lists of a kind, in the order of the store.
    fn of(&self, kind: Kind, place: &dyn Fn(u64) -> Option<u64>) -> Vec<u64> {
        let kind = kind as u8;
        let lists = self.heads.range((kind, 0)..=(kind, u64::MAX));
        let own = lists.filter_map(|((_, relative), places)| {
            let wanted = place(*relative)?;
            places.contains(&wanted).then_some(wanted)
        });
        own.take(2).collect()
    }
}

/// Where the parts of a store stand, by their place in it: where on the volume, and their size; in bytes.
fn ranges(volume: &dyn ReadAt, first: u64) -> BTreeMap<u64, (u64, u64)> {
    let mut ranges = BTreeMap::new();
    let mut seen = HashSet::new();
    for block in Chain::new(volume, first, Kind::RangeList, &mut seen).map_while(Result::ok) {
        for entry in block.body().chunks_exact(RANGE) {
            if let (Some(at), Some(relative), Some(len @ 1..)) =
                (u64_at(entry, 0), u64_at(entry, 8), u64_at(entry, 16))
            {
                ranges.insert(relative, (at, len));
            }
        }
    }
    ranges
}
