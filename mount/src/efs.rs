//! `undelfs efs`: who can decrypt encrypted files, and their raw backup streams.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use undelfs_restore::{
    Content, Import, Options, Tree, View,
    efs_format::{
        KeyRing, Metadata,
        raw::{self, Block, MAGIC, Sink, Unread},
    },
    import, without_named_streams,
};

use crate::{
    cli::{Chatter, EfsArgs, EfsCommand, EfsExportArgs, EfsImportArgs, EfsInfoArgs, VolumeArgs, exit_code},
    efs_keys,
    failure::{Failure, notice},
    opening,
    output::{Output, write_failure},
    progress::{Progress, Unit},
    restore::find,
};

/// Bytes that are copied at once.
const STEP: usize = 1 << 20;

pub(crate) fn run(args: &EfsArgs, chatter: Chatter) -> Result<u8, Failure> {
    match &args.command {
        EfsCommand::Info(args) => info(args, chatter),
        EfsCommand::Export(args) => export(args, chatter),
        EfsCommand::Import(args) => import_file(args, chatter),
    }
}

fn tree(source: &Path, volume: &VolumeArgs, chatter: Chatter) -> Result<Tree, Failure> {
    let options = Options { view: View::All, ..Options::default() };
    opening::tree(source, volume, &options, chatter)
}

fn info(args: &EfsInfoArgs, chatter: Chatter) -> Result<u8, Failure> {
    let mut text = String::new();
    if is_raw(&args.source) {
        if !args.paths.is_empty() {
            return Err(Failure::usage("a raw backup stream is one file; name no PATH in it"));
        }
        let keys = efs_keys::collect(&args.volume.keys.efs)?;
        text.push_str(&describe(&args.source, &metadata_of_raw(&args.source)?, &keys));
    } else {
        if args.paths.is_empty() {
            return Err(Failure::usage(
                "name the files; `undelfs scan --format jsonl` has `efs` at those that are encrypted",
            ));
        }
        let tree = tree(&args.source, &args.volume, chatter)?;
        let keys = efs_keys::collect(&args.volume.keys.efs)?;
        for path in &args.paths {
            let inode = find(&tree, path)?.attributes.inode;
            text.push_str(&describe(path, &tree.efs_metadata(inode)?, &keys));
        }
    }
    let mut out = Output::new();
    let result = out.write_all(text.as_bytes()).map_err(|error| write_failure(&error));
    out.finish(result)
}

/// What is known of how a file is encrypted, a line for each that can decrypt it.
fn describe(path: &Path, metadata: &Metadata, keys: &KeyRing) -> String {
    let mut lines =
        vec![format!("{}: EFS version {}, file {}", path.display(), metadata.version, metadata.id)];
    for entry in &metadata.entries {
        lines.push(format!("  {} {entry}", entry.list.as_str()));
        for (what, text) in [("container", &entry.container), ("provider", &entry.provider)] {
            lines.extend(text.as_ref().map(|text| format!("      {what} {text}")));
        }
    }
    lines.extend(metadata.notes.iter().map(|note| format!("  damaged: {note}")));
    if !keys.is_empty() {
        lines.push(match keys.unlock(metadata) {
            Ok((fek, entry)) => {
                format!("  decrypted by the key of {entry}; the cipher is {}", fek.algorithm())
            }
            Err(locked) => format!("  not decrypted: {locked}"),
        });
    }
    lines.join("\n") + "\n"
}

/// Whether a file begins as a raw backup stream.
fn is_raw(path: &Path) -> bool {
    let mut begin = [0; MAGIC.len()];
    let is_file = path.is_file();
    is_file && File::open(path).and_then(|mut file| file.read_exact(&mut begin)).is_ok() && begin == MAGIC
}

