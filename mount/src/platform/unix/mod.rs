//! Linux: FUSE, signals, descriptors.

pub(crate) mod interrupt;
pub(crate) mod mounting;
pub(crate) mod mountpoint;
pub(crate) mod mounts;
pub(crate) mod place;
pub(crate) mod secrets;
pub(crate) mod sudo;
pub(crate) mod unmounting;

pub(crate) use crate::fuse::Settings;

/// Nothing.
pub(crate) const NOTICE: &str = "";

/// What to try on the mounted demo.
pub(crate) const DEMO_ADVICE: &str = "\
    \u{20}   ls -lR {}\n\
    \u{20}   cp -a {} /tmp/rescued\n\
    \u{20}   getfattr -dR {}            # how sure each file is, and where it came from\n\
    \u{20}   cat {}/.undelfs/report.txt\n";
