//! From the file system's times to the host's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use undelfs_volume::filesystem::FileTime;

/// A time before 1970 stays before 1970; one that the host cannot express becomes 1970.
pub(crate) fn system_time(time: FileTime) -> SystemTime {
    let (seconds, nanos) = time.unix();
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    base.and_then(|base| base.checked_add(Duration::from_nanos(nanos.into()))).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_hundred_nanoseconds_on_both_sides_of_1970() {
        let epoch = 116_444_736_000_000_000;
        assert_eq!(system_time(FileTime(epoch)), UNIX_EPOCH);
        assert_eq!(
            system_time(FileTime(epoch + 12_345_678)),
            UNIX_EPOCH + Duration::from_nanos(1_234_567_800)
        );
        assert_eq!(system_time(FileTime(epoch - 1)), UNIX_EPOCH - Duration::from_nanos(100));
        assert_eq!(system_time(FileTime(0)), UNIX_EPOCH - Duration::from_secs(11_644_473_600));
    }
}
