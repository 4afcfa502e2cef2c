//! BitLocker volumes made of plain ones, as Windows would lay them out.
//!
//! Nothing of undelfs goes into them. The layouts are those of volumes made by Windows; that the result is one is
//! proved by `libbde`, `dislocker` and `cryptsetup` ([`oracle`]).

mod boot;
mod cipher;
mod damage;
mod datum;
mod eow;
mod keys;
mod made;
mod metadata;
pub mod oracle;
mod protector;
mod space;

use std::{
    fs,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use fastrand::Rng;

use self::{
    boot::Pointers,
    datum::{Nonces, role},
    eow::Conversion,
    metadata::{BEHIND_RELOCATION, Information, state},
    space::Space,
};
pub use self::{
    cipher::{Cipher, Method},
    damage::{Seal, Stale},
    datum::Guid,
    eow::Encrypted,
    keys::recovery_password,
    made::Made,
    protector::{MadeProtector, Protector, Windows},
};

/// Bytes that are encrypted at once.
const STEP: usize = 1 << 20;

/// How a volume is encrypted.
#[derive(Debug, Clone)]
pub struct Maker {
    /// How sectors are encrypted.
    pub method: Method,
    /// Sector size in bytes, 512 or 4096; that of the plain file system.
    pub sector: u32,
    /// Which Windows lays the volume out.
    pub windows: Windows,
    /// Whether it is a removable disk with a discovery volume of FAT32 in front.
    pub to_go: bool,
    /// Ways to unlock it.
    pub protectors: Vec<Protector>,
    /// How far the encryption is.
    pub state: State,
    /// Decides keys, identifiers and salts.
    pub seed: u64,
}

/// How far the encryption of a volume is.
#[derive(Debug, Clone)]
pub enum State {
    /// Everything is encrypted.
    Encrypted,
    /// Everything but the clusters that no file used, which stayed as they were.
    UsedSpaceOnly,
    /// Everything below a byte.
    Watermark {
        /// The first byte that is plain; at a sector's begin.
        up_to: u64,
        /// What goes on.
        conversion: Progress,
    },
    /// Some chunks, by bitmaps, as since Windows 10.
    OnWrite {
        /// Number of regions with a bitmap each; at least 3.
        regions: usize,
        /// Size of a chunk in bytes; Windows takes 8 MiB.
        chunk: u64,
        /// Which chunks are encrypted.
        encrypted: Encrypted,
    },
    /// Nothing; the metadata is there, without any key.
    Decrypted,
}

/// Which way a conversion goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The volume becomes encrypted.
    Encrypting,
    /// The volume becomes plain.
    Decrypting,
    /// Encryption was paused.
    EncryptingPaused,
    /// Decryption was paused.
    DecryptingPaused,
}

impl Progress {
    fn states(self) -> [u16; 2] {
        match self {
            Self::Encrypting => [state::SWITCHING, state::ENCRYPTED],
            Self::Decrypting => [state::SWITCHING, state::DECRYPTED],
            Self::EncryptingPaused => [state::PAUSED, state::ENCRYPTED],
            Self::DecryptingPaused => [state::PAUSED, state::DECRYPTED],
        }
    }
}

/// Where things are on a volume that is being made.
struct Layout {
    size: u64,
    cluster: u64,
    metadata: [u64; 3],
    relocated: Range<u64>,
    /// The boot sector's own bytes and what follows it, up to the size of the relocated sectors.
    head: Vec<u8>,
    conversion: Option<Conversion>,
    /// Bytes that are not encrypted, in order.
    stays_plain: Vec<Range<u64>>,
}

impl Maker {
    /// A fully encrypted fixed disk with 512-byte sectors of Windows 10.
    pub fn new(method: Method, protectors: &[Protector]) -> Self {
        Self {
            method,
            sector: 512,
            windows: Windows::Ten,
            to_go: false,
            protectors: protectors.to_vec(),
            state: State::Encrypted,
            seed: 1,
        }
    }

