//! What C sees: the eighteen functions of certadm.dll, and one of this library.
//!
//! A function returns an HRESULT. No panic leaves it.
//!
//! # Safety
//! Of all functions: a pointer is null, where that is allowed, or leads to what its C type says, for as long as the call
//! takes. Strings end in 0. Alignment is not asked for.

#![allow(unsafe_code)]

use std::{
    ffi::c_void,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    ptr,
};

use undelfs_certsrv::{BackupSession, HResult, MapEntry, Registration, RestoreSession};

use super::{
    lists,
    server::{Server, of_code},
    sessions::{self, Session},
};
use crate::{exports::read_string, keys, source_name};

/// Most entries of a restore map that are read.
const MAX_MAP: i32 = 64;

/// `CSEDB_RSTMAPW`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct RestoreMapEntry {
    /// The name of a database in the backup.
    pub database_name: *const u16,
    /// Where it goes.
    pub new_database_name: *const u16,
}

fn run(body: impl FnOnce() -> Result<(), HResult>) -> u32 {
    let result = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        // Dropping a payload could panic again.
        std::mem::forget(payload);
        Err(HResult::INTERNAL)
    });
    result.err().unwrap_or(HResult::OK).0
}

fn need<T>(pointer: *const T) -> Result<(), HResult> {
    if pointer.is_null() { Err(HResult::INVALID_PARAMETER) } else { Ok(()) }
}

/// Writes through a pointer of a caller.
///
/// # Safety
/// `to` is null or leads to room for a value.
unsafe fn put<T>(to: *mut T, value: T) {
    if !to.is_null() {
        // SAFETY: as the caller promises.
        unsafe { to.write_unaligned(value) };
    }
}

/// A string that must be there.
///
/// # Safety
/// `string` is null or leads to a string.
unsafe fn string(string: *const u16) -> Result<Vec<u16>, HResult> {
    need(string)?;
    // SAFETY: not null, so it leads to a string.
    unsafe { read_string(string) }.map(|units| units.to_vec()).map_err(of_code)
}

/// A path that need not be there.
///
/// # Safety
/// As [`string`].
unsafe fn path(units: *const u16) -> Result<Option<PathBuf>, HResult> {
    if units.is_null() {
        return Ok(None);
    }
    // SAFETY: as the caller promises.
    let units = unsafe { string(units) }?;
    source_name::destination(&units).map(Some).map_err(of_code)
}

/// The source and authority that a caller names.
///
/// # Safety
/// As [`string`].
unsafe fn server(name: *const u16) -> Result<Server, HResult> {
    // SAFETY: as the caller promises.
    Server::parse(&unsafe { string(name) }?)
}

/// Gives a list to a caller; its size in bytes with the NUL that ends it.
///
/// # Safety
/// Both pointers lead to room.
unsafe fn give(list: Option<Vec<u16>>, to: *mut *mut u16, size: *mut u32) -> Result<(), HResult> {
    let bytes = list.as_ref().map_or(0, |list| list.len().saturating_mul(2));
    let bytes = u32::try_from(bytes).map_err(|_| HResult::OUT_OF_MEMORY)?;
    let place = list.map_or(ptr::null_mut(), lists::keep);
    // SAFETY: as the caller promises.
    unsafe {
        put(to, place);
        put(size, bytes);
    }
    Ok(())
}

/// Clears what a function gives, so that nobody takes what stood there for a list.
///
/// # Safety
/// Both pointers are null or lead to room.
unsafe fn clear(to: *mut *mut u16, size: *mut u32) -> Result<(), HResult> {
    need(to)?;
    need(size)?;
    // SAFETY: as the caller promises.
    unsafe {
        put(to, ptr::null_mut());
        put(size, 0);
    }
    Ok(())
}

/// Tells whether there is a certification authority.
///
/// # Safety
/// See the [module](self).
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CertSrvIsServerOnlineW(name: *const u16, online: *mut i32) -> u32 {
    run(|| {
        need(online)?;
        // SAFETY: neither is null, or it is refused.
        unsafe {
            put(online, 0);
            server(name)?.authority(&())?;
            put(online, 1);
        }
        Ok(())
    })
}

/// Begins a backup session.
///
/// # Safety
/// See the [module](self).
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CertSrvBackupPrepareW(
    name: *const u16,
    jet_flags: u32,
    flags: u32,
    context: *mut *mut c_void,
) -> u32 {
    run(|| {
        need(context)?;
        // SAFETY: not null, so it leads to room for a pointer; the name is null or a string.
        let server = unsafe {
            put(context, ptr::null_mut());
            server(name)
        }?;
        sessions::begin_backup(&server)?;
        let begin = || {
            let authority = server.authority(&())?;
            let session =
                BackupSession::prepare(authority.into(), jet_flags, flags).map_err(|error| error.code())?;
            sessions::insert(Session::Backup(server.clone(), Box::new(session)))
        };
        let handle = begin().inspect_err(|_| sessions::end_backup(&server))?;
        // SAFETY: as above.
        unsafe { put(context, ptr::without_provenance_mut(handle)) };
        Ok(())
    })
}

