//! Volumes with shadow copies, made the way that Windows comes to them: a volume changes several times, and before a
//! block is written that was in use when the last copy was made, its content goes to the copy's store.
//!
//! What the volume was at each copy is kept beside it, so what a snapshot has to show is known without any reader of the
//! format.

mod store;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::{
    content::{Content, Fill},
    guard,
    ntfs3g::{self, Format, Volume},
    tools,
};

pub use store::{BLOCK, Tricks};

/// Where the store's file stands on the volume.
const STORE: &str = "System Volume Information/{3808876b-c176-4e48-b7ae-04046e6cc752}";

/// How a volume with shadow copies is made.
#[derive(Debug, Clone)]
pub struct Maker {
    /// From what everything random comes.
    pub seed: u64,
    /// Size of the volume in bytes.
    pub size: u64,
    /// Size of the file that the stores lie in, in bytes.
    pub area: usize,
    /// How many shadow copies.
    pub copies: usize,
    /// How stores describe blocks beside plain copies.
    pub tricks: Tricks,
}

impl Maker {
    /// A volume of 64 MiB with three shadow copies, and every kind of block descriptor.
    pub fn new(seed: u64) -> Self {
        Self { seed, size: 64 << 20, area: 24 << 20, copies: 3, tricks: Tricks::all() }
    }

    /// Makes one in `dir`.
    ///
    /// # Panics
    /// When the tools that write to the volume fail, or the stores have no room.
    pub fn make(&self, dir: &Path) -> Made {
        let image = dir.join(format!("vss-{}.img", self.seed));
        let label = "Shadows".to_owned();
        ntfs3g::format(&image, &Format { size: self.size, cluster: 4096, sector: 512, label });
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let mut made = Made { image, then: Vec::new(), live: Vec::new(), content: BTreeMap::new() };
        let mut live = BTreeSet::new();
        for generation in 0..=self.copies {
            let volume = Volume::write(&made.image);
            if generation == 0 {
                fs::create_dir(volume.root().join("System Volume Information")).expect("its folder");
                fs::write(volume.root().join(STORE), store::marked(self.area)).expect("room for the stores");
            }
            self.write(volume.root(), generation, &mut rng, &mut live, &mut made.content);
            volume.unmount();
            if generation < self.copies {
                let then = dir.join(format!("vss-{}-then-{}.img", self.seed, generation + 1));
                fs::copy(&made.image, &then).expect("the volume as it was");
                made.then.push(then);
            }
            made.live.push(live.clone());
        }
        store::write(&made, &mut rng, self.tricks);
        made
    }

    /// Writes some files and then deletes some.
    fn write(
        &self,
        root: &Path,
        generation: usize,
        rng: &mut fastrand::Rng,
        live: &mut BTreeSet<String>,
        content: &mut BTreeMap<String, Content>,
    ) {
        let files = if generation == 0 { 90 } else { 20 };
        for number in 0..files {
            let folder = format!("folder {}", number % 7);
            fs::create_dir_all(root.join(&folder)).expect("a folder");
            let name = format!("{folder}/file {generation}-{number}.bin");
            let size = if rng.u8(..) < 30 { rng.usize(1..600) } else { rng.usize(2_000..300_000) };
            let fill = if rng.bool() { Fill::Tagged } else { Fill::Random };
            let made = Content::new(fill, rng.u64(..), size);
            fs::write(root.join(&name), made.bytes()).expect("a file");
            content.insert(name.clone(), made);
            live.insert(name);
        }
        for name in live.clone() {
            if rng.u8(..) < 100 {
                fs::remove_file(root.join(&name)).expect("a deleted file");
                live.remove(&name);
            }
        }
    }
}

/// A volume with shadow copies.
#[derive(Debug)]
pub struct Made {
    /// The volume as it is now.
    pub image: PathBuf,
    /// The volume as it was when each shadow copy was made, the oldest first.
    pub then: Vec<PathBuf>,
    /// Paths of the files that there were at each shadow copy, and at last those that there are now.
    pub live: Vec<BTreeSet<String>>,
    /// Every file that there ever was, by path.
    pub content: BTreeMap<String, Content>,
}

impl Made {
    /// The allocation bitmap of a volume.
    pub(crate) fn bitmap(image: &Path) -> Vec<u8> {
        tools::succeed(tools::tool("ntfscat").args(["--force", "--inode", "6"]).arg(image)).stdout
    }
}

/// The snapshots of a volume as libvshadow shows them, each a file `vssN`; unmounted when dropped.
#[derive(Debug)]
pub struct Libvshadow {
    _mounted: guard::Mounted,
    dir: tempfile::TempDir,
}

impl Libvshadow {
    /// Mounts those of `image`.
    pub fn mount(image: &Path) -> Self {
        let dir = guard::scratch();
        tools::succeed(tools::tool("vshadowmount").arg(image).arg(dir.path()));
        Self { _mounted: guard::Mounted::new(dir.path(), None), dir }
    }

    /// The snapshot with this number, from 1 on.
    pub fn snapshot(&self, number: usize) -> PathBuf {
        self.dir.path().join(format!("vss{number}"))
    }
}