    /// Makes `out` from the volume `plain`.
    ///
    /// # Panics
    /// When these settings make no volume of Windows, or there is no free space for BitLocker's structures.
    pub fn make(&self, plain: &Path, out: &Path) -> Made {
        let mut rng = Rng::with_seed(self.seed);
        let layout = self.lay_out(plain, &mut rng.fork());
        let (vmk, volume) = (datum::random(&mut rng), Guid::random(&mut rng));
        let fvek: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(self.method.key_size()).collect();
        let time = 133_000_000_000_000_000 + rng.u64(..1 << 40);
        let mut nonces = Nonces { time, counter: 2 };
        let protectors: Vec<MadeProtector> = if self.is_decrypted() {
            Vec::new()
        } else {
            let (nonces, rng) = (&mut nonces, &mut rng);
            let mut maker = protector::Maker { windows: self.windows, volume, vmk: &vmk, nonces, rng };
            self.protectors.iter().map(|protector| maker.make(protector)).collect()
        };
        let mut made = Made {
            image: out.to_owned(),
            plain: plain.to_owned(),
            size: layout.size,
            sector: self.sector,
            method: self.method,
            volume,
            vmk,
            fvek,
            protectors,
            metadata: layout.metadata,
            metadata_size: metadata::place(self.version()),
            relocated: layout.relocated.clone(),
            zeroed: self.zeroed(&layout),
            stays_plain: layout.stays_plain.clone(),
            used_space_only: matches!(self.state, State::UsedSpaceOnly),
            decrypted: self.is_decrypted(),
            information: self.information(plain, &layout, volume, time),
            nonces,
        };
        let datums = self.datums(&mut made);
        made.information.datums = datums;
        self.write(&made, &layout);
        made
    }

    fn version(&self) -> u16 {
        if self.windows == Windows::Vista { 1 } else { 2 }
    }

    fn is_decrypted(&self) -> bool {
        matches!(self.state, State::Decrypted)
    }

    fn lay_out(&self, plain: &Path, rng: &mut Rng) -> Layout {
        let vista = self.windows == Windows::Vista;
        assert!(!(vista && self.to_go), "there is no BitLocker To Go of Windows Vista");
        assert!(!vista || self.method.code() <= 0x8003, "Windows Vista has no XTS");
        let written = matches!(self.state, State::UsedSpaceOnly | State::OnWrite { .. });
        assert!(!written || self.windows >= Windows::Ten, "{:?} has no such state", self.windows);
        let size = fs::metadata(plain).expect("the plain volume").len();
        let mut space = Space::of(plain);
        let mut old = vec![0; 512];
        read(plain, &mut old, 0);
        let place = metadata::place(self.version());
        let mut head = if self.to_go {
            boot::to_go(size, self.sector, space.cluster)
        } else {
            vec![0; boot::HEAD as usize]
        };
        let block = |space: &mut Space, part: u64| space.take(size / 20 * part, place).start;
        let first = block(&mut space, 7);
        let relocated = if vista {
            0..0
        } else {
            let behind = if self.windows >= Windows::Ten { BEHIND_RELOCATION } else { 0 };
            let start = space.take(first, head.len() as u64 + behind).start;
            start..start + head.len() as u64
        };
        let metadata = [first, block(&mut space, 10), block(&mut space, 13)];
        let conversion = match self.state {
            State::OnWrite { regions, chunk, encrypted } => {
                let (sector, wanted) = (u64::from(self.sector), (regions, chunk, encrypted));
                Some(Conversion::lay_out(&mut space, size, sector, &relocated, wanted))
            }
            _ => None,
        };
        let pointers =
            Pointers { metadata, conversion: conversion.as_ref().map(|conversion| conversion.offsets) };
        if self.to_go {
            boot::mark_to_go(&mut head, pointers);
        } else if vista {
            head = boot::vista(&old, first, space.cluster).0;
        } else {
            rng.fill(&mut head);
            head[..512].copy_from_slice(&boot::fixed(&old, self.sector, pointers));
        }
        let mut stays_plain = match &self.state {
            State::Encrypted => Vec::new(),
            State::UsedSpaceOnly => space.free.clone(),
            State::Watermark { up_to, .. } => {
                let sector = u64::from(self.sector);
                assert!(*up_to > 0 && up_to.is_multiple_of(sector), "{up_to} is no border");
                space::one(*up_to..size)
            }
            State::OnWrite { .. } => conversion.as_ref().map(Conversion::plain).unwrap_or_default(),
            State::Decrypted => space::one(0..size),
        };
        if vista {
            stays_plain.insert(0, 0..boot::HEAD);
        }
        Layout { size, cluster: space.cluster, metadata, relocated, head, conversion, stays_plain }
    }

    /// What reads as zeros: all of BitLocker's own.
    fn zeroed(&self, layout: &Layout) -> Vec<Range<u64>> {
        let place = metadata::place(self.version()).next_multiple_of(layout.cluster.min(0x1_0000));
        let blocks = layout.metadata.iter().map(|offset| *offset..offset + place);
        let conversion = layout.conversion.iter().flat_map(Conversion::places);
        let relocated = std::iter::once(layout.relocated.clone()).filter(|range| !range.is_empty());
        let mut zeroed: Vec<_> = blocks.chain(relocated).chain(conversion).collect();
        zeroed.sort_by_key(|range| range.start);
        zeroed
    }

