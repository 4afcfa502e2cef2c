//! Headers of databases, logs and checkpoints, and trailers: any bytes are one or an error, and what is known as a log
//! or a database stays so when its checksum is made to fit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use undelfs_certsrv::ese::{
    Checkpoint, Header, LOG_HEADER, LogHeader, Trailer, header_checksum, log_generation, log_name,
};

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let _ = (Header::parse(data, 0), LogHeader::parse(data, 0), Checkpoint::parse(data));
    let mut page = vec![0; LOG_HEADER];
    // The fields stand far apart: each patch has a place of two bytes, and eight bytes.
    for patch in data.as_chunks::<10>().0 {
        let [low, high, value @ ..] = patch;
        let at = usize::from(u16::from_le_bytes([*low, *high])) % (page.len() - 8);
        page[at..at + 8].copy_from_slice(value);
    }
    page[667] = kind % 5;
    if kind % 5 == 1 {
        page[4..12].copy_from_slice(&[0xEF, 0xCD, 0xAB, 0x89, 0x20, 6, 0, 0]);
        page[12..16].fill(0);
    }
    let sum = header_checksum(&page).to_le_bytes();
    page[..4].copy_from_slice(&sum);
    if let Ok(header) = Header::parse(&page, 0) {
        assert!(header.page_size > 4096 || header.page_size == 2048 || header.sound);
        let _ = Trailer::parse(&page, &header).map(|trailer| trailer.required);
        let _ = format!("{} {} {:?}", header.signature, header.log_signature, header.signature.computer());
    }
    if let Ok(log) = LogHeader::parse(&page, 0) {
        assert!(log.sound && LogHeader::is_one(&page));
        assert_eq!(log_generation(&log_name(log.generation)), Some(log.generation));
    }
    if let Some(checkpoint) = Checkpoint::parse(&page) {
        assert!(checkpoint.sound && Checkpoint::is_one(&page));
    }
});
