//! The search for volumes that no partition table names, and the file that keeps what it finds.

use std::{
    fs,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use indicatif::BinaryBytes;
use undelfs_restore::{KeptSearch, Lost, Selection, lost_volumes};
use undelfs_source::ReadAt;
use undelfs_volume::{filesystem::Watch, search::Search};

use crate::{
    cli::{Chatter, LostArgs, SelectionArgs},
    failure::{Failure, notice},
    platform::{interrupt::Interrupt, place},
    progress::{Late, Progress, Unit},
};

/// How often a running search is kept.
const INTERVAL: Duration = Duration::from_secs(5);

/// Most bytes of a catalogue: more than all hits that a search keeps.
const MAX_FILE: u64 = 16 << 20;

/// Which volumes are opened: what `args` ask for, and the lost ones where they are wanted.
pub(crate) fn selection(
    source: &Arc<dyn ReadAt>,
    args: &SelectionArgs,
    chatter: Chatter,
) -> Result<Selection, Failure> {
    let mut selection = args.selection();
    if args.lost.lost {
        let (lost, interrupted) = find(source, &args.lost, chatter)?;
        if let Some(sentence) = interrupted {
            return Err(Failure::new(sentence));
        }
        lost.notes.iter().for_each(notice);
        selection.lost = lost.volumes;
    }
    Ok(selection)
}

/// The lost volumes of `source`. Where the search was interrupted, those that were found so far, and a sentence that
/// says so.
pub(crate) fn find(
    source: &Arc<dyn ReadAt>,
    args: &LostArgs,
    chatter: Chatter,
) -> Result<(Lost, Option<String>), Failure> {
    let keeper = args.catalogue.as_deref().map(|path| Keeper::new(source, path)).transpose()?;
    let (search, keeper) = match keeper {
        Some((keeper, search)) => (search, Some(keeper)),
        None => (Search::default(), None),
    };
    let search = run(source, search, keeper, chatter)?;
    let sentence = (!search.is_complete(source)).then(|| {
        let next = match &args.catalogue {
            Some(path) => format!("the same command goes on from there, with {}", path.display()),
            None => "with --catalogue FILE the next run would go on from there".to_owned(),
        };
        format!(
            "the search for lost volumes was interrupted after {} of {}; {next}",
            BinaryBytes(search.position),
            BinaryBytes(source.size())
        )
    });
    let lost = lost_volumes(source, &search, &Late::new("Looking into volumes", chatter))?;
    Ok((lost, sentence))
}

/// Goes on with `search` until it is complete or a signal comes.
fn run(
    source: &Arc<dyn ReadAt>,
    mut search: Search,
    mut keeper: Option<Keeper>,
    chatter: Chatter,
) -> Result<Search, Failure> {
    if search.is_complete(source) {
        return Ok(search);
    }
    // Before the work, so that a place that cannot be written is told at once.
    if let Some(keeper) = &mut keeper {
        keeper.save(&search)?;
    }
    let interrupt =
        Interrupt::new().map_err(|error| Failure::new(format!("cannot wait for signals: {error}")))?;
    let watch = Watched { progress: Progress::new("Searching", Unit::Bytes, chatter), interrupt };
    search.run(source, &watch, &mut |search| {
        if let Some(keeper) = keeper.as_mut().filter(|keeper| keeper.is_due())
            && let Err(failure) = keeper.save(search)
        {
            watch.progress.notice(failure);
        }
    });
    if let Some(keeper) = &mut keeper {
        keeper.save(&search)?;
    }
    Ok(search)
}

/// Progress that a signal ends.
struct Watched {
    progress: Progress,
    interrupt: Interrupt,
}

impl Watch for Watched {
    fn total(&self, units: u64) {
        self.progress.total(units);
    }

    fn advance(&self, units: u64) {
        self.progress.advance(units);
    }

    fn cancelled(&self) -> bool {
        self.interrupt.is_set()
    }
}

/// The file that keeps a search, replaced whole each time.
struct Keeper {
    path: PathBuf,
    kept: KeptSearch,
    saved: Instant,
}

impl Keeper {
    /// A keeper on `path`, and the search that it has already.
    fn new(source: &dyn ReadAt, path: &Path) -> Result<(Self, Search), Failure> {
        // The file is replaced where it is, not the link that leads to it.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let kept = KeptSearch::new(source);
        let search = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() && metadata.len() == 0 => Search::default(),
            Ok(metadata) => {
                // Whatever is no such file, the source itself perhaps, must not be replaced.
                let readable = metadata.is_file() && metadata.len() <= MAX_FILE;
                let bytes = if readable { fs::read(&path) } else { Ok(Vec::new()) };
                let bytes = bytes.map_err(|error| Failure::io("read", &path, &error))?;
                let text = String::from_utf8(bytes).unwrap_or_default();
                kept.read(&text, &path.display().to_string())?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Search::default(),
            Err(error) => return Err(Failure::io("read", &path, &error)),
        };
        Ok((Self { path, kept, saved: Instant::now() }, search))
    }

    fn is_due(&self) -> bool {
        self.saved.elapsed() >= INTERVAL
    }

    fn save(&mut self, search: &Search) -> Result<(), Failure> {
        self.saved = Instant::now();
        self.write(search).map_err(|error| Failure::io("write", &self.path, &error))
    }

    fn write(&self, search: &Search) -> io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let mut file = place::public_temporary(folder, ".undelfs-catalogue-")?;
        let mut out = BufWriter::new(&mut file);
        self.kept.write(search, &mut out)?;
        out.flush()?;
        drop(out);
        // Whole before it has the name: after a crash the old one is better than an empty one.
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }
}
