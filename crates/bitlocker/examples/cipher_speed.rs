//! What one core decrypts: for each method and sector size one line with the method's code, the sector size in bytes
//! and the rate in bytes per second. The rate is that of the median call, which other programs on the core do not
//! lower, as they do not lower what `openssl speed` measures. `cargo xtask bench` runs it.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use undelfs_bitlocker::{Method, SectorCipher};

/// Bytes that one call decrypts.
const PIECE: usize = 1 << 20;

/// How long each rate is measured.
const TIME: Duration = Duration::from_millis(500);

fn main() {
    let key: Vec<u8> = (0..64).collect();
    let mut piece = vec![0; PIECE];
    for method in Method::ALL {
        let cipher = key.get(..method.key_len()).and_then(|key| SectorCipher::new(method, key));
        let Some(cipher) = cipher else { continue };
        for sector_size in [512, 4096] {
            let (start, mut calls) = (Instant::now(), Vec::new());
            while start.elapsed() < TIME {
                let call = Instant::now();
                cipher.decrypt(black_box(&mut piece), sector_size, 0);
                calls.push(call.elapsed());
            }
            calls.sort_unstable();
            let median = calls.get(calls.len() / 2).copied().unwrap_or_default();
            let rate = PIECE as f64 / median.as_secs_f64();
            println!("{:#06x} {sector_size} {rate:.0}", method.code());
        }
    }
}
