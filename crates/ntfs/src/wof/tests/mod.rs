//! Tests of the decompressors against encoders of their own, and of the codec.

mod encode;

use proptest::prelude::*;
use undelfs_source::ErrorKind;
use undelfs_volume::filesystem::Layout;

use super::*;
use encode::{Block, Token, plain_of};

fn tokens(longest: usize, farthest: usize) -> impl Strategy<Value = Vec<Token>> {
    let literal = prop_oneof![3 => any::<u8>(), 1 => Just(0xE8)].prop_map(Token::Literal);
    let length = prop_oneof![4 => 2..40_usize, 1 => 2..=longest];
    let distance = prop_oneof![2 => 1..20_usize, 1 => 1..=farthest];
    let matched = (distance, length).prop_map(|(distance, length)| Token::Match { distance, length });
    proptest::collection::vec(prop_oneof![literal, matched], 1..300)
}

#[test]
fn the_examples_of_ms_xca_decompress() {
    // MS-XCA 3.1: the code, then the bits.
    let mut alphabet = vec![0; 256];
    alphabet[48] = 0x50;
    alphabet[49..59].fill(0x55);
    alphabet[59..62].copy_from_slice(&[0x45, 0x44, 0x04]);
    alphabet[128] = 0x04;
    alphabet.extend([
        0xd8, 0x52, 0x3e, 0xd7, 0x94, 0x11, 0x5b, 0xe9, 0x19, 0x5f, 0xf9, 0xd6, 0x7c, 0xdf, 0x8d, 0x04, 0, 0,
        0, 0,
    ]);
    let mut out = [0; 26];
    xpress::decompress(&alphabet, &mut out).unwrap();
    assert_eq!(&out, b"abcdefghijklmnopqrstuvwxyz");

    let mut repeated = vec![0; 256];
    repeated[48..50].copy_from_slice(&[0x30, 0x23]);
    repeated[128] = 0x02;
    repeated[143] = 0x20;
    repeated.extend([0xa8, 0xdc, 0x00, 0x00, 0xff, 0x26, 0x01]);
    let mut out = [0; 300];
    xpress::decompress(&repeated, &mut out).unwrap();
    assert_eq!(out.as_slice(), b"abc".repeat(100));
}

#[test]
fn a_chunk_that_ends_too_early_is_an_error_and_not_zeros() {
    let tokens: Vec<Token> = (0..200_u8).map(Token::Literal).collect();
    let plain = plain_of(&tokens);
    let mut out = vec![9; plain.len()];
    let packed = encode::xpress(&tokens);
    for len in 0..packed.len() - 4 {
        assert!(xpress::decompress(&packed[..len], &mut out).is_err(), "{len} bytes");
    }
    for block in [Block::Verbatim, Block::Aligned, Block::Stored] {
        let packed = encode::lzx(&[(block, tokens.clone())]);
        for len in 0..packed.len() - 3 {
            assert!(lzx::decompress(&packed[..len], &mut out).is_err(), "{len} bytes");
        }
    }
}

#[test]
fn damage_is_named() {
    let mut out = [0; 100];
    assert_eq!(xpress::decompress(&[0x11; 300], &mut out), Err(Bad::Code));
    assert_eq!(xpress::decompress(&[0; 300], &mut out), Err(Bad::Word));
    let back = encode::xpress(&[Token::Literal(1), Token::Match { distance: 2, length: 5 }]);
    assert_eq!(xpress::decompress(&back, &mut out), Err(Bad::Match { distance: 2, length: 5, have: 1 }));
    assert_eq!(lzx::decompress(&[0; 300], &mut out), Err(Bad::BlockSize { size: 0, left: 100 }));
    assert_eq!(lzx::decompress(&[0xFF; 300], &mut out), Err(Bad::BlockSize { size: 32768, left: 100 }));
    let kind = [0x06, 0, 0, 0x40];
    assert_eq!(lzx::decompress(&kind, &mut out), Err(Bad::BlockKind(0)));
}

proptest! {
    #[test]
    fn xpress_gives_back_what_was_encoded(mut tokens in tokens(9000, 9000)) {
        // The code has no shorter matches.
        tokens.retain(|token| !matches!(token, Token::Match { length: 2, .. }));
        let tokens = encode::possible(&tokens, 16 << 10);
        let plain = plain_of(&tokens);
        let mut out = vec![9; plain.len()];
        prop_assert_eq!(xpress::decompress(&encode::xpress(&tokens), &mut out), Ok(()));
        prop_assert_eq!(out, plain);
    }

    #[test]
    fn lzx_gives_back_what_was_encoded(
        tokens in tokens(257, 32000),
        kinds in proptest::collection::vec(prop_oneof![Just(Block::Verbatim), Just(Block::Aligned), Just(Block::Stored)], 1..6),
    ) {
        let tokens = encode::possible(&tokens, lzx::CHUNK);
        let share = tokens.len().div_ceil(kinds.len());
        let blocks: Vec<(Block, Vec<Token>)> =
            kinds.iter().copied().zip(tokens.chunks(share.max(1)).map(<[Token]>::to_vec)).collect();
        let used: Vec<Token> = blocks.iter().flat_map(|(_, tokens)| tokens.clone()).collect();
        let plain = plain_of(&used);
        let mut out = vec![9; plain.len()];
        prop_assert_eq!(lzx::decompress(&encode::lzx(&blocks), &mut out), Ok(()));
        // What comes out has relative calls where the encoder's content has absolute ones.
        encode::translate_calls(&mut out);
        prop_assert_eq!(out, plain);
    }

    #[test]
    fn no_bytes_make_a_decompressor_panic(
        mut packed in proptest::collection::vec(any::<u8>(), 0..900), len in 0_usize..40000, tidy: bool,
    ) {
        let mut out = vec![0; len];
        if tidy && packed.len() > 256 {
            packed[..256].fill(0x99);
        }
        let _ = xpress::decompress(&packed, &mut out);
        if let (Some(first), true) = (packed.get_mut(1), tidy) {
            *first = *first & 0x0F | 0x30;
        }
        let _ = lzx::decompress(&packed, &mut out);
    }

    #[test]
    fn no_reparse_point_makes_the_parser_panic(bytes: Vec<u8>) {
        let _ = Algorithm::of_reparse_point(&bytes);
    }
}