/// Lists the databases.
///
/// # Safety
/// See the [module](self).
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CertSrvBackupGetDatabaseNamesW(
    context: *mut c_void,
    list: *mut *mut u16,
    size: *mut u32,
) -> u32 {
    run(|| {
        // SAFETY: as the caller promises.
        unsafe { clear(list, size) }?;
        let names = sessions::backup(context.addr(), BackupSession::database_names)?;
        // SAFETY: neither is null.
        unsafe { give(Some(names), list, size) }
    })
}

/// Opens a listed file.
///
/// # Safety
/// See the [module](self).
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CertSrvBackupOpenFileW(
    context: *mut c_void,
    name: *const u16,
    read_hint: u32,
    size: *mut i64,
) -> u32 {
    // Every size of a read is as good as any other here.
    let _ = read_hint;
    run(|| {
        need(size)?;
        // SAFETY: null or a string.
        let name = String::from_utf16_lossy(&unsafe { string(name) }?);
        let bytes = sessions::backup(context.addr(), |session| session.open_file(&name))?;
        // SAFETY: not null.
        unsafe { put(size, i64::try_from(bytes).unwrap_or(i64::MAX)) };
        Ok(())
    })
}

/// Reads the next bytes of the open file.
///
/// # Safety
/// See the [module](self). `buffer` leads to `room` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CertSrvBackupRead(
    context: *mut c_void,
    buffer: *mut c_void,
    room: u32,
    read: *mut u32,
) -> u32 {
    run(|| {
        need(read)?;
        // SAFETY: not null.
        unsafe { put(read, 0) };
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        if room > 0 {
            need(buffer)?;
        }
        // A caller's buffer may hold anything, so it is written to and never read.
        let mut piece = vec![0; room.min(4 << 20)];
        let count = sessions::backup(context.addr(), |session| session.read(&mut piece))?;
        let piece = piece.get(..count).unwrap_or_default();
        // SAFETY: the buffer has room for `room` bytes, and the piece has no more.
        unsafe {
            ptr::copy_nonoverlapping(piece.as_ptr(), buffer.cast::<u8>(), piece.len());
            put(read, u32::try_from(count).unwrap_or(u32::MAX));
        }
        Ok(())
    })
}

/// Closes the open file.
#[unsafe(no_mangle)]
pub extern "system" fn CertSrvBackupClose(context: *mut c_void) -> u32 {
    run(|| sessions::backup(context.addr(), BackupSession::close_file))
}

/// Lists the logs.
///
/// # Safety
/// See the [module](self).
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CertSrvBackupGetBackupLogsW(
    context: *mut c_void,
    list: *mut *mut u16,
    size: *mut u32,
) -> u32 {
    run(|| {
        // SAFETY: as the caller promises.
        unsafe { clear(list, size) }?;
        let logs = sessions::backup(context.addr(), BackupSession::backup_logs)?;
        // SAFETY: neither is null.
        unsafe { give(Some(logs), list, size) }
    })
}

/// Says whether the logs may go. Nothing is removed.
#[unsafe(no_mangle)]
pub extern "system" fn CertSrvBackupTruncateLogs(context: *mut c_void) -> u32 {
    run(|| sessions::backup(context.addr(), BackupSession::truncate_logs))
}

/// Lists what else must be kept.
///
/// # Safety
/// See the [module](self).
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CertSrvBackupGetDynamicFileListW(
    context: *mut c_void,
    list: *mut *mut u16,
    size: *mut u32,
) -> u32 {
    run(|| {
        // SAFETY: as the caller promises.
        unsafe { clear(list, size) }?;
        let files = sessions::backup(context.addr(), |session| session.dynamic_files())?;
        // SAFETY: neither is null.
        unsafe { give(files, list, size) }
    })
}

/// Ends a backup session.
#[unsafe(no_mangle)]
pub extern "system" fn CertSrvBackupEnd(context: *mut c_void) -> u32 {
    run(|| sessions::end(context.addr(), true))
}

/// Frees a list.
#[unsafe(no_mangle)]
pub extern "system" fn CertSrvBackupFree(list: *mut c_void) {
    run(|| {
        lists::free(list.addr());
        Ok(())
    });
}

/// Gives the restore map.
///
/// # Safety
/// See the [module](self).
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CertSrvRestoreGetDatabaseLocationsW(
    context: *mut c_void,
    list: *mut *mut u16,
    size: *mut u32,
) -> u32 {
    run(|| {
        // SAFETY: as the caller promises.
        unsafe { clear(list, size) }?;
        let map = sessions::locations(context.addr())?;
        // SAFETY: neither is null.
        unsafe { give(Some(map), list, size) }
    })
}

