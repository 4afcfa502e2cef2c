//! The simplest compressors that make all forms of the formats.

/// A part of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Literal(u8),
    Match { distance: usize, length: usize },
}

/// A kind of LZX block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    Verbatim,
    Aligned,
    Stored,
}

/// The tokens that refer to what is there, as far as the content has at most `size` bytes; at least one literal.
pub(super) fn possible(tokens: &[Token], size: usize) -> Vec<Token> {
    let (mut have, mut kept) = (1, vec![Token::Literal(7)]);
    for token in tokens {
        let length = match token {
            Token::Literal(_) => 1,
            Token::Match { distance, .. } if *distance > have => continue,
            Token::Match { length, .. } => *length,
        };
        if have + length <= size {
            have += length;
            kept.push(*token);
        }
    }
    kept
}

pub(super) fn plain_of(tokens: &[Token]) -> Vec<u8> {
    let mut plain = Vec::new();
    for token in tokens {
        push_token(&mut plain, *token);
    }
    plain
}

fn push_token(plain: &mut Vec<u8>, token: Token) {
    match token {
        Token::Literal(byte) => plain.push(byte),
        Token::Match { distance, length } => {
            (0..length).for_each(|_| plain.push(plain[plain.len() - distance]));
        }
    }
}

/// Bits in units, and bytes between them.
#[derive(Default)]
struct Writer {
    out: Vec<u8>,
    bits: Vec<bool>,
    /// Where each unit stands.
    units: Vec<usize>,
    /// Units that the reader is ahead.
    ahead: usize,
}

