//! From the name of a source to its scanned restore contexts.

use std::{path::Path, sync::Arc};

use undelfs_restore::{Context, Options, Tree};
use undelfs_source::{ErrorKind, ReadAt, Source};

use crate::{
    certsrv,
    cli::{Chatter, MountArgs, VolumeArgs},
    efs_keys,
    failure::{Failure, notice},
    keys, lost,
    progress::{Late, Progress, Unit},
};

/// How many sentences about damage are printed of a volume that shows nothing; the report has all.
const NOTES: usize = 3;

/// Opens and locks `source`, unlocks what is encrypted and scans the volumes that are asked for, in disk order.
/// A volume whose files cannot be shown is not scanned; it is said why where it is one of several.
pub(crate) fn contexts(
    source: &Path,
    volume: &VolumeArgs,
    options: &Options,
    chatter: Chatter,
) -> Result<Vec<Context>, Failure> {
    let path = source;
    let source: Arc<dyn ReadAt> = Arc::new(Source::open(path)?);
    let selection = lost::selection(&source, &volume.selection, chatter)?;
    let given = keys::collect(&volume.keys)?;
    let watch = Late::new("Unlocking", chatter);
    let mut contexts = Context::open_bytes(source, path, &selection, options, &given, &watch)?;
    drop(watch);
    if given.is_empty() {
        keys::ask_for(&mut contexts, chatter)?;
    }
    let several = contexts.len() > 1;
    let efs_keys = efs_keys::collect(&volume.keys.efs)?;
    for context in &contexts {
        context.set_efs_keys(efs_keys.clone())?;
    }
    for context in &contexts {
        match context.closed() {
            Some((kind, reason)) if !several && context.is_locked() => {
                return Err(Failure::of_kind(kind, keys::with_hint(context, reason)));
            }
            Some(_) if !several => continue,
            Some((_, reason)) => {
                notice(keys::with_hint(context, reason));
                continue;
            }
            None => {}
        }
        let what =
            if several { format!("Scanning volume {}", context.number()) } else { "Scanning".to_owned() };
        let catalogue = context.scan(&Progress::new(&what, Unit::Share, chatter))?;
        if catalogue.is_empty() && !chatter.quiet {
            // Nothing to show may mean that nothing is there, or that it cannot be read.
            context.notes().take(NOTES).for_each(notice);
        }
    }
    Ok(contexts)
}

/// Says where a deep search may find more than was found.
pub(crate) fn advise<'a>(contexts: impl Iterator<Item = &'a Context> + Clone, deep: bool, chatter: Chatter) {
    if deep || chatter.quiet {
        return;
    }
    let several = contexts.clone().count() > 1;
    for context in contexts {
        if let Some(why) = context.catalogue().and_then(|catalogue| catalogue.deep_would_help()) {
            notice(if several { format!("volume {}: {why}", context.number()) } else { why });
        }
    }
}

/// Fails where no volume could be opened: nothing that was asked for can be listed.
pub(crate) fn need_files(contexts: &[Context]) -> Result<(), Failure> {
    let closed: Option<Vec<_>> = contexts.iter().map(Context::closed).collect();
    let Some(closed) = closed else { return Ok(()) };
    if let [(kind, reason)] = closed[..] {
        return Err(Failure::of_kind(kind, reason));
    }
    let worst = closed.iter().find(|(kind, _)| *kind == ErrorKind::KeyNeeded).or(closed.first());
    let kind = worst.map_or(ErrorKind::Unsupported, |(kind, _)| *kind);
    Err(Failure::of_kind(kind, "no volume has files that can be listed"))
}

/// The tree that is mounted.
pub(crate) fn mounted(
    args: &MountArgs,
    source: &Path,
    options: &Options,
    chatter: Chatter,
) -> Result<Tree, Failure> {
    if args.certsrv {
        certsrv::tree(source, &args.volume, options, chatter)
    } else {
        tree(source, &args.volume, options, chatter)
    }
}

/// As [`contexts`], made into the tree that is mounted and restored from.
pub(crate) fn tree(
    source: &Path,
    volume: &VolumeArgs,
    options: &Options,
    chatter: Chatter,
) -> Result<Tree, Failure> {
    let contexts = contexts(source, volume, options, chatter)?;
    if contexts.iter().all(|context| context.closed().is_some()) && contexts.iter().any(Context::is_locked) {
        return Err(Failure::of_kind(
            ErrorKind::KeyNeeded,
            "no volume has files that can be shown without a key",
        ));
    }
    if let [context] = &contexts[..]
        && let Some((_, reason)) = context.closed()
    {
        notice(reason);
    }
    Ok(Tree::new(contexts)?)
}
