use std::{io::Read, ops::Range, sync::Arc};

use proptest::prelude::*;
use undelfs_source::ReadAt;

use super::*;

/// Everything that comes, as it comes.
#[derive(Default, Debug, PartialEq, Eq, Clone)]
struct Collected {
    metadata: Vec<u8>,
    streams: Vec<(Vec<u8>, bool, Vec<u8>)>,
    finished: bool,
}

impl Collected {
    fn put(&mut self, at: u64, bytes: &[u8], end: u64) {
        let content = &mut self.streams.last_mut().unwrap().2;
        let at = usize::try_from(at).unwrap();
        content.resize(content.len().max(at + bytes.len()).max(usize::try_from(end).unwrap()), 0);
        content[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

impl Sink for Collected {
    type Error = ();

    fn metadata(&mut self, efs: &[u8]) -> Result<(), ()> {
        self.metadata = efs.to_vec();
        Ok(())
    }

    fn stream(&mut self, name: &[u8], encrypted: bool) -> Result<(), ()> {
        self.streams.push((name.to_vec(), encrypted, Vec::new()));
        Ok(())
    }

    fn block(&mut self, block: Block<'_>) -> Result<(), ()> {
        assert!(block.valid <= block.end && block.offset.is_multiple_of(512));
        assert!(block.stored.len().is_multiple_of(512));
        if block.end > 1 << 20 {
            // No file of a test is so large: an offset was changed.
            return Err(());
        }
        self.put(block.offset, block.stored, block.end);
        Ok(())
    }

    fn plain(&mut self, bytes: &[u8]) -> Result<(), ()> {
        let at = self.streams.last().unwrap().2.len() as u64;
        self.put(at, bytes, 0);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ()> {
        self.finished = true;
        Ok(())
    }
}

/// Gives as many bytes at a time as it is told.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let len = buf.len().min(self.1);
        self.0.read(&mut buf[..len])
    }
}

fn stored_bytes(size: u64) -> Vec<u8> {
    (0..size.next_multiple_of(512)).map(|at| (at % 251) as u8 + 1).collect()
}

fn source(name: &str, size: u64, stored: Option<Vec<Range<u64>>>) -> Source {
    let bytes = stored_bytes(size);
    let bytes = if stored.is_some() { bytes } else { bytes[..size as usize].to_vec() };
    Source { name: name.into(), size, valid: size, stored, sparse: false, bytes: Arc::new(bytes) }
}

fn whole(export: &Export) -> Vec<u8> {
    let mut bytes = vec![0; export.size() as usize];
    export.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn collect(bytes: &[u8], step: usize) -> Result<Collected, BadRaw> {
    let mut all = Collected::default();
    match read(&mut Trickle(bytes, step), &mut all) {
        Ok(()) => Ok(all),
        Err(Unread::Bad(error)) => {
            assert!(!all.finished);
            Err(error)
        }
        Err(error) => panic!("{error:?}"),
    }
}

#[expect(clippy::single_range_in_vec_init, reason = "a list of one range")]
fn all_of(size: u64) -> Option<Vec<Range<u64>>> {
    Some(vec![0..size.next_multiple_of(512)])
}

fn sample() -> Vec<u8> {
    let streams = vec![
        source("", 70_000, all_of(70_000)),
        source("named", 600, all_of(600)),
        source("plain", 100, None),
        source("empty", 0, Some(Vec::new())),
    ];
    whole(&Export::new(&[0xEF; 680], streams, 4096).unwrap())
}

#[test]
fn a_small_file_has_the_layout_that_windows_gives_it() {
    let export = Export::new(&[0xEF; 680], vec![source("", 569, all_of(569))], 4096).unwrap();
    let bytes = whole(&export);
    assert_eq!(bytes.len(), 0x914);
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!((word(0x14), word(0x32), word(0x2EA), word(0x314)), (0x1E, 0x2B8, 0x2A, 0x600));
    assert_eq!(bytes[0x14 + 28..][..2], [0x10, 0x19]);
    assert_eq!(bytes[0x314 + 16 + 8..][..4], 0x1F0_u32.to_le_bytes());
    assert_eq!((word(0x314 + 28), word(0x314 + 32)), (569, 569));
    assert_eq!(bytes[0x314 + 38..][..6], [10, 10, 12, 1, 1, 0]);
    assert_eq!(word(0x314 + 44), 1024);
    assert_eq!(bytes[0x314 + 48..][..8], *b"EXTD\x10\0\0\0");
    assert_eq!(bytes[0x514..], stored_bytes(569)[..]);
}

#[test]
fn what_is_exported_is_imported_in_pieces_of_any_size() {
    let bytes = sample();
    let all = collect(&bytes, usize::MAX).unwrap();
    assert!(all.finished);
    assert_eq!(all.metadata, [0xEF; 680]);
    let names: Vec<_> = all.streams.iter().map(|(name, encrypted, _)| (&name[..], *encrypted)).collect();
    assert_eq!(names, [(&b""[..], true), (b"named", true), (b"plain", false), (b"empty", true)]);
    assert!(all.streams[0].2 == stored_bytes(70_000) && all.streams[1].2 == stored_bytes(600));
    assert!(all.streams[2].2 == stored_bytes(100)[..100] && all.streams[3].2.is_empty());
    for step in [1, 7, 511, 4096] {
        assert!(collect(&bytes, step).unwrap() == all, "{step} bytes at a time");
    }
}

#[test]
fn any_part_of_an_export_is_made_without_what_comes_before() {
    let streams =
        || vec![source("", 200_000, Some(vec![0..512, 66_048..200_192])), source("p", 70_000, None)];
    let export = Export::new(&[1; 100], streams(), 512).unwrap();
    let all = whole(&export);
    for (at, len) in [(0, 1), (5, 3000), (170, 70_000), (70_000, 66_048), (all.len() - 3, 10)] {
        let mut part = vec![0; len];
        let read = export.read_at(&mut part, at as u64).unwrap();
        assert!(part[..read] == all[at..all.len().min(at + len)], "{len} bytes at {at}");
    }
    assert_eq!(export.read_at(&mut [0; 9], all.len() as u64).unwrap(), 0);
}

/// Where a stream header or a segment ends: there a shorter file could end as well.
fn borders(bytes: &[u8]) -> Vec<usize> {
    let mut borders = Vec::new();
    let mut at = FILE_HEADER;
    while at < bytes.len() {
        at += u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        borders.push(at);
    }
    // The metadata have to be there.
    borders.split_off(1)
}

#[test]
fn a_stream_that_is_cut_anywhere_inside_a_part_is_refused() {
    let bytes = sample();
    let borders = borders(&bytes);
    for cut in 0..bytes.len() {
        let result = collect(&bytes[..cut], usize::MAX);
        assert_eq!(result.is_ok(), borders.contains(&cut), "{cut} bytes: {:?}", result.err());
    }
}

#[test]
fn lengths_that_lie_wrong_tags_and_parts_out_of_order_are_refused() {
    let bytes = sample();
    let borders = borders(&bytes);
    let (data, second) = (borders[0], borders[1]);
    let set = |at: usize, value: &[u8]| {
        let mut changed = bytes.clone();
        changed[at..at + value.len()].copy_from_slice(value);
        collect(&changed, usize::MAX)
    };
    for (at, what) in [(0, "version"), (4, "magic"), (24, "tag"), (48, "metadata name"), (second + 4, "tag")]
    {
        assert!(set(at, &[0xEE]).is_err(), "{what}");
    }
    for at in [0x14, 0x32, data, second] {
        for length in [0_u32, 5, 15, 0x7FFF_FFFF, u32::MAX] {
            assert!(set(at, &length.to_le_bytes()).is_err(), "length {length} at {at}");
        }
    }
    let header = second + 16;
    for (at, value) in [
        (header, &u64::MAX.to_le_bytes()[..]),
        (header, &1_u64.to_le_bytes()),
        (header + 8, &u32::MAX.to_le_bytes()),
        (header + 8, &4_u32.to_le_bytes()),
        (header + 12, &u32::MAX.to_le_bytes()),
        (header + 16, &70_000_u32.to_le_bytes()),
        (header + 22, &[5]),
        (header + 22, &[60]),
        (header + 25, &[2]),
        (header + 26, &[0, 0]),
        (header + 26, &[0xFF, 0xFF]),
        (header + 28, &[1, 0, 0, 0]),
        (header + 28, &[0, 0, 2, 0]),
    ] {
        assert!(set(at, value).is_err(), "{value:02x?} at {}", at - header);
    }
    // The second segment once more, and a stream once more.
    let (third, fourth) = (borders[2], borders[3]);
    for extra in [&bytes[second..third], &bytes[data..second]] {
        let changed = [&bytes[..fourth], extra, &bytes[fourth..]].concat();
        assert!(collect(&changed, usize::MAX).is_err());
        let changed = [&bytes[..third], extra, &bytes[third..]].concat();
        assert!(collect(&changed, usize::MAX).is_err());
    }
}

#[test]
fn a_name_with_a_nul_behind_it_is_taken_and_one_that_is_a_path_is_not() {
    let name = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let export = |text: &str| {
        let header =
            [&28_u32.wrapping_add(2 * text.len() as u32).to_le_bytes()[..], &STREAM_TAG, &[0; 12]].concat();
        let header = [&header[..], &(2 * text.len() as u32).to_le_bytes(), &name(text)].concat();
        let mut bytes = whole(&Export::new(&[0; 90], Vec::new(), 512).unwrap());
        bytes.extend(header);
        collect(&bytes, usize::MAX)
    };
    assert_eq!(export("::$DATA\0").unwrap().streams[0].0, b"");
    assert_eq!(export(":one:$DATA").unwrap().streams[0].0, b"one");
    for text in ["", "x", ":a/b:$DATA", ":../x:$DATA", ":a\\b:$DATA", ":a:b:$DATA", "$DATA", ":$EFS"] {
        assert!(export(text).is_err(), "{text}");
    }
}

#[test]
fn what_comes_before_the_named_streams_is_the_file_without_them() {
    let bytes = sample();
    let begin = without_named_streams(&bytes).unwrap() as usize;
    let mut all = collect(&bytes, 4096).unwrap();
    all.streams.truncate(1);
    assert_eq!(collect(&bytes[..begin], 4096).unwrap(), all);
    assert_eq!(without_named_streams(&bytes[..begin].to_vec()).unwrap(), begin as u64);
    for cut in 0..begin {
        assert_eq!(without_named_streams(&bytes[..cut].to_vec()).unwrap(), cut as u64, "cut at {cut}");
    }
}

#[test]
fn many_streams_are_read_in_a_time_that_grows_with_their_number() {
    let source = |number: u32| source(&format!("{number:05}"), 0, Some(Vec::new()));
    let bytes = whole(&Export::new(&[0; 100], (0..60_000).map(source).collect(), 4096).unwrap());
    let before = std::time::Instant::now();
    assert_eq!(collect(&bytes, 65_536).unwrap().streams.len(), 60_000);
    assert!(before.elapsed().as_secs() < 20, "{:?}", before.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_bytes_have_an_end_before_their_named_streams(rest in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes = [&MAGIC[..], &[0; 8], &rest].concat();
        prop_assert!(without_named_streams(&bytes).unwrap() <= bytes.len() as u64);
    }

    #[test]
    fn any_change_of_a_raw_stream_is_read_or_refused(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = sample();
        // Most bytes are content, where nothing can go wrong.
        let places: Vec<usize> = (0..1400).chain(66_800..67_600).chain(bytes.len() - 1400..bytes.len()).collect();
        for (at, value) in changes {
            bytes[places[at.index(places.len())]] = value;
        }
        let _ = read(&mut &bytes[..], &mut Collected::default());
    }

    #[test]
    fn any_bytes_behind_the_magic_are_read_or_refused(rest in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = [&MAGIC[..], &[0; 8], &rest].concat();
        let _ = collect(&bytes, 4096);
    }
}
