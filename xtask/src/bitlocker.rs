//! Reading out of an encrypted volume, beside the same volume that is plain and beside dislocker.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use crate::{
    bench::{self, GIB},
    figures::{Figure, Goal, Value, median, rate},
    peers::Place,
    run,
};

/// Password of the encrypted volume.
const PASSWORD: &str = "correct horse";

/// The large deleted file.
const FILE: &str = "large.bin";

/// Its record in `$MFT`, the first of a file on a volume made by `mkntfs`.
const RECORD: &str = "64";

/// Cluster size of the volume in bytes.
const CLUSTER: u64 = 4096;

/// Threads that read at random, and what they read together.
const THREADS: &str = "8";
const READS: u32 = 100_000;

/// The programs and images that are measured.
struct Volumes<'a> {
    undelfs: &'a Path,
    random_reads: PathBuf,
    plain: &'a Path,
    encrypted: PathBuf,
    /// The byte of the volume at which the large file begins.
    start: u64,
}

/// Measures the large file of the volume `plain` in an XTS-AES 128 volume made of it, and in itself, `passes` times.
pub(crate) fn figures(undelfs: &Path, plain: &Path, passes: usize) -> Result<Vec<Figure>, String> {
    let examples = ["make_bitlocker", "random_reads"].map(|name| ["--example", name]);
    run::run(run::cargo(["build", "--release", "--package", "undelfs-tests"]).args(examples.as_flattened()))?;
    let built = run::built("release")?.join("examples");
    let encrypted = encrypted(&built.join("make_bitlocker"), plain)?;
    bench::warm(plain)?;
    bench::warm(&encrypted)?;
    let random_reads = built.join("random_reads");
    let volumes = Volumes { undelfs, random_reads, plain, encrypted, start: start(plain)? };
    volumes.check()?;
    let mut streams: [Vec<Duration>; 3] = Default::default();
    let mut random: [Vec<Duration>; 2] = Default::default();
    for _ in 0..passes {
        let [ours, of_plain, of_dislocker] = &mut streams;
        ours.push(read(&volumes.encrypted()?)?);
        of_plain.push(read(&volumes.plain()?)?);
        of_dislocker.push(volumes.read_by_dislocker()?);
        let [ours, of_plain] = &mut random;
        ours.push(volumes.read_at_random(&volumes.encrypted()?)?);
        of_plain.push(volumes.read_at_random(&volumes.plain()?)?);
    }
    let [ours, of_plain, of_dislocker] = streams.map(|times| rate(GIB, median(times)));
    let what = "large file in BitLocker";
    let [random, random_of_plain] =
        random.map(|times| Value::PerSecond(f64::from(READS) / median(times).as_secs_f64()));
    Ok(vec![
        Figure { what, ours, peer: "plain volume", theirs: of_plain, goal: Goal::AtLeast(0.75) },
        Figure { what, ours, peer: "dislocker-fuse", theirs: of_dislocker, goal: Goal::AtLeast(8.0) },
        Figure {
            what: "random reads in BitLocker",
            ours: random,
            peer: "plain volume",
            theirs: random_of_plain,
            goal: Goal::None,
        },
    ])
}

/// The large file in BitLocker, to be read beside others.
pub(crate) struct Large {
    undelfs: PathBuf,
    encrypted: PathBuf,
}

impl Large {
    /// The large file of the volume `plain`, in a volume that is encrypted with XTS-AES 128.
    pub(crate) fn new(undelfs: &Path, plain: &Path) -> Result<Self, String> {
        run::run(&mut run::cargo([
            "build",
            "--release",
            "--package",
            "undelfs-tests",
            "--example",
            "make_bitlocker",
        ]))?;
        let encrypted = encrypted(&run::built("release")?.join("examples/make_bitlocker"), plain)?;
        bench::warm(&encrypted)?;
        Ok(Self { undelfs: undelfs.to_owned(), encrypted })
    }

    /// Reads it, freshly mounted.
    pub(crate) fn read(&self) -> Result<Duration, String> {
        let place = Place::new()?;
        let mut mount = Command::new(&self.undelfs);
        run::output(mount.args(["mount", "--password", PASSWORD]).arg(&self.encrypted).arg(place.dir()))?;
        read(&place)
    }
}

