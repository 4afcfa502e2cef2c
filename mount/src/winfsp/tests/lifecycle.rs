//! From the mount to the unmount, as the program does it.

use std::{
    fs::{self, File},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use undelfs_restore::Options;
use undelfs_source::Source;

use super::{
    client::{Client, OPEN, READ},
    demo,
    driver::{self, Volume},
    tree, units,
};
use crate::platform::{
    Settings,
    mounting::Mounted,
    mountpoint,
    unmounting::{Refused, unmount},
};

fn mounted(image: &Path, place: &Path) -> (Mounted, Arc<Volume>) {
    let tree = tree(Arc::new(Source::open(image).unwrap()), &Options::default());
    let settings = Settings { source: "image".to_owned(), allow_other: true, direct_io: true };
    let (mounted, volume) = driver::volume_made_by(|| Mounted::new(tree, place, &settings));
    (mounted.unwrap_or_else(|failure| panic!("{failure}")), volume)
}

#[test]
fn an_unmount_ends_the_threads_closes_the_source_and_frees_the_letter() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("demo.img");
    fs::write(&image, demo()).unwrap();
    let place = mountpoint::check(Path::new("q:"), &image).unwrap();
    let (mounted, volume) = mounted(&image, &place);
    let client = Client::new(volume);
    let handle = client.create(&units(r"\Documents"), OPEN, 1, READ).unwrap();
    assert!(mountpoint::check(Path::new("Q:"), &image).is_err(), "the letter is taken");
    assert!(File::open(&image).unwrap().try_lock().is_err(), "the source is locked");

    let server = thread::spawn(move || mounted.run());
    let start = Instant::now();
    unmount(&place, false).unwrap_or_else(|refused| panic!("{refused:?}"));
    assert!(start.elapsed() < Duration::from_secs(5));
    server.join().unwrap().unwrap();
    // A file was open: it is nobody's any more.
    drop(handle);
    File::open(&image).unwrap().try_lock().unwrap();
    assert_eq!(mountpoint::check(Path::new("Q:"), &image).unwrap(), place);
    assert!(matches!(unmount(&place, false), Err(Refused::Other(_))));
}

#[test]
fn two_trees_are_not_mounted_in_one_place() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("demo.img");
    fs::write(&image, demo()).unwrap();
    let place = Path::new("R:");
    let (first, _) = mounted(&image, place);
    let settings = Settings { source: "image".to_owned(), allow_other: false, direct_io: false };
    let second = tree(Arc::new(Source::open(&image).unwrap()), &Options::default());
    let failure = Mounted::new(second, place, &settings).err().expect("a failure");
    assert!(failure.to_string().contains("already"), "{failure}");
    drop(first);
}
