//! From the name of a source to its scanned restore contexts.

use std::{path::Path, sync::Arc};

use undelfs_restore::{Catalogue, Context, Options, Selection};
use undelfs_source::Source;

use crate::{
    cli::Chatter,
    failure::Failure,
    progress::{Progress, Unit},
};

/// Opens and locks `source` and scans the volumes that `selection` names, in disk order.
pub(crate) fn scan(
    source: &Path,
    selection: &Selection,
    options: &Options,
    chatter: Chatter,
) -> Result<Vec<(Context, Arc<Catalogue>)>, Failure> {
    let source = Arc::new(Source::open(source)?);
    let contexts = Context::open_all(source, selection, options)?;
    let several = contexts.len() > 1;
    let mut scanned = Vec::with_capacity(contexts.len());
    for context in contexts {
        let what =
            if several { format!("Scanning volume {}", context.number()) } else { "Scanning".to_owned() };
        let progress = Progress::new(&what, Unit::Share, chatter);
        let catalogue = context.scan(&progress)?;
        scanned.push((context, catalogue));
    }
    Ok(scanned)
}

/// As [`scan`], made into the tree that is mounted and restored from.
pub(crate) fn tree(
    source: &Path,
    selection: &Selection,
    options: &Options,
    chatter: Chatter,
) -> Result<undelfs_restore::Tree, Failure> {
    let contexts =
        scan(source, selection, options, chatter)?.into_iter().map(|(context, _)| context).collect();
    Ok(undelfs_restore::Tree::new(contexts)?)
}
