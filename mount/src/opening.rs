//! From the name of a source to its scanned restore contexts.

use std::{path::Path, sync::Arc};

use undelfs_restore::{Context, Options, Selection, Tree};
use undelfs_source::Source;

use crate::{
    cli::Chatter,
    failure::{Failure, notice},
    progress::{Progress, Unit},
};

/// Opens and locks `source` and scans the volumes that `selection` names, in disk order. Of a volume whose files
/// cannot be shown it says why; it is not scanned.
pub(crate) fn contexts(
    source: &Path,
    selection: &Selection,
    options: &Options,
    chatter: Chatter,
) -> Result<Vec<Context>, Failure> {
    let source = Arc::new(Source::open(source)?);
    let contexts = Context::open_all(source, selection, options)?;
    let several = contexts.len() > 1;
    for context in &contexts {
        if let Some(reason) = context.closed() {
            notice(reason);
            continue;
        }
        let what =
            if several { format!("Scanning volume {}", context.number()) } else { "Scanning".to_owned() };
        context.scan(&Progress::new(&what, Unit::Share, chatter))?;
    }
    Ok(contexts)
}

/// As [`contexts`], made into the tree that is mounted and restored from.
pub(crate) fn tree(
    source: &Path,
    selection: &Selection,
    options: &Options,
    chatter: Chatter,
) -> Result<Tree, Failure> {
    Ok(Tree::new(contexts(source, selection, options, chatter)?)?)
}
