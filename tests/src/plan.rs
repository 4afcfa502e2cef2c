//! What files a recipe makes: their kinds, names, sizes and streams, from nothing but the seed.

use std::path::{Path, PathBuf};

use fastrand::Rng;

use crate::{
    content::{Content, Fill},
    manifest::{File, Kind, Link, LinkForm, Manifest, Name, Stream},
    names,
    recipe::Recipe,
};

/// Folder whose files `ntfs-3g` compresses.
pub const COMPRESSED: &str = "Compressed";

/// Levels of the deepest folder.
const DEPTH: usize = 60;

/// How often each kind comes, in a round of a hundred.
const SHARES: [(Kind, usize); 12] = [
    (Kind::Resident, 20),
    (Kind::Contiguous, 22),
    (Kind::Fragmented, 14),
    (Kind::Compressed, 12),
    (Kind::Sparse, 8),
    (Kind::NamedStreams, 7),
    (Kind::HardLinks, 6),
    (Kind::Empty, 5),
    (Kind::Link, 2),
    (Kind::Shattered, 2),
    (Kind::ManyStreams, 1),
    (Kind::ManyLinks, 1),
];

/// The directories and files of `recipe`, none of them deleted yet.
pub fn plan(recipe: &Recipe) -> Manifest {
    let mut planner = Planner { rng: Rng::with_seed(recipe.seed), recipe, number: 0, folders: Vec::new() };
    planner.folders();
    let mut files: Vec<File> = kinds(recipe.files).into_iter().map(|kind| planner.file(kind)).collect();
    files.extend((0..recipe.crowd).map(|_| planner.crowd_member()));
    let mut directories = planner.folders;
    if recipe.crowd > 0 {
        directories.push(CROWD.into());
    }
    let directories = directories.into_iter().map(Name::new).collect();
    Manifest { directories, files }
}

/// Folder of the crowd: thousands of small files.
pub const CROWD: &str = "Crowd";

/// At least two of each kind, then by their shares.
fn kinds(files: usize) -> Vec<Kind> {
    let first = SHARES.iter().flat_map(|(kind, _)| [*kind; 2]);
    let rest = SHARES.iter().flat_map(|(kind, share)| std::iter::repeat_n(*kind, *share)).collect::<Vec<_>>();
    first.chain(rest.into_iter().cycle()).take(files).collect()
}

struct Planner<'a> {
    rng: Rng,
    recipe: &'a Recipe,
    number: usize,
    folders: Vec<PathBuf>,
}

