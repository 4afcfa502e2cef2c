//! `undelfs restore`: copies files and folders out of a tree.

mod copy;
mod listing;
mod manifest;
mod place;
mod walk;

use std::{
    os::unix::ffi::OsStrExt,
    path::{Component, Path},
    sync::{Arc, atomic::AtomicBool},
};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use undelfs_restore::{Attributes, Inode, NodeKind, Options, Tree};

use crate::{
    cli::{Chatter, RestoreArgs, Streams, exit_code, options},
    failure::{Failure, notice},
    opening,
    progress::{Progress, Unit},
};
use walk::{Job, Tally};

pub(crate) fn run(args: &RestoreArgs, chatter: Chatter) -> Result<u8, Failure> {
    let stop = stop_on_signals()?;
    // As files the tree shows every stream, whatever its size; the walk puts them where they belong.
    let options = Options { streams_as_files: true, ..options(args.view, args.content, args.streams) };
    let tree = opening::tree(&args.source, &args.selection.selection(), &options, chatter)?;

    let mut wanted = Vec::with_capacity(args.paths.len());
    for path in &args.paths {
        wanted.push(find(&tree, path)?);
    }
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
    /// Its name there; `None` for the root of the tree.
    name: Option<Vec<u8>>,
    attributes: Attributes,
}

/// Finds what `path` names in the tree. A leading `/` or `./` means nothing, `..` has no meaning.
fn find(tree: &Tree, path: &Path) -> Result<Wanted, Failure> {
    let mut found = Wanted { parent: Inode::ROOT, name: None, attributes: tree.attributes(Inode::ROOT)? };
    for component in path.components() {
        let name = match component {
            Component::RootDir | Component::CurDir => continue,
            Component::Normal(name) => name.as_bytes(),
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
        let attributes = tree.lookup(parent, name).map_err(|error| match error.kind() {
            undelfs_source::ErrorKind::NotFound => Failure::new(not_there(path)),
            _ => Failure::from(error),
        })?;
        found = Wanted { parent, name: Some(name.to_vec()), attributes };
    }
    Ok(found)
}

fn not_there(path: &Path) -> String {
    format!(
        "there is no {} in the tree; `undelfs scan` lists what there is (files that still exist need `--view all`)",
        path.display()
    )
}

/// Set by the first signal that wants the restore to end; the second one ends the process.
fn stop_on_signals() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| Failure::new(format!("cannot wait for signals: {error}")))?;
    }
    Ok(stop)
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
