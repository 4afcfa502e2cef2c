//! A program on the mounted volume: what the driver would make of its calls, and what it would tell it.

use std::{io, ptr, sync::Arc};

use windows_sys::Win32::{
    Foundation::HANDLE,
    Security::{DuplicateToken, SecurityImpersonation, TOKEN_DUPLICATE, TOKEN_QUERY},
    System::Threading::{GetCurrentProcess, OpenProcessToken},
};
use winfsp_sys::{
    FSP_FSCTL_FILE_INFO, FSP_FSCTL_TRANSACT_BUF, FSP_FSCTL_TRANSACT_REQ, FSP_FSCTL_TRANSACT_RSP,
};

use super::driver::{Stopped, Volume};

/// Kinds of requests (`fsctl.h` of WinFsp).
pub(super) mod kind {
    pub(crate) const CREATE: u32 = 1;
    pub(crate) const OVERWRITE: u32 = 2;
    pub(crate) const CLEANUP: u32 = 3;
    pub(crate) const CLOSE: u32 = 4;
    pub(crate) const READ: u32 = 5;
    pub(crate) const WRITE: u32 = 6;
    pub(crate) const QUERY_INFORMATION: u32 = 7;
    pub(crate) const SET_INFORMATION: u32 = 8;
    pub(crate) const SET_EA: u32 = 10;
    pub(crate) const FLUSH: u32 = 11;
    pub(crate) const QUERY_VOLUME: u32 = 12;
    pub(crate) const SET_VOLUME: u32 = 13;
    pub(crate) const QUERY_DIRECTORY: u32 = 14;
    pub(crate) const CONTROL: u32 = 15;
    pub(crate) const QUERY_SECURITY: u32 = 19;
    pub(crate) const SET_SECURITY: u32 = 20;
    pub(crate) const QUERY_STREAMS: u32 = 21;
}

/// Dispositions of a create request.
pub(super) const OPEN: u32 = 1;

/// Reading data, attributes and security, and waiting.
pub(super) const READ: u32 = 0x0012_0089;

pub(super) const END_OF_FILE: u32 = 0xC000_0011;
pub(super) const NO_SUCH_NAME: u32 = 0xC000_0034;
pub(super) const NO_SUCH_PATH: u32 = 0xC000_003A;

/// Bytes of a directory entry before its name, and of an entry for a stream.
const DIR_INFO: usize = 104;
const STREAM_INFO: usize = 24;

/// What comes back: a header, and what follows it.
pub(super) struct Response(Vec<u64>, usize);

impl Response {
    pub(super) fn header(&self) -> &FSP_FSCTL_TRANSACT_RSP {
        // SAFETY: words are aligned, there are enough of them, and any bytes are a response.
        unsafe { &*self.0.as_ptr().cast() }
    }

    fn buffer(&self, part: FSP_FSCTL_TRANSACT_BUF) -> Vec<u8> {
        let bytes: Vec<u8> = self.0.iter().flat_map(|word| word.to_le_bytes()).take(self.1).collect();
        let from = size_of::<FSP_FSCTL_TRANSACT_RSP>() + usize::from(part.Offset);
        bytes[from..from + usize::from(part.Size)].to_vec()
    }
}

/// A request of a kind, with what stands behind its header.
pub(super) struct Request {
    pub(super) header: FSP_FSCTL_TRANSACT_REQ,
    tail: Vec<u8>,
}

impl Request {
    pub(super) fn new(kind: u32) -> Self {
        // SAFETY: all zeros are a request.
        let mut header: FSP_FSCTL_TRANSACT_REQ = unsafe { std::mem::zeroed() };
        header.Kind = kind;
        Self { header, tail: Vec::new() }
    }

    /// Puts bytes behind the header, and says where they are.
    pub(super) fn put(&mut self, bytes: &[u8]) -> FSP_FSCTL_TRANSACT_BUF {
        let place = FSP_FSCTL_TRANSACT_BUF { Offset: self.tail.len() as u16, Size: bytes.len() as u16 };
        self.tail.extend_from_slice(bytes);
        self.tail.resize(self.tail.len().next_multiple_of(8), 0);
        place
    }

    pub(super) fn put_name(&mut self, name: &[u16]) -> FSP_FSCTL_TRANSACT_BUF {
        self.put(&name.iter().copied().chain([0]).flat_map(u16::to_le_bytes).collect::<Vec<u8>>())
    }

