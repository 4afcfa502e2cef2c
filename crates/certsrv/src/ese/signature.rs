//! What the headers of databases, logs and checkpoints have in common.

use std::fmt;

use undelfs_source::bytes::{array, u16_at, u32_at};

/// Where every header says what file it begins, one byte.
pub(super) const FILE_TYPE: usize = 667;

/// A time as logs and headers have it: in whole seconds, in local time unless it says UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogTime {
    seconds: u8,
    minutes: u8,
    hours: u8,
    day: u8,
    /// From 1.
    month: u8,
    /// Since 1900.
    year: u8,
}

impl LogTime {
    /// The 8 bytes at `at`.
    pub(super) fn at(bytes: &[u8], at: usize) -> Option<Self> {
        let [seconds, minutes, hours, day, month, year, _, _] = array::<8>(bytes, at)?;
        Some(Self { seconds, minutes, hours, day, month, year })
    }
}

impl fmt::Display for LogTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, minutes, hours, day, month, year } = *self;
        if year == 0 {
            return f.write_str("never");
        }
        let year = u16::from(year).saturating_add(1900);
        write!(f, "{year:04}-{month:02}-{day:02} {hours:02}:{minutes:02}:{seconds:02}")
    }
}

/// What ties a database, its logs and its checkpoint together: `JET_SIGNATURE`, 28 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signature([u8; 28]);

impl Signature {
    /// Size in bytes.
    pub const LEN: usize = 28;

    pub(super) fn at(bytes: &[u8], at: usize) -> Option<Self> {
        array(bytes, at).map(Self)
    }

    /// True where nothing is written in it.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; Self::LEN]
    }

    /// All of it, in hexadecimal digits.
    pub fn hex(&self) -> String {
        crate::hex(&self.0)
    }

    /// The random number that is its most telling part.
    pub fn random(&self) -> u32 {
        u32_at(&self.0, 0).unwrap_or(0)
    }

    /// When it was made.
    pub fn created(&self) -> LogTime {
        LogTime::at(&self.0, 4).unwrap_or_default()
    }

    /// The NetBIOS name of the machine that made it, where one is written.
    pub fn computer(&self) -> Option<String> {
        let name = self.0.get(12..)?.split(|byte| *byte == 0).next()?;
        let plain = !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic());
        plain.then(|| String::from_utf8_lossy(name).into_owned())
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010X} of {}", self.random(), self.created())
    }
}

/// A place in the logs: `JET_LGPOS`, 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogPosition {
    /// Byte in the sector.
    pub byte: u16,
    /// Sector in the log.
    pub sector: u16,
    /// Generation of the log.
    pub generation: u32,
}

impl LogPosition {
    pub(super) fn at(bytes: &[u8], at: usize) -> Option<Self> {
        Some(Self {
            byte: u16_at(bytes, at)?,
            sector: u16_at(bytes, at.checked_add(2)?)?,
            generation: u32_at(bytes, at.checked_add(4)?)?,
        })
    }
}

/// What a header remembers of a backup: `JET_BKINFO`, 24 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BackupInfo {
    /// Where in the logs it was marked.
    pub position: LogPosition,
    /// When.
    pub time: LogTime,
    /// Lowest log generation of the set; 0 where there was no backup.
    pub low: u32,
    /// Highest one; 0 in a database that is a backup copy itself.
    pub high: u32,
}

impl BackupInfo {
    pub(super) fn at(bytes: &[u8], at: usize) -> Option<Self> {
        Some(Self {
            position: LogPosition::at(bytes, at)?,
            time: LogTime::at(bytes, at.checked_add(8)?)?,
            low: u32_at(bytes, at.checked_add(16)?)?,
            high: u32_at(bytes, at.checked_add(20)?)?,
        })
    }
}