impl Planner<'_> {
    fn folders(&mut self) {
        for top in names::TOPS {
            let top = PathBuf::from(top);
            self.folders.push(top.clone());
            self.nest(&top, 3);
        }
        self.folders.push(COMPRESSED.into());
        self.folders.push(Path::new(COMPRESSED).join("inherited"));
        let mut deep = PathBuf::new();
        for level in 1..=DEPTH {
            deep.push(format!("deep {level:02}"));
            self.folders.push(deep.clone());
        }
    }

    fn nest(&mut self, parent: &Path, levels: usize) {
        if levels == 0 {
            return;
        }
        for _ in 0..self.rng.usize(..3) {
            let number = self.next();
            let path = parent.join(names::folder(&mut self.rng, number));
            self.folders.push(path.clone());
            self.nest(&path, levels - 1);
        }
    }

    fn next(&mut self) -> usize {
        self.number += 1;
        self.number
    }

    fn file(&mut self, kind: Kind) -> File {
        let cluster = self.recipe.cluster as usize;
        let compresses = cluster <= 4096;
        let mut names = vec![self.name(kind == Kind::Compressed)];
        let mut streams = Vec::new();
        let mut link = None;
        let mut dos_name = None;
        let small = self.rng.usize(1..=300);
        match kind {
            Kind::Empty => streams.push(self.stream("", Fill::Tagged, 0)),
            Kind::Resident => {
                streams.push(self.stream("", Fill::Random, small));
                let number = self.number;
                let wanted =
                    self.rng.bool() && names::is_win32(names[0].path.file_name().unwrap_or_default());
                dos_name = wanted.then(|| format!("S{number:05}~1.TXT"));
            }
            Kind::Contiguous => {
                let len = self.size(256 * 1024);
                streams.push(self.stream("", Fill::Tagged, len));
            }
            Kind::Fragmented => {
                let len = self.size((120 * cluster).min(1 << 20));
                streams.push(self.stream("", Fill::Tagged, len));
            }
            Kind::Shattered => {
                let clusters = if compresses { 1500 } else { 40.min((4 << 20) / cluster).max(2) };
                let len = clusters * cluster + self.rng.usize(..cluster);
                streams.push(self.stream("", Fill::Tagged, len));
            }
            Kind::Sparse => {
                let len = self.size(2 << 20).max(200_000);
                let mut stream = self.stream("", Fill::Tagged, len);
                stream.content.hole = cluster.max(65_536);
                streams.push(stream);
            }
            Kind::Compressed => {
                let unit = 16 * cluster.min(4096);
                let border = *self.rng.choice(&[4096, unit, 2 * unit, 5 * unit]).unwrap_or(&unit);
                let len = border + self.rng.usize(..3) - 1 + self.rng.usize(..2) * self.rng.usize(..unit);
                let fill = [Fill::Text, Fill::Random, Fill::Mixed, Fill::Mixed][self.rng.usize(..4)];
                streams.push(self.stream("", fill, len));
            }
            Kind::NamedStreams => {
                let len = self.size(20_000);
                streams.push(self.stream("", Fill::Tagged, len));
                streams.push(self.stream("Zone.Identifier", Fill::Text, small));
                streams.push(self.stream("автор 📝", Fill::Random, 3000));
                let len = 65_536 + self.rng.usize(1..200_000);
                streams.push(self.stream("thumbnail", Fill::Tagged, len));
            }
            Kind::ManyStreams => {
                streams.push(self.stream("", Fill::Tagged, 10_000));
                for number in 0..120 {
                    let len = self.rng.usize(..600);
                    streams.push(self.stream(&format!("stream {number:03}"), Fill::Random, len));
                }
            }
            Kind::HardLinks | Kind::ManyLinks => {
                let more = if kind == Kind::HardLinks { self.rng.usize(1..4) } else { 45 };
                for _ in 0..more {
                    let name = self.name(false);
                    names.push(name);
                }
                let len = self.size(30_000);
                streams.push(self.stream("", Fill::Tagged, len));
            }
            Kind::Link => {
                let form = if self.rng.bool() { LinkForm::Symlink } else { LinkForm::Wsl };
                link =
                    Some(Link { form, target: format!("../{}/notes {}.txt", names::TOPS[0], self.number) });
            }
        }
        let fragmented = match kind {
            Kind::Fragmented | Kind::Shattered => true,
            Kind::Sparse | Kind::Compressed | Kind::NamedStreams => self.rng.bool(),
            _ => false,
        };
        File { kind, names, dos_name, streams, link, fragmented }
    }

    fn crowd_member(&mut self) -> File {
        let number = self.next();
        let len = self.rng.usize(1..=900);
        let path = Path::new(CROWD).join(format!("member {number:06}.dat"));
        File {
            kind: Kind::Resident,
            names: vec![Name::new(path)],
            dos_name: None,
            streams: vec![self.stream("", Fill::Tagged, len)],
            link: None,
            fragmented: false,
        }
    }

    fn name(&mut self, compressed: bool) -> Name {
        let number = self.next();
        let folder = if compressed {
            Path::new(COMPRESSED).join(if self.rng.bool() { "inherited" } else { "" })
        } else {
            self.any_folder()
        };
        Name::new(folder.join(names::file(&mut self.rng, number)))
    }

    /// Any folder but the compressed ones; one in fifteen is the root, one in fifteen is deep down.
    fn any_folder(&mut self) -> PathBuf {
        match self.rng.u8(..15) {
            0 => PathBuf::new(),
            1 => self.folders[self.folders.len() - 1 - self.rng.usize(..DEPTH)].clone(),
            _ => {
                let shallow = self.folders.len() - DEPTH - 2;
                self.folders[self.rng.usize(..shallow)].clone()
            }
        }
    }

    fn stream(&mut self, name: &str, fill: Fill, len: usize) -> Stream {
        Stream { name: name.to_owned(), content: Content::new(fill, self.rng.u64(..), len) }
    }

    /// A size up to about `most`: any, or one byte beside or on a border of clusters.
    fn size(&mut self, most: usize) -> usize {
        let cluster = self.recipe.cluster as usize;
        match self.rng.u8(..3) {
            0 => {
                let clusters = self.rng.usize(1..=(most / cluster).max(1));
                clusters * cluster + self.rng.usize(..3) - 1
            }
            _ => self.rng.usize(1000..=most.max(2000)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_plan_is_made_by_its_seed_alone_and_no_path_comes_twice() {
        let recipe = Recipe { crowd: 50, ..Recipe::new(11) };
        let (one, two) = (plan(&recipe), plan(&recipe));
        let paths =
            |m: &Manifest| m.files.iter().flat_map(|f| f.names.clone()).map(|n| n.path).collect::<Vec<_>>();
        assert_eq!(paths(&one), paths(&two));
        assert_eq!(paths(&one).iter().collect::<HashSet<_>>().len(), paths(&one).len());
        assert_ne!(paths(&one), paths(&plan(&Recipe { seed: 12, ..recipe })));
    }

    #[test]
    fn every_kind_of_file_is_in_a_plan() {
        let files = plan(&Recipe::new(5)).files;
        assert_eq!(files.len(), 600);
        assert!(SHARES.iter().all(|(kind, _)| files.iter().filter(|f| f.kind == *kind).count() >= 2));
        assert_eq!(SHARES.iter().map(|(_, share)| share).sum::<usize>(), 100);
    }
}
