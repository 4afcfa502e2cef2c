//! What C sees: the functions of raw backup, and two of this library for private keys.
//!
//! They return a Win32 error code, 0 for success, and leave the last error as it was. No panic leaves them.
//!
//! # Safety
//! Of all functions: a pointer is null, where that is allowed, or leads to what its C type says, for as long as the call
//! takes. Strings end in 0. Alignment is not asked for.

#![allow(unsafe_code)]

use std::{
    ffi::c_void,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
};

use zeroize::Zeroizing;

use super::{context, keys, place};
use crate::{
    Code,
    exports::{need, read_string},
    handles, wide,
};

/// `PFE_EXPORT_FUNC`: takes the next bytes.
pub type ExportCallback = Option<unsafe extern "system" fn(*mut u8, *mut c_void, u32) -> u32>;
/// `PFE_IMPORT_FUNC`: gives the next bytes.
pub type ImportCallback = Option<unsafe extern "system" fn(*mut u8, *mut c_void, *mut u32) -> u32>;

/// Longest string that is read, in bytes: the longest path of Windows in UTF-8.
const MAX_BYTES: usize = 3 * 32_768;

fn run(body: impl FnOnce() -> Result<(), Code>) -> u32 {
    let result = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        // Dropping a payload could panic again.
        std::mem::forget(payload);
        Err(Code::INTERNAL_ERROR)
    });
    result.map_or_else(|code| code.0, |()| Code::SUCCESS.0)
}

/// The bytes of a string, without the 0 that ends it.
///
/// # Safety
/// `string` leads to bytes up to one that is 0.
unsafe fn read_bytes(string: *const u8) -> Result<Vec<u8>, Code> {
    let mut bytes = Vec::new();
    for at in 0..MAX_BYTES {
        // SAFETY: no byte before this one was 0, so it belongs to the string.
        match unsafe { string.add(at).read() } {
            0 => return Ok(bytes),
            byte => bytes.push(byte),
        }
    }
    Err(Code::FILENAME_TOO_LONG)
}

/// Opens what `name` gives and writes its context to where `context` leads.
///
/// # Safety
/// `context` is null or leads to room for a pointer.
unsafe fn open(
    flags: u32,
    context: *mut *mut c_void,
    name: impl FnOnce() -> Result<Vec<u8>, Code>,
) -> Result<(), Code> {
    need(context)?;
    // SAFETY: not null, so it leads to room for a pointer.
    unsafe { context.write_unaligned(ptr::null_mut()) };
    let handle = context::insert(place::open(&name()?, flags)?)?;
    // SAFETY: as above.
    unsafe { context.write_unaligned(ptr::without_provenance_mut(handle)) };
    Ok(())
}

/// Opens an encrypted file for export, or the place of one for import.
///
/// # Safety
/// See the [module](self).
#[unsafe(no_mangle)]
pub unsafe extern "system" fn OpenEncryptedFileRawW(
    name: *const u16,
    flags: u32,
    context: *mut *mut c_void,
) -> u32 {
    run(|| {
        let name = || {
            need(name)?;
            // SAFETY: not null, so it leads to a string.
            unsafe { read_string(name) }.map(|units| wide::to_wtf8(&units))
        };
        // SAFETY: as the caller promises.
        unsafe { open(flags, context, name) }
    })
}

/// The same, with a name in the bytes of the host's file names.
///
/// # Safety
/// See the [module](self).
#[unsafe(no_mangle)]
pub unsafe extern "system" fn OpenEncryptedFileRawA(
    name: *const u8,
    flags: u32,
    context: *mut *mut c_void,
) -> u32 {
    run(|| {
        let name = || {
            need(name)?;
            // SAFETY: not null, so it leads to a string.
            unsafe { read_bytes(name) }
        };
        // SAFETY: as the caller promises.
        unsafe { open(flags, context, name) }
    })
}

/// Gives the raw backup stream of a file that was opened for export, in pieces, and at last one without bytes.
///
/// # Safety
/// See the [module](self).
#[unsafe(no_mangle)]
pub unsafe extern "system" fn ReadEncryptedFileRaw(
    callback: ExportCallback,
    callback_context: *mut c_void,
    context: *mut c_void,
) -> u32 {
    run(|| {
        let callback = callback.ok_or(Code::INVALID_PARAMETER)?;
        context::export(context.addr(), &mut |piece| {
            let len = u32::try_from(piece.len()).unwrap_or(0);
            // SAFETY: the piece has as many bytes, and lives until the callback returns.
            match handles::in_callback(|| unsafe { callback(piece.as_mut_ptr(), callback_context, len) }) {
                0 => Ok(()),
                error => Err(Code(error)),
            }
        })
    })
}

/// Makes a file, whose place was opened for import, of a raw backup stream.
///
/// # Safety
/// See the [module](self).
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WriteEncryptedFileRaw(
    callback: ImportCallback,
    callback_context: *mut c_void,
    context: *mut c_void,
) -> u32 {
    run(|| {
        let callback = callback.ok_or(Code::INVALID_PARAMETER)?;
        context::import(context.addr(), &mut |room| {
            let mut len = u32::try_from(room.len()).unwrap_or(u32::MAX);
            let at = (room.as_mut_ptr(), &raw mut len);
            // SAFETY: there is as much room as the length says, and both live until the callback returns.
            match handles::in_callback(|| unsafe { callback(at.0, callback_context, at.1) }) {
                0 => Ok(usize::try_from(len).unwrap_or(usize::MAX)),
                error => Err(Code(error)),
            }
        })
    })
}

/// Closes a context: a call that runs on it is cancelled and waited for.
#[unsafe(no_mangle)]
pub extern "system" fn CloseEncryptedFileRaw(context: *mut c_void) {
    run(|| {
        context::close(context.addr());
        Ok(())
    });
}

/// Adds the private keys in a file (PKCS#12, PEM or DER) to those with which imports are decrypted. `password` may be
/// null.
///
/// # Safety
/// See the [module](self).
#[unsafe(no_mangle)]
pub unsafe extern "system" fn EfsRawAddKeyFile(file: *const u16, password: *const u16) -> u32 {
    run(|| {
        need(file)?;
        // SAFETY: not null, so it leads to a string.
        let file = unsafe { read_string(file) }?;
        let password = match password.is_null() {
            true => None,
            // SAFETY: not null, so it leads to a string.
            false => Some(Zeroizing::new(wide::to_wtf8(&unsafe { read_string(password) }?))),
        };
        keys::add(&wide::to_wtf8(&file), password.as_ref().map(|password| password.as_slice()))
    })
}

/// Forgets all private keys. What is open already keeps those that it was opened with.
#[unsafe(no_mangle)]
pub extern "system" fn EfsRawClearKeys() {
    run(|| {
        keys::clear();
        Ok(())
    });
}
