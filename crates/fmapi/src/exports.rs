//! What C sees: the eight functions of FMAPI, and `FmapiGetLastError`.
//!
//! Here the memory of callers is read and written, and nothing else is done. A function returns 1, or 0 with the reason as
//! the last error of its thread; a success sets the last error too, mostly to 0. No panic leaves it.
//!
//! # Safety
//! Of all functions: a pointer is null, where that is allowed, or leads to what its C type says, for as long as the call
//! takes. Strings end in 0. Alignment is not asked for.

#![allow(unsafe_code)]

use std::{
    env,
    ffi::c_void,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
};

use zeroize::Zeroizing;

use crate::{
    Code,
    abi::{
        BootSectorInfo, FILE_RESTORE_FINISHED, FILE_RESTORE_PROGRESS_INFO, FileRestoreCallback,
        FinishedInformation, ProgressInformation, RestorableFileInfo,
    },
    context::{Next, Request, RestoreContext},
    detect, handles,
    info::{self, FIXED, TOKEN, Token},
    keys, last_error,
    restore::{self, Follower, Progress},
    source_name,
};

/// Longest string that is read, in units: the longest path of Windows.
const MAX_UNITS: usize = 32_768;

/// Largest key package that is read, in bytes. A metadata block has 64 KiB.
const MAX_PACKAGE: usize = 1 << 20;

/// Runs the body of an exported function. Its result becomes the last error and what C gets.
fn run(body: impl FnOnce() -> Result<Code, Code>) -> i32 {
    let result = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        // Dropping a payload could panic again.
        std::mem::forget(payload);
        Err(Code::INTERNAL_ERROR)
    });
    let (value, code) = match result {
        Ok(code) => (1, code),
        Err(code) => (0, code),
    };
    last_error::set(code);
    value
}

/// The units of a string, without the 0 that ends it.
///
/// # Safety
/// `string` leads to units up to one that is 0.
pub(crate) unsafe fn read_string(string: *const u16) -> Result<Zeroizing<Vec<u16>>, Code> {
    let mut units = Zeroizing::new(Vec::new());
    for at in 0..MAX_UNITS {
        // SAFETY: no unit before this one was 0, so it belongs to the string.
        let unit = unsafe { string.add(at).read_unaligned() };
        if unit == 0 {
            return Ok(units);
        }
        if units.len() == units.capacity() {
            grow(&mut units);
        }
        units.push(unit);
    }
    Err(Code::FILENAME_TOO_LONG)
}

/// Makes room without leaving a copy of what may be a secret behind.
fn grow(units: &mut Zeroizing<Vec<u16>>) {
    let mut larger = Zeroizing::new(Vec::with_capacity(units.capacity().saturating_mul(2).max(64)));
    larger.extend_from_slice(units);
    *units = larger;
}

/// The bytes of a buffer.
///
/// # Safety
/// `from` leads to `len` bytes.
unsafe fn read_bytes(from: *const u8, len: usize) -> Vec<u8> {
    // SAFETY: as the caller promises; bytes have no alignment.
    unsafe { std::slice::from_raw_parts(from, len) }.to_vec()
}

pub(crate) fn need<T>(pointer: *const T) -> Result<(), Code> {
    if pointer.is_null() { Err(Code::INVALID_PARAMETER) } else { Ok(()) }
}

/// Opens a volume, or a lost volume on a disk, as a restore context.
///
/// # Safety
/// See the [module](self).
#[unsafe(no_mangle)]
pub unsafe extern "system" fn CreateFileRestoreContext(
    volume: *const u16,
    flags: u32,
    start_sector: i64,
    boot_sector: i64,
    version: u32,
    context: *mut *mut c_void,
) -> i32 {
    run(|| {
        need(context)?;
        // SAFETY: not null, so it leads to room for a pointer.
        unsafe { context.write_unaligned(ptr::null_mut()) };
        need(volume)?;
        // SAFETY: not null, so it leads to a string.
        let volume = unsafe { read_string(volume) }?;
        let only_version = env::var("FMAPI_VERSION").ok();
        let extended = env::var("FMAPI_EXTENDED").is_ok_and(|value| value == "1");
        let request = Request { volume: &volume, flags, start_sector, boot_sector, version };
        let handle = handles::insert(RestoreContext::create(&request, only_version.as_deref(), extended)?)?;
        // SAFETY: as above.
        unsafe { context.write_unaligned(ptr::without_provenance_mut(handle)) };
        Ok(Code::SUCCESS)
    })
}

