//! What is in the database of a CA: certificates, requests, lists of revoked certificates.

use std::{collections::BTreeMap, ops::ControlFlow};

use sha1::{Digest, Sha1};

use crate::{
    Authority, Error,
    ese::{Database, Table, Value},
};

/// Requests that are kept at once until the table of the certificates is read too. More of them take more passes.
const AT_ONCE: usize = 1 << 18;

/// The tables of the database that a CA fills, by the names that they have there.
pub const TABLES: [&str; 5] =
    ["Certificates", "Requests", "RequestAttributes", "CertificateExtensions", "CRLs"];

/// What became of a request: `DB_DISP_*` of `certsrv.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disposition {
    /// Being worked on, 8.
    Active,
    /// Somebody must decide on it, 9.
    Pending,
    /// Of another CA, imported, 12.
    Foreign,
    /// A certificate of the CA itself, 15, or of those above it, 16.
    CaCertificate,
    /// Of a key recovery agent, 17.
    RecoveryAgent,
    /// Issued, 20.
    Issued,
    /// Revoked, 21.
    Revoked,
    /// An error, 30.
    Failed,
    /// Denied, 31.
    Denied,
    /// Any other, or none.
    Other(Option<i64>),
}

impl Disposition {
    fn new(number: Option<i64>) -> Self {
        match number {
            Some(8) => Self::Active,
            Some(9) => Self::Pending,
            Some(12) => Self::Foreign,
            Some(15 | 16) => Self::CaCertificate,
            Some(17) => Self::RecoveryAgent,
            Some(20) => Self::Issued,
            Some(21) => Self::Revoked,
            Some(30) => Self::Failed,
            Some(31) => Self::Denied,
            other => Self::Other(other),
        }
    }

    /// A word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Foreign => "foreign",
            Self::CaCertificate => "ca certificate",
            Self::RecoveryAgent => "recovery agent",
            Self::Issued => "issued",
            Self::Revoked => "revoked",
            Self::Failed => "failed",
            Self::Denied => "denied",
            Self::Other(_) => "unknown",
        }
    }
}

/// A record of a table, its columns by their names.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    /// The table.
    pub table: &'a Table,
    /// A value of each of its columns.
    pub values: Vec<Option<Value>>,
}

