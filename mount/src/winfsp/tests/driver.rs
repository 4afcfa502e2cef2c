//! A stand-in for the driver of WinFsp.
//!
//! The user-mode DLL of WinFsp talks to its driver by four functions of the system alone: it opens the device, sends it
//! control codes, closes it, and looks into the registry whether the service is to be started. In the import table of the
//! loaded DLL these four lead here. Everything else is the DLL as it is shipped: its dispatcher and its threads take requests
//! out of a queue, and what the back end answers comes back. What is not tested so is the driver: the parsing of paths,
//! caches, sharing, and mount points.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    ffi::{CStr, c_void},
    ptr,
    sync::{
        Arc, Condvar, LazyLock, Mutex, Once, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use windows_sys::Win32::{
    Foundation::{ERROR_INVALID_FUNCTION, ERROR_OPERATION_ABORTED, HANDLE, SetLastError},
    System::{
        LibraryLoader::GetModuleHandleW,
        Memory::{PAGE_READWRITE, VirtualProtect},
    },
};

use super::super::library;

/// What the names of the driver's devices begin with.
const DEVICE: &str = r"\\?\GLOBALROOT\Device\WinFsp.";

/// Handles of our volumes: no handle of the system has such a value.
const HANDLES: usize = 0x7FF0_0000;

/// The value that, where it exists, says that the driver is a host's and no service is to be started.
const IN_CONTAINER: &str = "ContainerType";

/// Control codes: those of a file system (FILE_DEVICE_FILE_SYSTEM), METHOD_BUFFERED, FILE_ANY_ACCESS.
const fn code(letter: u8) -> u32 {
    9 << 16 | (0x800 + letter as u32) << 2
}
const VOLUME_NAME: u32 = code(b'N');
const TRANSACT: u32 = code(b'T');
const STOP_FIRST: u32 = code(b's');
const STOP: u32 = code(b'S');

/// Bytes of a response before what its kind says; the number that a request gave stands at byte 8.
const RESPONSE_HEADER: usize = 24;

static VOLUMES: LazyLock<Mutex<HashMap<usize, Arc<Volume>>>> = LazyLock::new(Mutex::default);
static NEXT: AtomicUsize = AtomicUsize::new(HANDLES);

thread_local! {
    /// The volume that this thread has made last.
    static MADE: RefCell<Option<Arc<Volume>>> = const { RefCell::new(None) };
}

/// A volume as the driver knows it.
#[derive(Default)]
pub(super) struct Volume {
    /// What the DLL asked for: the name of the device with the parameters behind it.
    pub(super) device: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    requests: VecDeque<Vec<u64>>,
    responses: HashMap<u64, Vec<u8>>,
    last: u64,
    stopped: bool,
}

/// The dispatcher has been stopped: nobody answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stopped;

impl Volume {
    /// Puts a request into the queue, whose number `number` writes into it, and waits for the response.
    pub(super) fn ask(
        &self,
        mut request: Vec<u64>,
        number: impl FnOnce(&mut [u64], u64),
    ) -> Result<Vec<u8>, Stopped> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last += 1;
        let hint = state.last;
        number(&mut request, hint);
        state.requests.push_back(request);
        self.changed.notify_all();
        loop {
            if let Some(response) = state.responses.remove(&hint) {
                return Ok(response);
            }
            if state.stopped {
                return Err(Stopped);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes the response in, and gives the next request, `None` when the dispatcher is to end.
    fn transact(&self, response: &[u8], wants_more: bool) -> Option<Vec<u64>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hint) = response.get(8..16).filter(|_| response.len() >= RESPONSE_HEADER) {
            let hint = u64::from_le_bytes(hint.try_into().unwrap());
            state.responses.insert(hint, response.to_vec());
            self.changed.notify_all();
        }
        if !wants_more {
            return Some(Vec::new());
        }
        loop {
            if state.stopped {
                return None;
            }
            if let Some(request) = state.requests.pop_front() {
                return Some(request);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn stop(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stopped = true;
        self.changed.notify_all();
    }
}

fn volume(handle: usize) -> Option<Arc<Volume>> {
    VOLUMES.lock().unwrap_or_else(PoisonError::into_inner).get(&handle).cloned()
}

/// Takes the driver's place, and runs `make`, which makes a volume.
pub(super) fn volume_made_by<T>(make: impl FnOnce() -> T) -> (T, Arc<Volume>) {
    static ONCE: Once = Once::new();
    library::load().unwrap_or_else(|failure| panic!("{failure}"));
    ONCE.call_once(take_place);
    let made = make();
    let volume = MADE.take().expect("the DLL opened no device of the driver");
    (made, volume)
}

type CreateFile = unsafe extern "system" fn(*const u16, u32, u32, *const c_void, u32, u32, HANDLE) -> HANDLE;
type CloseHandle = unsafe extern "system" fn(HANDLE) -> i32;
type RegGetValue = unsafe extern "system" fn(
    *mut c_void,
    *const u16,
    *const u16,
    u32,
    *mut u32,
    *mut c_void,
    *mut u32,
) -> u32;

static CREATE_FILE: AtomicUsize = AtomicUsize::new(0);
static CLOSE_HANDLE: AtomicUsize = AtomicUsize::new(0);
static REG_GET_VALUE: AtomicUsize = AtomicUsize::new(0);

fn take_place() {
    let name: Vec<u16> = library::NAME.encode_utf16().chain([0]).collect();
    // SAFETY: the name ends with a zero.
    let module = unsafe { GetModuleHandleW(name.as_ptr()) };
    assert!(!module.is_null());
    for (name, ours, theirs) in [
        (c"CreateFileW", create_file as *const () as usize, Some(&CREATE_FILE)),
        (c"CloseHandle", close_handle as *const () as usize, Some(&CLOSE_HANDLE)),
        (c"RegGetValueW", reg_get_value as *const () as usize, Some(&REG_GET_VALUE)),
        (c"DeviceIoControl", device_io_control as *const () as usize, None),
    ] {
        // SAFETY: the module is loaded and never unloaded, and each of ours has the signature of the one it replaces.
        let old = unsafe { replace_import(module.cast(), name, ours) };
        if let Some(theirs) = theirs {
            theirs.store(old, Ordering::SeqCst);
        }
    }
}

/// Replaces an import of a loaded module (PE format, "The .idata Section") and gives the function that stood there.
///
/// # Safety
/// `module` is a loaded PE32+ module, and `new` can stand for the import.
unsafe fn replace_import(module: *mut u8, name: &CStr, new: usize) -> usize {
    // SAFETY: the loader has checked the headers and tables of a module that it has loaded.
    unsafe {
        let offset = |at: u32| module.add(at as usize);
        let header = offset(module.add(0x3C).cast::<u32>().read_unaligned());
        // The import table is the second of the data directories, which begin at byte 112 of the optional header.
        let mut descriptor = offset(header.add(24 + 112 + 8).cast::<u32>().read()).cast::<u32>();
        while *descriptor.add(3) != 0 {
            let mut entry = offset(*descriptor).cast::<u64>();
            let mut slot = offset(*descriptor.add(4)).cast::<usize>();
            while *entry != 0 {
                // The highest bit says that a number is meant; names have two bytes of a hint before them.
                let named = *entry >> 63 == 0 && CStr::from_ptr(offset(*entry as u32 + 2).cast()) == name;
                if named {
                    let mut before = 0;
                    assert_ne!(VirtualProtect(slot.cast(), 8, PAGE_READWRITE, &mut before), 0);
                    let old = slot.replace(new);
                    VirtualProtect(slot.cast(), 8, before, &mut before);
                    return old;
                }
                (entry, slot) = (entry.add(1), slot.add(1));
            }
            descriptor = descriptor.add(5);
        }
    }
    panic!("the DLL does not import {name:?}");
}

/// # Safety
/// `text` is null or ends with a zero.
unsafe fn text(text: *const u16) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: by the caller.
    unsafe {
        let len = (0..).take_while(|at| *text.add(*at) != 0).count();
        String::from_utf16_lossy(std::slice::from_raw_parts(text, len))
    }
}

unsafe extern "system" fn create_file(
    name: *const u16,
    access: u32,
    share: u32,
    security: *const c_void,
    disposition: u32,
    flags: u32,
    template: HANDLE,
) -> HANDLE {
    // SAFETY: the DLL's argument.
    let device = unsafe { text(name) };
    if device.starts_with(DEVICE) {
        let handle = NEXT.fetch_add(16, Ordering::SeqCst);
        let volume = Arc::new(Volume { device, ..Volume::default() });
        VOLUMES.lock().unwrap_or_else(PoisonError::into_inner).insert(handle, volume.clone());
        MADE.set(Some(volume));
        return ptr::without_provenance_mut(handle);
    }
    // SAFETY: the address was the import's, whose signature this is.
    let original: CreateFile = unsafe { std::mem::transmute(CREATE_FILE.load(Ordering::SeqCst)) };
    // SAFETY: the DLL's arguments.
    unsafe { original(name, access, share, security, disposition, flags, template) }
}

unsafe extern "system" fn close_handle(handle: HANDLE) -> i32 {
    if VOLUMES.lock().unwrap_or_else(PoisonError::into_inner).remove(&handle.addr()).is_some() {
        return 1;
    }
    // SAFETY: the address was the import's, whose signature this is.
    let original: CloseHandle = unsafe { std::mem::transmute(CLOSE_HANDLE.load(Ordering::SeqCst)) };
    // SAFETY: the DLL's argument.
    unsafe { original(handle) }
}

unsafe extern "system" fn reg_get_value(
    key: *mut c_void,
    subkey: *const u16,
    value: *const u16,
    flags: u32,
    kind: *mut u32,
    data: *mut c_void,
    len: *mut u32,
) -> u32 {
    // SAFETY: the DLL's argument.
    if unsafe { text(value) } == IN_CONTAINER {
        return 0;
    }
    // SAFETY: the address was the import's, whose signature this is.
    let original: RegGetValue = unsafe { std::mem::transmute(REG_GET_VALUE.load(Ordering::SeqCst)) };
    // SAFETY: the DLL's arguments.
    unsafe { original(key, subkey, value, flags, kind, data, len) }
}

unsafe extern "system" fn device_io_control(
    handle: HANDLE,
    code: u32,
    input: *const c_void,
    input_len: u32,
    output: *mut c_void,
    output_len: u32,
    returned: *mut u32,
    _: *mut c_void,
) -> i32 {
    let fail = |error| {
        // SAFETY: no pointers.
        unsafe { SetLastError(error) };
        0
    };
    let Some(volume) = volume(handle.addr()) else { return fail(ERROR_INVALID_FUNCTION) };
    let give = |bytes: &[u8]| {
        assert!(bytes.len() <= output_len as usize, "the DLL gave {output_len} bytes for {}", bytes.len());
        // SAFETY: the DLL's buffer is as long as it says, and `returned` is valid for writing.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), output.cast::<u8>(), bytes.len());
            *returned = bytes.len() as u32;
        }
        1
    };
    match code {
        VOLUME_NAME => {
            let name = r"\Device\Volume{00000000-0000-0000-0000-000000000000}";
            give(&name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect::<Vec<u8>>())
        }
        TRANSACT => {
            let response = match input.is_null() {
                true => &[][..],
                // SAFETY: the DLL's buffer is as long as it says.
                false => unsafe { std::slice::from_raw_parts(input.cast::<u8>(), input_len as usize) },
            };
            match volume.transact(response, output_len > 0) {
                Some(request) if request.is_empty() => 1,
                Some(request) => {
                    give(&request.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>())
                }
                None => fail(ERROR_OPERATION_ABORTED),
            }
        }
        STOP_FIRST | STOP => {
            volume.stop();
            1
        }
        _ => fail(ERROR_INVALID_FUNCTION),
    }
}
