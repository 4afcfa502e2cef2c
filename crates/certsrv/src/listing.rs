//! Lists of certificates, requests and lists of revoked certificates, as text.

use std::{
    io::{self, Write},
    ops::ControlFlow,
};

use serde::Serialize;
use undelfs_restore::time;
use undelfs_volume::filesystem::FileTime;

use crate::{
    Authority, Certificate, Contents, Crl, Disposition, Error, HResult, Row,
    contents::{file_time, hex},
    ese::Value,
};

/// Form of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListForm {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// Certificates and requests, whatever became of them, and lists of revoked certificates.
    All,
    /// Issued certificates that were not revoked.
    Issued,
    /// Revoked certificates.
    Revoked,
    /// Requests that somebody must decide on.
    Pending,
    /// Requests that failed or were denied.
    Failed,
    /// Lists of revoked certificates.
    Crls,
}

impl Listed {
    fn has(self, disposition: Option<Disposition>) -> bool {
        let disposition = disposition.unwrap_or(Disposition::Other(None));
        match self {
            Self::All => true,
            Self::Issued => disposition == Disposition::Issued,
            Self::Revoked => disposition == Disposition::Revoked,
            Self::Pending => disposition == Disposition::Pending,
            Self::Failed => matches!(disposition, Disposition::Failed | Disposition::Denied),
            Self::Crls => false,
        }
    }
}

/// A line of the list. What is not known is left out of JSON, and empty in CSV.
#[derive(Debug, Default, Serialize)]
struct Line<'a> {
    ca: &'a str,
    kind: &'static str,
    request_id: Option<i64>,
    disposition: Option<&'static str>,
    serial_number: Option<&'a str>,
    common_name: Option<&'a str>,
    subject: Option<&'a str>,
    requester: Option<&'a str>,
    template: Option<&'a str>,
    submitted: Option<String>,
    resolved: Option<String>,
    not_before: Option<String>,
    not_after: Option<String>,
    revoked: Option<String>,
    revocation_reason: Option<i64>,
    sha1: Option<&'a str>,
    crl_number: Option<i64>,
    base_crl: Option<i64>,
    this_update: Option<String>,
    next_update: Option<String>,
    size: Option<usize>,
}

/// Writes the list of several CAs. Returns what could not be read, one sentence each.
///
/// # Errors
/// When a database has no catalogue that can be read, or `out` cannot be written.
pub fn write_list(
    authorities: &[Authority],
    what: Listed,
    form: ListForm,
    out: &mut dyn Write,
) -> Result<Vec<String>, Error> {
    let mut notes = Vec::new();
    let mut lines = Lines::new(form, out);
    for authority in authorities {
        let mut contents = Contents::new(authority)?;
        if what != Listed::Crls {
            contents.certificates(&mut |certificate| {
                if !what.has(certificate.disposition) {
                    return ControlFlow::Continue(());
                }
                lines.add(&of_certificate(&authority.name, &certificate))
            });
        }
        if matches!(what, Listed::All | Listed::Crls) {
            contents.crls(&mut |crl| lines.add(&of_crl(&authority.name, &crl)));
        }
        notes.append(&mut contents.notes);
    }
    lines.finish()?;
    Ok(notes)
}

/// Writes the records of a table as it is. Returns what could not be read, one sentence each.
///
/// # Errors
/// When there is no such table, or `out` cannot be written.
pub fn write_table(
    authority: &Authority,
    table: &str,
    form: ListForm,
    out: &mut dyn Write,
) -> Result<Vec<String>, Error> {
    let mut contents = Contents::new(authority)?;
    let Some(own) = contents.table(table).cloned() else {
        let reason = format!("the database of {} has no table {table}", authority.name);
        return Err(Error::refused(HResult::FILE_NOT_FOUND, reason));
    };
    let names: Vec<&str> = own.columns.iter().map(|column| column.name.as_str()).collect();
    let mut lines = Lines::new(form, out);
    lines.header(&names);
    contents.rows(table, &mut |row| lines.add_row(&names, &row));
    lines.finish()?;
    Ok(contents.notes)
}

