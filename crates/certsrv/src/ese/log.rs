//! The headers of logs and checkpoints, and the names of logs.

use undelfs_source::bytes::{u16_at, u32_at};

use super::{
    checksum,
    signature::{FILE_TYPE, LogPosition, LogTime, Signature},
};
use crate::Error;

/// Bytes that the checksum of a log's or a checkpoint's header is over. The header of a log is as large, whatever the
/// sectors are.
pub const LOG_HEADER: usize = 4096;
/// What [`FILE_TYPE`] says.
const LOG: u8 = 3;
const CHECKPOINT: u8 = 4;
/// The flag of a log that is kept for a full disk and holds nothing.
const RESERVE: u8 = 1;
/// Highest generation that has five digits in its name.
const FIVE_DIGITS: u32 = 0xF_FFFF;

/// The header of a log (`LGFILEHDR`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogHeader {
    /// Whether its checksum is right.
    pub sound: bool,
    /// Its generation, which stands in its name.
    pub generation: u32,
    /// Size of the file that it says, in bytes.
    pub file_size: u64,
    /// Page size of the databases in it, in bytes.
    pub page_size: u32,
    /// When it was made.
    pub created: LogTime,
    /// When the log before it was made.
    pub previous: LogTime,
    /// Format: major and minor.
    pub version: (u32, u32),
    /// Ties it to a database.
    pub signature: Signature,
    /// True for a log that is only kept for a full disk.
    pub reserve: bool,
}

impl LogHeader {
    /// True for bytes that begin as a log does. There is no magic number, so it is the file type, sizes that a log can have
    /// and a checksum that is right.
    pub fn is_one(bytes: &[u8]) -> bool {
        Self::parse(bytes, 0).is_ok_and(|header| header.sound)
    }

    /// Reads a header that stands at byte `at`.
    ///
    /// # Errors
    /// When it is none. A wrong checksum is no error: [`sound`](Self::sound) tells it.
    pub fn parse(bytes: &[u8], at: u64) -> Result<Self, Error> {
        let broken = |expected: &str, found: String| {
            Error::structure("the header of the log", at, expected.to_owned(), found)
        };
        let Some(bytes) = bytes.get(..LOG_HEADER) else {
            return Err(broken("4096 bytes", format!("{} bytes", bytes.len())));
        };
        let file_type = bytes.get(FILE_TYPE).copied().unwrap_or(0);
        if file_type != LOG {
            return Err(broken("file type 3 at byte 667", format!("{file_type}")));
        }
        let field = |at| u32_at(bytes, at).unwrap_or(0);
        let half = |at| u16_at(bytes, at).unwrap_or(0);
        let (sector, sectors, generation) = (u64::from(half(8)), u64::from(half(12)), field(4));
        if !sector.is_power_of_two() || !(512..=65536).contains(&sector) || sectors == 0 || generation == 0 {
            let found = format!("{sectors} sectors of {sector} bytes, generation {generation}");
            return Err(broken("sectors of 512 to 65536 bytes and a generation from 1 on", found));
        }
        let page_size = match half(14) {
            0 => 4096,
            size => u32::from(size),
        };
        Ok(Self {
            sound: field(0) == checksum::header(bytes),
            generation,
            file_size: sector.saturating_mul(sectors),
            page_size,
            created: LogTime::at(bytes, 16).unwrap_or_default(),
            previous: LogTime::at(bytes, 24).unwrap_or_default(),
            version: (field(32), field(36)),
            signature: Signature::at(bytes, 44)
                .ok_or_else(|| broken("a log signature at byte 44", "the end of the file".to_owned()))?,
            reserve: bytes.get(639).is_some_and(|flags| flags & RESERVE != 0),
        })
    }
}

/// The checkpoint: up to where the logs are in the databases already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whether its checksum is right.
    pub sound: bool,
    /// Recovery begins here.
    pub position: LogPosition,
    /// Ties it to logs and database.
    pub signature: Signature,
}

impl Checkpoint {
    /// True for bytes that begin as a checkpoint does.
    pub fn is_one(bytes: &[u8]) -> bool {
        Self::parse(bytes).is_some_and(|checkpoint| checkpoint.sound)
    }

    /// Reads a checkpoint; `None` where it is none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..LOG_HEADER)?;
        (*bytes.get(FILE_TYPE)? == CHECKPOINT).then_some(())?;
        Some(Self {
            sound: u32_at(bytes, 0) == Some(checksum::header(bytes)),
            position: LogPosition::at(bytes, 12)?,
            signature: Signature::at(bytes, 20)?,
        })
    }
}

/// The name of the log with a generation: `edb` and five digits, eight beyond `edbFFFFF`.
pub fn log_name(generation: u32) -> String {
    if generation <= FIVE_DIGITS {
        format!("edb{generation:05X}.log")
    } else {
        format!("edb{generation:08X}.log")
    }
}

/// The generation in a log's name; `None` for a name that no numbered log has.
pub fn log_generation(name: &str) -> Option<u32> {
    let name = name.to_ascii_lowercase();
    let digits = name.strip_prefix("edb")?.strip_suffix(".log")?;
    let known = matches!(digits.len(), 5 | 8) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u32::from_str_radix(digits, 16).ok().filter(|generation| known && *generation > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_has_five_digits_and_eight_beyond() {
        for (generation, name) in
            [(1, "edb00001.log"), (0xABCDE, "edbABCDE.log"), (0x10_0000, "edb00100000.log")]
        {
            assert_eq!(log_name(generation), name);
            assert_eq!(log_generation(name), Some(generation));
            assert_eq!(log_generation(&name.to_uppercase()), Some(generation));
        }
        for other in [
            "edb.log",
            "edbtmp.log",
            "edbres00001.jrs",
            "edb00000.log",
            "edb+0001.log",
            "edb0001.log",
            "edb00001.jtx",
        ] {
            assert_eq!(log_generation(other), None, "{other}");
        }
    }
}