fn point(numbers: &[u32]) -> Vec<u8> {
    let mut point = vec![0x17, 0, 0, 0x80, 16, 0, 0, 0];
    point.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    point
}

#[test]
fn a_reparse_point_names_the_algorithm_or_is_refused_with_what_it_is() {
    let of = |numbers: &[u32]| Algorithm::of_reparse_point(&point(numbers));
    assert_eq!(of(&[1, 2, 1, 0]), Ok(Algorithm::Xpress4k));
    assert_eq!(of(&[1, 2, 1, 1]), Ok(Algorithm::Lzx));
    assert_eq!(of(&[1, 2, 1, 2]), Ok(Algorithm::Xpress8k));
    assert_eq!(of(&[1, 2, 1, 3, 0]), Ok(Algorithm::Xpress16k));
    for (numbers, words) in [
        (&[1, 1, 1, 0][..], "WIM"),
        (&[1, 3, 1, 0], "provider 3"),
        (&[2, 2, 1, 0], "version 2"),
        (&[1, 2, 1, 4], "algorithm 4"),
        (&[1, 2, 2, 0], "version 2"),
        (&[1, 2, 1], "cut short"),
    ] {
        let reason = of(numbers).unwrap_err();
        assert!(reason.contains(words), "{reason}");
    }
}

fn stream(name: &[u8], size: u64, content: &[u8]) -> Stream {
    let layout = Layout::Resident(content.into());
    Stream { name: name.to_vec(), size, valid: 0, layout, encrypted: false, codec: None, refusal: None }
}

#[test]
fn the_compressed_stream_becomes_the_content_and_is_no_stream_of_its_own() {
    let packed = b"stored as it is";
    let mut streams = vec![stream(b"", 15, b""), stream(b"A", 1, b"a"), stream(STREAM, 15, packed)];
    streams[2].valid = 15;
    unfold(&mut streams, Algorithm::Lzx);
    let names: Vec<&[u8]> = streams.iter().map(|stream| stream.name.as_slice()).collect();
    assert_eq!(names, [b"".as_slice(), b"A"]);
    let Layout::Resident(raw) = &streams[0].layout else {
        panic!("the layout is that of the compressed stream")
    };
    let mut out = [0; 15];
    streams[0].codec.as_ref().unwrap().decode(0, raw, &mut out).unwrap();
    assert_eq!(&out, packed);
    assert_eq!(streams[0].valid, 15);
}

#[test]
fn a_file_whose_compressed_stream_is_lost_is_refused_and_does_not_read_as_zeros() {
    let mut streams = vec![stream(b"", 15, b"")];
    unfold(&mut streams, Algorithm::Lzx);
    let refusal = streams[0].refusal.as_ref().unwrap();
    assert!(
        refusal.kind == ErrorKind::Damaged && refusal.reason.contains("WofCompressedData"),
        "{refusal:?}"
    );
}

#[test]
fn one_bad_chunk_does_not_hide_the_others() {
    let plain: Vec<u8> = (0..3 * 4096_u32).map(|at| (at / 7) as u8).collect();
    let chunks: Vec<Vec<u8>> = plain
        .chunks(4096)
        .map(|chunk| encode::xpress(&chunk.iter().copied().map(Token::Literal).collect::<Vec<_>>()))
        .map(|packed| packed[..packed.len().min(4095)].to_vec())
        .collect();
    // Literals of nine bits do not shrink anything, so the middle one is stored as it is.
    let mut raw = Vec::new();
    raw.extend((chunks[0].len() as u32).to_le_bytes());
    raw.extend((chunks[0].len() as u32 + 4096).to_le_bytes());
    raw.extend(&chunks[0]);
    raw.extend(&plain[4096..8192]);
    raw.extend(&chunks[2]);
    let codec = Wof { algorithm: Algorithm::Xpress4k, chunks: Chunks::new(3 * 4096, 4096, raw.len() as u64) };
    let mut out = [0; 4096];
    let error = codec.decode(0, &raw, &mut out).unwrap_err().to_string();
    assert!(error.contains("XPRESS4K: the chunk ends before its content does"), "{error}");
    codec.decode(1, &raw, &mut out).unwrap();
    assert_eq!(out, plain[4096..8192]);
    assert!(codec.decode(2, &raw, &mut out).is_err());
    assert!(codec.decode(3, &raw, &mut out).is_err());
}
