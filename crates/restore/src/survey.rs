use std::sync::Arc;

use undelfs_bitlocker::{BitLocker, Key};
use undelfs_source::{ErrorKind, ReadAt};
use undelfs_volume::{Disk, FileSystemKind, filesystem::Watch, search::Evidence};

use undelfs_vss::{ShadowCopy, Vss};

use crate::{
    Error, Lost, LostVolume,
    opened::{Manner, Opened},
    selecting,
};

/// What is on a source, with what protects its volumes.
#[derive(Debug)]
pub struct Survey {
    /// The partition table and the volumes.
    pub disk: Disk,
    /// Of each volume the encryption, where it has one.
    pub encryption: Vec<Option<BitLocker>>,
    /// Of each volume what is on it; inside of the encryption, where a key fits.
    pub content: Vec<FileSystemKind>,
    /// Of each volume its shadow copies, the oldest first; without those inside of an encryption that no key opens.
    pub snapshots: Vec<Vec<ShadowCopy>>,
    /// Of each volume how it was found, where nothing lists it.
    pub lost: Vec<Option<LostVolume>>,
}

/// Looks at the partition table of `source` and at what protects its volumes, those in `lost` among them. No file
/// system is scanned. `deep` searches each volume for shadow copies that nothing lists, because they were deleted.
///
/// # Errors
/// When the begin of the source cannot be read, or `watch` cancelled.
pub fn survey(
    source: &Arc<dyn ReadAt>,
    lost: Lost,
    keys: &[Key],
    deep: bool,
    watch: &dyn Watch,
) -> Result<Survey, Error> {
    let mut disk = Disk::read(source.clone())?;
    if disk.volumes.is_empty()
        && lost.volumes.is_empty()
        && let Some(at) = selecting::lost_start(source, keys, watch)?
    {
        disk.volumes.push(selecting::encrypted(source, at, disk.sector_size));
        disk.notes.clear();
    }
    let mut found: Vec<Option<LostVolume>> = disk.volumes.iter().map(|_| None).collect();
    disk.volumes.extend(lost.volumes.iter().map(|lost| lost.volume.clone()));
    disk.notes.extend(lost.notes);
    found.extend(lost.volumes.into_iter().map(Some));
    let mut survey =
        Survey { encryption: Vec::new(), content: Vec::new(), snapshots: Vec::new(), lost: found, disk };
    let alone = survey.disk.volumes.len() == 1;
    for index in 0..survey.disk.volumes.len() {
        let Some(entry) = survey.disk.volumes.get_mut(index) else { break };
        // Without metadata there is nothing to say of it, and looking for them would search the rest of the source.
        let metadata = |lost: &LostVolume| lost.evidence.contains(Evidence::METADATA);
        let known = survey.lost.get(index).and_then(Option::as_ref).is_none_or(metadata);
        let looked = match entry.file_system {
            _ if !known => None,
            FileSystemKind::BitLocker | FileSystemKind::Unknown => {
                Some(Opened::new(entry, source, Manner { alone, ..Manner::default() }, keys, watch))
            }
            _ => None,
        };
        let opened = match looked {
            Some(Ok(opened)) => Some(opened),
            Some(Err(error)) => {
                survey.disk.notes.push(format!("volume {}: {error}", entry.number));
                None
            }
            None => None,
        };
        let content = opened.as_ref().map_or(entry.file_system, |opened| opened.kind);
        if let Some((ErrorKind::KeyNeeded, reason)) =
            opened.as_ref().and_then(|opened| opened.closed.as_ref())
            && !keys.is_empty()
        {
            survey.disk.notes.push(reason.clone());
        }
        let is_ntfs = content == FileSystemKind::Ntfs && known;
        let volume = match &opened {
            Some(opened) => opened.volume.clone(),
            None => Arc::new(entry.extent(source.clone())),
        };
        let (copies, notes) = if is_ntfs {
            snapshots(volume, entry.number, deep.then_some(watch))?
        } else {
            Default::default()
        };
        survey.snapshots.push(copies);
        survey.disk.notes.extend(notes);
        let encryption = opened.and_then(|mut opened| {
            survey
                .disk
                .notes
                .extend(opened.notes.drain(..).map(|note| format!("volume {}: {note}", entry.number)));
            opened.encryption
        });
        if encryption.is_some() {
            entry.file_system = FileSystemKind::BitLocker;
        }
        survey.encryption.push(encryption);
        survey.content.push(content);
    }
    Ok(survey)
}

/// The shadow copies of a volume, and what of them is damaged. `search` looks for those that nothing lists.
///
/// # Errors
/// When the search was cancelled.
fn snapshots(
    volume: Arc<dyn ReadAt>,
    number: u32,
    search: Option<&dyn Watch>,
) -> Result<(Vec<ShadowCopy>, Vec<String>), Error> {
    let note = |note: &dyn std::fmt::Display| format!("volume {number}: {note}");
    let found = match search {
        Some(watch) => Vss::search(volume, watch).map(Some),
        None => Vss::open(volume),
    };
    match found {
        Ok(Some(vss)) => Ok((vss.copies().to_vec(), vss.notes().iter().map(|known| note(known)).collect())),
        Ok(None) => Ok(Default::default()),
        Err(error) if error.kind() == ErrorKind::Cancelled => Err(error.into()),
        Err(error) => Ok((Vec::new(), vec![note(&error)])),
    }
}
