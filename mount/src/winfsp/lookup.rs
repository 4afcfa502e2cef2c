//! From a path of Windows to a node or stream of the tree.

use undelfs_restore::{
    Attributes, Error, Inode, NodeKind, Tree,
    windows::names::{shown, to_wtf8, tree_name},
};
use undelfs_source::ErrorKind;

/// Name of the stream in which every file says what undelfs knows of it.
pub(super) const KNOWN: &str = "undelfs";

/// What a path leads to.
pub(super) struct Found {
    /// The node, or the stream where one is named.
    pub(super) node: Attributes,
    /// The file that a stream belongs to; the node itself where none is named.
    pub(super) file: Inode,
    pub(super) kind: Kind,
    /// The path as the tree has it, each name in its own case.
    pub(super) path: Vec<u16>,
}

/// Which part of a file a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The file or directory itself.
    Node,
    /// A named stream.
    Stream,
    /// What undelfs knows of the file.
    Known,
}

/// Why a path leads nowhere.
pub(super) enum Missing {
    /// There is no such directory on the way.
    Path,
    /// There is no such name in the last directory.
    Name,
    /// A link stands on the way, and the path goes on behind it.
    BehindLink,
    /// Anything else.
    Other(Error),
}

const BACKSLASH: u16 = b'\\' as u16;
const COLON: u16 = b':' as u16;

/// A named stream, as Windows is shown it.
pub(super) fn stream_name(name: &[u8]) -> Vec<u16> {
    let units = shown(&undelfs_restore::names::escape(name));
    // Ours has its name to itself.
    if to_wtf8(&units).eq_ignore_ascii_case(KNOWN.as_bytes()) {
        return ["%75".encode_utf16().collect(), units.get(1..).unwrap_or_default().to_vec()].concat();
    }
    units
}

/// Finds what stands at a full path such as `\folder\file:stream`. Upper and lower case are the same where the volume
/// says so; of two names that differ only so, the one that is written as asked for is found.
pub(super) fn find(tree: &Tree, path: &[u16]) -> Result<Found, Missing> {
    let mut node = tree.attributes(Inode::ROOT).map_err(Missing::Other)?;
    let mut found = vec![BACKSLASH];
    let names: Vec<&[u16]> = path.split(|unit| *unit == BACKSLASH).filter(|name| !name.is_empty()).collect();
    let mut stream = None;
    for (number, name) in names.iter().enumerate() {
        let last = number + 1 == names.len();
        let mut name: &[u16] = name;
        if last && let Some(colon) = name.iter().position(|unit| *unit == COLON) {
            let (file, rest) = name.split_at(colon);
            stream = Some(rest.get(1..).unwrap_or_default());
            name = file;
        }
        match node.kind {
            NodeKind::Directory => {}
            NodeKind::Link => return Err(Missing::BehindLink),
            NodeKind::File => return Err(Missing::Path),
        }
        // A stream of the root is asked for by an empty name.
        if name.is_empty() {
            continue;
        }
        let (own, attributes) = child(tree, node.inode, name).map_err(|error| match error.kind() {
            ErrorKind::NotFound if last => Missing::Name,
            ErrorKind::NotFound => Missing::Path,
            _ => Missing::Other(error),
        })?;
        if number > 0 {
            found.push(BACKSLASH);
        }
        found.extend(own);
        node = attributes;
    }
    let file = node.inode;
    let Some(wanted) = stream.filter(|stream| !stream.is_empty()) else {
        return Ok(Found { node, file, kind: Kind::Node, path: found });
    };
    // The type, `:$DATA`, is the driver's to take off; not every caller is the driver.
    let wanted = wanted.split(|unit| *unit == COLON).next().unwrap_or_default();
    found.push(COLON);
    if same(wanted, &KNOWN.encode_utf16().collect::<Vec<u16>>()) {
        if node.kind != NodeKind::File || node.volatile {
            return Err(Missing::Name);
        }
        found.extend(KNOWN.encode_utf16());
        return Ok(Found { node, file, kind: Kind::Known, path: found });
    }
    for stream in tree.named_streams(file).map_err(Missing::Other)? {
        let name = stream_name(&stream.name);
        if same(wanted, &name) {
            found.extend(name);
            return Ok(Found { node: stream.attributes, file, kind: Kind::Stream, path: found });
        }
    }
    Err(Missing::Name)
}

/// Finds a name of Windows in a directory, and says how it is written.
pub(super) fn child(tree: &Tree, directory: Inode, name: &[u16]) -> Result<(Vec<u16>, Attributes), Error> {
    let missing = match tree.lookup_any_case(directory, &tree_name(name)) {
        Ok((own, attributes)) => return Ok((shown(&own), attributes)),
        Err(error) => error,
    };
    // A name that was cut cannot be turned back.
    let cut = name.windows(2).any(|pair| pair == [u16::from(b'%'), u16::from(b'~')]);
    if missing.kind() != ErrorKind::NotFound || !cut {
        return Err(missing);
    }
    let mut found = None;
    tree.read_dir(directory, 0, &mut |entry| {
        let own = shown(entry.name);
        if same(&own, name) {
            found = Some((own, entry.attributes));
        }
        found.is_none()
    })?;
    found.ok_or(missing)
}

/// Whether two names are the same but for their case, as the system itself compares what no volume has a say in.
pub(super) fn same(one: &[u16], other: &[u16]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| upper(*one) == upper(*other))
}

/// A unit in upper case.
pub(super) fn upper(unit: u16) -> u16 {
    let upper = char::from_u32(unit.into()).and_then(|unit| {
        let mut upper = unit.to_uppercase();
        upper.next().filter(|_| upper.next().is_none())
    });
    upper.and_then(|upper| u16::try_from(u32::from(upper)).ok()).unwrap_or(unit)
}
