//! What one core decrypts: for each cipher a line with its `ALG_ID` and the rate in bytes per second, that of the median
//! call. `cargo xtask bench` runs it.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use undelfs_efs::{Algorithm, Cipher, Fek};

/// Bytes that one call decrypts.
const PIECE: usize = 1 << 20;

/// How long each rate is measured.
const TIME: Duration = Duration::from_millis(500);

fn main() {
    let key: Vec<u8> = (0..32).collect();
    let mut piece = vec![0; PIECE];
    for algorithm in Algorithm::ALL {
        let fek = key.get(..algorithm.key_len()).and_then(|key| Fek::new(algorithm, key));
        let Some(cipher) = fek.and_then(|fek| Cipher::new(&fek)) else { continue };
        let (start, mut calls) = (Instant::now(), Vec::new());
        while start.elapsed() < TIME {
            let call = Instant::now();
            cipher.decrypt(black_box(&mut piece), 0);
            calls.push(call.elapsed());
        }
        calls.sort_unstable();
        let median = calls.get(calls.len() / 2).copied().unwrap_or_default();
        println!("{:#06x} {:.0}", algorithm.id(), PIECE as f64 / median.as_secs_f64());
    }
}
