//! The files in `.undelfs/`: made when they are read.

use std::sync::{Arc, OnceLock};

use serde::Serialize;
use undelfs_source::ReadAt;

use crate::{
    Content, Context, Error,
    cache::CacheStatus,
    content::Plain,
    report::{Format, Rendering, overview},
};

/// The files, by their number less one. Of a volume whose files are not known there are only the first ones.
const NAMES: [&str; 5] = ["volume.img", "status.json", "report.txt", "catalogue.jsonl", "bodyfile.txt"];
const WITHOUT_FILES: usize = 3;

/// Size of `status.json` in bytes. Its content changes; that its size does not lets every program read it.
const STATUS_SIZE: usize = 4096;

/// The generated files of one context.
pub(crate) struct Generated {
    context: Arc<Context>,
    jsonl: Arc<OnceLock<Rendering>>,
    bodyfile: Arc<OnceLock<Rendering>>,
}

impl Generated {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, jsonl: Arc::default(), bodyfile: Arc::default() }
    }

    fn names(&self) -> &'static [&'static str] {
        let all = if self.context.catalogue().is_some() { NAMES.len() } else { WITHOUT_FILES };
        // The bytes of a locked volume are of no use to anybody, and would pass for the volume.
        let first = usize::from(self.context.is_locked());
        NAMES.get(first..all).unwrap_or_default()
    }

    /// The name of a file; files count from 1.
    pub(crate) fn name(&self, number: u16) -> Option<&'static str> {
        self.names().get(usize::from(number).checked_sub(1)?).copied()
    }

    /// The number of the file with this name.
    pub(crate) fn find(&self, name: &[u8]) -> Option<u16> {
        let index = self.names().iter().position(|known| known.as_bytes() == name)?;
        u16::try_from(index + 1).ok()
    }

    /// True for a file whose content changes.
    pub(crate) fn is_volatile(&self, number: u16) -> bool {
        self.name(number) == Some("status.json")
    }

    /// Size of a file in bytes.
    pub(crate) fn size(&self, number: u16) -> Result<u64, Error> {
        Ok(self.open(number)?.size())
    }

    /// Opens a file.
    pub(crate) fn open(&self, number: u16) -> Result<Arc<dyn Content>, Error> {
        let name = self.name(number).ok_or_else(|| Error::not_found(b"generated file"))?;
        Ok(match name {
            "volume.img" => Arc::new(Plain(self.context.bytes())),
            "status.json" => Arc::new(Plain(self.status()?)),
            "report.txt" => Arc::new(Plain(overview(&self.context).into_bytes())),
            "catalogue.jsonl" => self.rendered(&self.jsonl, Format::Jsonl),
            _ => self.rendered(&self.bodyfile, Format::Bodyfile),
        })
    }

    fn rendered(&self, lines: &Arc<OnceLock<Rendering>>, format: Format) -> Arc<dyn Content> {
        Arc::new(Lines { context: self.context.clone(), lines: lines.clone(), format })
    }

    fn status(&self) -> Result<Vec<u8>, Error> {
        let context = &*self.context;
        let status = Status {
            program: concat!("undelfs ", env!("CARGO_PKG_VERSION")),
            source: context.source_path().display().to_string(),
            volume: context.number(),
            file_system: context.content().to_string(),
            files: context.catalogue().map_or(0, |catalogue| catalogue.tree.shown()),
            records: context.facts().map_or(0, |facts| facts.records),
            closed: context.closed().map(|(_, reason)| reason),
            notes: context.notes().count(),
            cache: context.cache(),
        };
        let text = serde_json::to_vec_pretty(&status).map_err(std::io::Error::other)?;
        let mut text = text;
        text.resize(text.len().max(STATUS_SIZE - 1), b' ');
        text.push(b'\n');
        Ok(text)
    }
}

#[derive(Serialize)]
struct Status<'a> {
    program: &'static str,
    source: String,
    volume: u32,
    file_system: String,
    files: u64,
    records: u64,
    closed: Option<&'a str>,
    notes: usize,
    cache: CacheStatus,
}

/// A text about all files, of which only the part that is read is made.
struct Lines {
    context: Arc<Context>,
    lines: Arc<OnceLock<Rendering>>,
    format: Format,
}

impl Lines {
    fn catalogue(&self) -> Result<&crate::Catalogue, Error> {
        self.context.catalogue().map(|catalogue| &**catalogue).ok_or_else(|| Error::not_found(b"catalogue"))
    }

    fn rendering(&self) -> Option<&Rendering> {
        let catalogue = self.context.catalogue()?;
        Some(self.lines.get_or_init(|| Rendering::new(&self.context, catalogue, self.format)))
    }
}

impl Content for Lines {
    fn size(&self) -> u64 {
        self.rendering().map_or(0, Rendering::size)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Error> {
        let catalogue = self.catalogue()?;
        let Some(rendering) = self.rendering() else {
            return Ok(0);
        };
        let mut done = 0;
        while done < buf.len() && offset + (done as u64) < rendering.size() {
            let at = offset + done as u64;
            let (start, text) = rendering.part(&self.context, catalogue, at);
            let piece = buf.get_mut(done..).unwrap_or_default();
            match text.as_slice().read_at(piece, at - start)? {
                0 => break,
                read => done += read,
            }
        }
        Ok(done)
    }
}