impl Row<'_> {
    /// The value of a column; `None` where there is no such column or it has none.
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.values.get(self.table.column(column)?)?.as_ref()
    }

    fn number(&self, column: &str) -> Option<i64> {
        match self.get(column)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    fn text(&self, column: &str) -> Option<String> {
        match self.get(column)? {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    fn time(&self, column: &str) -> Option<u64> {
        match self.get(column)? {
            Value::Time(time) => Some(file_time(*time)),
            _ => None,
        }
    }

    fn binary(&self, column: &str) -> Option<Vec<u8>> {
        match self.get(column)? {
            Value::Binary(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }
}

/// A time as Windows counts. Columns of times can also hold days since 1899-12-30 as a floating point number: the two never
/// mean each other's bytes between the years 1700 and 2200.
pub fn file_time(raw: u64) -> u64 {
    /// 1899-12-30, in days since 1601-01-01.
    const DAYS: f64 = 109_205.0;
    const TICKS: f64 = 864_000_000_000.0;
    let days = f64::from_bits(raw);
    if (1.0..150_000.0).contains(&days) { ((days + DAYS) * TICKS) as u64 } else { raw }
}

/// A certificate or a request, of both tables what is known of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificate {
    /// Number of the request.
    pub request: i64,
    /// What became of it.
    pub disposition: Option<Disposition>,
    /// Serial number, in hexadecimal digits.
    pub serial: Option<String>,
    /// Whom it is for.
    pub subject: Option<String>,
    /// The common name in that.
    pub common_name: Option<String>,
    /// Who asked for it.
    pub requester: Option<String>,
    /// The template.
    pub template: Option<String>,
    /// When it was asked for, and when that was decided, in ticks since 1601.
    pub submitted: Option<u64>,
    /// When that was decided.
    pub resolved: Option<u64>,
    /// From when on it is valid.
    pub not_before: Option<u64>,
    /// Until when.
    pub not_after: Option<u64>,
    /// When it was revoked.
    pub revoked: Option<u64>,
    /// Why: `CRLReason` of RFC 5280.
    pub reason: Option<i64>,
    /// SHA-1 of the certificate, in hexadecimal digits.
    pub thumbprint: Option<String>,
    /// The certificate itself (DER).
    pub der: Option<Vec<u8>>,
}

/// A list of revoked certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Crl {
    /// Number of the row.
    pub row: i64,
    /// Number of the list.
    pub number: Option<i64>,
    /// Number of the list that it adds to; 0 or nothing for a full one.
    pub base: Option<i64>,
    /// When it was issued.
    pub this_update: Option<u64>,
    /// When the next one was to come.
    pub next_update: Option<u64>,
    /// Size of the list in bytes, where it is there.
    pub size: Option<usize>,
}

/// The database of a CA as tables.
pub struct Contents<'a> {
    database: &'a Database,
    tables: Vec<Table>,
    /// What could not be read so far, one sentence each.
    pub notes: Vec<String>,
}

impl<'a> Contents<'a> {
    /// Reads the catalogue.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn new(authority: &'a Authority) -> Result<Self, Error> {
        let (tables, notes) = authority.database.tables()?;
        Ok(Self { database: &authority.database, tables, notes })
    }

    /// A table by its name, in whichever case.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name.eq_ignore_ascii_case(name))
    }

    /// How many records each of the tables has that a CA fills; those that are not there are left out.
    pub fn counts(&mut self) -> Vec<(&'static str, u64)> {
        let mut counts = Vec::new();
        for name in TABLES {
            let mut count = 0u64;
            let counted = self.rows(name, &mut |_| {
                count = count.saturating_add(1);
                ControlFlow::Continue(())
            });
            if counted {
                counts.push((name, count));
            }
        }
        counts
    }

    /// Visits the records of a table; false where there is no such table.
    pub fn rows(&mut self, name: &str, each: &mut dyn FnMut(Row<'_>) -> ControlFlow<()>) -> bool {
        let Some(table) = self.table(name) else { return false };
        let notes = self.database.records(table, &mut |values| each(Row { table, values }));
        for note in notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
        true
    }

    /// Visits the certificates and requests in the order of their numbers.
    pub fn certificates(&mut self, each: &mut dyn FnMut(Certificate) -> ControlFlow<()>) {
        self.certificates_in_parts(AT_ONCE, each);
    }

    fn certificates_in_parts(
        &mut self,
        at_once: usize,
        each: &mut dyn FnMut(Certificate) -> ControlFlow<()>,
    ) {
        let mut done: Option<i64> = None;
        loop {
            let mut part: BTreeMap<i64, Certificate> = BTreeMap::new();
            let mut full = false;
            let keep = |own: Certificate, part: &mut BTreeMap<i64, Certificate>| {
                part.insert(own.request, own);
                part.len() > at_once && part.pop_last().is_some()
            };
            let is_next = |request: i64| done.is_none_or(|done| request > done);
            self.rows("Requests", &mut |row| {
                if let Some(request) = row.number("RequestID").filter(|request| is_next(*request)) {
                    full |= keep(Certificate::of_request(request, &row), &mut part);
                }
                ControlFlow::Continue(())
            });
            self.rows("Certificates", &mut |row| {
                if let Some(request) = row.number("RequestID").filter(|request| is_next(*request)) {
                    let beyond = part.len() >= at_once
                        && part.last_key_value().is_some_and(|(last, _)| request > *last);
                    if !beyond {
                        let own = part
                            .remove(&request)
                            .unwrap_or(Certificate { request, ..Certificate::default() });
                        full |= keep(own.with(&row), &mut part);
                    } else {
                        full = true;
                    }
                }
                ControlFlow::Continue(())
            });
            let Some((last, _)) = part.last_key_value() else { return };
            done = Some(*last);
            for own in part.into_values() {
                if each(own).is_break() {
                    return;
                }
            }
            if !full {
                return;
            }
        }
    }

    /// Visits the lists of revoked certificates.
    pub fn crls(&mut self, each: &mut dyn FnMut(Crl) -> ControlFlow<()>) {
        self.rows("CRLs", &mut |row| {
            each(Crl {
                row: row.number("RowId").unwrap_or(0),
                number: row.number("Number"),
                base: row.number("MinBase"),
                this_update: row.time("ThisUpdate"),
                next_update: row.time("NextUpdate"),
                size: row.binary("RawCRL").map(|bytes| bytes.len()),
            })
        });
    }
}

impl Certificate {
    fn of_request(request: i64, row: &Row<'_>) -> Self {
        Self {
            request,
            disposition: Some(Disposition::new(row.number("Disposition"))),
            subject: row.text("DistinguishedName"),
            common_name: row.text("CommonName"),
            requester: row.text("RequesterName"),
            submitted: row.time("SubmittedWhen"),
            resolved: row.time("ResolvedWhen"),
            revoked: row.time("RevokedEffectiveWhen").or_else(|| row.time("RevokedWhen")),
            reason: row.number("RevokedReason"),
            ..Self::default()
        }
    }

    /// What the table of the certificates knows.
    pub(crate) fn of_row(row: &Row<'_>) -> Self {
        let request = row.number("RequestID").unwrap_or(0);
        Self { request, ..Self::default() }.with(row)
    }

    /// With what the table of the certificates knows of it.
    fn with(self, row: &Row<'_>) -> Self {
        let der = row.binary("RawCertificate").filter(|der| !der.is_empty());
        Self {
            serial: row.text("SerialNumber"),
            subject: row.text("DistinguishedName").or(self.subject),
            common_name: row.text("CommonName").or(self.common_name),
            template: row.text("CertificateTemplate"),
            not_before: row.time("NotBefore"),
            not_after: row.time("NotAfter"),
            thumbprint: der.as_deref().map(thumbprint).or_else(|| row.text("CertificateHash")),
            der,
            ..self
        }
    }

    /// What its file is called.
    pub fn file_name(&self) -> String {
        let serial = self.serial.as_deref().unwrap_or("");
        let plain: String = serial.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
        if plain.is_empty() {
            format!("{}.cer", self.request)
        } else {
            format!("{}-{plain}.cer", self.request)
        }
    }
}

fn thumbprint(der: &[u8]) -> String {
    hex(&Sha1::digest(der))
}

/// Bytes in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_count_of_ticks_or_of_days() {
        const Y2026: u64 = 134_100_000_000_000_000;
        assert_eq!(file_time(Y2026), Y2026);
        let days = 46_000.0f64;
        assert_eq!(file_time(days.to_bits()), (109_205 + 46_000) * 864_000_000_000);
        assert_eq!(file_time(0), 0);
    }
}
