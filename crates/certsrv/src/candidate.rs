//! Files that could belong to a CA, and the CAs that they make.

use std::collections::BTreeMap;

use crate::{
    Authority, CaFile, Found, Log, Places,
    ese::{Checkpoint, Database, HEADER, Header, LOG_HEADER, LogHeader, log_generation},
    hive::Configuration,
    windows_path::below_drive,
};

/// Most CAs that are looked for on one source.
const MAX_AUTHORITIES: usize = 256;
/// Tables that only the database of a CA has.
const CA_TABLES: [&str; 2] = ["Certificates", "Requests"];

/// A file that could belong to a CA.
pub(crate) struct Candidate {
    /// The names of the folders that it stands in, from the root of its volume, and its own.
    pub(crate) names: Vec<String>,
    pub(crate) file: CaFile,
    pub(crate) kind: Kind,
}

/// What it is by its first bytes, or by its name.
pub(crate) enum Kind {
    Database,
    Log(Option<LogHeader>, u32),
    Checkpoint(Checkpoint),
    /// A list of revoked certificates in the folder from which a CA publishes them.
    Published,
}

impl Candidate {
    /// What a file is, of which `begin` are the first bytes. `None` for one that cannot belong to a CA.
    pub(crate) fn new(names: Vec<String>, file: CaFile, begin: &[u8]) -> Option<Self> {
        let name = names.last()?;
        let kind = if begin.len() >= HEADER && Header::is_one(begin) {
            Kind::Database
        } else if let Ok(header) = LogHeader::parse(begin, 0)
            && header.sound
        {
            let temporary = name.eq_ignore_ascii_case("edbtmp.log");
            if header.reserve || temporary {
                return None;
            }
            let generation = header.generation;
            Kind::Log(Some(header), generation)
        } else if let Some(checkpoint) = Checkpoint::parse(begin).filter(|checkpoint| checkpoint.sound) {
            Kind::Checkpoint(checkpoint)
        } else if let Some(generation) = log_generation(name) {
            Kind::Log(None, generation)
        } else {
            let published =
                names.iter().rev().nth(1).is_some_and(|folder| folder.eq_ignore_ascii_case("CertEnroll"));
            (published && name.to_ascii_lowercase().ends_with(".crl")).then_some(Kind::Published)?
        };
        Some(Self { names, file, kind })
    }

    /// Bytes that [`new`](Self::new) needs.
    pub(crate) const BEGIN: usize = LOG_HEADER;

    fn folder(&self) -> &[String] {
        self.names.split_last().map_or(&[], |(_, folder)| folder)
    }

    /// How good a file is among those that say the same.
    fn worth(&self, folders: &[&[String]]) -> (bool, bool, bool) {
        (folders.iter().any(|folder| same(self.folder(), folder)), !self.file.incomplete, !self.file.deleted)
    }
}

/// Whether two folders are one, in whichever case.
fn same<A: AsRef<str>, B: AsRef<str>>(one: &[A], other: &[B]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(a, b)| a.as_ref().eq_ignore_ascii_case(b.as_ref()))
}

fn names_of(path: &str) -> Vec<String> {
    below_drive(path).into_iter().map(str::to_owned).collect()
}

/// What was found on a source.
#[derive(Debug, Default)]
pub struct Discovery {
    /// The CAs, live ones first.
    pub authorities: Vec<Authority>,
    /// What belongs to none of them, and what could not be read, one sentence each.
    pub notes: Vec<String>,
}

/// Puts files together to CAs. `configuration` is what the registry says.
pub(crate) fn assemble(candidates: Vec<Candidate>, configuration: Option<&Configuration>) -> Discovery {
    let mut discovery = Discovery::default();
    let mut used = vec![false; candidates.len()];
    let default = names_of(crate::authority::DEFAULT_FOLDER);
    for (index, candidate) in candidates.iter().enumerate() {
        if !matches!(candidate.kind, Kind::Database) || discovery.authorities.len() >= MAX_AUTHORITIES {
            continue;
        }
        let database = match Database::open(candidate.file.bytes.clone()) {
            Ok(database) => database,
            Err(error) => {
                discovery.notes.push(format!("{}: {error}", candidate.file.path));
                continue;
            }
        };
        let stem = stem(candidate);
        let named = configuration.filter(|own| stem.as_deref().is_some_and(|stem| own.is_called(stem)));
        let in_place = named.is_some_and(|own| same(candidate.folder(), &names_of(&own.places.database)));
        let found = match (in_place, same(candidate.folder(), &default)) {
            (true, _) => Found::Registry,
            (false, true) => Found::DefaultFolder,
            (false, false) => Found::Content,
        };
        match is_authority(&database) {
            Ok(true) => {}
            Ok(false) => continue,
            // Its name or its place must say what its tables cannot.
            Err(error) if found != Found::Content => {
                discovery.notes.push(format!("{}: {error}", candidate.file.path));
            }
            Err(error) => {
                let path = &candidate.file.path;
                discovery.notes.push(format!("{path} is a database whose tables cannot be read: {error}"));
                continue;
            }
        }
        if let Some(own) = used.get_mut(index) {
            *own = true;
        }
        let authority = gather(candidate, database, found, stem, configuration, &candidates, &mut used);
        discovery.authorities.push(authority);
    }
    discovery.authorities.sort_by_key(|authority| (authority.file.deleted, authority.file.incomplete));
    let left = candidates.iter().zip(&used).filter(|(candidate, used)| {
        !**used && matches!(candidate.kind, Kind::Log(Some(_), _) | Kind::Checkpoint(_))
    });
    for (candidate, _) in left.take(undelfs_volume::filesystem::Scan::MAX_NOTES) {
        let what = if matches!(candidate.kind, Kind::Log(..)) { "a log" } else { "a checkpoint" };
        discovery.notes.push(format!("{} is {what} of no database that was found", candidate.file.path));
    }
    discovery
}

