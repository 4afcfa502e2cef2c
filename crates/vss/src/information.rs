//! What the header of a store says of its shadow copy.

use bitflags::bitflags;
use undelfs_source::{
    ReadAt,
    bytes::{u16_at, u32_at},
};
use undelfs_volume::{Error, Guid};

use crate::block::{Block, Kind};

bitflags! {
    /// `_VSS_VOLUME_SNAPSHOT_ATTRIBUTES`, as Microsoft documents them.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Attributes: u32 {
        /// Survives a restart.
        const PERSISTENT = 1;
        /// Was not recovered automatically after it was made.
        const NO_AUTORECOVERY = 1 << 1;
        /// Can be reached by clients of a shared folder.
        const CLIENT_ACCESSIBLE = 1 << 2;
        /// Stays when the program that made it ends.
        const NO_AUTO_RELEASE = 1 << 3;
        /// No writer took part in making it.
        const NO_WRITERS = 1 << 4;
        /// Can be moved to another machine.
        const TRANSPORTABLE = 1 << 5;
        /// Is not shown on the machine.
        const NOT_SURFACED = 1 << 6;
        /// Was made without a transaction.
        const NOT_TRANSACTED = 1 << 7;
        /// A device made it.
        const HARDWARE_ASSISTED = 1 << 16;
        /// Keeps only what differs.
        const DIFFERENTIAL = 1 << 17;
        /// A mirror was split off for it.
        const PLEX = 1 << 18;
        /// Was imported from another machine.
        const IMPORTED = 1 << 19;
        /// Has a drive letter or folder on the machine.
        const EXPOSED_LOCALLY = 1 << 20;
        /// Is shared.
        const EXPOSED_REMOTELY = 1 << 21;
        /// Was recovered automatically after it was made.
        const AUTORECOVER = 1 << 22;
        /// Would be recovered for a rollback.
        const ROLLBACK_RECOVERY = 1 << 23;
        /// Reserved for the system.
        const DELAYED_POSTSNAPSHOT = 1 << 24;
        /// Transactional NTFS recovers when it is made.
        const TXF_RECOVERY = 1 << 25;
        /// Others, kept as they are.
        const _ = !0;
    }
}

/// What a store says of its shadow copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Information {
    /// Identifies the shadow copy, as `vssadmin` lists it.
    pub copy: Guid,
    /// Identifies the set that it was made in, with copies of other volumes.
    pub set: Guid,
    /// How it was made.
    pub attributes: Attributes,
    /// The machine that it was made on.
    pub originating_machine: String,
    /// The machine whose service made it.
    pub service_machine: String,
}

impl Information {
    /// Reads the store header at byte `at`.
    ///
    /// # Errors
    /// When no sound one stands there.
    pub(crate) fn read(volume: &dyn ReadAt, at: u64) -> Result<Self, Error> {
        let block = Block::read(volume, at, Kind::Store)?;
        let size = usize::try_from(block.header.information).unwrap_or(usize::MAX);
        let body = block.body();
        // Stores are seen that state less than what is there; what is stated is no bound.
        Self::parse(body).ok_or_else(|| Error::Structure {
            structure: Kind::Store.name(),
            at,
            expected: "identifiers and two names inside the block".to_owned(),
            found: format!("{size} bytes that do not hold them"),
            advice: "the shadow copy is listed without what its header says",
        })
    }

    fn parse(body: &[u8]) -> Option<Self> {
        let (originating_machine, next) = name(body, 64)?;
        Some(Self {
            copy: Guid::at(body, 16)?,
            set: Guid::at(body, 32)?,
            attributes: Attributes::from_bits_retain(u32_at(body, 56)?),
            originating_machine,
            service_machine: name(body, next)?.0,
        })
    }
}

/// The text at byte `at`, after its size in bytes; and where it ends.
fn name(body: &[u8], at: usize) -> Option<(String, usize)> {
    let start = at.checked_add(2)?;
    let end = start.checked_add(usize::from(u16_at(body, at)?))?;
    let units = body.get(start..end)?.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
    Some((char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect(), end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::made;

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn identifiers_attributes_and_machines_are_read() {
        let mut body = [[1; 16], [2; 16], [3; 16]].concat();
        body.extend([9_u32, 1, 0x0042_0009, 0].map(u32::to_le_bytes).concat());
        for machine in ["PC-1", "größer"] {
            body.extend((utf16(machine).len() as u16).to_le_bytes());
            body.extend(utf16(machine));
        }
        let block = made::block(4, 0, 0, 0, &body);
        let information = Information::read(&block, 0).unwrap();
        assert_eq!((information.copy, information.set), (Guid([2; 16]), Guid([3; 16])));
        assert_eq!(information.originating_machine, "PC-1");
        assert_eq!(information.service_machine, "größer");
        let expected = Attributes::PERSISTENT
            | Attributes::NO_AUTO_RELEASE
            | Attributes::DIFFERENTIAL
            | Attributes::AUTORECOVER;
        assert_eq!(information.attributes, expected);
    }

    #[test]
    fn a_name_that_leaves_the_block_is_refused() {
        let mut body = vec![0; 64];
        body.extend(0xFFFF_u16.to_le_bytes());
        assert!(Information::read(&made::block(4, 0, 0, 0, &body), 0).is_err());
    }
}
