//! Handles, and the sessions that they stand for.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use undelfs_certsrv::{BackupSession, Error, HResult, Registration, RestoreMap, RestoreSession};

use super::server::Server;

/// Handles are multiples of this, as those of Windows are.
const STEP: usize = 4;

/// A session.
pub(super) enum Session {
    Backup(Server, Box<BackupSession>),
    Restore(Server, RestoreSession),
}

struct Registry {
    next: usize,
    /// Holds no memory while it is empty.
    open: BTreeMap<usize, Arc<Mutex<Session>>>,
    /// Sources of which a backup is in progress.
    backups: Vec<Server>,
    /// The restore of a caller who has no handle.
    without_handle: Option<RestoreSession>,
}

static REGISTRY: Mutex<Registry> =
    Mutex::new(Registry { next: STEP, open: BTreeMap::new(), backups: Vec::new(), without_handle: None });

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes that a backup of a source begins, before anything is looked for on it.
///
/// # Errors
/// When one is in progress.
pub(super) fn begin_backup(server: &Server) -> Result<(), HResult> {
    let mut registry = registry();
    if registry.backups.contains(server) {
        return Err(HResult::UNEXPECTED);
    }
    registry.backups.push(server.clone());
    Ok(())
}

/// Notes that it has ended.
pub(super) fn end_backup(server: &Server) {
    registry().backups.retain(|open| open != server);
}

/// Gives a session a handle, which is never given twice.
pub(super) fn insert(session: Session) -> Result<usize, HResult> {
    let mut registry = registry();
    let handle = registry.next;
    registry.next = handle.checked_add(STEP).ok_or(HResult::OUT_OF_MEMORY)?;
    registry.open.insert(handle, Arc::new(Mutex::new(session)));
    Ok(handle)
}

fn find(handle: usize) -> Result<Arc<Mutex<Session>>, HResult> {
    registry().open.get(&handle).cloned().ok_or(HResult::INVALID_HANDLE)
}

/// Runs a call on a backup session.
pub(super) fn backup<R>(
    handle: usize,
    call: impl FnOnce(&mut BackupSession) -> Result<R, Error>,
) -> Result<R, HResult> {
    let session = find(handle)?;
    let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
    match &mut *session {
        Session::Backup(_, session) => call(session).map_err(|error| error.code()),
        Session::Restore(..) => Err(HResult::INVALID_HANDLE),
    }
}

/// Runs a call on a restore session; without a handle on one that the call itself begins.
pub(super) fn restore<R>(
    handle: usize,
    call: impl FnOnce(&mut RestoreSession) -> Result<R, Error>,
) -> Result<R, HResult> {
    let session = find(handle)?;
    let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
    match &mut *session {
        Session::Restore(_, session) => call(session).map_err(|error| error.code()),
        Session::Backup(..) => Err(HResult::INVALID_HANDLE),
    }
}

/// `CertSrvRestoreRegister` without a handle: it begins a session of its own, which ends when it is complete.
pub(super) fn register_without_handle(set: &Registration) -> Result<(), HResult> {
    let mut registry = registry();
    if registry.without_handle.is_some() {
        return Err(HResult::RESTORE_IN_PROGRESS);
    }
    let flags = if set.map.is_empty() { 0 } else { undelfs_certsrv::RESTORE_FULL };
    let mut session = RestoreSession::prepare(flags, Vec::new()).map_err(|error| error.code())?;
    session.register(set, &()).map_err(|error| error.code())?;
    registry.without_handle = Some(session);
    Ok(())
}

/// `CertSrvRestoreRegisterComplete` without a handle.
pub(super) fn complete_without_handle(result: HResult) -> Result<(), HResult> {
    let mut registry = registry();
    let session = registry.without_handle.as_mut().ok_or(HResult::UNEXPECTED)?;
    session.register_complete(result).map_err(|error| error.code())?;
    // The registration stays: sets of logs may follow, and need it.
    registry.without_handle = None;
    Ok(())
}

/// Where everything stood, or is to stand: works with a handle of either kind.
pub(super) fn locations(handle: usize) -> Result<Vec<u16>, HResult> {
    let session = find(handle)?;
    let session = session.lock().unwrap_or_else(PoisonError::into_inner);
    match &*session {
        Session::Backup(_, session) => Ok(session.database_locations()),
        Session::Restore(server, _) => match server.authority(&()) {
            Ok(authority) => Ok(authority.restore_map().encode()),
            Err(HResult::SERVER_UNAVAILABLE) if server.path.is_dir() => Ok(of_target(&server.path).encode()),
            Err(code) => Err(code),
        },
    }
}

/// The locations in a folder that something is to be restored into.
fn of_target(folder: &std::path::Path) -> RestoreMap {
    let folder = folder.display().to_string();
    RestoreMap { database: folder.clone(), logs: folder.clone(), system: folder }
}

/// Folders of the source of a session, into which nothing is restored.
pub(super) fn sources(server: &Server) -> Vec<PathBuf> {
    let is_source = server.path.is_dir() && server.authority(&()).is_ok();
    if is_source { vec![server.path.clone()] } else { Vec::new() }
}

/// Ends a session of the kind that is meant.
pub(super) fn end(handle: usize, of_backup: bool) -> Result<(), HResult> {
    let session = {
        let mut registry = registry();
        let session = registry.open.get(&handle).ok_or(HResult::INVALID_HANDLE)?.clone();
        let guard = session.try_lock();
        // While a call runs it is not looked into: the call goes on, and the handle is gone.
        let fits = guard.as_deref().map_or(true, |open| matches!(open, Session::Backup(..)) == of_backup);
        drop(guard);
        if !fits {
            return Err(HResult::INVALID_HANDLE);
        }
        registry.open.remove(&handle);
        session
    };
    let guard = session.lock().unwrap_or_else(PoisonError::into_inner);
    if let Session::Backup(server, _) = &*guard {
        end_backup(server);
    }
    drop(guard);
    match Arc::try_unwrap(session).map(|session| session.into_inner().unwrap_or_else(PoisonError::into_inner))
    {
        Ok(Session::Restore(_, session)) => session.end().map_err(|error| error.code()),
        _ => Ok(()),
    }
}
