//! `undelfs scan`: the restorable files on standard output.

use std::io::Write;

use crate::{
    cli::{Chatter, ContentArgs, EfsView, OverwrittenName, ScanArgs, Streams, options},
    failure::Failure,
    opening,
    output::Output,
    progress::{Progress, Unit},
};

pub(crate) fn run(args: &ScanArgs, chatter: Chatter) -> Result<u8, Failure> {
    // A scan reads no content twice, so it needs no cache.
    let content = ContentArgs { overwritten: OverwrittenName::Zeros, cache_size: 0, efs: EfsView::Plain };
    let options = options(args.view, content, Streams::Xattr);
    let contexts = opening::contexts(&args.source, &args.volume, &options, chatter)?;
    opening::need_files(&contexts)?;
    if args.check {
        for context in contexts.iter().filter(|context| context.catalogue().is_some()) {
            context.check(&Progress::new("Looking at content", Unit::Share, chatter))?;
        }
    }
    let mut out = Output::new();
    let result = undelfs_restore::write(&contexts, args.format.into(), &mut out, Output::terminal());
    // A reader that has seen enough wants no advice either.
    let is_read = result.is_ok() && out.flush().is_ok();
    let code = out.finish(result)?;
    if is_read {
        opening::advise(contexts.iter(), options.deep, chatter);
    }
    Ok(code)
}
