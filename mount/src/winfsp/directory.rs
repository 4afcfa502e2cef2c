//! Directory entries and the names of streams, in the form that WinFsp passes on.

use undelfs_restore::{
    Attributes, Error, Inode, NodeKind, Tree,
    windows::{attributes, names::shown, pattern, reparse},
};
use winfsp::filesystem::{DirBuffer, DirInfo, FileInfo, StreamInfo, WideNameInfo};

use super::lookup::{self, KNOWN, stream_name};

/// Fills in what is known of a node; `bits` are its own `FILE_ATTRIBUTE_*`.
pub(super) fn fill(info: &mut FileInfo, node: &Attributes, bits: u32) {
    info.file_attributes = attributes::shown(node.kind, bits);
    info.reparse_tag = if node.kind == NodeKind::Link { reparse::SYMLINK } else { 0 };
    info.file_size = if node.kind == NodeKind::File { node.size } else { 0 };
    info.allocation_size = if node.kind == NodeKind::File { node.allocated } else { 0 };
    info.creation_time = node.created.0;
    info.last_access_time = node.accessed.0;
    info.last_write_time = node.modified.0;
    info.change_time = node.changed.0;
    info.index_number = node.inode.0;
    info.hard_links = 0;
    info.ea_size = 0;
}

/// Puts the entries of a directory that match `wanted` into `buffer`, which sorts them.
pub(super) fn list(
    tree: &Tree,
    directory: Inode,
    wanted: Option<&[u16]>,
    buffer: &winfsp::filesystem::DirBufferLock<'_>,
) -> Result<(), winfsp::FspError> {
    let wildcards = |unit: &u16| b"*?<>\"".iter().any(|wild| u16::from(*wild) == *unit);
    let wanted = wanted.filter(|wanted| !matches!(wanted, [] | [0x2A]));
    let mut info: Box<DirInfo<255>> = Box::default();
    let mut put = |name: &[u16], node: &Attributes| {
        info.reset();
        fill(info.file_info_mut(), node, tree.attribute_bits(node.inode));
        info.set_name_raw(name)?;
        buffer.write(&mut info)
    };
    if let Some(name) = wanted.filter(|wanted| !wanted.iter().any(wildcards)) {
        // One name: the volume says which case it has.
        return match lookup::child(tree, directory, name) {
            Ok((name, node)) => put(&name, &node),
            Err(error) if error.kind() == undelfs_source::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(status(&error)),
        };
    }
    let folded = wanted.map(|wanted| wanted.iter().copied().map(lookup::upper).collect::<Vec<u16>>());
    let mut done = Ok(());
    let read = tree.read_dir(directory, 0, &mut |entry| {
        let dots = matches!(entry.name, b"." | b"..");
        let name = match dots {
            // The root of a drive has none.
            true if directory == Inode::ROOT => return true,
            true => entry.name.iter().copied().map(u16::from).collect(),
            false => shown(entry.name),
        };
        if let Some(wanted) = &folded {
            let name: Vec<u16> = name.iter().copied().map(lookup::upper).collect();
            if !pattern::matches(wanted, &name) {
                return true;
            }
        }
        // Of the entries for itself and its parent a directory knows no more than that they are.
        let node = if dots {
            tree.attributes(entry.attributes.inode).unwrap_or(entry.attributes)
        } else {
            entry.attributes
        };
        done = put(&name, &node);
        done.is_ok()
    });
    read.map_err(|error| status(&error))?;
    done
}

/// A directory's entries as they were when they were asked for from the beginning.
#[derive(Default)]
pub(super) struct Listing(pub(super) DirBuffer);

/// Puts the streams of a node into `buffer`: the unnamed one of a file first, ours last. As many as fit.
pub(super) fn streams(
    tree: &Tree,
    node: &Attributes,
    known: Option<u64>,
    buffer: &mut [u8],
) -> Result<u32, winfsp::FspError> {
    let mut cursor = 0;
    let mut info: Box<StreamInfo<255>> = Box::default();
    let mut put = |name: &[u16], size: u64, allocated: u64, cursor: &mut u32| {
        info.reset();
        info.stream_size = size;
        info.stream_alloc_size = allocated;
        // A longer name than Windows takes could not be asked for.
        info.set_name_raw(name).is_err() || info.append_to_buffer(buffer, cursor)
    };
    let mut room = true;
    if node.kind == NodeKind::File {
        room = put(&[], node.size, node.allocated, &mut cursor);
    }
    for stream in tree.named_streams(node.inode).map_err(|error| status(&error))? {
        room = room
            && put(
                &stream_name(&stream.name),
                stream.attributes.size,
                stream.attributes.allocated,
                &mut cursor,
            );
    }
    if let Some(size) = known {
        let name: Vec<u16> = KNOWN.encode_utf16().collect();
        room = room && put(&name, size, size, &mut cursor);
    }
    if room {
        StreamInfo::<255>::finalize_buffer(buffer, &mut cursor);
    }
    Ok(cursor)
}

/// The status that an error of the tree is answered with.
pub(super) fn status(error: &Error) -> winfsp::FspError {
    tracing::debug!("{error}");
    winfsp::FspError::NTSTATUS(error.kind().ntstatus().cast_signed())
}