/// Reads the large file.
fn read(place: &Place) -> Result<Duration, String> {
    bench::read(&[place.dir().join(FILE)])
}

/// The encrypted volume, made where it is missing or older than the plain one.
fn encrypted(maker: &Path, plain: &Path) -> Result<PathBuf, String> {
    let image = plain.with_extension("bitlocker.img");
    let time = |path: &Path| fs::metadata(path).and_then(|about| about.modified()).ok();
    let made: Option<SystemTime> = time(&image);
    if made.is_none() || made < time(plain) {
        let unfinished = image.with_extension("unfinished");
        run::run(Command::new(maker).args([plain, &unfinished]).arg(PASSWORD))?;
        fs::rename(&unfinished, &image).map_err(|error| format!("{}: {error}", image.display()))?;
    }
    Ok(image)
}

/// The byte of the volume at which the large file begins, as The Sleuth Kit knows it.
fn start(plain: &Path) -> Result<u64, String> {
    let said = run::output(Command::new("istat").arg(plain).arg(RECORD))?;
    first_cluster(&said)
        .map(|cluster| cluster * CLUSTER)
        .ok_or_else(|| format!("istat gave no cluster of record {RECORD} of {}", plain.display()))
}

/// The first number in the lines of clusters that end what `istat` says.
fn first_cluster(said: &str) -> Option<u64> {
    let mut lines = said.lines().skip_while(|line| !line.starts_with("Type: $DATA"));
    lines.nth(1)?.split_whitespace().next()?.parse().ok()
}

impl Volumes<'_> {
    fn encrypted(&self) -> Result<Place, String> {
        self.mounted(&self.encrypted, &["--password", PASSWORD])
    }

    fn plain(&self) -> Result<Place, String> {
        self.mounted(self.plain, &[])
    }

    /// A new mount by undelfs.
    fn mounted(&self, image: &Path, keys: &[&str]) -> Result<Place, String> {
        let place = Place::new()?;
        run::output(Command::new(self.undelfs).arg("mount").args(keys).arg(image).arg(place.dir()))?;
        Ok(place)
    }

    /// An error unless all three give the same bytes, which also proves that the file is in one piece.
    fn check(&self) -> Result<(), String> {
        let (encrypted, plain) = (self.encrypted()?, self.plain()?);
        let expected = plain.dir().join(FILE);
        run::output(Command::new("cmp").arg(encrypted.dir().join(FILE)).arg(&expected))?;
        let volume = Place::dislocker(&self.encrypted, PASSWORD)?;
        let (skip, count) = (format!("0:{}", self.start), GIB.to_string());
        run::output(
            Command::new("cmp")
                .args(["--ignore-initial", &skip, "--bytes", &count])
                .arg(&expected)
                .arg(volume.decrypted()),
        )
        .map(drop)
    }

    /// Reads the bytes of the large file from the decrypted volume.
    fn read_by_dislocker(&self) -> Result<Duration, String> {
        let volume = Place::dislocker(&self.encrypted, PASSWORD)?;
        bench::read_part(&volume.decrypted(), self.start, GIB)
    }

    /// How long threads take to read parts of the large file.
    fn read_at_random(&self, place: &Place) -> Result<Duration, String> {
        let mut reads = Command::new(&self.random_reads);
        reads.arg(place.dir().join(FILE)).args([THREADS, &READS.to_string()]);
        let said = run::output(&mut reads)?;
        let per_second = said.trim().parse::<f64>().ok();
        per_second
            .and_then(|rate| Duration::try_from_secs_f64(f64::from(READS) / rate).ok())
            .ok_or_else(|| format!("{} gave no rate: {said}", run::shown(&reads)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cluster_is_the_first_number_behind_the_data_attribute() {
        let said = "Entry: 64        Sequence: 2\n\
            Type: $FILE_NAME (48-3)   Name: N/A   Resident   size: 84\n\
            Type: $DATA (128-2)   Name: N/A   Non-Resident   size: 8192  init_size: 8192\n\
            98432 98433 \n";
        assert_eq!(first_cluster(said), Some(98432));
        assert_eq!(first_cluster("Type: $DATA (128-2)   Name: N/A   Resident   size: 2\n"), None);
    }
}
