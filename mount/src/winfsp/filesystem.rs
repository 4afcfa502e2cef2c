//! The callbacks: each asks the tree and answers. A panic in one is answered by the `winfsp` crate with
//! STATUS_NONCONTINUABLE_EXCEPTION, and the mount lives on.

#![allow(unsafe_code, reason = "the request that a callback answers")]

use std::{
    ffi::c_void,
    sync::{Arc, OnceLock},
};

use serde_json::{Map, Value};
use undelfs_restore::{
    Attributes, Content, Error, Inode, NodeKind, Tree,
    windows::{attributes, reparse},
};
use undelfs_source::ErrorKind;
use winfsp::{
    FspError, U16CStr,
    constants::FspTransactKind,
    filesystem::{
        DirMarker, FileInfo, FileSecurity, FileSystemContext, ModificationDescriptor, OpenFileInfo,
        VolumeInfo,
    },
};

use super::{
    directory::{self, Listing, status},
    lookup::{self, Found, Kind, Missing},
};
use crate::contents::Contents;

const STATUS_BUFFER_TOO_SMALL: u32 = 0xC000_0023;
const STATUS_BUFFER_OVERFLOW: u32 = 0x8000_0005;
const STATUS_END_OF_FILE: u32 = 0xC000_0011;
const STATUS_FILE_IS_A_DIRECTORY: u32 = 0xC000_00BA;
const STATUS_MEDIA_WRITE_PROTECTED: u32 = 0xC000_00A2;
const STATUS_NOT_A_DIRECTORY: u32 = 0xC000_0103;
const STATUS_NOT_A_REPARSE_POINT: u32 = 0xC000_0275;
const STATUS_OBJECT_NAME_NOT_FOUND: u32 = 0xC000_0034;
const STATUS_OBJECT_PATH_NOT_FOUND: u32 = 0xC000_003A;

/// Rights that only somebody asks for who wants to write: to data, attributes and extended attributes, to entries of a
/// directory, to delete, permissions, owner, and all of these by their generic names.
const WRITE_ACCESS: u32 = 0x2 | 0x4 | 0x10 | 0x40 | 0x100 | 0x1_0000 | 0x4_0000 | 0x8_0000 | 0x4000_0000;
const DELETE_ON_CLOSE: u32 = 0x1000;
const OPEN_DIRECTORY: u32 = 0x1;
const OPEN_NO_DIRECTORY: u32 = 0x40;

/// Dispositions of a create request, in the upper byte of its options.
const OPEN: u32 = 1;
const OPEN_IF: u32 = 3;

/// What somebody wants who opens a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intent {
    Read,
    /// To read it, and to make it where it does not exist.
    ReadOrMake,
    Write,
}

fn nt(status: u32) -> FspError {
    FspError::NTSTATUS(status.cast_signed())
}

/// A tree as a WinFsp file system.
pub(crate) struct TreeFs {
    tree: Tree,
    /// The security descriptor of everything.
    security: Vec<u8>,
    contents: Contents,
}

/// An open file, directory or stream.
pub(crate) struct Open {
    node: Attributes,
    /// The file that a stream belongs to.
    file: Inode,
    kind: Kind,
    /// The `FILE_ATTRIBUTE_*` bits of the file.
    bits: u32,
    /// What is read of a file whose content is made when it is opened.
    made: OnceLock<Arc<dyn Content>>,
    known: Option<Vec<u8>>,
    listing: Listing,
}

impl TreeFs {
    pub(crate) fn new(tree: Tree, security: Vec<u8>) -> Self {
        Self { tree, security, contents: Contents::new() }
    }

    fn find(&self, path: &U16CStr) -> Result<Found, FspError> {
        lookup::find(&self.tree, path.as_slice()).map_err(|missing| match missing {
            Missing::Name => nt(STATUS_OBJECT_NAME_NOT_FOUND),
            Missing::Path | Missing::BehindLink => nt(STATUS_OBJECT_PATH_NOT_FOUND),
            Missing::Other(error) => status(&error),
        })
    }

