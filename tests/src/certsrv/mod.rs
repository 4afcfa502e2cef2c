//! The folder of a certification authority, made byte by byte: a real ESE database with the tables of Certificate Services,
//! its logs and its checkpoint. Nothing that undelfs believes goes into them; libesedb reads them too.

mod pages;
mod table;

use std::{collections::BTreeMap, fs, path::Path};

use fastrand::Rng;

pub use self::{
    pages::seal,
    table::{Cell, Type},
};
use self::{
    pages::{PAGE, Pages, header_sum},
    table::Table,
};
use crate::program::undelfs;

/// Size of a log in bytes, as Certificate Services of today have it.
const LOG: usize = 1 << 20;
/// 2026-03-01, in ticks since 1601.
const MARCH: u64 = 134_167_968_000_000_000;
const DAY: u64 = 864_000_000_000;

const REQUESTS: &[(&str, Type)] = &[
    ("RequestID", Type::Long),
    ("Disposition", Type::Long),
    ("RevokedReason", Type::Long),
    ("SubmittedWhen", Type::Time),
    ("ResolvedWhen", Type::Time),
    ("RevokedWhen", Type::Time),
    ("RevokedEffectiveWhen", Type::Time),
    ("$RequesterName", Type::Text),
    ("$DistinguishedName", Type::Text),
    ("$CommonName", Type::Text),
    ("RawRequest", Type::LongBinary),
];
const CERTIFICATES: &[(&str, Type)] = &[
    ("RequestID", Type::Long),
    ("NotBefore", Type::Time),
    ("NotAfter", Type::Time),
    ("$SerialNumber", Type::Text),
    ("$CertificateTemplate", Type::Text),
    ("$DistinguishedName", Type::Text),
    ("$CommonName", Type::Text),
    ("RawCertificate", Type::LongBinary),
];
const ATTRIBUTES: &[(&str, Type)] =
    &[("RequestID", Type::Long), ("$AttributeName", Type::Text), ("$AttributeValue", Type::Text)];
const EXTENSIONS: &[(&str, Type)] = &[
    ("RequestID", Type::Long),
    ("ExtensionFlags", Type::Long),
    ("$ExtensionName", Type::Text),
    ("ExtensionRawValue", Type::LongBinary),
];
const CRLS: &[(&str, Type)] = &[
    ("RowId", Type::Long),
    ("Number", Type::Long),
    ("MinBase", Type::Long),
    ("ThisUpdate", Type::Time),
    ("NextUpdate", Type::Time),
    ("RawCRL", Type::LongBinary),
];

/// In which state the database is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It needs its logs.
    Dirty,
    /// It is whole.
    Clean,
    /// A streaming backup has copied it: dirty, marked, with a trailer.
    Copied,
}

/// What a CA has been.
#[derive(Debug, Clone)]
pub struct Maker {
    /// Its name; its database is called so.
    pub name: String,
    /// Requests, and what became of them: `DB_DISP_*`.
    pub dispositions: Vec<i32>,
    /// Lists of revoked certificates.
    pub crls: usize,
    /// Lowest and highest generation of its logs; the highest is `edb.log`.
    pub logs: (u32, u32),
    /// In which state the database is left.
    pub state: State,
    /// True where it was backed up in full before.
    pub backed_up: bool,
    /// Makes everything that is random.
    pub seed: u64,
}

/// A CA's files.
#[derive(Debug, Clone)]
pub struct Made {
    /// The maker's.
    pub name: String,
    /// The database.
    pub database: Vec<u8>,
    /// Names and bytes of the logs, ascending, all of them numbered.
    pub logs: Vec<(String, Vec<u8>)>,
    /// The checkpoint.
    pub checkpoint: Vec<u8>,
    /// Certificates, by the numbers of their requests.
    pub certificates: Vec<(i32, Vec<u8>)>,
    /// How many records the tables have.
    pub counts: Vec<(&'static str, usize)>,
}

impl Maker {
    /// A CA with one request of every kind and three logs.
    pub fn new(seed: u64) -> Self {
        let dispositions = vec![15, 20, 20, 21, 9, 31, 30, 20];
        Self {
            name: "Example Issuing CA 1".to_owned(),
            dispositions,
            crls: 3,
            logs: (1, 3),
            state: State::Dirty,
            backed_up: true,
            seed,
        }
    }

