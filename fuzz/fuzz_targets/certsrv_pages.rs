//! The pages of a small database of a certification authority, patched and with checksums that fit: its tables, records and
//! long values are read, and its pages checked.
//!
//! The input: patches, each three bytes of position and five bytes.
#![no_main]

use std::{
    io::Read,
    ops::ControlFlow,
    sync::{Arc, LazyLock},
};

use flate2::read::GzDecoder;
use libfuzzer_sys::fuzz_target;
use undelfs_certsrv::{
    Authority, CaFile, Contents, Found, Places,
    ese::{Database, block, header_checksum},
    verify,
};

const PAGE: usize = 4096;

static PLAIN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut plain = Vec::new();
    GzDecoder::new(&include_bytes!("certsrv/ca.edb.gz")[..]).read_to_end(&mut plain).expect("the database");
    plain
});

fuzz_target!(|data: &[u8]| {
    let mut bytes = PLAIN.clone();
    let mut changed = std::collections::BTreeSet::new();
    for patch in data.as_chunks::<8>().0 {
        let [a, b, c, value @ ..] = patch;
        let at = u32::from_le_bytes([*a, *b, *c, 0]) as usize % (bytes.len() - value.len());
        bytes[at..at + value.len()].copy_from_slice(value);
        changed.extend([at / PAGE, (at + value.len()) / PAGE]);
    }
    for number in changed {
        let Some(page) = bytes.get_mut(number * PAGE..(number + 1) * PAGE) else { continue };
        if number < 2 {
            let sum = header_checksum(page).to_le_bytes();
            page[..4].copy_from_slice(&sum);
        } else {
            page[37] |= 0x20;
            let sum = block(page, number as u32 - 1, true).to_le_bytes();
            page[..8].copy_from_slice(&sum);
        }
    }
    let bytes = Arc::new(bytes);
    let Ok(database) = Database::open(bytes.clone()) else { return };
    let pages = u64::from(database.page_count());
    let file = CaFile { path: "ca.edb".into(), bytes, deleted: false, incomplete: false };
    let authority = Authority {
        name: "ca".into(),
        computer: "ca".into(),
        places: Places::default(),
        found: Found::Content,
        file,
        database,
        logs: Vec::new(),
        checkpoint: None,
        dynamic: Vec::new(),
        map: None,
        notes: Vec::new(),
    };
    let verdict = verify(&authority, true, &()).expect("nobody cancels");
    if let Some(check) = &verdict.pages {
        assert_eq!(check.sound + check.empty + check.damaged_count + check.free, pages);
    }
    let Ok(mut contents) = Contents::new(&authority) else { return };
    contents.counts();
    let mut last = None;
    contents.certificates(&mut |own| {
        assert!(last.is_none_or(|last| own.request > last));
        last = Some(own.request);
        let _ = own.file_name();
        ControlFlow::Continue(())
    });
    contents.crls(&mut |_| ControlFlow::Continue(()));
});
