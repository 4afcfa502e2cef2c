//! A whole volume with changed bytes: scanned, walked, every file read.
#![no_main]

use std::{
    collections::BTreeMap,
    io::Read,
    path::Path,
    sync::{Arc, LazyLock},
};

use libfuzzer_sys::fuzz_target;
use undelfs_restore::{Context, Format, Inode, NodeKind, Options, Selection, Tree, View};
use undelfs_source::{ReadAt, ReadError};

static IMAGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut image = Vec::new();
    let packed: &[u8] = include_bytes!("../../images/demo.img.gz");
    flate2::read::GzDecoder::new(packed).read_to_end(&mut image).expect("the bundled image unpacks");
    image
});

/// The bundled image with other bytes at some places.
struct Patched(BTreeMap<u64, u8>);

impl ReadAt for Patched {
    fn size(&self) -> u64 {
        IMAGE.len() as u64
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        let read = IMAGE.as_slice().read_at(buf, offset)?;
        for (at, value) in self.0.range(offset..offset.saturating_add(read as u64)) {
            buf[(at - offset) as usize] = *value;
        }
        Ok(read)
    }
}

/// Where the structures are: the first 192 KiB of the image hold the boot sector and most of `$MFT`.
const REACH: u32 = 192 << 10;

fuzz_target!(|data: &[u8]| {
    let patches = data.chunks_exact(5).map(|patch| {
        let at = u32::from_le_bytes([patch[0], patch[1], patch[2], patch[3]]);
        (u64::from(at % REACH), patch[4])
    });
    let source: Arc<dyn ReadAt> = Arc::new(Patched(patches.collect()));
    let view = if data.len() % 2 == 0 { View::All } else { View::Deleted };
    let options = Options {
        view,
        streams_as_files: data.len() % 3 == 0,
        deep: data.len() % 5 == 0,
        ..Options::default()
    };
    let selection = Selection { start_sector: Some(0), ..Selection::default() };
    let opened = Context::open_bytes(source, Path::new("fuzz"), &selection, &options, &[], &());
    let Ok(contexts) = opened else { return };
    for context in &contexts {
        let _ = context.scan(&());
    }
    let _ = undelfs_restore::write(&contexts, Format::Jsonl, &mut std::io::sink(), false);
    browse(&Tree::new(contexts).expect("there is a context"));
});

/// Walks the whole tree and reads what is in it. Every directory is met once: there is no cycle.
fn browse(tree: &Tree) {
    let mut ways = vec![Inode::ROOT];
    let mut buf = vec![0; 64 << 10];
    let mut met = std::collections::BTreeSet::new();
    while let Some(directory) = ways.pop() {
        assert!(met.insert(directory), "a directory stands at two places");
        let mut entries = Vec::new();
        let _ = tree.read_dir(directory, 0, &mut |entry| {
            if entry.name != b"." && entry.name != b".." {
                entries.push((entry.name.to_vec(), entry.attributes));
            }
            true
        });
        for (name, attributes) in entries {
            let found = tree.lookup(directory, &name).expect("what is listed is found");
            assert_eq!(found.inode, attributes.inode);
            for name in tree.xattr_names(attributes.inode).unwrap_or_default() {
                let _ = tree.xattr(attributes.inode, &name);
            }
            match attributes.kind {
                NodeKind::Directory => ways.push(attributes.inode),
                NodeKind::Link => drop(tree.read_link(attributes.inode)),
                NodeKind::File => {
                    if let Ok(content) = tree.open(attributes.inode) {
                        let _ = content.read_at(&mut buf, 0);
                        let _ = content.read_at(&mut buf, attributes.size.saturating_sub(100));
                    }
                }
            }
        }
    }
}