/// Closes a context: calls that run on it are cancelled and waited for, and the volume is unlocked.
#[unsafe(no_mangle)]
pub extern "system" fn CloseFileRestoreContext(context: *mut c_void) -> i32 {
    run(|| handles::close(context.addr()).map(|()| Code::SUCCESS))
}

/// Gives the next restorable file.
///
/// # Safety
/// See the [module](self). `path` is read on the first call only. `file_info` leads to `file_info_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn ScanRestorableFiles(
    context: *mut c_void,
    path: *const u16,
    file_info_size: u32,
    file_info: *mut RestorableFileInfo,
    file_info_used: *mut u32,
) -> i32 {
    run(|| {
        need(file_info_used)?;
        let room = usize::try_from(file_info_size).unwrap_or(usize::MAX);
        if room > 0 {
            need(file_info)?;
        }
        let call = handles::enter(context.addr())?;
        let folder = || {
            if path.is_null() {
                return Ok(Vec::new());
            }
            // SAFETY: not null, so it leads to a string.
            unsafe { read_string(path) }.map(|units| units.to_vec())
        };
        match call.context.next(call.handle(), folder, room, &*call)? {
            Next::Needs(size) => {
                // SAFETY: not null, so it leads to room for a number.
                unsafe { file_info_used.write_unaligned(size) };
                // A probe asks for nothing but the size.
                if room == 0 { Ok(Code::SUCCESS) } else { Err(Code::INSUFFICIENT_BUFFER) }
            }
            Next::Entry(structure) => {
                // SAFETY: there is room for `room` bytes, and the structure has no more; it is a copy of our own.
                unsafe {
                    ptr::copy_nonoverlapping(structure.as_ptr(), file_info.cast::<u8>(), structure.len())
                };
                let size = u32::try_from(structure.len()).unwrap_or(u32::MAX);
                // SAFETY: as above.
                unsafe { file_info_used.write_unaligned(size) };
                Ok(Code::SUCCESS)
            }
        }
    })
}

/// Copies a restorable file to a new file.
///
/// # Safety
/// See the [module](self). `restorable_file` is what `ScanRestorableFiles` gave, as many bytes as its size says.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn RestoreFile(
    context: *mut c_void,
    restorable_file: *const RestorableFileInfo,
    destination: *const u16,
    callback: FileRestoreCallback,
    clbk_arg: *mut c_void,
) -> i32 {
    run(|| {
        need(restorable_file)?;
        need(destination)?;
        let call = handles::enter(context.addr())?;
        // SAFETY: the structure has its fixed part at least.
        let token = unsafe { read_token(restorable_file.cast()) }.ok_or(Code::INVALID_PARAMETER)?;
        // SAFETY: not null, so it leads to a string.
        let destination = source_name::destination(&unsafe { read_string(destination) }?)?;
        let mut follower = Caller { callback, clbk_arg };
        restore::restore(&call, token, &destination, &mut follower)
    })
}

/// Which file a caller's structure stands for.
///
/// # Safety
/// `structure` leads to as many bytes as its first field says, and to its fixed part at least.
unsafe fn read_token(structure: *const u8) -> Option<Token> {
    // SAFETY: the fixed part is there.
    let fixed = unsafe { read_bytes(structure, FIXED) };
    let at = info::token_offset(&fixed)?;
    // SAFETY: the offset leaves room for the private data within the size that the structure says it has.
    let token = unsafe { read_bytes(structure.add(at), TOKEN) };
    Token::parse(&token)
}

/// A caller's callback.
struct Caller {
    callback: FileRestoreCallback,
    clbk_arg: *mut c_void,
}

impl Caller {
    /// Calls it with a packet; true where there is none.
    fn call<T>(&self, kind: u32, mut packet: T) -> bool {
        let Some(callback) = self.callback else { return true };
        let len = u32::try_from(size_of::<T>()).unwrap_or(0);
        // SAFETY: the packet lives until the callback returns, and is of the type that belongs to its number.
        handles::in_callback(|| unsafe { callback(kind, len, (&raw mut packet).cast()) != 0 })
    }
}

