//! `cargo xtask bench`: undelfs beside its peers, each pair in the same run.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    bitlocker, ciphers, efs,
    figures::{Figure, Goal, Value, median, page, rate},
    fmapi, images, lost, packages,
    peers::{self, Place},
    run, test,
};

/// Passes of each measurement that takes less than a few seconds.
const PASSES: usize = 5;

/// Folder of images that take minutes to make, and of peers.
const BUILD: &str = "images/build";

/// Deleted files on the image with many files, and as many live ones.
const HALF: usize = 75_000;

pub(crate) const GIB: u64 = 1 << 30;

/// What can be measured by itself, and how.
type Part = (&'static str, fn(&Bench) -> Result<Vec<Figure>, String>);

const PARTS: [Part; 9] = [
    ("scan", Bench::scan),
    ("find", Bench::find),
    ("copy", Bench::copy),
    ("stream", Bench::stream),
    ("bitlocker", Bench::bitlocker),
    ("ciphers", Bench::ciphers),
    ("efs", Bench::efs),
    ("lost", Bench::lost),
    ("fmapi", Bench::fmapi),
];

struct Bench {
    undelfs: PathBuf,
    /// Many files in many folders.
    many: PathBuf,
    /// As many files in two folders.
    crowded: PathBuf,
    large: PathBuf,
}

/// Measures the `wanted` parts, or all and then writes the page.
pub(crate) fn run(wanted: &[String]) -> Result<(), String> {
    if let Some(unknown) = wanted.iter().find(|name| !PARTS.iter().any(|part| part.0 == **name)) {
        let names = PARTS.map(|part| part.0).join(", ");
        return Err(format!("the benchmark has no part {unknown:?}, but {names}"));
    }
    packages::need_root()?;
    packages::install()?;
    let undelfs = test::build()?;
    eprintln!("making the images, which takes minutes the first time");
    let made = images::make(&["bench", BUILD])?;
    let mut paths = made.lines().map(PathBuf::from);
    let mut next = || paths.next().ok_or("the maker did not name all images");
    let bench = Bench { undelfs, many: next()?, crowded: next()?, large: next()? };
    let mut figures = Vec::new();
    for (_, measure) in
        PARTS.iter().filter(|part| wanted.is_empty() || wanted.iter().any(|name| name == part.0))
    {
        for figure in measure(&bench)? {
            println!("{}", figure.row());
            figures.push(figure);
        }
    }
    let judged: Vec<bool> = figures.iter().filter_map(Figure::is_reached).collect();
    println!("{} of {} goals reached", judged.iter().filter(|reached| **reached).count(), judged.len());
    if !wanted.is_empty() {
        return Ok(());
    }
    let path = "docs/benchmarks.md";
    fs::write(path, page(&figures, PASSES)?).map_err(|error| format!("{path}: {error}"))?;
    println!("{path} is written");
    Ok(())
}

impl Bench {
    /// Lists all deleted files.
    fn scan(&self) -> Result<Vec<Figure>, String> {
        let mft = Path::new(BUILD).join("mft.bin");
        let out = File::create(&mft).map_err(|error| format!("{}: {error}", mft.display()))?;
        let icat = run::command("icat", [self.many.as_os_str(), "0".as_ref()]).stdout(out).status();
        if !icat.is_ok_and(|status| status.success()) {
            return Err("icat could not extract $MFT".into());
        }
        let mft_dump = peers::mft_dump()?;
        warm(&self.many)?;
        warm(&mft)?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..PASSES {
            ours.push(run::timed(
                Command::new(&self.undelfs).args(["scan", "--format", "csv"]).arg(&self.many),
            )?);
            theirs.push(run::timed(Command::new(&mft_dump).args(["-o", "csv"]).arg(&mft))?);
        }
        // A program that lists less than it should is no measure for anybody.
        at_least(2 * HALF, Command::new(&mft_dump).args(["-o", "csv"]).arg(&mft))?;
        let mut figures = vec![Figure {
            what: "scan of 150,000 files",
            ours: Value::Time(median(ours)),
            peer: "mft_dump",
            theirs: Value::Time(median(theirs)),
            goal: Goal::AtMost(0.25),
        }];
        let folders = [("scan, 3000 folders", &self.many), ("scan, 2 folders", &self.crowded)];
        for (what, image) in folders {
            warm(image)?;
            let args = ["scan".as_ref(), "--format".as_ref(), "csv".as_ref(), image.as_os_str()];
            let scan = || run::command(&self.undelfs, args);
            let times: Result<Vec<_>, _> = (0..PASSES).map(|_| run::timed(&mut scan())).collect();
            let ours = Value::Time(median(times?));
            let theirs = Value::Time(run::timed(Command::new("fls").arg("-rdp").arg(image))?);
            at_least(HALF, &mut scan())?;
            figures.push(Figure { what, ours, peer: "fls", theirs, goal: Goal::AtMost(0.005) });
        }
        Ok(figures)
    }

    /// Mounts and lists the tree.
    fn find(&self) -> Result<Vec<Figure>, String> {
        let mut figures = Vec::new();
        for (what, more) in [("mount and find", &[][..]), ("mount and find with sizes", &["-printf", "%s\n"])]
        {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for _ in 0..PASSES {
                let find = |place: &Place| run::timed(Command::new("find").arg(place.dir()).args(more));
                let place = Place::new()?;
                ours.push(self.mount(&self.many, &place)? + find(&place)?);
                at_least(HALF, Command::new("find").arg(place.dir()))?;
                drop(place);
                let place = Place::new()?;
                let mut peer = Command::new("ntfs-3g");
                theirs.push(
                    run::timed(peer.args(["-o", "ro"]).arg(&self.many).arg(place.dir()))? + find(&place)?,
                );
                at_least(HALF, Command::new("find").arg(place.dir()))?;
            }
            let (ours, theirs) = (Value::Time(median(ours)), Value::Time(median(theirs)));
            figures.push(Figure { what, ours, peer: "ntfs-3g", theirs, goal: Goal::AtMost(0.5) });
        }
        Ok(figures)
    }

    /// Copies all deleted files, and looks at the memory that this took.
    fn copy(&self) -> Result<Vec<Figure>, String> {
        let mft =
            fs::metadata(Path::new(BUILD).join("mft.bin")).map_err(|error| format!("mft.bin: {error}"))?;
        let records = mft.len() / 1024;
        let (many, peak) = self.copy_of("copy of 75,000 files, 3000 folders", &self.many)?;
        let (crowded, _) = self.copy_of("copy of 75,000 files, 2 folders", &self.crowded)?;
        let memory = Figure {
            what: "peak memory of the mount",
            ours: Value::Memory(peak),
            peer: "bound",
            theirs: Value::Memory(128.0 + records as f64 * 96.0 / f64::from(1 << 20)),
            goal: Goal::AtMost(1.0),
        };
        Ok(vec![many, crowded, memory])
    }

    /// Copies all deleted files of `image`; also the memory in MiB that the mount took at most.
    fn copy_of(&self, what: &'static str, image: &Path) -> Result<(Figure, f64), String> {
        warm(image)?;
        let place = Place::new()?;
        self.mount(image, &place)?;
        let to = Place::in_memory()?;
        // Without the generated files, whose names begin with a dot.
        let mut cp = Command::new("sh");
        cp.args(["-c", "cp -a \"$0\"/* \"$1\""]).arg(place.dir()).arg(to.dir());
        let ours = run::timed(&mut cp)?;
        at_least(HALF, Command::new("find").arg(to.dir()).args(["-type", "f"]))?;
        let peak = place.peak_memory()?;
        drop((place, to));
        let to = Place::in_memory()?;
        let theirs = run::timed(Command::new("tsk_recover").arg(image).arg(to.dir()))?;
        at_least(HALF, Command::new("find").arg(to.dir()).args(["-type", "f"]))?;
        let (ours, theirs) = (Value::Time(ours), Value::Time(theirs));
        Ok((Figure { what, ours, peer: "tsk_recover", theirs, goal: Goal::AtMost(0.25) }, peak))
    }

    /// Reads large files.
    fn stream(&self) -> Result<Vec<Figure>, String> {
        let memfs = peers::memfs()?;
        warm(&self.large)?;
        let mut times: [[Vec<Duration>; 2]; 3] = Default::default();
        let [one, four, again] = &mut times;
        for _ in 0..PASSES {
            let place = Place::new()?;
            self.mount(&self.large, &place)?;
            // Ours stays as undelfs set it; the peer gets the same.
            let read_ahead = place.read_ahead()?;
            let dir = place.dir();
            let first = read(&[dir.join("large.bin")])?;
            one[0].push(first);
            again[0].push(read(&[dir.join("large.bin")])?);
            again[1].push(first);
            drop(place);
            // Every first reading has a mount of its own, so that none finds more memory in use than its peer.
            let place = Place::new()?;
            self.mount(&self.large, &place)?;
            let parts: Vec<_> = (0..4).map(|number| place.dir().join(format!("part {number}.bin"))).collect();
            four[0].push(read(&parts)?);
            drop(place);
            for (size, files, kept) in [(GIB, 1, &mut one[1]), (GIB / 4, 4, &mut four[1])] {
                let place = Place::served(&memfs, &[size.to_string()])?;
                place.set_read_ahead(&read_ahead)?;
                let paths: Vec<_> = (0..files).map(|number| place.dir().join(format!("f{number}"))).collect();
                kept.push(read(&paths)?);
            }
        }
        let names = [
            ("large file, first read", "memfs", Goal::AtLeast(0.85)),
            ("four readers at once", "memfs", Goal::AtLeast(0.85)),
            ("large file, second read", "first read", Goal::AtLeast(1.2)),
        ];
        let figures = names.into_iter().zip(times).map(|((what, peer, goal), [ours, theirs])| Figure {
            what,
            ours: rate(GIB, median(ours)),
            peer,
            theirs: rate(GIB, median(theirs)),
            goal,
        });
        Ok(figures.collect())
    }

    /// Reads a large file out of an encrypted volume.
    fn bitlocker(&self) -> Result<Vec<Figure>, String> {
        bitlocker::figures(&self.undelfs, &self.large, PASSES)
    }

    /// Reads a file that EFS has encrypted, and decrypts with its ciphers.
    fn efs(&self) -> Result<Vec<Figure>, String> {
        efs::figures(&self.undelfs, &self.large, Path::new(BUILD), PASSES)
    }

    /// Decrypts sectors in memory, on one core.
    fn ciphers(&self) -> Result<Vec<Figure>, String> {
        ciphers::figures(PASSES)
    }

    /// Searches a whole disk for lost volumes.
    fn lost(&self) -> Result<Vec<Figure>, String> {
        lost::figures(&self.undelfs, Path::new(BUILD))
    }

    /// Lists all files through the C library.
    fn fmapi(&self) -> Result<Vec<Figure>, String> {
        fmapi::figures(&self.undelfs, &self.many, Path::new(BUILD), PASSES)
    }

    /// Mounts with undelfs; the time until it says that the tree is there.
    fn mount(&self, image: &Path, place: &Place) -> Result<Duration, String> {
        run::timed(Command::new(&self.undelfs).arg("mount").arg(image).arg(place.dir()))
    }
}

/// Reads all of `paths` at once with `dd`; the time until the last is done.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Duration, String> {
    time_all(paths.iter().map(|path| dd(path)).collect())
}

