//! How fast a source is searched for lost volumes: as it is, and with its holes read like all else.
//!
//! `cargo run --release -p undelfs-volume --example search_speed -- IMAGE`

use std::{path::Path, time::Instant};

use undelfs_source::{ReadAt, ReadError, Source};
use undelfs_volume::search::Search;

/// A source that does not tell where it has holes.
struct WithoutHoles<'a>(&'a Source);

impl ReadAt for WithoutHoles<'_> {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        self.0.read_at(buf, offset)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("name an image or a device")?;
    let source = Source::open(Path::new(&path))?;
    report("holes skipped", &source);
    report("all read", &WithoutHoles(&source));
    Ok(())
}

fn report(what: &str, source: &dyn ReadAt) {
    let started = Instant::now();
    let mut search = Search::default();
    search.run(source, &(), &mut |_| ());
    let seconds = started.elapsed().as_secs_f64();
    let gib = source.size() as f64 / f64::from(1 << 30);
    println!("{what}: {seconds:.2} s, {:.2} GiB/s, {} hits", gib / seconds, search.hits.len());
}
