//! The change journal and the log: records wherever they stand, and pages with sound fixups and numbers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use undelfs_ntfs::{
    index_entry,
    journal::{log, usn},
};

const PAGE: usize = 4096;

fuzz_target!(|data: &[u8]| {
    for record in usn::records(data).chain(usn::remains(data, 0, 512)) {
        assert!(!record.name.is_empty() && record.file.sequence != 0);
    }
    let _ = index_entry::parse(data);
    let mut bytes = data.to_vec();
    bytes.resize(bytes.len().next_multiple_of(PAGE).clamp(PAGE, 48 * PAGE), 0);
    let size = bytes.len();
    let bits = usize::BITS - size.leading_zeros() - 3;
    for (number, page) in bytes.chunks_exact_mut(PAGE).enumerate() {
        page[..8].copy_from_slice(b"RCRD\x28\0\x09\0");
        // The numbers of records at every 512 bytes are made to fit, the turn stays as it is.
        for at in (0x40..PAGE).step_by(512) {
            let place = ((number * PAGE + at) / 8) as u64;
            let turn = u64::from(page[at + 7]);
            page[at..at + 8].copy_from_slice(&(turn << bits | place).to_le_bytes());
        }
        for sector in 1..=8 {
            let end = sector * 512;
            page.copy_within(end - 2..end, 0x28 + 2 * sector);
            page.copy_within(0x28..0x2A, end - 2);
        }
    }
    let sizes = log::Sizes { cluster: 4096, record: 1024 };
    log::changes(&bytes, true, &(), &mut |lsn, change| {
        assert!(lsn > 0);
        log::tell(change, sizes, &mut |told| {
            if let log::Told::Name { name, .. } = told {
                assert!(!name.name.is_empty());
            }
        });
    });
});
