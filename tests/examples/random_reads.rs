//! How many random reads of 4 KiB a file gives per second.
//!
//! Usage: `random_reads FILE THREADS READS` spreads `READS` reads over the threads and prints the rate. No part is
//! read twice, because the second time it would come from the page cache. The order is the same in every run.
//! `cargo xtask bench` runs it.

use std::{fs::File, os::unix::fs::FileExt, sync::Barrier, thread, time::Instant};

use fastrand::Rng;

/// Size of a read in bytes.
const PART: u64 = 4096;

fn main() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, threads, reads] = &args[..] else {
        return Err("usage: random_reads FILE THREADS READS".into());
    };
    let number = |text: &String| text.parse::<usize>().map_err(|error| format!("{text}: {error}"));
    let (threads, reads) = (number(threads)?.max(1), number(reads)?);
    let at_path = |error| format!("{path}: {error}");
    let size = std::fs::metadata(path).map_err(at_path)?.len();
    let mut parts: Vec<u64> = (0..size / PART).collect();
    if reads == 0 || parts.len() < reads {
        return Err(format!("{path}: {reads} reads of {} parts of {PART} bytes", parts.len()));
    }
    Rng::with_seed(1).shuffle(&mut parts);
    parts.truncate(reads);
    // Each thread has its own, as programs of their own would have.
    let files: Vec<File> =
        (0..threads).map(|_| File::open(path)).collect::<Result<_, _>>().map_err(at_path)?;
    let start = Barrier::new(threads + 1);
    let (start, parts) = (&start, &parts);
    let taken = thread::scope(|scope| {
        let readers: Vec<_> = files
            .iter()
            .enumerate()
            .map(|(first, file)| {
                scope.spawn(move || {
                    let mut bytes = [0; PART as usize];
                    start.wait();
                    let mut mine = parts.iter().skip(first).step_by(threads);
                    mine.try_for_each(|part| file.read_exact_at(&mut bytes, part * PART))
                })
            })
            .collect();
        start.wait();
        let begin = Instant::now();
        for reader in readers {
            reader.join().map_err(|_| "a reader panicked".to_owned())?.map_err(at_path)?;
        }
        Ok::<_, String>(begin.elapsed())
    })?;
    println!("{:.0}", reads as f64 / taken.as_secs_f64());
    Ok(())
}