/// The metadata of a raw backup stream; the rest is not read.
fn metadata_of_raw(path: &Path) -> Result<Metadata, Failure> {
    struct First(Option<Metadata>);
    impl Sink for First {
        type Error = Option<undelfs_volume::Error>;

        fn metadata(&mut self, efs: &[u8]) -> Result<(), Self::Error> {
            self.0 = Some(Metadata::parse(efs).map_err(Some)?);
            Err(None)
        }

        fn stream(&mut self, _: &[u8], _: bool) -> Result<(), Self::Error> {
            Err(None)
        }

        fn block(&mut self, _: Block<'_>) -> Result<(), Self::Error> {
            Err(None)
        }

        fn plain(&mut self, _: &[u8]) -> Result<(), Self::Error> {
            Err(None)
        }

        fn finish(&mut self) -> Result<(), Self::Error> {
            Ok(())
        }
    }
    let mut file = File::open(path).map_err(|error| Failure::io("open", path, &error))?;
    let mut first = First(None);
    match raw::read(&mut file, &mut first) {
        Err(Unread::Bad(bad)) => Err(Failure::new(format!("{}: {bad}", path.display()))),
        Err(Unread::Read(error)) => Err(Failure::io("read", path, &error)),
        Err(Unread::Sink(Some(error))) => Err(error.into()),
        Ok(()) | Err(Unread::Sink(None)) => {
            first.0.ok_or_else(|| Failure::new(format!("{} has no metadata", path.display())))
        }
    }
}

fn export(args: &EfsExportArgs, chatter: Chatter) -> Result<u8, Failure> {
    let tree = tree(&args.source, &args.volume, chatter)?;
    let mut content = tree.open_efs_raw(find(&tree, &args.path)?.attributes.inode)?;
    if args.drop_streams {
        content = without_named_streams(content)?;
    }
    let progress = Progress::new("Exporting", Unit::Bytes, chatter);
    if args.file == Path::new("-") {
        let mut out = Output::new();
        let result = copy(&*content, &mut out, &progress, Path::new("standard output"));
        return out.finish(result);
    }
    if args.file.exists() && !args.force {
        return Err(Failure::usage(format!("{} exists; --force replaces it", args.file.display())));
    }
    let folder = args.file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.map_or_else(|| PathBuf::from("."), Path::to_owned);
    let made = tempfile::Builder::new().prefix(".undelfs-").tempfile_in(&folder);
    let mut made = made.map_err(|error| Failure::io("write into", &folder, &error))?;
    copy(&*content, made.as_file_mut(), &progress, &args.file)?;
    made.persist(&args.file).map_err(|error| Failure::io("write", &args.file, &error.error))?;
    drop(progress);
    if !chatter.quiet {
        let size = indicatif::BinaryBytes(content.size());
        notice(format!("wrote {size} to {}", args.file.display()));
    }
    Ok(exit_code::DONE)
}

fn copy(content: &dyn Content, out: &mut dyn Write, progress: &Progress, path: &Path) -> Result<(), Failure> {
    use undelfs_volume::filesystem::Watch;
    progress.total(content.size());
    let mut buf = vec![0; STEP];
    let mut at = 0;
    while at < content.size() {
        let read = content.read_at(&mut buf, at)?;
        if read == 0 {
            return Err(Failure::new(format!(
                "the raw backup stream ended at byte {at} of {}",
                content.size()
            )));
        }
        let part = buf.get(..read).unwrap_or_default();
        out.write_all(part).map_err(|error| Failure::io("write", path, &error))?;
        progress.advance(read as u64);
        at += read as u64;
    }
    out.flush().map_err(|error| Failure::io("write", path, &error))
}

fn import_file(args: &EfsImportArgs, chatter: Chatter) -> Result<u8, Failure> {
    let keys = efs_keys::collect(&args.keys)?;
    let how = Import {
        keys: (!keys.is_empty()).then_some(keys),
        replace: args.force,
        drop_streams: args.drop_streams,
        keep_encrypted: args.keep_encrypted,
        directory: args.directory,
    };
    let done = if args.raw == Path::new("-") {
        import(&mut io::stdin().lock(), &args.file, &how)?
    } else {
        let file = File::open(&args.raw).map_err(|error| Failure::io("open", &args.raw, &error))?;
        import(&mut io::BufReader::with_capacity(STEP, file), &args.file, &how)?
    };
    if !chatter.quiet {
        let decrypted = how.keys.is_some() && !how.keep_encrypted;
        let what = if decrypted { "decrypted" } else { "encrypted" };
        let mut text =
            format!("made {} ({}, {what})", args.file.display(), indicatif::BinaryBytes(done.bytes));
        for (count, what) in [(done.streams, "with"), (done.dropped, "without")] {
            if count > 0 {
                text.push_str(&format!(", {what} {count} named stream{}", if count == 1 { "" } else { "s" }));
            }
        }
        notice(text);
    }
    Ok(exit_code::DONE)
}
