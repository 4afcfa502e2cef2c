//! Extended attributes: what is known of a file beside what `stat` tells, and its named streams.
//!
//! Every file answers for every attribute by its name. In the list of a file of which nothing is gone stands only
//! its confidence: `cp -a` asks for each listed attribute of each file with two system calls, which for all of
//! them would take several times as long as to copy the files.

use std::{fmt::Write, ops::Range, sync::Arc};

use undelfs_volume::filesystem::{File, FileFlags};

use crate::{Catalogue, Confidence, Context, Error, confidence::Judgement, content::StreamState, report};

/// What our own attributes begin with.
const PREFIX: &str = "undelfs.";

/// Longest value that Linux allows an extended attribute, in bytes.
const MAX_VALUE: u64 = 64 << 10;
/// Bytes of a list of names, which Linux ends at 64 KiB, that named streams may fill.
const LIST_ROOM: usize = 60 << 10;
/// Longest name that Linux allows, in bytes, without `user.`.
const MAX_NAME: usize = 250;

/// What stands before the ranges of a stream on an encrypted volume of which nothing shows whether it was encrypted.
const UNCLEAR: &str = "unclear ";

/// One of our own attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Property {
    State,
    Confidence,
    Reason,
    ClustersUsed,
    ClustersInUse,
    Overwritten,
    Unencrypted,
    Record,
    Provenance,
    Created,
    DeletedBetween,
    Efs,
    Streams,
}

impl Property {
    const ALL: [Self; 13] = [
        Self::State,
        Self::Confidence,
        Self::Reason,
        Self::ClustersUsed,
        Self::ClustersInUse,
        Self::Overwritten,
        Self::Unencrypted,
        Self::Record,
        Self::Provenance,
        Self::Created,
        Self::DeletedBetween,
        Self::Efs,
        Self::Streams,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Confidence => "confidence",
            Self::Reason => "reason",
            Self::ClustersUsed => "clusters_used",
            Self::ClustersInUse => "clusters_in_use",
            Self::Overwritten => "overwritten",
            Self::Unencrypted => "unencrypted",
            Self::Record => "record",
            Self::Provenance => "provenance",
            Self::Created => "created",
            Self::DeletedBetween => "deleted_between",
            Self::Efs => "efs",
            Self::Streams => "streams",
        }
    }

    /// True where the attribute stands in the list of the file's attributes. `whole`: nothing of the file is gone.
    fn is_listed(self, of: &Subject<'_>, whole: bool) -> bool {
        match self {
            Self::Confidence | Self::Efs | Self::Streams => true,
            // To know all of it the file has to be read.
            Self::Unencrypted => {
                of.state().is_some_and(|state| of.context.begins_unencrypted(of.index, &state))
            }
            _ => !whole,
        }
    }

    /// The value; `None` where the file has none.
    fn value(self, of: &Subject<'_>) -> Result<Option<String>, Error> {
        let content = !of.file.flags.contains(FileFlags::DIRECTORY);
        Ok(match self {
            Self::State => Some(report::state(of.file).to_owned()),
            Self::Confidence => content.then(|| of.judge().confidence.as_str().to_owned()),
            Self::Reason => content.then(|| of.judge().to_string()),
            Self::ClustersUsed => content.then(|| of.file.clusters.to_string()),
            Self::ClustersInUse => content.then(|| of.catalogue.clusters_in_use(of.index).to_string()),
            Self::Overwritten if content && of.may_have_gone() => {
                let state = of.state();
                let ranges = state.as_ref().map_or(&[][..], |state| &state.overwritten);
                (!ranges.is_empty()).then(|| ranges_text(ranges, MAX_VALUE as usize))
            }
            Self::Overwritten => None,
            Self::Unencrypted => match of.state().filter(|_| content) {
                Some(state) => {
                    let (ranges, unclear) = of.context.unencrypted(of.index, &state)?;
                    let text = ranges_text(&ranges, MAX_VALUE as usize - UNCLEAR.len());
                    match unclear {
                        true => Some(format!("{UNCLEAR}{text}")),
                        false => Some(text).filter(|text| !text.is_empty()),
                    }
                }
                None => None,
            },
            Self::Record => Some(format!("{}-{}", of.catalogue.origin(of.file).1, of.file.generation)),
            Self::Provenance => {
                Some(report::provenance(of.catalogue.origin(of.file).0, of.file).into_owned())
            }
            Self::Created => Some(report::time(of.file.created)),
            Self::DeletedBetween => of.catalogue.deleted_between(of.index).map(|between| between.to_string()),
            Self::Efs => {
                let mut text = String::new();
                for entry in of.context.who_can_decrypt(of.catalogue, of.index) {
                    if text.len() < LIST_ROOM {
                        let _ = writeln!(text, "{} {entry}", entry.list.as_str());
                    }
                }
                Some(text.trim_end().to_owned()).filter(|text| !text.is_empty())
            }
            Self::Streams => of.other_streams()?,
        })
    }
}

