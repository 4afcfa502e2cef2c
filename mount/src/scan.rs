//! `undelfs scan`: the catalogue of restorable files on standard output.

use crate::{
    cli::{Chatter, ContentArgs, OverwrittenName, ScanArgs, Streams, options},
    failure::Failure,
    opening,
    output::Output,
};

pub(crate) fn run(args: &ScanArgs, chatter: Chatter) -> Result<u8, Failure> {
    // A scan reads no content, so it needs no cache.
    let content = ContentArgs { overwritten: OverwrittenName::Zeros, cache_size: 0 };
    let options = options(args.view, content, Streams::Xattr);
    let scanned = opening::scan(&args.source, &args.selection.selection(), &options, chatter)?;

    let terminal = Output::terminal();
    let mut out = Output::new();
    let mut result = Ok(());
    for (_, catalogue) in &scanned {
        result = catalogue.write(args.format.into(), &mut out, terminal);
        if result.is_err() {
            break;
        }
    }
    out.finish(result)
}
