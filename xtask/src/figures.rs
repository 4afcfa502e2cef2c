//! Measured figures, and the page that they go to.

use std::{fmt::Write as _, time::Duration};

use crate::run;

/// One measurement beside its peer's.
#[derive(Debug)]
pub(crate) struct Figure {
    /// What was done.
    pub(crate) what: &'static str,
    /// What undelfs took.
    pub(crate) ours: Value,
    /// The peer's name.
    pub(crate) peer: &'static str,
    /// What the peer took.
    pub(crate) theirs: Value,
    /// What the ratio should be.
    pub(crate) goal: Goal,
}

/// A measured quantity.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value {
    /// A time: less is better.
    Time(Duration),
    /// A rate in MiB/s: more is better.
    Rate(f64),
    /// A number of reads per second: more is better.
    PerSecond(f64),
    /// An amount of memory in MiB: less is better.
    Memory(f64),
}

/// A bound of ours divided by the peer's.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
    /// The ratio is shown, and nothing is asked of it.
    None,
}

impl Value {
    fn number(self) -> f64 {
        match self {
            Self::Time(time) => time.as_secs_f64(),
            Self::Rate(number) | Self::PerSecond(number) | Self::Memory(number) => number,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Time(time) if time < Duration::from_secs(10) => format!("{:.3} s", time.as_secs_f64()),
            Self::Time(time) => format!("{:.1} s", time.as_secs_f64()),
            Self::Rate(rate) => format!("{rate:.0} MiB/s"),
            Self::PerSecond(reads) => format!("{reads:.0}/s"),
            Self::Memory(size) => format!("{size:.1} MiB"),
        }
    }
}

impl Figure {
    /// Ours divided by theirs.
    pub(crate) fn ratio(&self) -> f64 {
        self.ours.number() / self.theirs.number()
    }

    /// Whether the goal is reached; `None` where there is none.
    pub(crate) fn is_reached(&self) -> Option<bool> {
        match self.goal {
            Goal::AtMost(bound) => Some(self.ratio() <= bound),
            Goal::AtLeast(bound) => Some(self.ratio() >= bound),
            Goal::None => None,
        }
    }

    /// Its row in the page's table.
    pub(crate) fn row(&self) -> String {
        let goal = match self.goal {
            Goal::AtMost(bound) => format!("≤ {bound}"),
            Goal::AtLeast(bound) => format!("≥ {bound}"),
            Goal::None => "none".to_owned(),
        };
        let mark = match self.is_reached() {
            Some(true) => "yes",
            Some(false) => "no",
            None => "–",
        };
        let (ours, theirs) = (self.ours.text(), self.theirs.text());
        format!(
            "| {} | {ours} | {} | {theirs} | {:.4} | {goal} | {mark} |",
            self.what,
            self.peer,
            self.ratio()
        )
    }
}