/// What the attributes are asked of.
struct Subject<'a> {
    context: &'a Context,
    catalogue: &'a Catalogue,
    file: &'a File,
    index: u32,
    stream: usize,
}

impl Subject<'_> {
    /// How far the file can be trusted, by its content too: a look at it is taken where none was.
    fn judge(&self) -> Judgement {
        self.context.look(self.index);
        self.catalogue.judge(self.index)
    }

    /// True where some of the content may be gone; where not, no run needs to be looked at.
    fn may_have_gone(&self) -> bool {
        let split = FileFlags::DAMAGED | FileFlags::SEVERAL_RECORDS | FileFlags::BEYOND_END;
        !self.catalogue.untouched(self.index) || self.file.flags.intersects(split)
    }

    /// The stream, where it can be found.
    fn state(&self) -> Option<Arc<StreamState>> {
        let streams = self.context.streams(self.index).ok()?;
        let state = streams.get(self.stream)?;
        (self.stream > 0 || state.stream.name.is_empty()).then(|| state.clone())
    }

    /// Calls `each` with the named streams, where they are shown as attributes.
    fn named_streams(&self, mut each: impl FnMut(usize, &StreamState)) -> Result<(), Error> {
        let shown =
            self.file.flags.contains(FileFlags::NAMED_STREAMS) && !self.context.options().streams_as_files;
        if shown {
            for (number, state) in self.context.streams(self.index)?.iter().enumerate() {
                if !state.stream.name.is_empty() {
                    each(number, state);
                }
            }
        }
        Ok(())
    }

    /// The named streams that are no attributes, a line each: name, size, and what of it is overwritten.
    fn other_streams(&self) -> Result<Option<String>, Error> {
        let mut text = String::new();
        let mut room = LIST_ROOM;
        self.named_streams(|_, state| {
            if fits(state, &mut room) || text.len() > LIST_ROOM {
                return;
            }
            let name = String::from_utf8_lossy(&state.stream.name);
            let _ = write!(text, "{name} ({} bytes", state.stream.size);
            if !state.overwritten.is_empty() {
                let _ = write!(text, ", overwritten {}", ranges_text(&state.overwritten, 1024));
            }
            let how = if state.stream.refusal.is_some() {
                "cannot be read"
            } else {
                "mount with --streams files to read it"
            };
            let _ = writeln!(text, "; {how})");
        })?;
        text.truncate(text.trim_end().len());
        Ok((!text.is_empty()).then_some(text))
    }
}

/// True where a named stream can be an extended attribute: it is small, whole, and its name fits into what is left
/// of the list. A stream of which something is overwritten is none, because the value could not say so.
fn fits(state: &StreamState, room: &mut usize) -> bool {
    let name = &state.stream.name;
    let fits = state.stream.size <= MAX_VALUE
        && state.stream.refusal.is_none()
        && state.overwritten.is_empty()
        && name.len() <= MAX_NAME.min(*room)
        && !name.contains(&0)
        && !name.starts_with(PREFIX.as_bytes());
    if fits {
        *room = room.saturating_sub(name.len() + "user.".len() + 1);
    }
    fits
}