    /// What undelfs knows of a file, as a JSON object in one line.
    fn known(&self, file: Inode) -> Result<Vec<u8>, FspError> {
        let known = self.tree.properties(file).map_err(|error| status(&error))?;
        let object: Map<String, Value> =
            known.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect();
        let mut text = Value::Object(object).to_string().into_bytes();
        text.push(b'\n');
        Ok(text)
    }

    fn fill(&self, open: &Open, info: &mut FileInfo) {
        directory::fill(info, &open.node, open.bits);
        if let Some(known) = &open.known {
            info.file_size = known.len() as u64;
            info.allocation_size = known.len() as u64;
        }
        if open.node.volatile {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let ticks = u64::try_from(now.as_nanos() / 100).unwrap_or(0);
            info.last_write_time = undelfs_volume::filesystem::FileTime::UNIX_EPOCH.0.saturating_add(ticks);
            info.change_time = info.last_write_time;
        }
    }

    fn content(&self, open: &Open) -> Result<Arc<dyn Content>, Error> {
        if let Some(made) = open.made.get() {
            return Ok(made.clone());
        }
        if open.node.volatile {
            let content = self.tree.open(open.node.inode)?;
            return Ok(open.made.get_or_init(|| content).clone());
        }
        self.contents.get(open.node.inode, || self.tree.open(open.node.inode))
    }

    /// What the request that is answered just now wants of a file.
    fn intent(&self) -> Intent {
        // SAFETY: only called while a callback answers a request.
        let intent = unsafe {
            self.with_operation_request(|request| {
                if request.Kind == FspTransactKind::FspFsctlTransactSetInformationKind as u32 {
                    return Intent::Write;
                }
                if request.Kind != FspTransactKind::FspFsctlTransactCreateKind as u32 {
                    return Intent::Read;
                }
                // The kind says which field of the union it is.
                let create = &request.Req.Create;
                let writes =
                    create.DesiredAccess & WRITE_ACCESS != 0 || create.CreateOptions & DELETE_ON_CLOSE != 0;
                match create.CreateOptions >> 24 {
                    OPEN | OPEN_IF if writes => Intent::Write,
                    OPEN => Intent::Read,
                    OPEN_IF => Intent::ReadOrMake,
                    _ => Intent::Write,
                }
            })
        };
        intent.unwrap_or(Intent::Read)
    }

    fn copy_security(&self, target: Option<&mut [c_void]>) -> Result<u64, FspError> {
        let len = self.security.len();
        if let Some(target) = target {
            if size_of_val(target) < len {
                return Err(nt(STATUS_BUFFER_OVERFLOW));
            }
            // SAFETY: the target has room for `len` bytes, and nobody else knows of it.
            unsafe {
                std::ptr::copy_nonoverlapping(self.security.as_ptr(), target.as_mut_ptr().cast::<u8>(), len);
            }
        }
        Ok(len as u64)
    }

    /// Gives the reparse point of a link.
    fn reparse_point(&self, node: &Attributes, buffer: &mut [u8]) -> Result<u64, FspError> {
        if node.kind != NodeKind::Link {
            return Err(nt(STATUS_NOT_A_REPARSE_POINT));
        }
        let target = self.tree.read_link(node.inode).map_err(|error| status(&error))?;
        let point = reparse::symlink(&target).ok_or_else(|| nt(ErrorKind::Unsupported.ntstatus()))?;
        buffer.get_mut(..point.len()).ok_or_else(|| nt(STATUS_BUFFER_TOO_SMALL))?.copy_from_slice(&point);
        Ok(point.len() as u64)
    }
}

/// Fills `buf` from `offset` on; fewer bytes only where the content ends.
fn fill(content: &dyn Content, buf: &mut [u8], offset: u64) -> Result<usize, Error> {
    let mut filled = 0;
    while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match content.read_at(rest, offset.saturating_add(filled as u64))? {
            0 => break,
            read => filled += read.min(rest.len()),
        }
    }
    Ok(filled)
}