/// Begins a restore session.
///
/// # Safety
/// See the [module](self).
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CertSrvRestorePrepareW(
    name: *const u16,
    flags: u32,
    context: *mut *mut c_void,
) -> u32 {
    run(|| {
        need(context)?;
        // SAFETY: not null; the name is null or a string.
        let server = unsafe {
            put(context, ptr::null_mut());
            server(name)
        }?;
        let sources = sessions::sources(&server);
        let session = RestoreSession::prepare(flags, sources).map_err(|error| error.code())?;
        let handle = sessions::insert(Session::Restore(server, session))?;
        // SAFETY: as above.
        unsafe { put(context, ptr::without_provenance_mut(handle)) };
        Ok(())
    })
}

/// Checks a set and copies it to where it goes.
///
/// # Safety
/// See the [module](self). `map` leads to `map_count` entries.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CertSrvRestoreRegisterW(
    context: *mut c_void,
    checkpoint: *const u16,
    logs: *const u16,
    map: *const RestoreMapEntry,
    map_count: i32,
    backup_logs: *const u16,
    low: u32,
    high: u32,
) -> u32 {
    run(|| {
        if !(0..=MAX_MAP).contains(&map_count) {
            return Err(HResult::INVALID_PARAMETER);
        }
        if map_count > 0 {
            need(map)?;
        }
        let mut entries = Vec::new();
        for index in 0..usize::try_from(map_count).unwrap_or(0) {
            // SAFETY: the map has as many entries, of two strings each.
            let entry = unsafe { map.add(index).read_unaligned() };
            // SAFETY: null or strings.
            let (database, target) =
                unsafe { (string(entry.database_name)?, path(entry.new_database_name)?) };
            let target = target.ok_or(HResult::INVALID_PARAMETER)?;
            entries.push(MapEntry { database: String::from_utf16_lossy(&database), target });
        }
        // SAFETY: null or strings.
        let set = unsafe {
            Registration {
                checkpoint: path(checkpoint)?,
                logs: path(logs)?,
                map: entries,
                backup: path(backup_logs)?,
                low,
                high,
            }
        };
        match context.addr() {
            0 => sessions::register_without_handle(&set),
            handle => sessions::restore(handle, |session| session.register(&set, &())),
        }
    })
}

/// The same. What distinguishes them on Windows, who may call, is the file system's here.
///
/// # Safety
/// See [`CertSrvRestoreRegisterW`].
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CertSrvRestoreRegisterThroughFile(
    context: *mut c_void,
    checkpoint: *const u16,
    logs: *const u16,
    map: *const RestoreMapEntry,
    map_count: i32,
    backup_logs: *const u16,
    low: u32,
    high: u32,
) -> u32 {
    // SAFETY: as the caller promises.
    unsafe { CertSrvRestoreRegisterW(context, checkpoint, logs, map, map_count, backup_logs, low, high) }
}

/// Gives what was copied its names, or takes it away.
#[unsafe(no_mangle)]
pub extern "system" fn CertSrvRestoreRegisterComplete(context: *mut c_void, state: u32) -> u32 {
    run(|| match context.addr() {
        0 => sessions::complete_without_handle(HResult(state)),
        handle => sessions::restore(handle, |session| session.register_complete(HResult(state))),
    })
}

/// Ends a restore session.
#[unsafe(no_mangle)]
pub extern "system" fn CertSrvRestoreEnd(context: *mut c_void) -> u32 {
    run(|| sessions::end(context.addr(), false))
}

/// Stops a service. What is on a source runs no service, so it is stopped.
///
/// # Safety
/// See the [module](self).
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CertSrvServerControlW(
    name: *const u16,
    command: u32,
    size: *mut u32,
    out: *mut *mut u8,
) -> u32 {
    run(|| {
        // SAFETY: null or room; null or a string.
        unsafe {
            put(size, 0);
            put(out, ptr::null_mut());
            server(name)?;
        }
        if (1..=3).contains(&command) { Ok(()) } else { Err(HResult::INVALID_PARAMETER) }
    })
}

/// Of this library: keeps keys for the encrypted volumes of a source, until both are null.
///
/// # Safety
/// See the [module](self).
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CertSrvSupplyDecryptionInfo(
    name: *const u16,
    startup_key_file: *const u16,
    recovery_password: *const u16,
) -> u32 {
    run(|| {
        // SAFETY: null or strings.
        let server = unsafe { server(name) }?;
        let given = |units: *const u16| match units.is_null() {
            true => Ok(None),
            // SAFETY: not null, so it leads to a string.
            false => unsafe { read_string(units) }.map(Some).map_err(of_code),
        };
        let (file, password) = (given(startup_key_file)?, given(recovery_password)?);
        let keys = match (&file, &password) {
            (None, None) => Vec::new(),
            _ => keys::keys(file.as_ref().map(|units| units.as_slice()), password, None).map_err(of_code)?,
        };
        server.keep_keys(keys);
        Ok(())
    })
}