/// The median of several values.
pub(crate) fn median(mut values: Vec<Duration>) -> Duration {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// MiB/s of `bytes` in `time`.
pub(crate) fn rate(bytes: u64, time: Duration) -> Value {
    Value::Rate(bytes as f64 / f64::from(1 << 20) / time.as_secs_f64())
}

/// The page of results.
pub(crate) fn page(figures: &[Figure], passes: usize) -> Result<String, String> {
    let mut page = String::from(PREFACE);
    let _ = writeln!(
        page,
        "Machine: {}. Medians of {passes} passes, ours and the peer's in turns; `fls`, the copies and the search ran once.\n",
        machine()?
    );
    page.push_str("| Measurement | undelfs | Peer | Peer's | Ratio | Goal | Reached |\n");
    page.push_str("|---|---|---|---|---|---|---|\n");
    for figure in figures {
        let _ = writeln!(page, "{}", figure.row());
    }
    page.push_str(COMMANDS);
    Ok(page)
}

fn machine() -> Result<String, String> {
    let read = |path: &str| std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let info = read("/proc/cpuinfo")?;
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = run::output(&mut run::command("uname", ["-sr"]))?;
    let rustc = run::output(&mut run::command("rustc", ["--version"]))?;
    let model = model.trim_start_matches([' ', '\t', ':']);
    Ok(format!("{model}, {cores} cores, {}, {}", kernel.trim(), rustc.trim()))
}

const PREFACE: &str = "\
# Benchmarks

Written by `cargo xtask bench`, which makes the images, installs the peers and runs everything as root. Each figure
stands beside a peer's that was measured in the same run; the ratio is ours divided by the peer's.

";

const COMMANDS: &str = "
## What was run

`many.img` is an NTFS volume of 150,000 files of about 1 KiB in 3000 folders, every second one deleted, made by
`mkntfs` and `ntfs-3g`. `crowded.img` is the same in 2 folders: the time of The Sleuth Kit's programs grows with the
square of the files in a folder. `large.img` holds a deleted file of 1 GiB and four of 256 MiB. All are in the page cache, so
that the programs are compared and not the disk. Standard output goes to `/dev/null`.

| Measurement | undelfs | Peer |
|---|---|---|
| scan | `undelfs scan --format csv many.img` | `mft_dump -o csv mft.bin` (crate `mft` 0.9.1); `mft.bin` is `icat many.img 0` |
| scan, folders | the same with `many.img` and `crowded.img` | `fls -rdp` of the same image |
| mount and find | `undelfs mount many.img DIR && find DIR` | `ntfs-3g -o ro many.img DIR && find DIR` |
| mount and find with sizes | the same with `find DIR -printf '%s\\n'` | the same |
| copy of all deleted files | `cp -a DIR/* TMPFS`, `many.img` and `crowded.img` | `tsk_recover IMAGE TMPFS` |
| peak memory | `VmHWM` of the mount after that copy | bound: 128 MiB and 96 bytes for each record |
| large file | `dd bs=1M if=DIR/large.bin of=/dev/null`, freshly mounted | the same from `memfs`, a file system of the same FUSE library that returns bytes it has in memory, with the read-ahead that undelfs has |
| four readers | four `dd` at once, 256 MiB each | the same |
| second read | the same `dd` again on the same mount | the first one |
| large file in BitLocker | `undelfs mount --password`, then `dd bs=1M if=DIR/large.bin of=/dev/null`; the volume is `large.img` encrypted with XTS-AES 128, sectors of 512 bytes | the same with `large.img` itself; `dd bs=1M` of the same GiB of the volume's file in a mount of `dislocker-fuse`; each freshly mounted |
| random reads in BitLocker | `random_reads`, an example of the tests: 8 threads read 100,000 parts of 4 KiB of `large.bin`, none twice, freshly mounted | the same with `large.img` itself |
| a cipher, sectors of SIZE bytes | `cipher_speed`, an example of the crate `undelfs-bitlocker`: 1 MiB in one call, on one core, each sector with its own tweak or IV | `openssl speed -seconds 1 -bytes SIZE -decrypt -evp NAME` on the same core: one block of SIZE bytes again and again, with one IV; bound with the diffuser, which OpenSSL has not: 1.5 GB/s |
| large file in EFS | `undelfs mount --view regular --efs-key`, then `dd bs=1M if=DIR/large.bin of=/dev/null`; a live file of 1 GiB, AES-256 | the same with the file of 1 GiB in BitLocker, freshly mounted |
| EFS, a cipher | `efs_speed`, an example of the crate `undelfs-efs`: 1 MiB in one call, on one core, 512 bytes with an IV of their own at a time | `openssl speed -seconds 1 -bytes 512 -decrypt -evp NAME` on the same core; the usual DESX, which has the same work to do |
| search of a disk | `undelfs volumes --lost` of a loop device over a sparse file of 64 GiB with three generations of volumes, once; also in four runs of which three were interrupted, with the same result | `cat` of the device, once |
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_reaches_its_goal_by_its_ratio() {
        let figure = |ours, theirs, goal| Figure {
            what: "scan",
            ours: Value::Time(Duration::from_millis(ours)),
            peer: "fls",
            theirs: Value::Time(Duration::from_millis(theirs)),
            goal,
        };
        assert_eq!(figure(100, 400, Goal::AtMost(0.25)).is_reached(), Some(true));
        assert_eq!(figure(101, 400, Goal::AtMost(0.25)).is_reached(), Some(false));
        assert_eq!(figure(84, 100, Goal::AtLeast(0.85)).is_reached(), Some(false));
        assert_eq!(figure(84, 100, Goal::None).is_reached(), None);
        assert!(figure(100, 400, Goal::None).row().ends_with("| 0.2500 | none | – |"));
        assert!(figure(100, 400, Goal::AtMost(0.25)).row().contains("| 0.2500 | ≤ 0.25 | yes |"));
    }

    #[test]
    fn the_median_does_not_heed_one_slow_pass() {
        let seconds = [5, 1, 2].map(Duration::from_secs);
        assert_eq!(median(seconds.to_vec()), Duration::from_secs(2));
    }
}
