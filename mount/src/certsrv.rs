//! `undelfs certsrv`: certification authorities, their backup sets and restores.

mod verify;

use std::path::{Path, PathBuf};

use undelfs_certsrv::{
    ADVICE, Authority, BACKUP_FULL, BACKUP_LOGS_ONLY, BackupSession, Discovery, HResult, ListForm, Listed,
    MapEntry, RESTORE_FULL, Registration, RestoreSession, find, refuse_on_source, view, write_list,
    write_set, write_table,
};
use undelfs_restore::{Context, Options, Tree, View};
use undelfs_source::ErrorKind;

use crate::{
    cli::{
        AuthorityArgs, CertsrvArgs, CertsrvBackupArgs, CertsrvCommand, CertsrvFormat, CertsrvListArgs,
        CertsrvRestoreArgs, Chatter, ListedName, VolumeArgs, exit_code,
    },
    failure::{Failure, notice},
    opening,
    output::Output,
    progress::{Progress, Unit},
};

pub(crate) fn run(args: &CertsrvArgs, chatter: Chatter) -> Result<u8, Failure> {
    match &args.command {
        CertsrvCommand::List(args) => list(args, chatter),
        CertsrvCommand::Verify(args) => verify::run(args, chatter),
        CertsrvCommand::Backup(args) => backup(args, chatter),
        CertsrvCommand::Restore(args) => restore(args, chatter),
    }
}

impl From<undelfs_certsrv::Error> for Failure {
    fn from(error: undelfs_certsrv::Error) -> Self {
        match error.code() {
            // The sentence of an error of the layers below needs no number.
            code if matches!(error, undelfs_certsrv::Error::Refused { .. }) && code != HResult::CANCELLED => {
                Self::of_kind(error.kind(), format!("{error} ({code})"))
            }
            _ => Self::of_kind(error.kind(), error),
        }
    }
}

/// The authorities of a source that are meant; at least one.
fn open(args: &AuthorityArgs, chatter: Chatter) -> Result<Vec<Authority>, Failure> {
    let source = &args.source;
    let mut discovery = discover(args, chatter)?;
    if let Some(name) = &args.ca {
        let known: Vec<String> =
            discovery.authorities.iter().map(|authority| authority.name.clone()).collect();
        discovery.authorities.retain(|authority| authority.name.eq_ignore_ascii_case(name));
        if discovery.authorities.is_empty() && !known.is_empty() {
            let sentence = format!("{} has no {name}, but {}", source.display(), known.join(", "));
            return Err(Failure::of_kind(ErrorKind::NotFound, sentence));
        }
    }
    if discovery.authorities.is_empty() {
        discovery.notes.iter().for_each(notice);
        let advice = if args.deep || source.is_dir() { "" } else { "; --deep searches the whole volume" };
        let sentence = format!("no certification authority was found in {}{advice}", source.display());
        return Err(Failure::of_kind(ErrorKind::NotFound, sentence));
    }
    if !chatter.quiet {
        discovery.notes.iter().for_each(notice);
    }
    Ok(discovery.authorities)
}

fn discover(args: &AuthorityArgs, chatter: Chatter) -> Result<Discovery, Failure> {
    let source = args.source.as_path();
    let one = |authority| Discovery { authorities: vec![authority], notes: Vec::new() };
    if source.is_dir() {
        return if is_set(source) {
            Ok(one(find::backup_set(source)?))
        } else {
            Ok(find::in_folder(source, &Progress::new("Searching", Unit::Share, chatter))?)
        };
    }
    let named = source.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("edb"));
    if source.is_file() && (named || find::is_database(source)) {
        return Ok(one(find::in_file(source)?));
    }
    let options = Options { view: View::All, deep: args.deep, ..Options::default() };
    let contexts = opening::contexts(source, &args.volume, &options, chatter)?;
    opening::need_files(&contexts)?;
    on_contexts(&contexts, chatter)
}

/// The tree of the authorities on a source.
pub(crate) fn tree(
    source: &Path,
    volume: &VolumeArgs,
    options: &Options,
    chatter: Chatter,
) -> Result<Tree, Failure> {
    let options = Options { view: View::All, efs_raw: false, ..*options };
    let contexts = opening::contexts(source, volume, &options, chatter)?;
    opening::need_files(&contexts)?;
    let found = on_contexts(&contexts, chatter)?;
    found.notes.iter().for_each(notice);
    if found.authorities.is_empty() {
        let sentence = format!("no certification authority was found in {}", source.display());
        return Err(Failure::of_kind(ErrorKind::NotFound, sentence));
    }
    Ok(Tree::of_shown(contexts, view(found.authorities))?)
}

/// The authorities of scanned contexts.
fn on_contexts(contexts: &[Context], chatter: Chatter) -> Result<Discovery, Failure> {
    let mut all = Discovery::default();
    for context in contexts.iter().filter(|context| context.catalogue().is_some()) {
        let mut found = find::on_volume(context, &Progress::new("Searching", Unit::Share, chatter))?;
        all.authorities.append(&mut found.authorities);
        all.notes.append(&mut found.notes);
    }
    Ok(all)
}

/// Whether a folder is laid out as a backup set, be it that something of it is missing.
fn is_set(folder: &Path) -> bool {
    let Some(files) = find::set_folder(folder) else { return false };
    let entries = std::fs::read_dir(files).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().to_ascii_lowercase())
        .any(|name| name == undelfs_certsrv::MAP_NAME || name.ends_with(".edb"))
}