    /// Makes the files.
    pub fn make(&self) -> Made {
        let mut rng = Rng::with_seed(self.seed);
        let (database_signature, log_signature) = (signature(&mut rng), signature(&mut rng));
        let mut certificates = Vec::new();
        let tables = self.tables(&mut rng, &mut certificates);
        let counts = tables.iter().map(|table| (table.name, table.rows.len())).collect();
        let mut pages = Pages::default();
        pages.reserve_to(32);
        let mut catalogue = Vec::new();
        for (index, table) in tables.iter().enumerate() {
            catalogue.extend(table.write(&mut pages, 100 + 10 * index as u32));
        }
        let nodes: Vec<_> = catalogue.iter().map(table::Entry::node).collect();
        pages.tree(1, 1, 0, &[]);
        pages.tree(4, 2, 0, &nodes);
        pages.tree(24, 3, 0, &nodes);
        // A page of free space as the engine leaves it: what stood there before.
        let free = pages.reserve();
        let mut bytes = pages.bytes();
        rng.fill(&mut bytes[(free as usize - 1) * PAGE..]);

        let header = self.header(&database_signature, &log_signature);
        let mut database = [&header[..], &header, &bytes].concat();
        if self.state == State::Copied {
            database.extend(self.trailer(&database_signature, &log_signature));
        }
        let logs = (self.logs.0..=self.logs.1)
            .map(|generation| (format!("edb{generation:05X}.log"), log(generation, &log_signature, &mut rng)))
            .collect();
        let mut checkpoint = vec![0u8; 8192];
        checkpoint[16..20].copy_from_slice(&self.logs.0.to_le_bytes());
        checkpoint[20..48].copy_from_slice(&log_signature);
        checkpoint[667] = 4;
        sum(&mut checkpoint[..PAGE]);
        let (first, copy) = checkpoint.split_at_mut(PAGE);
        copy.copy_from_slice(first);
        Made { name: self.name.clone(), database, logs, checkpoint, certificates, counts }
    }

    fn tables(&self, rng: &mut Rng, certificates: &mut Vec<(i32, Vec<u8>)>) -> Vec<Table> {
        let mut tables: Vec<Table> = [
            ("CRLs", CRLS),
            ("CertificateExtensions", EXTENSIONS),
            ("Certificates", CERTIFICATES),
            ("RequestAttributes", ATTRIBUTES),
            ("Requests", REQUESTS),
        ]
        .into_iter()
        .map(|(name, columns)| Table { name, columns, rows: Vec::new() })
        .collect();
        let text = |text: String| Cell::Text(text);
        for row in 1..=self.crls as i32 {
            let since = MARCH + row as u64 * 7 * DAY;
            let crl = Cell::Binary((0..600 + 700 * row).map(|_| rng.u8(..)).collect());
            let base = if row % 2 == 0 { 1 } else { 0 };
            tables[0].rows.push(vec![
                Cell::Long(row),
                Cell::Long(row + 40),
                Cell::Long(base),
                Cell::Time(since),
                Cell::Time(since + 7 * DAY),
                crl,
            ]);
        }
        for (index, disposition) in self.dispositions.iter().enumerate() {
            let request = index as i32 + 1;
            let when = MARCH + index as u64 * DAY;
            let has_certificate = matches!(disposition, 15 | 20 | 21);
            let revoked = *disposition == 21;
            let name = format!("host{request}.example.test");
            let if_so = |so: bool, cell: Cell| if so { cell } else { Cell::Null };
            tables[4].rows.push(vec![
                Cell::Long(request),
                Cell::Long(*disposition),
                if_so(revoked, Cell::Long(1)),
                Cell::Time(when),
                if_so(*disposition != 9, Cell::Time(when + 600_000_000)),
                if_so(revoked, Cell::Time(when + DAY)),
                if_so(revoked, Cell::Time(when + 2 * DAY)),
                text(format!("EXAMPLE\\user{request}")),
                text(format!("CN={name}, O=Exämple")),
                text(name.clone()),
                Cell::Binary((0..700 + rng.usize(..900)).map(|_| rng.u8(..)).collect()),
            ]);
            // Small ones stand in the record, large ones apart from it, in several pieces.
            let size = [420, 1500, 3000, 5000][index % 4];
            let certificate: Vec<u8> =
                [0x30, 0x82].into_iter().chain((2..size).map(|_| rng.u8(..))).collect();
            tables[2].rows.push(vec![
                Cell::Long(request),
                if_so(has_certificate, Cell::Time(when)),
                if_so(has_certificate, Cell::Time(when + 365 * DAY)),
                if_so(
                    has_certificate,
                    text(format!("{:032x}", u128::from(rng.u64(..)) << 32 | request as u128)),
                ),
                text("WebServer".to_owned()),
                if_so(has_certificate, text(format!("CN={name}, O=Exämple"))),
                if_so(has_certificate, text(name)),
                if_so(has_certificate, Cell::Binary(certificate.clone())),
            ]);
            if has_certificate {
                certificates.push((request, certificate));
            }
            for (name, value) in [("CertificateTemplate", "WebServer"), ("ccm", "client.example.test")] {
                tables[3].rows.push(vec![Cell::Long(request), text(name.to_owned()), text(value.to_owned())]);
            }
            for number in 0..3 + index % 3 {
                let value = Cell::Binary((0..20 + number).map(|_| rng.u8(..)).collect());
                tables[1].rows.push(vec![
                    Cell::Long(request),
                    Cell::Long(0x10000),
                    text(format!("2.5.29.{}", 14 + number)),
                    value,
                ]);
            }
        }
        tables
    }

