//! `undelfs certsrv verify`.

use std::io::Write;

use undelfs_certsrv::{Authority, Contents, Verdict, verify};

use crate::{
    cli::{CertsrvVerifyArgs, Chatter, exit_code},
    failure::Failure,
    output::{Output, write_failure},
    progress::{Progress, Unit},
};

pub(super) fn run(args: &CertsrvVerifyArgs, chatter: Chatter) -> Result<u8, Failure> {
    let authorities = super::open(&args.authority, chatter)?;
    let mut text = String::new();
    let mut restorable = true;
    for authority in &authorities {
        let verdict = verify(authority, true, &Progress::new("Checking", Unit::Share, chatter))?;
        restorable &= verdict.is_restorable();
        describe(authority, &verdict, &mut text);
    }
    let mut out = Output::new();
    let result = out.write_all(text.as_bytes()).map_err(|error| write_failure(&error));
    let code = out.finish(result)?;
    Ok(if restorable { code } else { exit_code::FAILED })
}

/// What was found, a line for each.
fn describe(authority: &Authority, verdict: &Verdict, text: &mut String) {
    let database = &authority.database;
    let header = &database.header;
    let mut line = |what: &str, value: String| text.push_str(&format!("{what:<14} {value}\n"));
    line("ca", authority.name.clone());
    line("found", format!("{}: {}", authority.found, authority.file.path));
    if authority.file.deleted {
        line("state", "the database is deleted".to_owned());
    }
    line("computer", authority.computer.clone());
    line(
        "database",
        format!(
            "{}, {} pages of {} bytes, format 0x620 update {:#X}{}",
            header.state,
            database.page_count(),
            header.page_size,
            header.update,
            if header.is_backup_copy() { ", copied by a backup" } else { "" }
        ),
    );
    line("signatures", format!("database {}, logs {}", header.signature, header.log_signature));
    if let Some(pages) = &verdict.pages {
        line(
            "pages",
            format!(
                "{} sound, {} never used, {} free, {} damaged",
                pages.sound, pages.empty, pages.free, pages.damaged_count
            ),
        );
    }
    let required = authority.required();
    if required.min != 0 {
        line("needs logs", format!("{:05X} to {:05X}", required.min, required.max));
    }
    let logs: Vec<String> = authority.logs.iter().map(|log| format!("{:05X}", log.generation)).collect();
    line("logs", if logs.is_empty() { "none".to_owned() } else { shortened(&logs) });
    if let Some(checkpoint) = &authority.checkpoint {
        line("checkpoint", checkpoint.path.clone());
    }
    if let Ok(mut contents) = Contents::new(authority) {
        for (table, count) in contents.counts() {
            line(table, count.to_string());
        }
        for note in &contents.notes {
            line("note", note.clone());
        }
    }
    for finding in &verdict.findings {
        let what = if finding.fatal { "error" } else { "note" };
        let code = if finding.fatal { format!(" ({})", finding.code) } else { String::new() };
        line(what, format!("{}{code}", finding.sentence));
    }
    let restorable = match (verdict.is_restorable(), verdict.generations) {
        (true, Some((low, high))) => format!("yes, with the logs {low:05X} to {high:05X}"),
        (true, None) => "yes, without logs".to_owned(),
        (false, _) => "no".to_owned(),
    };
    line("restorable", restorable);
}

fn shortened(logs: &[String]) -> String {
    match logs {
        [first, .., last] if logs.len() > 8 => format!("{first} to {last}, {} logs", logs.len()),
        _ => logs.join(" "),
    }
}