    fn words(&self) -> Vec<u64> {
        const HEADER: usize = size_of::<FSP_FSCTL_TRANSACT_REQ>();
        let mut words = vec![0u64; (HEADER + self.tail.len()).div_ceil(8)];
        // SAFETY: there is room for both, and the header is plain data.
        unsafe {
            let bytes = words.as_mut_ptr().cast::<u8>();
            ptr::copy_nonoverlapping(ptr::from_ref(&self.header).cast(), bytes, HEADER);
            ptr::copy_nonoverlapping(self.tail.as_ptr(), bytes.add(HEADER), self.tail.len());
            (*bytes.cast::<FSP_FSCTL_TRANSACT_REQ>()).Size = (words.len() * 8) as u16;
        }
        words
    }
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) attributes: u32,
    pub(super) size: u64,
    pub(super) index: u64,
    pub(super) created: u64,
}

impl From<FSP_FSCTL_FILE_INFO> for Facts {
    fn from(info: FSP_FSCTL_FILE_INFO) -> Self {
        Self {
            attributes: info.FileAttributes,
            size: info.FileSize,
            index: info.IndexNumber,
            created: info.CreationTime,
        }
    }
}

/// An open file.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    pub(super) context: (u64, u64),
    pub(super) facts: Facts,
    /// The name as the file system has it.
    pub(super) name: Vec<u16>,
}

/// Sets the two numbers by which the DLL knows an open file, in the part of a request of this kind.
macro_rules! of {
    ($request:expr, $part:ident, $handle:expr) => {{
        // SAFETY: all parts are plain data, and the kind says that this one is meant.
        let part = unsafe { &mut $request.header.Req.$part };
        (part.UserContext, part.UserContext2) = $handle.context;
        part
    }};
}
pub(super) use of;

/// A program on a volume.
#[derive(Clone)]
pub(super) struct Client {
    volume: Arc<Volume>,
    token: u64,
}

impl Client {
    pub(super) fn new(volume: Arc<Volume>) -> Self {
        let (mut primary, mut token): (HANDLE, HANDLE) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: both are valid for writing; the handles live as long as the test.
        let done = unsafe {
            OpenProcessToken(GetCurrentProcess(), TOKEN_DUPLICATE | TOKEN_QUERY, &mut primary) != 0
                && DuplicateToken(primary, SecurityImpersonation, &mut token) != 0
        };
        assert!(done, "{}", io::Error::last_os_error());
        Self { volume, token: token.expose_provenance() as u64 }
    }

    pub(super) fn ask(&self, request: &Request) -> Result<Response, Stopped> {
        let response = self.volume.ask(request.words(), |words, hint| {
            // SAFETY: the words begin with a request.
            unsafe { (*words.as_mut_ptr().cast::<FSP_FSCTL_TRANSACT_REQ>()).Hint = hint };
        })?;
        let mut words = vec![0u64; response.len().max(size_of::<FSP_FSCTL_TRANSACT_RSP>()).div_ceil(8)];
        // SAFETY: there is room for all of it.
        unsafe { ptr::copy_nonoverlapping(response.as_ptr(), words.as_mut_ptr().cast(), response.len()) };
        Ok(Response(words, response.len()))
    }

    /// Asks, and gives the status of a failure.
    pub(super) fn answered(&self, request: &Request) -> Result<Response, u32> {
        let response = self.ask(request).expect("the dispatcher runs");
        match response.header().IoStatus.Status {
            0 => Ok(response),
            status => Err(status),
        }
    }

    /// Opens or creates a file as a program does, with the rights of this process.
    pub(super) fn create(
        &self,
        name: &[u16],
        disposition: u32,
        options: u32,
        access: u32,
    ) -> Result<Handle, u32> {
        let mut request = Request::new(kind::CREATE);
        request.header.FileName = request.put_name(name);
        // SAFETY: all parts are plain data, and the kind says that this one is meant.
        let create = unsafe { &mut request.header.Req.Create };
        create.CreateOptions = disposition << 24 | options;
        create.DesiredAccess = access;
        create.GrantedAccess = 0;
        create.ShareAccess = 7;
        create.AccessToken = self.token;
        create.set_UserMode(1);
        create.set_HasTraversePrivilege(1);
        let response = self.answered(&request)?;
        // SAFETY: the response to a creation that was done.
        let opened = unsafe { response.header().Rsp.Create.Opened };
        let name = response.buffer(opened.FileName);
        Ok(Handle {
            context: (opened.UserContext, opened.UserContext2),
            facts: opened.FileInfo.into(),
            name: name.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect(),
        })
    }

    pub(super) fn open(&self, name: &[u16]) -> Result<Handle, u32> {
        self.create(name, OPEN, 0, READ)
    }