    fn information(&self, plain: &Path, layout: &Layout, volume: Guid, time: u64) -> Information {
        let (states, encrypted_to) = match &self.state {
            State::Encrypted if self.windows == Windows::Vista => ([state::ENCRYPTED; 2], 0),
            State::Encrypted | State::UsedSpaceOnly | State::OnWrite { .. } => {
                ([state::ENCRYPTED; 2], layout.size)
            }
            State::Watermark { up_to, conversion } => (conversion.states(), *up_to),
            State::Decrypted => ([state::DECRYPTED; 2], 0),
        };
        let relocation = if self.windows == Windows::Vista {
            let mut old = vec![0; 512];
            read(plain, &mut old, 0);
            boot::vista(&old, layout.metadata[0], layout.cluster).1
        } else {
            layout.relocated.start
        };
        Information {
            version: self.version(),
            states,
            encrypted_to,
            sectors: ((layout.relocated.end - layout.relocated.start) / u64::from(self.sector)) as u32,
            offsets: layout.metadata,
            relocation,
            volume,
            time,
            method: if self.is_decrypted() { 0 } else { self.method.code() },
            datums: Vec::new(),
        }
    }

    /// The datums of the metadata, in the order in which Windows writes them.
    fn datums(&self, made: &mut Made) -> Vec<u8> {
        let moved = made.relocated.clone();
        let builder = self.windows.build();
        let flags = if self.to_go { 0x48 } else { 0x0A } | u64::from(self.sector == 4096);
        let len = moved.end - moved.start;
        let relocation = match self.windows {
            Windows::Vista => Vec::new(),
            _ => metadata::relocation(moved.start, len, self.sector, builder, flags),
        };
        if made.decrypted {
            return relocation;
        }
        let mut datums = if builder.is_none() { relocation.clone() } else { Vec::new() };
        datums.extend(datum::text(role::DESCRIPTION, "WORKSTATION E: 1/2/2024"));
        for protector in &made.protectors {
            datums.extend(&protector.datum);
        }
        let fvek = datum::key(self.method.code(), &made.fvek);
        datums.extend(datum::boxed(role::FVEK, &made.vmk, made.nonces.next(), &fvek));
        if builder.is_some() {
            datums.extend(relocation);
        }
        datums
    }

    fn write(&self, made: &Made, layout: &Layout) {
        let out = fs::File::create(&made.image).expect("the volume");
        out.set_len(layout.size).expect("its size");
        let mut bytes = vec![0; STEP];
        for offset in (0..layout.size).step_by(STEP) {
            bytes.truncate((layout.size - offset) as usize);
            read(&made.plain, &mut bytes, offset);
            made.encrypt(&mut bytes, offset);
            write_sparsely(&out, &bytes, offset);
        }
        let mut moved = vec![0; (layout.relocated.end - layout.relocated.start) as usize];
        read(&made.plain, &mut moved, 0);
        made.encrypt(&mut moved, layout.relocated.start);
        let block = made.block();
        let blocks = layout.metadata.iter().map(|offset| (*offset, block.clone()));
        let structures = layout.conversion.iter().flat_map(Conversion::structures);
        // The place of a structure may be larger than its bytes, and has to be blank behind them.
        for range in made.zeroed.iter().filter(|range| range.start != layout.relocated.start) {
            out.write_all_at(&vec![0; (range.end - range.start) as usize], range.start).expect("a place");
        }
        let heads = [(0, layout.head.clone()), (layout.relocated.start, moved)];
        for (offset, bytes) in blocks.chain(structures).chain(heads).filter(|(_, bytes)| !bytes.is_empty()) {
            out.write_all_at(&bytes, offset).expect("a structure");
        }
    }
}

fn read(path: &Path, bytes: &mut [u8], offset: u64) {
    fs::File::open(path).and_then(|file| file.read_exact_at(bytes, offset)).expect("the plain volume");
}

/// Writes what is not zero, in pieces.
fn write_sparsely(out: &fs::File, bytes: &[u8], offset: u64) {
    const PIECE: usize = 0x1_0000;
    for (offset, piece) in (offset..).step_by(PIECE).zip(bytes.chunks(PIECE)) {
        if !space::is_zero(piece) {
            out.write_all_at(piece, offset).expect("the volume");
        }
    }
}
