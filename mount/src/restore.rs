//! `undelfs restore`: copies files and folders out of a tree.

mod files;
mod listing;
mod manifest;
mod names;
mod walk;

use std::{
    collections::HashMap,
    path::{Component, Path},
};

use undelfs_restore::{Attributes, Inode, NodeKind, Options, Tree};

use crate::{
    cli::{Chatter, RestoreArgs, Streams, exit_code, options},
    failure::{Failure, notice},
    opening,
    platform::interrupt,
    progress::{Progress, Unit},
};
pub(crate) use names::NAME_MAX;
use walk::{Job, Tally};

pub(crate) fn run(args: &RestoreArgs, chatter: Chatter) -> Result<u8, Failure> {
    // As files the tree shows every stream, whatever its size; the walk puts them where they belong.
    let options = Options { streams_as_files: true, ..options(args.view, args.content, args.streams) };
    let tree = opening::tree(&args.source, &args.volume, &options, chatter)?;

    // Until here nothing is written, and a signal ends the process as it ends any other.
    let stop = interrupt::stop_flag()?;

    let mut wanted = Vec::with_capacity(args.paths.len());
    for path in &args.paths {
        wanted.push((path.as_path(), find(&tree, path)?));
    }
    let wanted = without_collisions(&tree, wanted)?;
    let progress = Progress::new("Restoring", Unit::Bytes, chatter);
    let mut job =
        Job::new(&tree, &args.destination, args.force, args.streams == Streams::Xattr, &progress, stop)?;
    let done = job.restore(&wanted);
    // What was restored is in the manifest even where the rest could not be.
    let tally = job.finish()?;
    drop(progress);
    done?;
    if !chatter.quiet {
        report(&tally, &args.destination);
    }
    Ok(exit_code_of(&tally))
}

fn exit_code_of(tally: &Tally) -> u8 {
    if tally.partial + tally.failed + tally.skipped == 0 { exit_code::DONE } else { exit_code::PARTIAL }
}

fn report(tally: &Tally, destination: &Path) {
    let Tally { files, bytes, partial, failed, skipped } = tally;
    let mut text = format!(
        "restored {files} file{} ({}) into {}",
        if *files == 1 { "" } else { "s" },
        indicatif::BinaryBytes(*bytes),
        destination.display()
    );
    for (count, what) in
        [(partial, "not in full"), (failed, "not at all"), (skipped, "left as they stood in DEST")]
    {
        if *count > 0 {
            text.push_str(&format!("; {count} {what}"));
        }
    }
    if tally.partial + tally.failed > 0 {
        text.push_str(&format!("; {} says why", manifest::DETAIL_NAME));
    }
    notice(text);
}

/// A node that the user named.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The directory it stands in.
    parent: Inode,
    /// Path of that directory in the tree, with `/` at the end unless it is empty.
    folder: Vec<u8>,
    /// Its name there; `None` for the root of the tree.
    name: Option<Vec<u8>>,
    pub(crate) attributes: Attributes,
}

/// Finds what `path` names in the tree. A leading `/` or `./` means nothing, `..` has no meaning.
pub(crate) fn find(tree: &Tree, path: &Path) -> Result<Wanted, Failure> {
    let attributes = tree.attributes(Inode::ROOT)?;
    let mut found = Wanted { parent: Inode::ROOT, folder: Vec::new(), name: None, attributes };
    for component in path.components() {
        let name = match component {
            Component::RootDir | Component::CurDir => continue,
            Component::Normal(name) => name.as_encoded_bytes(),
            Component::ParentDir | Component::Prefix(_) => {
                let sentence =
                    format!("{} has `..` in it; write the path as the mounted tree has it", path.display());
                return Err(Failure::usage(sentence));
            }
        };
        let parent = found.attributes.inode;
        if found.attributes.kind != NodeKind::Directory {
            return Err(Failure::new(not_there(path)));
        }
        // Windows users do not know, and need not, in which case a name was written.
        let (name, attributes) = tree.lookup_any_case(parent, name).map_err(|error| match error.kind() {
            undelfs_source::ErrorKind::NotFound => Failure::new(not_there(path)),
            _ => Failure::from(error),
        })?;
        if listing::is_generated(tree, &name, &attributes) {
            return Err(Failure::usage(format!(
                "{} is made by undelfs and is no part of what was on the volume; mount the source to read it",
                path.display()
            )));
        }
        if tree.is_hidden_raw(attributes.inode) {
            return Err(Failure::usage(format!(
                "{} is made by undelfs; `undelfs efs export` writes it, with the name of the encrypted file itself",
                path.display()
            )));
        }
        let folder = match &found.name {
            Some(above) => [found.folder.as_slice(), above, b"/"].concat(),
            None => Vec::new(),
        };
        found = Wanted { parent, folder, name: Some(name), attributes };
    }
    Ok(found)
}

/// Leaves out what another path names as well, and refuses two different things that would get the same name in DEST.
fn without_collisions(tree: &Tree, wanted: Vec<(&Path, Wanted)>) -> Result<Vec<Wanted>, Failure> {
    let mut taken: HashMap<Vec<u8>, (Inode, &Path)> = HashMap::new();
    let mut kept = Vec::with_capacity(wanted.len());
    // The whole tree first: what it has at its top need not be restored once more.
    let (whole, single): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(_, wanted)| wanted.name.is_none());
    for (path, wanted) in whole.into_iter().take(1).chain(single) {
        let names: Vec<_> = match &wanted.name {
            Some(name) => vec![(name.clone(), wanted.attributes.inode)],
            None => {
                let nodes = listing::first_level(tree, &wanted)?;
                nodes.into_iter().map(|node| (node.name, node.attributes.inode)).collect()
            }
        };
        let mut repeated = false;
        for (name, inode) in names {
            match taken.get(&name) {
                Some((there, _)) if *there == inode => repeated = true,
                Some((_, other)) => {
                    return Err(Failure::usage(format!(
                        "{} and {} would both become {} in DEST; restore them into different folders",
                        other.display(),
                        path.display(),
                        String::from_utf8_lossy(&name)
                    )));
                }
                None => {
                    taken.insert(name, (inode, path));
                }
            }
        }
        if !repeated {
            kept.push(wanted);
        }
    }
    Ok(kept)
}

fn not_there(path: &Path) -> String {
    format!(
        "there is no {} in the tree; `undelfs scan` lists what there is (files that still exist need `--view all`)",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_4_when_any_file_is_missing_or_not_in_full() {
        let full = Tally { files: 3, bytes: 9, ..Tally::default() };
        assert_eq!(exit_code_of(&full), exit_code::DONE);
        for tally in [Tally { partial: 1, ..full }, Tally { failed: 1, ..full }, Tally { skipped: 1, ..full }]
        {
            assert_eq!(exit_code_of(&tally), exit_code::PARTIAL, "{tally:?}");
        }
    }
}