    fn header(&self, database: &[u8], logs: &[u8]) -> Vec<u8> {
        let mut header = vec![0u8; PAGE];
        let put = |header: &mut Vec<u8>, at: usize, bytes: &[u8]| {
            header[at..at + bytes.len()].copy_from_slice(bytes);
        };
        let (low, high) = self.logs;
        let dirty = self.state != State::Clean;
        put(&mut header, 4, &0x89AB_CDEFu32.to_le_bytes());
        put(&mut header, 8, &0x620u32.to_le_bytes());
        put(&mut header, 16, &99u64.to_le_bytes());
        put(&mut header, 24, database);
        put(&mut header, 52, &(if dirty { 2u32 } else { 3 }).to_le_bytes());
        put(&mut header, 72, &LOG_TIME);
        put(&mut header, 104, &1u32.to_le_bytes());
        put(&mut header, 108, logs);
        if self.backed_up {
            put(&mut header, 136 + 8, &LOG_TIME);
            put(&mut header, 136 + 16, &1u32.to_le_bytes());
            put(&mut header, 136 + 20, &1u32.to_le_bytes());
        }
        if self.state == State::Copied {
            put(&mut header, 184 + 8, &LOG_TIME);
            put(&mut header, 184 + 16, &low.to_le_bytes());
        }
        put(&mut header, 212, &500u32.to_le_bytes());
        put(&mut header, 216, &6u32.to_le_bytes());
        put(&mut header, 220, &1u32.to_le_bytes());
        put(&mut header, 224, &7600u32.to_le_bytes());
        put(&mut header, 232, &0x11u32.to_le_bytes());
        put(&mut header, 236, &(PAGE as u32).to_le_bytes());
        if dirty {
            put(&mut header, 296, &low.to_le_bytes());
            put(&mut header, 300, &high.to_le_bytes());
            put(&mut header, 416, &high.to_le_bytes());
        }
        put(&mut header, 340, &0x620u32.to_le_bytes());
        put(&mut header, 344, &0x11u32.to_le_bytes());
        header[667] = 1;
        sum(&mut header);
        header
    }