impl Writer {
    fn put(&mut self, value: usize, count: u32) {
        self.bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
        while self.units.len() < self.bits.len().div_ceil(16) + self.ahead {
            self.units.push(self.out.len());
            self.out.extend([0, 0]);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        for (unit, bits) in self.units.iter().zip(self.bits.chunks(16)) {
            let value = bits.iter().enumerate().map(|(at, bit)| u16::from(*bit) << (15 - at)).sum::<u16>();
            self.out[*unit..unit + 2].copy_from_slice(&value.to_le_bytes());
        }
        self.out
    }
}

/// A chunk in which every code word has nine bits.
pub(super) fn xpress(tokens: &[Token]) -> Vec<u8> {
    let mut writer = Writer { out: vec![0x99; 256], ahead: 1, ..Writer::default() };
    for token in tokens {
        match *token {
            Token::Literal(byte) => writer.put(usize::from(byte), 9),
            Token::Match { distance, length } => {
                let (length, extra) = (length - 3, distance.ilog2());
                writer.put(256 | (extra as usize) << 4 | length.min(15), 9);
                match length {
                    0..15 => {}
                    15..270 => writer.out.push((length - 15) as u8),
                    _ => {
                        writer.out.push(255);
                        writer.out.extend((length as u16).to_le_bytes());
                    }
                }
                writer.put(distance - (1 << extra), extra);
            }
        }
    }
    writer.finish()
}

const MAIN: [usize; 2] = [496, 16];
const LENGTHS: [usize; 2] = [249, 7];

/// The code word of a symbol where all have `bits`, but the first `short` of all, which have one less.
fn word([symbols, short]: [usize; 2], symbol: usize) -> (usize, u32) {
    let bits = symbols.ilog2() + 1;
    if symbol < short { (symbol, bits - 1) } else { (symbol + short, bits) }
}

/// A chunk of these blocks, whose code words are all of about the same size. Calls are not translated.
pub(super) fn lzx(blocks: &[(Block, Vec<Token>)]) -> Vec<u8> {
    let (mut writer, mut plain) = (Writer::default(), Vec::new());
    let mut recent = [1, 1, 1];
    let mut coded = false;
    for (kind, tokens) in blocks {
        let start = plain.len();
        tokens.iter().for_each(|token| push_token(&mut plain, *token));
        let size = plain.len() - start;
        writer.put(
            match kind {
                Block::Verbatim => 1,
                Block::Aligned => 2,
                Block::Stored => 3,
            },
            3,
        );
        if size == 32 << 10 {
            writer.put(1, 1);
        } else {
            writer.put(size, 17);
        }
        if *kind == Block::Stored {
            writer = stored(writer, &mut recent, &plain[start..]);
            continue;
        }
        if *kind == Block::Aligned {
            (0..8).for_each(|_| writer.put(3, 3));
        }
        lengths(&mut writer, MAIN, 0..256, coded);
        lengths(&mut writer, MAIN, 256..496, coded);
        lengths(&mut writer, LENGTHS, 0..249, coded);
        coded = true;
        tokens.iter().for_each(|token| put_token(&mut writer, *token, &mut recent, *kind));
    }
    writer.finish()
}

fn stored(mut writer: Writer, recent: &mut [usize; 3], content: &[u8]) -> Writer {
    let used = writer.bits.len() % 16;
    writer.put(0, 16 - used as u32);
    *recent = [content.len(), 5, 1];
    let mut out = writer.finish();
    recent.iter().for_each(|distance| out.extend((*distance as u32).to_le_bytes()));
    out.extend(content);
    out.resize(out.len().next_multiple_of(2), 0);
    Writer { out, ..Writer::default() }
}

/// Writes lengths of code words with a precode that has the four symbols that occur.
fn lengths(writer: &mut Writer, code: [usize; 2], symbols: std::ops::Range<usize>, again: bool) {
    let change = |length: u32| if again { 0 } else { 17 - length };
    let known = [0, 8, 9, 10];
    (0..20).for_each(|symbol| writer.put(if known.contains(&symbol) { 2 } else { 0 }, 4));
    for symbol in symbols {
        let change = change(word(code, symbol).1);
        writer.put(known.iter().position(|known| *known == change).unwrap(), 2);
    }
}

fn put_token(writer: &mut Writer, token: Token, recent: &mut [usize; 3], kind: Block) {
    let mut put = |code, symbol| {
        let (word, bits) = word(code, symbol);
        writer.put(word, bits);
    };
    let (distance, length) = match token {
        Token::Literal(byte) => return put(MAIN, usize::from(byte)),
        Token::Match { distance, length } => (distance, length - 2),
    };
    let slot_of = |distance: usize| {
        let stored = distance + 2;
        if stored < 4 { stored } else { 2 * stored.ilog2() as usize + (stored >> (stored.ilog2() - 1) & 1) }
    };
    let known = recent.iter().position(|recent| *recent == distance);
    let slot = known.unwrap_or_else(|| slot_of(distance));
    put(MAIN, 256 + 8 * slot + length.min(7));
    if length >= 7 {
        put(LENGTHS, length - 7);
    }
    match known {
        Some(at) => recent.swap(0, at),
        None => {
            let extra = (slot as u32 / 2).saturating_sub(1);
            let rest = (distance + 2) & ((1 << extra) - 1);
            if kind == Block::Aligned && extra >= 3 {
                writer.put(rest >> 3, extra - 3);
                writer.put(rest & 7, 3);
            } else {
                writer.put(rest, extra);
            }
            *recent = [distance, recent[0], recent[1]];
        }
    }
}

/// Makes the targets of x86 calls absolute, as a compressor does.
pub(super) fn translate_calls(content: &mut [u8]) {
    const FILE_SIZE: i64 = 12_000_000;
    let mut at = 0;
    while at + 10 < content.len() {
        if content[at] != 0xE8 {
            at += 1;
            continue;
        }
        let relative = i64::from(i32::from_le_bytes(content[at + 1..at + 5].try_into().unwrap()));
        if (-(at as i64)..FILE_SIZE).contains(&relative) {
            let absolute = relative + at as i64;
            let absolute = if absolute < FILE_SIZE { absolute } else { relative - FILE_SIZE };
            content[at + 1..at + 5].copy_from_slice(&(absolute as i32).to_le_bytes());
        }
        at += 5;
    }
}
