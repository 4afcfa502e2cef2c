//! The security descriptor that everything is shown with: who mounted may read, nobody may write (MS-DTYP 2.4).

/// What reading and executing a file takes: FILE_GENERIC_READ and FILE_GENERIC_EXECUTE.
const READ: u32 = 0x0012_00A9;

/// Everybody.
const EVERYONE: [u8; 12] = [1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
/// The system itself.
const SYSTEM: [u8; 12] = [1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
/// The administrators of this computer.
const ADMINISTRATORS: [u8; 16] = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0];

/// A self-relative descriptor: `owner`, a SID, owns everything; the owner, administrators and the system may read, and
/// with `everyone` all others as well. `None` where `owner` is no SID.
pub fn read_only(owner: &[u8], everyone: bool) -> Option<Vec<u8>> {
    // A revision, a number of parts, six bytes of authority, and four bytes for each part.
    let parts = usize::from(*owner.get(1)?);
    if owner.first() != Some(&1) || owner.len() != parts.checked_mul(4)?.checked_add(8)? {
        return None;
    }
    let mut entries = Vec::new();
    let mut readers: Vec<&[u8]> = vec![owner, &ADMINISTRATORS, &SYSTEM];
    if everyone {
        readers.push(&EVERYONE);
    }
    for sid in &readers {
        // ACCESS_ALLOWED_ACE: type, flags, size, rights, SID.
        let size = u16::try_from(sid.len().checked_add(8)?).ok()?;
        entries.extend([0, 0]);
        entries.extend(size.to_le_bytes());
        entries.extend(READ.to_le_bytes());
        entries.extend(*sid);
    }
    const HEADER: usize = 20;
    let offset = |at: usize| u32::try_from(at).map(u32::to_le_bytes).ok();
    let group = HEADER.checked_add(owner.len())?;
    let acl = group.checked_add(ADMINISTRATORS.len())?;
    let mut descriptor = vec![1, 0];
    // SE_DACL_PRESENT, SE_DACL_PROTECTED, SE_SELF_RELATIVE.
    descriptor.extend(0x9004_u16.to_le_bytes());
    descriptor.extend(offset(HEADER)?);
    descriptor.extend(offset(group)?);
    descriptor.extend(offset(0)?);
    descriptor.extend(offset(acl)?);
    descriptor.extend(owner);
    descriptor.extend(ADMINISTRATORS);
    descriptor.extend([2, 0]);
    descriptor.extend(u16::try_from(entries.len().checked_add(8)?).ok()?.to_le_bytes());
    descriptor.extend(u16::try_from(readers.len()).ok()?.to_le_bytes());
    descriptor.extend([0, 0]);
    descriptor.extend(entries);
    Some(descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_sizes_fit_each_other_and_no_right_to_write_is_given() {
        let owner = [1, 2, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 7, 0, 0, 0];
        for (everyone, count) in [(false, 3), (true, 4)] {
            let descriptor = read_only(&owner, everyone).unwrap();
            let field = |at: usize| u32::from_le_bytes(descriptor[at..at + 4].try_into().unwrap()) as usize;
            assert_eq!(descriptor[field(4)..][..owner.len()], owner);
            assert_eq!(descriptor[field(8)..][..16], ADMINISTRATORS);
            let acl = &descriptor[field(16)..];
            assert_eq!(usize::from(u16::from_le_bytes([acl[2], acl[3]])), acl.len());
            assert_eq!(u16::from_le_bytes([acl[4], acl[5]]), count);
            let mut rest = &acl[8..];
            while !rest.is_empty() {
                let rights = u32::from_le_bytes(rest[4..8].try_into().unwrap());
                // Write, append, delete, permissions and owner.
                assert_eq!(rights & 0x000D_0156, 0);
                rest = &rest[usize::from(u16::from_le_bytes([rest[2], rest[3]]))..];
            }
        }
    }

    #[test]
    fn what_is_no_sid_owns_nothing() {
        for owner in [&[][..], &[1], &[1, 2, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0], &[2, 0, 0, 0, 0, 0, 0, 5]] {
            assert!(read_only(owner, true).is_none());
        }
    }
}