    fn trailer(&self, database: &[u8], logs: &[u8]) -> Vec<u8> {
        let mut page = vec![0u8; PAGE];
        let (low, high) = self.logs;
        page[48..56].copy_from_slice(&LOG_TIME);
        page[56..60].copy_from_slice(&low.to_le_bytes());
        page[60..64].copy_from_slice(&high.to_le_bytes());
        page[64..92].copy_from_slice(database);
        page[92..120].copy_from_slice(logs);
        for (at, value) in [(120, low), (124, high), (128, high)] {
            page[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        page[132..140].copy_from_slice(&LOG_TIME);
        sum(&mut page);
        page
    }
}

/// 2026-03-04 12:30:15 UTC.
const LOG_TIME: [u8; 8] = [15, 30, 12, 4, 3, 126, 1, 0];

fn signature(rng: &mut Rng) -> Vec<u8> {
    let mut signature = vec![0u8; 28];
    signature[..4].copy_from_slice(&rng.u32(1..).to_le_bytes());
    signature[4..12].copy_from_slice(&LOG_TIME);
    signature[12..16].copy_from_slice(b"CA01");
    signature
}

/// Writes the checksum of a header.
pub fn sum(header: &mut [u8]) {
    let sum = header_sum(header);
    header[..4].copy_from_slice(&sum.to_le_bytes());
}

fn log(generation: u32, signature: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut log = vec![0u8; LOG];
    log[4..8].copy_from_slice(&generation.to_le_bytes());
    log[8..10].copy_from_slice(&4096u16.to_le_bytes());
    log[10..12].copy_from_slice(&1u16.to_le_bytes());
    log[12..14].copy_from_slice(&((LOG / 4096) as u16).to_le_bytes());
    log[14..16].copy_from_slice(&4096u16.to_le_bytes());
    log[16..24].copy_from_slice(&LOG_TIME);
    log[32..36].copy_from_slice(&8u32.to_le_bytes());
    log[36..40].copy_from_slice(&4000u32.to_le_bytes());
    log[44..72].copy_from_slice(signature);
    log[667] = 3;
    sum(&mut log[..PAGE]);
    rng.fill(&mut log[PAGE..]);
    log
}

impl Made {
    /// What the database is called.
    pub fn database_name(&self) -> String {
        format!("{}.edb", self.name)
    }

    /// Writes the files as a CA keeps them: the highest log is `edb.log`, a checkpoint stands beside.
    pub fn write_folder(&self, folder: &Path) {
        fs::create_dir_all(folder).expect("the folder of the CA");
        fs::write(folder.join(self.database_name()), &self.database).expect("the database");
        for (index, (name, bytes)) in self.logs.iter().enumerate() {
            let name = if index + 1 == self.logs.len() { "edb.log" } else { name };
            fs::write(folder.join(name), bytes).expect("a log");
        }
        fs::write(folder.join("edb.chk"), &self.checkpoint).expect("the checkpoint");
        // What the engine keeps for a full disk is no log.
        fs::write(folder.join("edbres00001.jrs"), vec![0; LOG]).expect("a reserved log");
    }

    /// Writes the files as a backup set has them. `map` are the three paths of its restore map.
    pub fn write_set(&self, set: &Path, map: [&str; 3]) {
        let folder = set.join("DataBase");
        fs::create_dir_all(&folder).expect("the folder of the set");
        fs::write(folder.join(self.database_name()), &self.database).expect("the database");
        for (name, bytes) in &self.logs {
            fs::write(folder.join(name), bytes).expect("a log");
        }
        let mut list: Vec<u16> = Vec::new();
        for (tag, path) in [0x44u16, 0x82, 0x83].into_iter().zip(map) {
            list.push(tag);
            list.extend(path.encode_utf16().chain([0]));
        }
        list.push(0);
        let bytes: Vec<u8> = list.into_iter().flat_map(u16::to_le_bytes).collect();
        fs::write(folder.join("certbkxp.dat"), bytes).expect("the restore map");
    }
}

/// Names and bytes of the files in a folder.
pub fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read =
        |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
    entries.map(|entry| read(entry.unwrap())).collect()
}

/// What a backup set of a CA must hold.
pub fn expected_set(made: &Made) -> BTreeMap<String, Vec<u8>> {
    let mut files: BTreeMap<String, Vec<u8>> = made.logs.iter().cloned().collect();
    files.insert(made.database_name(), made.database.clone());
    files
}

/// Text of a program, readable whatever it is.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs `undelfs certsrv` and returns its exit code and what it said.
pub fn certsrv<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> (i32, String, String) {
    let args = std::iter::once("certsrv".into()).chain(args.into_iter().map(|arg| arg.as_ref().to_owned()));
    let output = undelfs(args);
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}