/// Reads `len` bytes from byte `start` of a file on with `dd`.
pub(crate) fn read_part(path: &Path, start: u64, len: u64) -> Result<Duration, String> {
    let mut dd = dd(path);
    dd.arg("iflag=skip_bytes,count_bytes").arg(format!("skip={start}")).arg(format!("count={len}"));
    time_all(vec![dd])
}

fn dd(path: &Path) -> Command {
    let mut from = OsString::from("if=");
    from.push(path);
    let mut dd = Command::new("dd");
    dd.args(["bs=1M", "of=/dev/null"]).arg(from).stderr(Stdio::null());
    dd
}

/// Runs all `readers` at once; the time until the last is done.
fn time_all(mut readers: Vec<Command>) -> Result<Duration, String> {
    let start = Instant::now();
    let running: Vec<_> = readers
        .iter_mut()
        .map(Command::spawn)
        .collect::<io::Result<_>>()
        .map_err(|error| format!("dd: {error}"))?;
    for mut reader in running {
        let status = reader.wait().map_err(|error| format!("dd: {error}"))?;
        if !status.success() {
            return Err(format!("dd ended with {status}"));
        }
    }
    Ok(start.elapsed())
}

/// Brings a file into the page cache.
pub(crate) fn warm(path: &Path) -> Result<(), String> {
    File::open(path)
        .and_then(|mut file| io::copy(&mut file, &mut io::sink()))
        .map(drop)
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// An error unless `command` writes at least `lines` lines.
fn at_least(lines: usize, command: &mut Command) -> Result<(), String> {
    let found = run::output(command)?.lines().count();
    if found >= lines {
        return Ok(());
    }
    Err(format!("{} gave {found} lines where {lines} were expected", run::shown(command)))
}
