//! The check of a CA's files or of a backup set: whether it can be restored, and what is missing.

use undelfs_volume::filesystem::Watch;

use crate::{
    Authority, Error, HResult, Log,
    ese::{PageCheck, Required, State, log_generation, log_name},
    windows_path::file_name,
};

/// What is wrong, or worth to be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// True where the set cannot be restored with it.
    pub fatal: bool,
    /// What the C functions say of it.
    pub code: HResult,
    /// A sentence.
    pub sentence: String,
}

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// In the order in which they were met.
    pub findings: Vec<Finding>,
    /// The pages of the database; `None` where they were not checked.
    pub pages: Option<PageCheck>,
    /// Lowest and highest generation of the logs that follow each other up to the highest.
    pub generations: Option<(u32, u32)>,
}

impl Verdict {
    /// True where the set can be restored.
    pub fn is_restorable(&self) -> bool {
        self.findings.iter().all(|finding| !finding.fatal)
    }

    /// An error with the first thing that keeps the set from being restored.
    ///
    /// # Errors
    /// Where there is any.
    pub fn into_result(self) -> Result<Self, Error> {
        match self.findings.iter().find(|finding| finding.fatal) {
            Some(finding) => Err(Error::refused(finding.code, finding.sentence.clone())),
            None => Ok(self),
        }
    }

    fn fatal(&mut self, code: HResult, sentence: impl Into<String>) {
        self.findings.push(Finding { fatal: true, code, sentence: sentence.into() });
    }

    fn note(&mut self, sentence: impl Into<String>) {
        self.findings.push(Finding { fatal: false, code: HResult::OK, sentence: sentence.into() });
    }
}

/// Checks a CA's files. With `pages` every page of the database is read; `watch` counts them.
///
/// # Errors
/// When `watch` cancelled it. Everything else is a finding.
pub fn verify(authority: &Authority, pages: bool, watch: &dyn Watch) -> Result<Verdict, Error> {
    let mut verdict = Verdict::default();
    check_map(authority, &mut verdict);
    check_headers(authority, &mut verdict);
    if pages {
        check_pages(authority, &mut verdict, watch)?;
    }
    if authority.file.incomplete {
        verdict.note(format!("some bytes of {} are overwritten, and zeros", authority.file.path));
    }
    check_logs(authority, &mut verdict);
    check_range(authority, &mut verdict);
    Ok(verdict)
}

fn check_map(authority: &Authority, verdict: &mut Verdict) {
    match &authority.map {
        Some(Err(error)) => verdict.fatal(error.code(), error.to_string()),
        Some(Ok(map)) => {
            let (named, own) = (file_name(&map.database), file_name(&authority.file.path));
            if !named.eq_ignore_ascii_case(own) {
                verdict.fatal(
                    HResult::DIRECTORY,
                    format!("the restore map names {named}, and the database is {own}"),
                );
            }
        }
        None => {}
    }
}

fn check_headers(authority: &Authority, verdict: &mut Verdict) {
    let (database, path) = (&authority.database, &authority.file.path);
    let header = &database.header;
    let page = u64::from(header.page_size);
    if !header.sound {
        let reason = format!("the header of {path} at byte 0: expected its checksum, found another one");
        verdict.fatal(HResult::DATABASE_CORRUPTED, reason);
    } else if !database.headers_agree {
        verdict.note(format!(
            "only one of the two headers of {path}, at bytes 0 and {page}, is sound, or they differ"
        ));
    }
    if !database.size.is_multiple_of(page) || database.size < page.saturating_mul(3) {
        let reason = format!(
            "{path} has {} bytes: expected whole pages of {page} bytes, at least three",
            database.size
        );
        verdict.fatal(HResult::BAD_DATABASE_SIZE, reason);
    }
    match (&database.trailer, header.is_backup_copy()) {
        (Some(trailer), _) => {
            let at = database.size.saturating_sub(page);
            if !trailer.sound {
                let reason =
                    format!("the trailer of {path} at byte {at}: expected its checksum, found another one");
                verdict.fatal(HResult::DATABASE_CORRUPTED, reason);
            }
            if trailer.signature != header.signature || trailer.log_signature != header.log_signature {
                let reason = format!(
                    "the trailer of {path} at byte {at}: expected the signatures of the header, {} and {}, found {} and {}",
                    header.signature, header.log_signature, trailer.signature, trailer.log_signature
                );
                verdict.fatal(HResult::BAD_RESTORE_SIGNATURE, reason);
            }
        }
        (None, true) => {
            let reason = format!(
                "{path} was copied by a backup and has no trailer at its end, at byte {}: it was cut",
                database.size
            );
            verdict.fatal(HResult::BAD_DATABASE_SIZE, reason);
        }
        (None, false) => {}
    }
}

fn check_pages(authority: &Authority, verdict: &mut Verdict, watch: &dyn Watch) -> Result<(), Error> {
    let path = &authority.file.path;
    match authority.database.check_pages(watch) {
        Ok(check) => {
            if let Some(first) = check.damaged.first() {
                let reason = format!(
                    "{} pages of {path} have not their checksum, the first one is page {first} at byte {}",
                    check.damaged_count,
                    u64::from(*first)
                        .saturating_add(1)
                        .saturating_mul(authority.database.header.page_size.into())
                );
                verdict.fatal(HResult::DATABASE_CORRUPTED, reason);
            }
            if check.free > 0 {
                verdict.note(format!("{} pages of {path} that no table reaches hold anything", check.free));
            }
            verdict.pages = Some(check);
        }
        Err(error) if error.code() == HResult::CANCELLED => return Err(error),
        Err(error) => verdict.fatal(error.code(), error.to_string()),
    }
    match authority.database.tables() {
        Ok((_, notes)) => notes.into_iter().for_each(|note| verdict.note(note)),
        Err(error) => verdict.fatal(error.code(), error.to_string()),
    }
    Ok(())
}

