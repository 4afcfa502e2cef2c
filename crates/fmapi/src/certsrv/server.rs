//! What a caller calls a server: a source, and the certification authority on it.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use undelfs_certsrv::{Authority, Discovery, Error, HResult, find};
use undelfs_restore::{Context, Options, Selection, View, bitlocker::Key};
use undelfs_source::Source;
use undelfs_volume::filesystem::Watch;

use crate::{Code, keys, source_name, threads::with_workers};

/// A certification authority as a caller names it: a path of the host or a device, and behind a `\` its name where there
/// are several.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Server {
    pub(super) path: PathBuf,
    pub(super) name: Option<String>,
}

/// What unlocks sources, by their paths.
static KEYS: Mutex<BTreeMap<PathBuf, Vec<Key>>> = Mutex::new(BTreeMap::new());

impl Server {
    /// # Errors
    /// When there is no such source.
    pub(super) fn parse(name: &[u16]) -> Result<Self, HResult> {
        let resolve = |name: &[u16]| {
            let path = source_name::resolve(name).ok().filter(|path| path.exists())?;
            // One source has one name, whatever links lead to it.
            Some(path.canonicalize().unwrap_or(path))
        };
        if name.is_empty() {
            return Err(HResult::INVALID_PARAMETER);
        }
        if let Some(path) = resolve(name) {
            return Ok(Self { path, name: None });
        }
        let cut = name.iter().rposition(|unit| *unit == u16::from(b'\\'));
        let (source, rest) =
            cut.and_then(|at| name.split_at_checked(at)).ok_or(HResult::SERVER_UNAVAILABLE)?;
        let path = resolve(source).ok_or(HResult::SERVER_UNAVAILABLE)?;
        let name = String::from_utf16_lossy(rest.get(1..).unwrap_or_default());
        Ok(Self { path, name: Some(name).filter(|name| !name.is_empty()) })
    }

    /// Keeps keys for this source; none takes those away that were kept.
    pub(super) fn keep_keys(&self, given: Vec<Key>) {
        let mut all = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
        if given.is_empty() {
            all.remove(&self.path);
        } else {
            all.insert(self.path.clone(), given);
        }
    }

    fn keys(&self) -> Result<Vec<Key>, HResult> {
        let kept = KEYS.lock().unwrap_or_else(PoisonError::into_inner).get(&self.path).cloned();
        match kept {
            Some(keys) => Ok(keys),
            None => keys_of_environment(),
        }
    }

    /// The authority that is meant.
    ///
    /// # Errors
    /// When there is none, or several and no name says which.
    pub(super) fn authority(&self, watch: &dyn Watch) -> Result<Authority, HResult> {
        let mut found = self.discover(watch)?.authorities;
        if let Some(name) = &self.name {
            found.retain(|authority| authority.name.eq_ignore_ascii_case(name));
        }
        let first = found.first().map(|first| first.name.clone()).ok_or(HResult::SERVER_UNAVAILABLE)?;
        if found.iter().any(|authority| !authority.name.eq_ignore_ascii_case(&first)) {
            return Err(HResult::INVALID_PARAMETER);
        }
        // Of several of one name the first is the live and whole one.
        found.into_iter().next().ok_or(HResult::SERVER_UNAVAILABLE)
    }

    fn discover(&self, watch: &dyn Watch) -> Result<Discovery, HResult> {
        let code = |error: Error| error.code();
        let one = |authority| Discovery { authorities: vec![authority], notes: Vec::new() };
        if self.path.is_dir() {
            return match find::backup_set(&self.path) {
                Ok(set) => Ok(one(set)),
                Err(_) => find::in_folder(&self.path, watch).map_err(code),
            };
        }
        if self.path.is_file() && find::is_database(&self.path) {
            return find::in_file(&self.path).map(one).map_err(code);
        }
        self.on_volumes(watch)
    }

    fn on_volumes(&self, watch: &dyn Watch) -> Result<Discovery, HResult> {
        let restore = |error: undelfs_restore::Error| HResult::of_kind(error.kind());
        let source = Source::open(&self.path).map_err(|error| HResult::of_kind(error.kind()))?;
        let options = Options { view: View::All, ..Options::default() };
        let keys = self.keys()?;
        let contexts = Context::open_all(Arc::new(source), &Selection::default(), &options, &keys, watch);
        let contexts = contexts.map_err(restore)?;
        let mut all = Discovery::default();
        let mut refused = None;
        for context in &contexts {
            if let Some((kind, _)) = context.closed() {
                refused = refused.or(Some(HResult::of_kind(kind)));
                continue;
            }
            let scanned = with_workers(|| context.scan(watch)).map_err(of_code)?;
            scanned.map_err(restore)?;
            let mut found = find::on_volume(context, watch).map_err(|error| error.code())?;
            all.authorities.append(&mut found.authorities);
        }
        match refused {
            // A volume that is locked may hold what is looked for.
            Some(code) if all.authorities.is_empty() => Err(code),
            _ => Ok(all),
        }
    }
}

/// A Win32 error code as an HRESULT.
pub(super) fn of_code(code: Code) -> HResult {
    HResult(0x8007_0000 | code.0 & 0xFFFF)
}

/// Keys for programs that do not know of `CertSrvSupplyDecryptionInfo`: files that environment variables name.
fn keys_of_environment() -> Result<Vec<Key>, HResult> {
    let file = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let startup_key = file("CERTSRV_STARTUP_KEY_FILE");
    let password = file("CERTSRV_RECOVERY_PASSWORD_FILE");
    if startup_key.is_none() && password.is_none() {
        return Ok(Vec::new());
    }
    let units = |path: &Path| path.to_string_lossy().encode_utf16().collect::<Vec<u16>>();
    let startup_key = startup_key.map(|path| units(&path));
    let password = password.map(|path| keys::first_line(&path)).transpose().map_err(of_code)?;
    keys::keys(startup_key.as_deref(), password, None).map_err(of_code)
}
