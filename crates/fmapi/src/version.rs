//! Which version of the API a context has.

use crate::{
    Code,
    abi::{FILE_RESTORE_VERSION_1, FILE_RESTORE_VERSION_2},
};

/// A version of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

impl Version {
    /// The version that a caller asks for. `only` is the content of `FMAPI_VERSION`: with `1` or `2` the other version is a
    /// mismatch, as on a Windows, which has but one.
    pub(crate) fn accept(asked: u32, only: Option<&str>) -> Result<Self, Code> {
        let version = match asked {
            FILE_RESTORE_VERSION_1 => Self::One,
            FILE_RESTORE_VERSION_2 => Self::Two,
            _ => return Err(Code::INVALID_PARAMETER),
        };
        match (version, only) {
            (Self::One, Some("2")) | (Self::Two, Some("1")) => Err(Code::INVALID_PARAMETER),
            _ => Ok(version),
        }
    }

    /// As the structures have it.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::One => FILE_RESTORE_VERSION_1,
            Self::Two => FILE_RESTORE_VERSION_2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_taken_and_nothing_else() {
        assert_eq!(Version::accept(0x0001_0001, None), Ok(Version::One));
        assert_eq!(Version::accept(0x0002_0000, None), Ok(Version::Two));
        for other in [0, 1, 2, 0x0001_0000, 0x0001_0002, 0x0002_0001, 0x0003_0000, u32::MAX] {
            assert_eq!(Version::accept(other, None), Err(Code::INVALID_PARAMETER), "{other:#x}");
        }
    }

    #[test]
    fn a_system_of_one_version_takes_only_that() {
        assert_eq!(Version::accept(0x0001_0001, Some("1")), Ok(Version::One));
        assert_eq!(Version::accept(0x0002_0000, Some("1")), Err(Code::INVALID_PARAMETER));
        assert_eq!(Version::accept(0x0001_0001, Some("2")), Err(Code::INVALID_PARAMETER));
        assert_eq!(Version::accept(0x0002_0000, Some("2")), Ok(Version::Two));
        assert_eq!(Version::accept(0x0002_0000, Some("")), Ok(Version::Two));
    }
}