/// A callback that is a request to change something.
macro_rules! refuse_writes {
    ($($name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {$(
        #[allow(clippy::too_many_arguments, reason = "the trait's signature")]
        fn $name(&self, $($arg: $type),*) -> winfsp::Result<$answer> {
            $(let _ = $arg;)*
            Err(nt(STATUS_MEDIA_WRITE_PROTECTED))
        }
    )*};
}

impl FileSystemContext for TreeFs {
    type FileContext = Open;

    fn get_security_by_name(
        &self,
        file_name: &U16CStr,
        security_descriptor: Option<&mut [c_void]>,
        resolve: impl FnOnce(&U16CStr) -> Option<FileSecurity>,
    ) -> winfsp::Result<FileSecurity> {
        let intent = self.intent();
        // Before the rights are looked at, which would say that access is denied; the volume being read-only comes first.
        if intent == Intent::Write {
            return Err(nt(STATUS_MEDIA_WRITE_PROTECTED));
        }
        let found = match lookup::find(&self.tree, file_name.as_slice()) {
            Err(Missing::BehindLink) => {
                return resolve(file_name).ok_or_else(|| nt(STATUS_OBJECT_PATH_NOT_FOUND));
            }
            Err(Missing::Name) if intent == Intent::ReadOrMake => {
                return Err(nt(STATUS_MEDIA_WRITE_PROTECTED));
            }
            _ => self.find(file_name)?,
        };
        let bits = self.tree.attribute_bits(found.file);
        let sz_security_descriptor = self.copy_security(security_descriptor)?;
        Ok(FileSecurity {
            reparse: false,
            sz_security_descriptor,
            attributes: attributes::shown(found.node.kind, bits),
        })
    }

    fn open(
        &self,
        file_name: &U16CStr,
        options: u32,
        _: u32,
        info: &mut OpenFileInfo,
    ) -> winfsp::Result<Open> {
        // The kernel itself is not asked for its rights, nor for the security of what it opens.
        if self.intent() == Intent::Write {
            return Err(nt(STATUS_MEDIA_WRITE_PROTECTED));
        }
        let Found { node, file, kind, path } = self.find(file_name)?;
        let directory = node.kind == NodeKind::Directory;
        if options & OPEN_DIRECTORY != 0 && !directory && node.kind != NodeKind::Link {
            return Err(nt(STATUS_NOT_A_DIRECTORY));
        }
        if options & OPEN_NO_DIRECTORY != 0 && directory {
            return Err(nt(STATUS_FILE_IS_A_DIRECTORY));
        }
        let known = if kind == Kind::Known { Some(self.known(file)?) } else { None };
        let bits = self.tree.attribute_bits(file);
        let open = Open { node, file, kind, bits, made: OnceLock::new(), known, listing: Listing::default() };
        // A file whose size says nothing of its content must not look empty: opening it tells.
        if node.kind == NodeKind::File && node.size == 0 && kind == Kind::Node {
            self.content(&open).map_err(|error| status(&error))?;
        }
        self.fill(&open, info.as_mut());
        // Else the name is taken for one that is written as asked for.
        if size_of_val(&path[..]) < usize::from(info.normalized_name_size()) {
            info.set_normalized_name(&path, None);
        }
        Ok(open)
    }

    fn close(&self, _: Open) {}

    fn get_file_info(&self, open: &Open, info: &mut FileInfo) -> winfsp::Result<()> {
        self.fill(open, info);
        // Asked for by the DLL before a deletion, which it would refuse for the attribute and not for the volume.
        if self.intent() == Intent::Write {
            info.file_attributes &= !attributes::READONLY;
        }
        Ok(())
    }

    fn flush(&self, open: Option<&Open>, info: &mut FileInfo) -> winfsp::Result<()> {
        // There is never anything to write back.
        if let Some(open) = open {
            self.fill(open, info);
        }
        Ok(())
    }

    fn get_security(&self, _: &Open, security_descriptor: Option<&mut [c_void]>) -> winfsp::Result<u64> {
        self.copy_security(security_descriptor)
    }

    fn read(&self, open: &Open, buffer: &mut [u8], offset: u64) -> winfsp::Result<u32> {
        if open.node.kind == NodeKind::Directory {
            return Err(nt(STATUS_FILE_IS_A_DIRECTORY));
        }
        let read = match &open.known {
            Some(known) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(known.len());
                let rest = known.get(from..).unwrap_or_default();
                let len = rest.len().min(buffer.len());
                buffer.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                len
            }
            None => {
                let content = self.content(open).map_err(|error| status(&error))?;
                fill(&*content, buffer, offset).map_err(|error| status(&error))?
            }
        };
        if read == 0 && !buffer.is_empty() {
            return Err(nt(STATUS_END_OF_FILE));
        }
        Ok(u32::try_from(read).unwrap_or(u32::MAX))
    }

    fn read_directory(
        &self,
        open: &Open,
        pattern: Option<&U16CStr>,
        marker: DirMarker<'_>,
        buffer: &mut [u8],
    ) -> winfsp::Result<u32> {
        if open.node.kind != NodeKind::Directory {
            return Err(nt(STATUS_NOT_A_DIRECTORY));
        }
        let listing = &open.listing.0;
        // It refuses where the directory was listed already and is not asked for from the beginning.
        if let Ok(lock) = listing.acquire(marker.is_none(), None) {
            directory::list(&self.tree, open.node.inode, pattern.map(U16CStr::as_slice), &lock)?;
        }
        Ok(listing.read(marker, buffer))
    }

    fn get_stream_info(&self, open: &Open, buffer: &mut [u8]) -> winfsp::Result<u32> {
        let node = if open.kind == Kind::Node {
            open.node
        } else {
            self.tree.attributes(open.file).map_err(|e| status(&e))?
        };
        let known = (node.kind == NodeKind::File && !node.volatile)
            .then(|| self.known(open.file).map(|known| known.len() as u64))
            .transpose()?;
        directory::streams(&self.tree, &node, known, buffer)
    }

    fn get_volume_info(&self, info: &mut VolumeInfo) -> winfsp::Result<()> {
        let space = self.tree.space();
        info.total_size = space.blocks.saturating_mul(u64::from(space.block_size));
        info.free_size = 0;
        info.set_volume_label(self.tree.label().0);
        Ok(())
    }

    fn get_reparse_point_by_name(&self, path: &U16CStr, _: bool, buffer: &mut [u8]) -> winfsp::Result<u64> {
        self.reparse_point(&self.find(path)?.node, buffer)
    }

    fn get_reparse_point(&self, open: &Open, _: &U16CStr, buffer: &mut [u8]) -> winfsp::Result<u64> {
        self.reparse_point(&open.node, buffer)
    }

    fn set_delete(&self, _: &Open, _: &U16CStr, delete: bool) -> winfsp::Result<()> {
        // Whoever takes a deletion back wants nothing that is not so.
        if delete { Err(nt(STATUS_MEDIA_WRITE_PROTECTED)) } else { Ok(()) }
    }

    refuse_writes! {
        create(
            name: &U16CStr, options: u32, access: u32, attributes: u32, security: Option<&[c_void]>, allocation: u64,
            extra: Option<&[u8]>, extra_is_reparse_point: bool, info: &mut OpenFileInfo
        ) -> Open;
        overwrite(
            open: &Open, attributes: u32, replace: bool, allocation: u64, extra: Option<&[u8]>, info: &mut FileInfo
        ) -> ();
        write(open: &Open, buffer: &[u8], offset: u64, to_end: bool, constrained: bool, info: &mut FileInfo) -> u32;
        rename(open: &Open, name: &U16CStr, new_name: &U16CStr, replace: bool) -> ();
        set_basic_info(
            open: &Open, attributes: u32, created: u64, accessed: u64, written: u64, changed: u64, info: &mut FileInfo
        ) -> ();
        set_file_size(open: &Open, size: u64, allocation: bool, info: &mut FileInfo) -> ();
        set_security(open: &Open, which: u32, descriptor: ModificationDescriptor) -> ();
        set_volume_label(label: &U16CStr, info: &mut VolumeInfo) -> ();
        set_reparse_point(open: &Open, name: &U16CStr, buffer: &[u8]) -> ();
        delete_reparse_point(open: &Open, name: &U16CStr, buffer: &[u8]) -> ();
        set_extended_attributes(open: &Open, buffer: &[u8], info: &mut FileInfo) -> ();
    }
}
