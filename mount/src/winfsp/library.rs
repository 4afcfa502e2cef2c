//! The DLL of WinFsp, loaded when something is mounted.
//!
//! It stands in a folder of its own that only the registry names, and a program that is linked against it does not even
//! start without it. So the functions that the `winfsp` crate calls are defined here: each jumps to the one of the DLL,
//! whose address [`load`] has put into its slot. No import library is needed on any tool chain.

#![allow(unsafe_code, reason = "calls into a library that is loaded")]

use std::{
    ffi::{OsString, c_void},
    os::windows::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    ptr,
    sync::{
        OnceLock,
        atomic::{AtomicPtr, Ordering},
    },
};

use windows_sys::Win32::{
    Foundation::HMODULE,
    System::{
        LibraryLoader::{
            GetProcAddress, LOAD_LIBRARY_SEARCH_APPLICATION_DIR, LOAD_LIBRARY_SEARCH_SYSTEM32,
            LOAD_WITH_ALTERED_SEARCH_PATH, LoadLibraryExW,
        },
        Registry::{HKEY_LOCAL_MACHINE, RRF_RT_REG_SZ, RRF_SUBKEY_WOW6432KEY, RegGetValueW},
    },
};

use crate::failure::Failure;

/// What the DLL is called for this processor.
pub(super) const NAME: &str = if cfg!(target_arch = "aarch64") { "winfsp-a64.dll" } else { "winfsp-x64.dll" };

/// Defines functions that jump to those of the DLL.
macro_rules! forward {
    ($($name:ident)*) => {
        mod slots {
            use super::{AtomicPtr, c_void, ptr};
            $(
                #[allow(non_upper_case_globals, reason = "the function's own name")]
                pub(super) static $name: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
            )*
        }
        $(
            /// The function of the DLL, whatever its arguments: they stay where they are.
            ///
            /// # Safety
            /// After [`load`], as the DLL's own.
            #[allow(non_snake_case, reason = "the function's own name")]
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name() {
                #[cfg(target_arch = "x86_64")]
                core::arch::naked_asm!("jmp qword ptr [rip + {slot}]", slot = sym slots::$name);
                #[cfg(target_arch = "aarch64")]
                core::arch::naked_asm!(
                    "adrp x16, {slot}",
                    "ldr x16, [x16, :lo12:{slot}]",
                    "br x16",
                    slot = sym slots::$name
                );
            }
        )*
        /// Names, ended by a zero as the system takes them, and slots.
        const FORWARDED: &[(&str, &AtomicPtr<c_void>)] = &[$((concat!(stringify!($name), "\0"), &slots::$name)),*];
    };
}

forward! {
    FspFileSystemAcquireDirectoryBufferEx
    FspFileSystemAddStreamInfo
    FspFileSystemCreate
    FspFileSystemDelete
    FspFileSystemDeleteDirectoryBuffer
    FspFileSystemFillDirectoryBuffer
    FspFileSystemFindReparsePoint
    FspFileSystemGetOperationContext
    FspFileSystemReadDirectoryBuffer
    FspFileSystemReleaseDirectoryBuffer
    FspFileSystemRemoveMountPoint
    FspFileSystemResolveReparsePoints
    FspFileSystemSetMountPoint
    FspFileSystemSetOperationGuardStrategyF
    FspFileSystemStartDispatcher
    FspFileSystemStopDispatcher
    FspFileSystemStopServiceIfNecessary
    FspNtStatusFromWin32
}

static LOADED: OnceLock<Result<(), String>> = OnceLock::new();

/// Loads the DLL once, from where WinFsp is installed, else from beside the program.
pub(super) fn load() -> Result<(), Failure> {
    LOADED.get_or_init(find_and_load).clone().map_err(Failure::new)
}

fn find_and_load() -> Result<(), String> {
    let installed =
        install_folder().map(|folder| folder.join("bin").join(NAME)).filter(|file| file.is_file());
    // Never from the working folder, where anybody may have put a DLL of that name.
    let module = match installed {
        Some(file) => load_library(&file, LOAD_WITH_ALTERED_SEARCH_PATH),
        None => {
            load_library(Path::new(NAME), LOAD_LIBRARY_SEARCH_APPLICATION_DIR | LOAD_LIBRARY_SEARCH_SYSTEM32)
        }
    };
    let Some(module) = module else {
        return Err("WinFsp is not installed, and mounting needs it; install it with `winget install WinFsp.WinFsp` or \
                    from https://winfsp.dev, or copy files with `undelfs restore`, which does not need it"
            .to_owned());
    };
    for (name, slot) in FORWARDED {
        // SAFETY: the module stays loaded, and the name ends with a zero.
        let Some(function) = (unsafe { GetProcAddress(module, name.as_ptr()) }) else {
            let name = name.trim_end_matches('\0');
            return Err(format!("the installed WinFsp has no {name}; install version 2.0 or later"));
        };
        slot.store(function as *mut c_void, Ordering::Release);
    }
    Ok(())
}

fn load_library(file: &Path, flags: u32) -> Option<HMODULE> {
    let wide: Vec<u16> = file.as_os_str().encode_wide().chain([0]).collect();
    // SAFETY: the name ends with a zero.
    let module = unsafe { LoadLibraryExW(wide.as_ptr(), ptr::null_mut(), flags) };
    (!module.is_null()).then_some(module)
}

/// Where WinFsp is installed, as its installer wrote into the 32-bit view of the registry.
fn install_folder() -> Option<PathBuf> {
    let wide = |text: &str| text.encode_utf16().chain([0]).collect::<Vec<u16>>();
    let (key, value) = (wide(r"SOFTWARE\WinFsp"), wide("InstallDir"));
    let mut buffer = [0u16; 1024];
    let mut len = u32::try_from(size_of_val(&buffer)).ok()?;
    // SAFETY: the names end with a zero, and the buffer is valid for the length given, in bytes.
    let status = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            key.as_ptr(),
            value.as_ptr(),
            RRF_RT_REG_SZ | RRF_SUBKEY_WOW6432KEY,
            ptr::null_mut(),
            buffer.as_mut_ptr().cast(),
            &mut len,
        )
    };
    let text = buffer.split(|unit| *unit == 0).next().filter(|text| status == 0 && !text.is_empty())?;
    Some(OsString::from_wide(text).into())
}