impl Follower for Caller {
    fn progress(&mut self, progress: Progress) -> bool {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let packet = ProgressInformation {
            total_file_size: number(progress.total),
            total_bytes_completed: number(progress.done),
            stream_size: number(progress.stream),
            stream_bytes_completed: number(progress.stream_done),
            clbk_arg: self.clbk_arg,
        };
        self.call(FILE_RESTORE_PROGRESS_INFO, packet)
    }

    fn finished(&mut self, success: bool, result: Code) {
        let packet =
            FinishedInformation { success: success.into(), final_result: result.0, clbk_arg: self.clbk_arg };
        self.call(FILE_RESTORE_FINISHED, packet);
    }
}

/// Gives keys to a volume that is locked.
///
/// # Safety
/// See the [module](self). `key_package` leads to `key_package_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn SupplyDecryptionInfo(
    context: *mut c_void,
    recovery_key_file_path: *const u16,
    recovery_password: *const c_void,
    key_package: *const c_void,
    key_package_size: u32,
) -> i32 {
    run(|| {
        let call = handles::enter(context.addr())?;
        let keys = || {
            let string = |string: *const u16| match string.is_null() {
                true => Ok(None),
                // SAFETY: not null, so it leads to a string.
                false => unsafe { read_string(string) }.map(Some),
            };
            let file = string(recovery_key_file_path)?;
            let password = string(recovery_password.cast())?;
            let size = usize::try_from(key_package_size).unwrap_or(usize::MAX);
            let package = match (key_package.is_null(), size) {
                (true, 0) => None,
                // SAFETY: not null, so it leads to as many bytes.
                (false, 1..=MAX_PACKAGE) => Some(unsafe { read_bytes(key_package.cast(), size) }),
                _ => return Err(Code::INVALID_PARAMETER),
            };
            keys::keys(file.as_ref().map(|units| units.as_slice()), password, package)
        };
        call.context.unlock(keys, &*call)?;
        Ok(Code::SUCCESS)
    })
}

/// Recognises a boot sector of NTFS, FAT or BitLocker. 0 where it is none; the last error is left as it was.
///
/// # Safety
/// See the [module](self). `boot_sector` leads to 512 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn DetectBootSector(boot_sector: *const u8, params: *mut BootSectorInfo) -> i32 {
    let detected = catch_unwind(|| {
        if boot_sector.is_null() || params.is_null() {
            return false;
        }
        // SAFETY: not null, so it leads to a sector.
        let sector = unsafe { read_bytes(boot_sector, undelfs_volume::boot_sector::LEN) };
        let info = detect::boot_sector(&sector);
        if let Some(info) = info {
            // SAFETY: not null, so it leads to room for the structure.
            unsafe { params.write_unaligned(info) };
        }
        info.is_some()
    });
    i32::from(detected.unwrap_or_else(|payload| {
        std::mem::forget(payload);
        false
    }))
}

/// Tells whether the volume is encrypted, and locked.
///
/// # Safety
/// See the [module](self).
#[unsafe(no_mangle)]
pub unsafe extern "system" fn DetectEncryptedVolume(context: *mut c_void, information: *mut u32) -> i32 {
    run(|| {
        let call = handles::enter(context.addr())?;
        let (bits, _) = call.context.encryption()?;
        need(information)?;
        // SAFETY: not null, so it leads to room for a number.
        unsafe { information.write_unaligned(bits) };
        Ok(Code::SUCCESS)
    })
}

/// The same, with the size of the volume in bytes; 0 where only a part of it is encrypted.
///
/// # Safety
/// See the [module](self).
#[unsafe(no_mangle)]
pub unsafe extern "system" fn DetectEncryptedVolumeEx(
    context: *mut c_void,
    information: *mut u32,
    volume_size: *mut u64,
) -> i32 {
    run(|| {
        let call = handles::enter(context.addr())?;
        let (bits, size) = call.context.encryption()?;
        need(information)?;
        need(volume_size)?;
        // SAFETY: neither is null, so they lead to room for their numbers.
        unsafe {
            information.write_unaligned(bits);
            volume_size.write_unaligned(size);
        }
        Ok(Code::SUCCESS)
    })
}

/// The last error of the calling thread: what its last call of a function above has left, but `DetectBootSector`, which
/// leaves none.
#[unsafe(no_mangle)]
pub extern "system" fn FmapiGetLastError() -> u32 {
    last_error::get()
}
