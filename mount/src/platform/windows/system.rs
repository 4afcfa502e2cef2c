//! System calls that the standard library has no safe form of. With `crate::winfsp` the only unsafe code of the program.

#![allow(unsafe_code, reason = "system calls")]

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::windows::{
        ffi::OsStrExt,
        io::{AsRawHandle, FromRawHandle, OwnedHandle},
    },
    ptr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use windows_sys::Win32::{
    Foundation::{WAIT_OBJECT_0, WAIT_TIMEOUT},
    Security::{GetLengthSid, GetTokenInformation, TOKEN_QUERY, TOKEN_USER, TokenUser},
    Storage::FileSystem::{
        BY_HANDLE_FILE_INFORMATION, GetFileInformationByHandle, GetLogicalDrives, SYNCHRONIZE,
    },
    System::{
        Console::SetConsoleCtrlHandler,
        Threading::{
            CreateEventW, EVENT_MODIFY_STATE, GetCurrentProcess, INFINITE, OpenEventW, OpenProcessToken,
            ResetEvent, SetEvent, WaitForSingleObject,
        },
    },
};

fn wide(text: &OsStr) -> Vec<u16> {
    text.encode_wide().chain([0]).collect()
}

fn check(done: i32) -> io::Result<()> {
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Numbers of the volume and of the file on it.
pub(super) fn identity(file: &File) -> io::Result<(u64, u64)> {
    let mut facts = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open as long as `file` is borrowed, and `facts` is valid for writing.
    check(unsafe { GetFileInformationByHandle(file.as_raw_handle(), &mut facts) })?;
    let number = (u64::from(facts.nFileIndexHigh) << 32) | u64::from(facts.nFileIndexLow);
    Ok((u64::from(facts.dwVolumeSerialNumber), number))
}

/// The drive letters in use, bit 0 being `A:`.
pub(super) fn drives() -> u32 {
    // SAFETY: no arguments.
    unsafe { GetLogicalDrives() }
}

/// An event that other processes know by its name.
#[derive(Debug)]
pub(crate) struct Event(OwnedHandle);

impl Event {
    /// Makes the event; an error when it exists.
    pub(super) fn create(name: &str) -> io::Result<Self> {
        let name = wide(OsStr::new(name));
        // SAFETY: `name` ends with a zero; the other arguments ask for the default security and a manual event that is not set.
        let handle = unsafe { CreateEventW(ptr::null(), 1, 0, name.as_ptr()) };
        let error = io::Error::last_os_error();
        if handle.is_null() {
            return Err(error);
        }
        // SAFETY: the handle was made just now and belongs to nobody else.
        let event = Self(unsafe { OwnedHandle::from_raw_handle(handle) });
        // ERROR_ALREADY_EXISTS
        if error.raw_os_error() == Some(183) { Err(io::ErrorKind::AlreadyExists.into()) } else { Ok(event) }
    }

    /// Opens an event that another process has made.
    pub(super) fn open(name: &str) -> io::Result<Self> {
        let name = wide(OsStr::new(name));
        // SAFETY: `name` ends with a zero.
        let handle = unsafe { OpenEventW(EVENT_MODIFY_STATE | SYNCHRONIZE, 0, name.as_ptr()) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle was made just now and belongs to nobody else.
        Ok(Self(unsafe { OwnedHandle::from_raw_handle(handle) }))
    }

    pub(super) fn set(&self) -> io::Result<()> {
        // SAFETY: the handle is open.
        check(unsafe { SetEvent(self.0.as_raw_handle()) })
    }

    pub(super) fn reset(&self) -> io::Result<()> {
        // SAFETY: the handle is open.
        check(unsafe { ResetEvent(self.0.as_raw_handle()) })
    }

    /// Waits until the event is set, or, with a `patience`, until that has passed: false then.
    pub(super) fn wait(&self, patience: Option<Duration>) -> io::Result<bool> {
        let millis =
            patience.map_or(INFINITE, |patience| u32::try_from(patience.as_millis()).unwrap_or(INFINITE - 1));
        // SAFETY: the handle is open.
        match unsafe { WaitForSingleObject(self.0.as_raw_handle(), millis) } {
            WAIT_OBJECT_0 => Ok(true),
            WAIT_TIMEOUT => Ok(false),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// What is called when the console wants the process to end. Says whether that is taken care of; where not, the system
/// ends the process.
type OnEnd = Box<dyn Fn() -> bool + Send>;

static ON_END: Mutex<Option<OnEnd>> = Mutex::new(None);

/// From now on `on_end` is called on Ctrl-C, Ctrl-Break, and when the console is closed or the user logs off.
pub(super) fn on_console_end(on_end: OnEnd) -> io::Result<()> {
    let mut known = ON_END.lock().unwrap_or_else(PoisonError::into_inner);
    let first = known.is_none();
    *known = Some(on_end);
    drop(known);
    if first {
        // SAFETY: the handler is a function of the signature that is asked for, and lives as long as the program.
        check(unsafe { SetConsoleCtrlHandler(Some(handler), 1) })?;
    }
    Ok(())
}

extern "system" fn handler(_: u32) -> i32 {
    let known = ON_END.lock().unwrap_or_else(PoisonError::into_inner);
    i32::from(known.as_ref().is_some_and(|on_end| on_end()))
}

/// The SID of the user that this process runs as.
pub(crate) fn user_sid() -> io::Result<Vec<u8>> {
    let mut token = ptr::null_mut();
    // SAFETY: the handle of the process needs no closing, and `token` is valid for writing.
    check(unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &mut token) })?;
    // SAFETY: the handle was made just now and belongs to nobody else.
    let token = unsafe { OwnedHandle::from_raw_handle(token) };
    // TOKEN_USER and the SID behind it, which has at most 68 bytes; in words, so that it is aligned.
    let mut buffer = [0u64; 32];
    let mut len = 0;
    let room = u32::try_from(size_of_val(&buffer)).unwrap_or(0);
    // SAFETY: the handle is open, and the buffer is valid for the length given.
    check(unsafe {
        GetTokenInformation(token.as_raw_handle(), TokenUser, buffer.as_mut_ptr().cast(), room, &mut len)
    })?;
    // SAFETY: the call has filled in a TOKEN_USER, whose SID points into the same buffer.
    unsafe {
        let sid = (*buffer.as_ptr().cast::<TOKEN_USER>()).User.Sid;
        let len = usize::try_from(GetLengthSid(sid)).unwrap_or(0).min(68);
        Ok(std::slice::from_raw_parts(sid.cast::<u8>(), len).to_vec())
    }
}