/// Checks one log; the sentence and code of what is wrong with it.
pub(crate) fn check_log(log: &Log, authority: &Authority) -> Result<(), (HResult, String)> {
    let path = &log.file.path;
    let Some(header) = &log.header else {
        let found =
            log.file.begin(crate::ese::LOG_HEADER).and_then(|begin| crate::ese::LogHeader::parse(&begin, 0));
        let reason = found.err().map_or("its checksum is another one".to_owned(), |error| error.to_string());
        return Err((HResult::LOG_FILE_CORRUPT, format!("{path} is damaged: {reason}")));
    };
    let named = log_generation(file_name(path).rsplit('/').next().unwrap_or(path));
    if named.is_some_and(|named| named != header.generation) {
        let reason =
            format!("{path} says in its header at byte 4 that it is {}", log_name(header.generation));
        return Err((HResult::LOG_FILE_CORRUPT, reason));
    }
    let wanted = &authority.database.header.log_signature;
    if header.signature != *wanted {
        let reason = format!(
            "{path} belongs to another database: expected the signature {wanted} at byte 44, found {}",
            header.signature
        );
        return Err((HResult::BAD_RESTORE_SIGNATURE, reason));
    }
    if header.file_size != log.file.size() {
        let reason = format!(
            "{path} has {} bytes and must have {}: it was cut, or its header is damaged",
            log.file.size(),
            header.file_size
        );
        return Err((HResult::LOG_FILE_CORRUPT, reason));
    }
    Ok(())
}

fn check_logs(authority: &Authority, verdict: &mut Verdict) {
    let Required { min, max, .. } = authority.required();
    for log in &authority.logs {
        let Err((code, reason)) = check_log(log, authority) else { continue };
        // A copy that needs no log is whole whatever its logs are; a set must not have wrong ones all the same.
        let needed = authority.map.is_some() || (min..=max).contains(&log.generation);
        if needed {
            verdict.fatal(code, reason);
        } else {
            verdict.note(reason);
        }
        if log.file.incomplete {
            verdict.note(format!("some bytes of {} are overwritten, and zeros", log.file.path));
        }
    }
}

fn check_range(authority: &Authority, verdict: &mut Verdict) {
    let generations: Vec<u32> = authority.logs.iter().map(|log| log.generation).collect();
    let state = authority.database.header.state;
    let Required { min, max, .. } = authority.required();
    let gaps: Vec<(u32, u32)> = generations
        .windows(2)
        .filter_map(|pair| match pair {
            [low, high] if low.checked_add(1) != Some(*high) => Some((*low, *high)),
            _ => None,
        })
        .collect();
    for (low, high) in gaps {
        let between = format!("no log stands between {} and {}", log_name(low), log_name(high));
        // A gap below what is needed costs only the logs under it.
        if authority.map.is_some() || high > min && low < max {
            verdict.fatal(HResult::LOG_NOT_CONTIGUOUS, between);
        } else {
            verdict.note(between);
        }
    }
    if let Some(high) = generations.last() {
        let start =
            generations.iter().rev().zip((0..=*high).rev()).take_while(|(own, wanted)| *own == wanted);
        verdict.generations = start.last().map(|(low, _)| (*low, *high));
    }
    match state {
        State::Clean | State::JustCreated if authority.database.trailer.is_none() => return,
        State::Dirty | State::Clean | State::JustCreated => {}
        other => {
            let reason = format!("{} is in {other}, from which it cannot be restored", authority.file.path);
            return verdict.fatal(HResult::DATABASE_INCONSISTENT, reason);
        }
    }
    if min == 0 || max < min {
        // A dirty database that says which logs it needs can be made whole; this one does not.
        if generations.is_empty() {
            let reason = format!(
                "{} is {state}, does not say which logs it needs, and there are none",
                authority.file.path
            );
            verdict.fatal(HResult::DATABASE_INCONSISTENT, reason);
        }
        return;
    }
    let missing: Vec<u32> = missing(&generations, min, max);
    if !missing.is_empty() {
        let named: Vec<String> = missing.iter().take(8).map(|generation| log_name(*generation)).collect();
        let more = if missing.len() > named.len() { " and more" } else { "" };
        let reason = format!(
            "{} needs the logs {} to {}, and {}{more} {} missing",
            authority.file.path,
            log_name(min),
            log_name(max),
            named.join(", "),
            if missing.len() == 1 { "is" } else { "are" }
        );
        let code = if generations.is_empty() {
            HResult::DATABASE_INCONSISTENT
        } else {
            HResult::MISSING_RESTORE_LOGS
        };
        verdict.fatal(code, reason);
    }
}

/// Which generations from `min` to `max` are not in the ascending `own`; at most a hundred.
fn missing(own: &[u32], min: u32, max: u32) -> Vec<u32> {
    let mut missing = Vec::new();
    let mut next = min;
    while next <= max && missing.len() < 100 {
        if own.binary_search(&next).is_err() {
            missing.push(next);
        }
        match next.checked_add(1) {
            Some(after) => next = after,
            None => break,
        }
    }
    missing
}
