//! What a mount shows of CAs: each as a folder, laid out as `certutil -backupdb` writes a set, and its certificates.

use std::{
    ops::ControlFlow,
    sync::{Arc, OnceLock},
};

use undelfs_restore::{Content, Error as RestoreError, Files, Shown};
use undelfs_source::ReadAt;

use crate::{Authority, Certificate, Contents, MAP_NAME, SET_FOLDER, contents::Row, ese::Table};

/// The folder of the certificates.
const CERTIFICATES: &str = "Certificates";

/// Shows each CA as a folder: `DataBase` with its backup set, `Certificates` with a file for each certificate. Nothing is read
/// before it is asked for.
pub fn view(authorities: Vec<Authority>) -> Shown {
    let mut shown = Shown::default();
    for authority in authorities {
        let authority = Arc::new(authority);
        let folder = shown.add(Shown::ROOT, authority.name.as_bytes(), Arc::new(()));
        shown.add(folder, SET_FOLDER.as_bytes(), Arc::new(Set::new(&authority)));
        let certificates = CertificateFiles { authority, found: OnceLock::new() };
        shown.add(folder, CERTIFICATES.as_bytes(), Arc::new(certificates));
    }
    shown
}

/// The files of a backup set.
struct Set(Vec<(String, Arc<dyn ReadAt>)>);

impl Set {
    fn new(authority: &Authority) -> Self {
        let map: Arc<dyn ReadAt> = Arc::new(authority.restore_map().to_bytes());
        let mut files =
            vec![(authority.database_name(), authority.file.bytes.clone()), (MAP_NAME.to_owned(), map)];
        // What is missing in a set is no reason to hide what is there.
        let logs = authority.logs_of_set().unwrap_or(&authority.logs);
        files.extend(logs.iter().map(|log| (log.name(), log.file.bytes.clone())));
        Self(files)
    }

    fn get(&self, index: usize) -> Result<&Arc<dyn ReadAt>, RestoreError> {
        self.0.get(index).map(|(_, bytes)| bytes).ok_or_else(missing)
    }
}

fn missing() -> RestoreError {
    RestoreError::Refused {
        kind: undelfs_source::ErrorKind::NotFound,
        reason: "there is no such file".to_owned(),
    }
}

impl Files for Set {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn name(&self, index: usize) -> Option<Vec<u8>> {
        self.0.get(index).map(|(name, _)| name.as_bytes().to_vec())
    }

    fn size(&self, index: usize) -> Result<u64, RestoreError> {
        self.get(index).map(|bytes| bytes.size())
    }

    fn open(&self, index: usize) -> Result<Arc<dyn Content>, RestoreError> {
        Ok(Arc::new(Bytes(self.get(index)?.clone())))
    }
}

struct Bytes(Arc<dyn ReadAt>);

impl Content for Bytes {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, RestoreError> {
        Ok(self.0.read_at(buf, offset)?)
    }
}

/// A certificate as it is listed: its key in the table, its name, its size in bytes.
struct Listed {
    key: Vec<u8>,
    name: String,
    size: u64,
}

/// The certificates of a CA, listed when somebody looks.
struct CertificateFiles {
    authority: Arc<Authority>,
    found: OnceLock<(Option<Table>, Vec<Listed>)>,
}

impl CertificateFiles {
    fn found(&self) -> &(Option<Table>, Vec<Listed>) {
        self.found.get_or_init(|| {
            let Ok(contents) = Contents::new(&self.authority) else { return (None, Vec::new()) };
            let Some(table) = contents.table("Certificates").cloned() else { return (None, Vec::new()) };
            let mut listed = Vec::new();
            self.authority.database.records_with(&table, &[], &mut |key, values| {
                let own = Certificate::of_row(&Row { table: &table, values });
                if let Some(der) = &own.der {
                    listed.push(Listed { key: key.to_vec(), name: own.file_name(), size: der.len() as u64 });
                }
                ControlFlow::Continue(())
            });
            (Some(table), listed)
        })
    }
}

impl Files for CertificateFiles {
    fn count(&self) -> usize {
        self.found().1.len()
    }

    fn name(&self, index: usize) -> Option<Vec<u8>> {
        self.found().1.get(index).map(|own| own.name.as_bytes().to_vec())
    }

    fn size(&self, index: usize) -> Result<u64, RestoreError> {
        self.found().1.get(index).map(|own| own.size).ok_or_else(missing)
    }

    fn open(&self, index: usize) -> Result<Arc<dyn Content>, RestoreError> {
        let (table, listed) = self.found();
        let (Some(table), Some(own)) = (table, listed.get(index)) else { return Err(missing()) };
        let mut der = None;
        self.authority.database.records_with(table, &own.key, &mut |key, values| {
            if key == own.key {
                der = Certificate::of_row(&Row { table, values }).der;
            }
            ControlFlow::Continue(())
        });
        let bytes: Arc<dyn ReadAt> = Arc::new(der.ok_or_else(missing)?);
        Ok(Arc::new(Bytes(bytes)))
    }
}