/// The one authority that is meant.
fn only(args: &AuthorityArgs, chatter: Chatter) -> Result<Authority, Failure> {
    let mut all = open(args, chatter)?;
    if all.len() > 1 {
        // Of several with one name the live and whole one is meant.
        let name = all.first().map(|first| first.name.clone()).unwrap_or_default();
        if all.iter().any(|authority| !authority.name.eq_ignore_ascii_case(&name)) {
            let names: Vec<&str> = all.iter().map(|authority| authority.name.as_str()).collect();
            return Err(Failure::usage(format!("--ca says which one is meant: {}", names.join(", "))));
        }
    }
    all.truncate(1);
    all.pop().ok_or_else(|| Failure::new("no certification authority was found"))
}

fn list(args: &CertsrvListArgs, chatter: Chatter) -> Result<u8, Failure> {
    let authorities = open(&args.authority, chatter)?;
    let form = match args.format {
        CertsrvFormat::Csv => ListForm::Csv,
        CertsrvFormat::Jsonl => ListForm::Jsonl,
    };
    let what = match args.only {
        ListedName::All => Listed::All,
        ListedName::Issued => Listed::Issued,
        ListedName::Revoked => Listed::Revoked,
        ListedName::Pending => Listed::Pending,
        ListedName::Failed => Listed::Failed,
        ListedName::Crls => Listed::Crls,
    };
    let mut out = Output::new();
    let result = match &args.table {
        Some(table) => authorities.iter().try_fold(Vec::new(), |mut notes, authority| {
            notes.append(&mut write_table(authority, table, form, &mut out)?);
            Ok(notes)
        }),
        None => write_list(&authorities, what, form, &mut out),
    };
    let (result, notes) = match result {
        Ok(notes) => (Ok(()), notes),
        Err(error) => (Err(error), Vec::new()),
    };
    let code = out.finish(result)?;
    notes.iter().for_each(notice);
    Ok(if notes.is_empty() { code } else { exit_code::PARTIAL })
}

fn backup(args: &CertsrvBackupArgs, chatter: Chatter) -> Result<u8, Failure> {
    refuse_on_source(sources(&args.authority.source).iter().map(PathBuf::as_path), &args.destination)?;
    let authority = only(&args.authority, chatter)?;
    let name = authority.name.clone();
    let incomplete = authority.file.incomplete || authority.logs.iter().any(|log| log.file.incomplete);
    let flags = if args.incremental { BACKUP_LOGS_ONLY } else { BACKUP_FULL };
    let mut session = BackupSession::prepare(authority.into(), 0, flags)?;
    let progress = Progress::new("Backing up", Unit::Bytes, chatter);
    let written = write_set(&mut session, &args.destination, !args.incremental, &progress)?;
    drop(progress);
    if !chatter.quiet {
        let files = written.len();
        notice(format!(
            "wrote {files} files of {name} into {}; the private key is no part of them",
            args.destination.display()
        ));
    }
    if incomplete {
        notice(
            "some bytes of the files are overwritten, and zeros in the set; `undelfs certsrv verify` says what that means",
        );
        return Ok(exit_code::PARTIAL);
    }
    Ok(exit_code::DONE)
}

/// Folders of a source into which nothing is written.
fn sources(source: &Path) -> Vec<PathBuf> {
    if source.is_dir() { vec![source.to_owned()] } else { Vec::new() }
}

fn restore(args: &CertsrvRestoreArgs, chatter: Chatter) -> Result<u8, Failure> {
    let mut sources = vec![args.set.clone()];
    sources.extend(args.incremental.iter().cloned());
    let authority = find::backup_set(&args.set)?;
    // What is wrong with the restore map is said before anything is written.
    if let Some(Err(error)) = &authority.map {
        return Err(Failure::of_kind(error.kind(), format!("{error} ({})", error.code())));
    }
    let logs = args.logs.clone().unwrap_or_else(|| args.destination.clone());
    let mut session = RestoreSession::prepare(RESTORE_FULL, sources)?;
    let range = |logs: &[undelfs_certsrv::Log]| {
        Some((logs.first().map(|log| log.generation)?, logs.last().map(|log| log.generation)?))
    };
    let (low, high) = range(&authority.logs).unwrap_or((0, 0));
    let full = Registration {
        checkpoint: None,
        logs: Some(logs.clone()),
        map: vec![MapEntry {
            database: authority.file.path.clone(),
            target: args.destination.join(authority.database_name()),
        }],
        backup: Some(args.set.clone()),
        low,
        high,
    };
    put(&mut session, &full, chatter)?;
    for set in &args.incremental {
        let folder = find::set_folder(set).unwrap_or_else(|| set.clone());
        let (low, high) = range(&find::logs_in(&folder)?).unwrap_or((0, 0));
        let more = Registration {
            logs: Some(logs.clone()),
            backup: Some(set.clone()),
            low,
            high,
            ..Registration::default()
        };
        put(&mut session, &more, chatter)?;
    }
    session.end()?;
    if !chatter.quiet {
        notice(format!("restored {} into {}; {ADVICE}", authority.name, args.destination.display()));
    }
    Ok(exit_code::DONE)
}

fn put(session: &mut RestoreSession, set: &Registration, chatter: Chatter) -> Result<(), Failure> {
    session.register(set, &Progress::new("Restoring", Unit::Bytes, chatter))?;
    Ok(session.register_complete(HResult::OK)?)
}
