//! GPT, MBR and boot sectors: the input is the start of a disk, and its end.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use undelfs_volume::{Disk, boot_sector, lost_volume};

fuzz_target!(|data: &[u8]| {
    let _ = boot_sector::recognise(data);
    let mut disk = data.to_vec();
    disk.resize(disk.len().next_multiple_of(512).max(64 << 10), 0);
    let end = disk.len();
    let tail = data.len().min(1024);
    disk[end - tail..].copy_from_slice(&data[..tail]);
    let disk: Arc<dyn undelfs_source::ReadAt> = Arc::new(disk);
    if let Ok(found) = Disk::read(disk.clone()) {
        for volume in found.volumes {
            let _ = volume.extent(disk.clone());
        }
    }
    let _ = lost_volume(&disk, Some(1), None, 512);
    let _ = lost_volume(&disk, None, Some(2), 512);
});