/// The name of the database without its extension; `None` where nothing tells it.
fn stem(candidate: &Candidate) -> Option<String> {
    let name = candidate.names.last()?;
    let (stem, extension) = name.rsplit_once('.')?;
    (extension.eq_ignore_ascii_case("edb") && !stem.is_empty()).then(|| stem.to_owned())
}

fn is_authority(database: &Database) -> Result<bool, crate::Error> {
    let (tables, _) = database.tables()?;
    Ok(CA_TABLES.iter().all(|name| tables.iter().any(|table| table.name.eq_ignore_ascii_case(name))))
}

fn gather(
    candidate: &Candidate,
    database: Database,
    found: Found,
    stem: Option<String>,
    configuration: Option<&Configuration>,
    all: &[Candidate],
    used: &mut [bool],
) -> Authority {
    let own = configuration.filter(|own| stem.as_deref().is_none_or(|stem| own.is_called(stem)));
    let places = match own {
        Some(own) => own.places.clone(),
        None => places_of(candidate),
    };
    let log_folder = names_of(&places.logs);
    let system_folder = names_of(&places.system);
    let folders = [candidate.folder(), log_folder.as_slice()];
    let mut best: BTreeMap<u32, (usize, Log)> = BTreeMap::new();
    let mut checkpoint: Option<(usize, &Candidate)> = None;
    let mut dynamic = Vec::new();
    for (index, other) in all.iter().enumerate() {
        match &other.kind {
            Kind::Log(header, generation) => {
                let ours = match header {
                    Some(header) => header.signature == database.header.log_signature,
                    // A damaged one is known by its place only.
                    None => folders.iter().any(|folder| same(other.folder(), folder)),
                };
                let better =
                    best.get(generation).and_then(|(index, _)| all.get(*index)).is_none_or(|known| {
                        let sound = |candidate: &Candidate| matches!(candidate.kind, Kind::Log(Some(_), _));
                        (sound(other), other.worth(&folders)) > (sound(known), known.worth(&folders))
                    });
                if ours {
                    mark(used, index);
                }
                if ours && better {
                    let log =
                        Log { generation: *generation, header: header.clone(), file: other.file.clone() };
                    best.insert(*generation, (index, log));
                }
            }
            Kind::Checkpoint(header) if header.signature == database.header.log_signature => {
                mark(used, index);
                let folders = [candidate.folder(), system_folder.as_slice()];
                if checkpoint.is_none_or(|(_, known)| other.worth(&folders) > known.worth(&folders)) {
                    checkpoint = Some((index, other));
                }
            }
            Kind::Published => dynamic.push(other.names.join(r"\")),
            _ => {}
        }
    }
    let signature = &database.header.signature;
    let name = stem
        .or_else(|| own.map(Configuration::file_stem))
        .unwrap_or_else(|| format!("CA-{:08X}", signature.random()));
    let computer = configuration
        .and_then(|configuration| configuration.computer.clone())
        .filter(|_| own.is_some())
        .or_else(|| signature.computer())
        .unwrap_or_else(|| "localhost".to_owned());
    let published = |path: String| crate::windows_path::unc(&computer, &format!(r"C:\{path}"));
    Authority {
        name,
        dynamic: dynamic.into_iter().map(published).collect(),
        computer,
        places,
        found,
        file: candidate.file.clone(),
        database,
        logs: best.into_values().map(|(_, log)| log).collect(),
        checkpoint: checkpoint.map(|(_, candidate)| candidate.file.clone()),
        map: None,
        notes: Vec::new(),
    }
}

fn mark(used: &mut [bool], index: usize) {
    if let Some(used) = used.get_mut(index) {
        *used = true;
    }
}

/// Where a database stood, as far as its own path tells it. A path through a folder that the tree has made tells nothing.
fn places_of(candidate: &Candidate) -> Places {
    let folder = candidate.folder();
    if folder.is_empty() || folder.first().is_some_and(|name| name.starts_with('$')) {
        return Places::default();
    }
    let folder = format!(r"C:\{}", folder.join(r"\"));
    Places { database: folder.clone(), logs: folder.clone(), system: folder }
}
