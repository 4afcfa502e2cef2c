//! From the name of a source to its scanned restore contexts.

use std::{path::Path, sync::Arc};

use undelfs_restore::{Context, Options, Selection, Tree};
use undelfs_source::{ErrorKind, Source};

use crate::{
    cli::{Chatter, KeyArgs},
    failure::{Failure, notice},
    keys,
    progress::{Late, Progress, Unit},
};

/// Opens and locks `source`, unlocks what is encrypted and scans the volumes that `selection` names, in disk order.
/// Of a volume whose files cannot be shown it says why; it is not scanned.
pub(crate) fn contexts(
    source: &Path,
    selection: &Selection,
    options: &Options,
    keys: &KeyArgs,
    chatter: Chatter,
) -> Result<Vec<Context>, Failure> {
    let source = Arc::new(Source::open(source)?);
    let given = keys::collect(keys)?;
    let watch = Late::new("Unlocking", chatter);
    let mut contexts = Context::open_all(source, selection, options, &given, &watch)?;
    drop(watch);
    if given.is_empty() {
        keys::ask_for(&mut contexts, chatter)?;
    }
    let several = contexts.len() > 1;
    for context in &contexts {
        match context.closed() {
            Some((ErrorKind::KeyNeeded, reason)) if !several => {
                return Err(Failure::of_kind(ErrorKind::KeyNeeded, keys::with_hint(context, reason)));
            }
            Some((kind, reason))
                if !several && context.encryption().is_some_and(|_| kind == ErrorKind::Damaged) =>
            {
                return Err(Failure::of_kind(kind, reason));
            }
            Some((_, reason)) => {
                notice(keys::with_hint(context, reason));
                continue;
            }
            None => {}
        }
        let what =
            if several { format!("Scanning volume {}", context.number()) } else { "Scanning".to_owned() };
        context.scan(&Progress::new(&what, Unit::Share, chatter))?;
    }
    Ok(contexts)
}

/// Fails where no volume could be opened: nothing that was asked for can be listed.
pub(crate) fn need_files(contexts: &[Context]) -> Result<(), Failure> {
    let closed: Option<Vec<_>> = contexts.iter().map(Context::closed).collect();
    let Some(closed) = closed else { return Ok(()) };
    let worst = closed.iter().find(|(kind, _)| *kind == ErrorKind::KeyNeeded).or(closed.first());
    let kind = worst.map_or(ErrorKind::Unsupported, |(kind, _)| *kind);
    Err(Failure::of_kind(kind, "no volume has files that can be listed"))
}

/// As [`contexts`], made into the tree that is mounted and restored from.
pub(crate) fn tree(
    source: &Path,
    selection: &Selection,
    options: &Options,
    keys: &KeyArgs,
    chatter: Chatter,
) -> Result<Tree, Failure> {
    Ok(Tree::new(contexts(source, selection, options, keys, chatter)?)?)
}