/// Byte ranges as `first-last`, both counted, separated by commas. A list that no attribute can hold ends in
/// `...`.
fn ranges_text(ranges: &[Range<u64>], room: usize) -> String {
    let mut text = String::new();
    for range in ranges {
        if text.len() + 64 > room {
            text.push_str(",...");
            break;
        }
        let comma = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{comma}{}-{}", range.start, range.end.saturating_sub(1));
    }
    text
}

fn subject<'a>(
    context: &'a Context,
    catalogue: &'a Catalogue,
    index: u32,
    stream: usize,
) -> Result<Subject<'a>, Error> {
    let file = catalogue.file(index).ok_or_else(|| Error::not_found(b"file"))?;
    Ok(Subject { context, catalogue, file, index, stream })
}

/// Every one of our own attributes that a file has, without [`PREFIX`].
pub(crate) fn own(
    context: &Context,
    catalogue: &Catalogue,
    index: u32,
    stream: usize,
) -> Result<Vec<(&'static str, String)>, Error> {
    let subject = subject(context, catalogue, index, stream)?;
    let mut own = Vec::new();
    for property in Property::ALL {
        // That a stream is no attribute says nothing where no stream is one.
        if property != Property::Streams
            && let Some(value) = property.value(&subject)?
        {
            own.push((property.name(), value));
        }
    }
    Ok(own)
}

/// Names of the attributes of a file.
pub(crate) fn names(
    context: &Context,
    catalogue: &Catalogue,
    index: u32,
    stream: usize,
) -> Result<Vec<Vec<u8>>, Error> {
    let subject = subject(context, catalogue, index, stream)?;
    let mut names = Vec::new();
    if subject.file.flags.contains(FileFlags::LINK) {
        // Linux lets nobody read the user attributes of a symbolic link; what is listed must be there.
        return Ok(names);
    }
    let whole = subject.judge().confidence <= Confidence::Likely && !subject.may_have_gone();
    for property in Property::ALL {
        // What was never encrypted is known only by reading the file, which a list must not take.
        let has = |property: Property| {
            Ok::<_, Error>(property == Property::Unencrypted || property.value(&subject)?.is_some())
        };
        if property.is_listed(&subject, whole) && has(property)? {
            names.push([PREFIX.as_bytes(), property.name().as_bytes()].concat());
        }
    }
    let mut room = LIST_ROOM;
    subject.named_streams(|_, state| {
        if fits(state, &mut room) {
            names.push(state.stream.name.clone());
        }
    })?;
    Ok(names)
}

/// The value of an attribute of a file.
pub(crate) fn value(
    context: &Context,
    catalogue: &Catalogue,
    index: u32,
    stream: usize,
    name: &[u8],
) -> Result<Option<Vec<u8>>, Error> {
    let subject = subject(context, catalogue, index, stream)?;
    if let Some(own) = name.strip_prefix(PREFIX.as_bytes()) {
        let property = Property::ALL.into_iter().find(|property| property.name().as_bytes() == own);
        return Ok(match property {
            Some(property) => property.value(&subject)?.map(String::into_bytes),
            None => None,
        });
    }
    let mut found = None;
    let mut room = LIST_ROOM;
    subject.named_streams(|number, state| {
        if fits(state, &mut room) && state.stream.name == name {
            found = Some((number, state.stream.size));
        }
    })?;
    let Some((number, size)) = found else {
        return Ok(None);
    };
    let content = context.open(index, number)?;
    let mut value = vec![0; usize::try_from(size).unwrap_or(0)];
    let read = content.read_at(&mut value, 0)?;
    value.truncate(read);
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_ranges_count_both_ends() {
        assert_eq!(ranges_text(&[0..4096, 8192..8193], 1000), "0-4095,8192-8192");
    }

    #[test]
    fn a_list_of_ranges_fits_an_attribute() {
        let ranges: Vec<Range<u64>> =
            (0..100_000).map(|i| (1 << 40) + i * 2..(1 << 40) + i * 2 + 1).collect();
        let text = ranges_text(&ranges, MAX_VALUE as usize);
        assert!(text.len() as u64 <= MAX_VALUE && text.ends_with(",..."));
    }
}
