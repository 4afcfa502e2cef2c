//! The back end behind the DLL of WinFsp as it is shipped, with a stand-in for its driver.

#![allow(unsafe_code, reason = "the driver's side of WinFsp's interface")]

mod client;
mod driver;
mod faults;
mod files;
mod lifecycle;
mod walk;
mod writes;

use std::{io::Read, path::Path, sync::Arc};

use flate2::read::GzDecoder;
use undelfs_restore::{Context, Options, Selection, Tree};
use undelfs_source::ReadAt;
use undelfs_volume::filesystem::Watch;
use winfsp::host::FileSystemHost;

use super::{Settings, filesystem::TreeFs, session};
use client::Client;
use driver::Volume;

/// The bundled image.
const DEMO: &[u8] = include_bytes!("../../../../images/demo.img.gz");

struct Unwatched;

impl Watch for Unwatched {}

/// A mounted tree and a program on it. The program goes first: it asks nothing of a volume that has ended.
struct Mounted {
    client: Client,
    volume: Arc<Volume>,
    host: FileSystemHost<TreeFs>,
}

fn demo() -> Vec<u8> {
    let mut image = Vec::new();
    GzDecoder::new(DEMO).read_to_end(&mut image).unwrap();
    image
}

fn tree(source: Arc<dyn ReadAt>, options: &Options) -> Tree {
    let selection = Selection::default();
    let path = Path::new("image");
    let contexts = Context::open_bytes(source, path, &selection, options, &[], &Unwatched).unwrap();
    for context in &contexts {
        context.scan(&Unwatched).unwrap();
    }
    Tree::new(contexts).unwrap()
}

fn mount(source: Arc<dyn ReadAt>, options: &Options) -> Mounted {
    let tree = tree(source, options);
    let settings = Settings { source: "image".to_owned(), allow_other: false, direct_io: false };
    let (host, volume) = driver::volume_made_by(|| session::start(tree, &settings));
    let host = host.unwrap_or_else(|failure| panic!("{failure}"));
    Mounted { client: Client::new(volume.clone()), volume, host }
}

fn mount_demo() -> Mounted {
    mount(Arc::new(demo()), &Options { view: undelfs_restore::View::All, ..Options::default() })
}

fn units(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}