    pub(super) fn open_text(&self, name: &str) -> Result<Handle, u32> {
        self.open(&name.encode_utf16().collect::<Vec<u16>>())
    }

    pub(super) fn close(&self, handle: &Handle) {
        let mut request = Request::new(kind::CLEANUP);
        of!(request, Cleanup, handle);
        let _ = self.answered(&request);
        let mut request = Request::new(kind::CLOSE);
        of!(request, Close, handle);
        let _ = self.answered(&request);
    }

    pub(super) fn read_request(handle: &Handle, offset: u64, buffer: &mut [u8]) -> Request {
        let mut request = Request::new(kind::READ);
        let read = of!(request, Read, handle);
        read.Address = buffer.as_mut_ptr().expose_provenance() as u64;
        read.Offset = offset;
        read.Length = buffer.len() as u32;
        request
    }

    pub(super) fn read(&self, handle: &Handle, offset: u64, len: usize) -> Result<Vec<u8>, u32> {
        let mut buffer = vec![0; len];
        let response = self.answered(&Self::read_request(handle, offset, &mut buffer))?;
        buffer.truncate(response.header().IoStatus.Information as usize);
        Ok(buffer)
    }

    /// Reads a file to its end.
    pub(super) fn read_all(&self, handle: &Handle, each: &mut dyn FnMut(&[u8])) -> Result<u64, u32> {
        let mut at = 0;
        loop {
            match self.read(handle, at, 65_536) {
                Ok(piece) => {
                    each(&piece);
                    at += piece.len() as u64;
                }
                Err(END_OF_FILE) => return Ok(at),
                Err(status) => return Err(status),
            }
        }
    }

    /// Lists a directory with a buffer of so many bytes, beginning anew.
    pub(super) fn list(&self, handle: &Handle, pattern: Option<&str>, room: usize) -> Vec<(Vec<u16>, Facts)> {
        let mut found = Vec::new();
        let mut marker: Option<Vec<u16>> = None;
        loop {
            let mut buffer = vec![0u64; room.div_ceil(8)];
            let mut request = Request::new(kind::QUERY_DIRECTORY);
            let pattern = pattern.map(|text| request.put_name(&text.encode_utf16().collect::<Vec<u16>>()));
            let marked = marker.as_ref().map(|name| request.put_name(name));
            let query = of!(request, QueryDirectory, handle);
            query.Address = buffer.as_mut_ptr().expose_provenance() as u64;
            query.Length = room as u32;
            query.Pattern = pattern.unwrap_or_default();
            query.Marker = marked.unwrap_or_default();
            let response = self.answered(&request).expect("a list");
            let len = response.header().IoStatus.Information as usize;
            let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_le_bytes()).take(len).collect();
            let (mut at, before) = (0, found.len());
            let mut ended = false;
            while at + 2 <= bytes.len() {
                let size = usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
                if size < DIR_INFO {
                    // An entry of no size says that nothing more comes.
                    ended = true;
                    break;
                }
                let field =
                    |from: usize| u64::from_le_bytes(bytes[at + from..at + from + 8].try_into().unwrap());
                let facts = Facts {
                    attributes: field(8) as u32,
                    size: field(24),
                    created: field(32),
                    index: field(64),
                };
                let name = bytes[at + DIR_INFO..at + size].chunks_exact(2);
                found.push((name.map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect(), facts));
                at += size.next_multiple_of(8);
            }
            if ended || found.len() == before {
                return found;
            }
            marker = found.last().map(|(name, _)| name.clone());
        }
    }

    /// The named streams of an open file, and their sizes; the unnamed one has an empty name.
    pub(super) fn streams(&self, handle: &Handle) -> Result<Vec<(Vec<u16>, u64)>, u32> {
        let mut request = Request::new(kind::QUERY_STREAMS);
        of!(request, QueryStreamInformation, handle);
        let response = self.answered(&request)?;
        // SAFETY: the response to a query of streams.
        let bytes = response.buffer(unsafe { response.header().Rsp.QueryStreamInformation.Buffer });
        let (mut at, mut found) = (0, Vec::new());
        while at + STREAM_INFO <= bytes.len() {
            let size = usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
            if size < STREAM_INFO {
                break;
            }
            let name = bytes[at + STREAM_INFO..at + size].chunks_exact(2);
            let name = name.map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
            found.push((name, u64::from_le_bytes(bytes[at + 8..at + 16].try_into().unwrap())));
            at += size.next_multiple_of(8);
        }
        Ok(found)
    }
}