fn of_certificate<'a>(ca: &'a str, own: &'a Certificate) -> Line<'a> {
    Line {
        ca,
        kind: if own.der.is_some() { "certificate" } else { "request" },
        request_id: Some(own.request),
        disposition: own.disposition.map(Disposition::word),
        serial_number: own.serial.as_deref(),
        common_name: own.common_name.as_deref(),
        subject: own.subject.as_deref(),
        requester: own.requester.as_deref(),
        template: own.template.as_deref(),
        submitted: own.submitted.map(when),
        resolved: own.resolved.map(when),
        not_before: own.not_before.map(when),
        not_after: own.not_after.map(when),
        revoked: own.revoked.map(when),
        revocation_reason: own.reason,
        sha1: own.thumbprint.as_deref(),
        size: own.der.as_ref().map(Vec::len),
        ..Line::default()
    }
}

fn of_crl<'a>(ca: &'a str, own: &Crl) -> Line<'a> {
    Line {
        ca,
        kind: "crl",
        crl_number: own.number,
        base_crl: own.base,
        this_update: own.this_update.map(when),
        next_update: own.next_update.map(when),
        size: own.size,
        ..Line::default()
    }
}

fn when(ticks: u64) -> String {
    time(FileTime(ticks))
}

fn shown(value: Option<&Value>) -> serde_json::Value {
    match value {
        None => serde_json::Value::Null,
        Some(Value::Number(number)) => (*number).into(),
        Some(Value::Time(time)) => when(file_time(*time)).into(),
        Some(Value::Text(text)) => text.as_str().into(),
        Some(Value::Binary(bytes)) => hex(bytes).into(),
        Some(Value::Damaged(why)) => format!("(damaged: {why})").into(),
    }
}

/// Lines in either form; the first error ends them.
struct Lines<'a> {
    form: ListForm,
    csv: Option<csv::Writer<&'a mut dyn Write>>,
    json: Option<&'a mut dyn Write>,
    error: Option<io::Error>,
}

impl<'a> Lines<'a> {
    fn new(form: ListForm, out: &'a mut dyn Write) -> Self {
        match form {
            ListForm::Csv => Self { form, csv: Some(csv::Writer::from_writer(out)), json: None, error: None },
            ListForm::Jsonl => Self { form, csv: None, json: Some(out), error: None },
        }
    }

    fn keep(&mut self, result: io::Result<()>) -> ControlFlow<()> {
        match result {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.error.get_or_insert(error);
                ControlFlow::Break(())
            }
        }
    }

    fn header(&mut self, names: &[&str]) {
        if let Some(csv) = &mut self.csv {
            let result = csv.write_record(names).map_err(io::Error::from);
            let _ = self.keep(result);
        }
    }

    fn add(&mut self, line: &Line<'_>) -> ControlFlow<()> {
        let result = match (&mut self.csv, &mut self.json) {
            (Some(csv), _) => csv.serialize(line).map_err(io::Error::from),
            (None, Some(out)) => json_line(out, &without_nulls(serde_json::to_value(line))),
            (None, None) => Ok(()),
        };
        self.keep(result)
    }

    fn add_row(&mut self, names: &[&str], row: &Row<'_>) -> ControlFlow<()> {
        let values = row.values.iter().map(|value| shown(value.as_ref()));
        let result = match (&mut self.csv, &mut self.json) {
            (Some(csv), _) => {
                let plain = values.map(|value| match value {
                    serde_json::Value::Null => String::new(),
                    serde_json::Value::String(text) => text,
                    other => other.to_string(),
                });
                csv.write_record(plain).map_err(io::Error::from)
            }
            (None, Some(out)) => {
                let pairs = names.iter().map(|name| (*name).to_owned()).zip(values);
                json_line(out, &without_nulls(Ok(serde_json::Value::Object(pairs.collect()))))
            }
            (None, None) => Ok(()),
        };
        self.keep(result)
    }

    fn finish(mut self) -> Result<(), Error> {
        let flushed = match (&mut self.csv, &mut self.json) {
            (Some(csv), _) => csv.flush(),
            (None, Some(out)) => out.flush(),
            (None, None) => Ok(()),
        };
        let what = if self.form == ListForm::Csv { "write the list (CSV)" } else { "write the list (JSON)" };
        match self.error.or(flushed.err()) {
            Some(error) => Err(Error::Write { what: what.to_owned(), error }),
            None => Ok(()),
        }
    }
}

fn without_nulls(value: serde_json::Result<serde_json::Value>) -> serde_json::Value {
    match value {
        Ok(serde_json::Value::Object(pairs)) => {
            serde_json::Value::Object(pairs.into_iter().filter(|(_, value)| !value.is_null()).collect())
        }
        Ok(other) => other,
        Err(_) => serde_json::Value::Null,
    }
}

fn json_line(out: &mut dyn Write, value: &serde_json::Value) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}
