//! Files, links and named streams: how each of them gets into DEST and into the manifest.

use std::{io, ops::Range, sync::atomic::Ordering};

use sha2::{Digest, Sha256};
use undelfs_restore::{
    Inode,
    copy::{self, Copied, NotCopied},
};
use undelfs_volume::filesystem::Watch;

use super::{
    listing::Node,
    manifest::{Entry, Restored},
    walk::{Job, Spot, Trouble, shown, stopped},
};
use crate::{
    failure::Failure,
    platform::place::{self, Identity},
};

/// What the scan says of a file, by the names of its `undelfs.*` extended attributes.
const FACTS: [&str; 10] = [
    "state",
    "confidence",
    "reason",
    "overwritten",
    "unencrypted",
    "clusters_used",
    "clusters_in_use",
    "record",
    "provenance",
    "created",
];

/// Beginning of the names, after `user.`, of the attributes in which a mount says what it knows of a file. A stream of
/// such a name would be taken for that.
const RESERVED_ATTRIBUTES: &[u8] = b"undelfs.";

/// Where the first name of a hard-linked file went, and what is said of any file.
pub(super) struct FirstCopy {
    path: Vec<u8>,
    identity: Option<Identity>,
    size: u64,
    sha256: [u8; 32],
    restored: Restored,
    unreadable: Vec<Range<u64>>,
    problem: Option<String>,
}

impl Job<'_> {
    pub(super) fn link(&mut self, spot: &Spot<'_>, node: &Node) -> Result<(), Trouble> {
        let target =
            self.tree.read_link(node.attributes.inode).map_err(|error| Trouble::Here(error.to_string()))?;
        spot.dir
            .link(&spot.name, &target, spot.replace)
            .map_err(|error| Trouble::Place("make the link", error))?;
        self.written.extend(spot.dir.identity(&spot.name).ok().flatten());
        let _ = spot.dir.set_times_of(&spot.name, &node.attributes);
        tracing::debug!("{} -> {}", shown(&spot.path), shown(&target));
        self.tally.files = self.tally.files.saturating_add(1);
        Ok(())
    }

    pub(super) fn file(&mut self, spot: &Spot<'_>, node: &Node) -> Result<(), Trouble> {
        let inode = node.attributes.inode;
        let content = self.tree.open(inode).map_err(|error| Trouble::Here(error.to_string()))?;
        let file = spot.dir.temporary().map_err(|error| Trouble::Place("make the file", error))?;
        let (progress, stop) = (self.progress, &self.stop);
        let mut advance = |bytes| {
            progress.advance(bytes);
            !stop.load(Ordering::Relaxed)
        };
        let copied = copy::copy(&*content, file.as_file(), &mut self.buffer, &mut advance).map_err(
            |error| match error {
                NotCopied::Content(error) => Trouble::Here(error.to_string()),
                NotCopied::Write(error) => Trouble::Place("write the file", error),
                NotCopied::Stopped => Trouble::Everywhere(stopped()),
            },
        )?;
        // A file with today's times is still the file.
        let _ = place::set_file_times(file.as_file(), &node.attributes);
        let identity = place::identity_of(file.as_file()).ok();
        spot.dir
            .name_file(file, &spot.name, spot.replace)
            .map_err(|error| Trouble::Place("name the file", error))?;
        self.written.extend(identity);

        let facts = self.facts(inode);
        let Copied { size, sha256, unreadable, problem } = copied;
        let restored =
            if problem.is_some() || tells_of_loss(&facts) { Restored::Partial } else { Restored::Full };
        if let Some(problem) = &problem {
            self.progress.notice(format!("{} is not complete: {problem}", shown(&spot.path)));
        }
        let path = spot.path.clone();
        let copy = FirstCopy { path, identity, size, sha256, restored, unreadable, problem };
        self.done(spot, &copy, &facts, None)?;
        if node.attributes.links > 1 {
            self.linked.insert(inode.0, copy);
        }
        Ok(())
    }

    /// Gives a file that stands in DEST already another name. False where that is not so, or not possible.
    pub(super) fn hard_link(&mut self, spot: &Spot<'_>, node: &Node) -> Result<bool, Trouble> {
        let Some(copy) = self.linked.remove(&node.attributes.inode.0) else {
            return Ok(false);
        };
        let first = self.destination.join(place::host_path(&copy.path));
        let made = copy.identity.is_some_and(|identity| {
            spot.dir.hard_link(&spot.name, &first, identity, spot.replace).unwrap_or(false)
        });
        if made {
            self.progress.advance(node.attributes.size);
            let facts = self.facts(node.attributes.inode);
            self.done(spot, &copy, &facts, None)?;
            self.linked.insert(node.attributes.inode.0, copy);
        }
        Ok(made)
    }

    /// Makes a named stream an extended attribute of the file at `spot`, whose path is the stream's. `stream` is its
    /// name after the file's, with the colon. False where it must become a file instead.
    pub(super) fn stream(&mut self, spot: &Spot<'_>, node: &Node, stream: &[u8]) -> Result<bool, Trouble> {
        let Some(name) = stream_name(stream) else {
            return Ok(false);
        };
        let Ok(content) = self.tree.open(node.attributes.inode) else {
            return Ok(false);
        };
        let Some(value) = copy::read_small(&*content, place::STREAM_MAX) else {
            return Ok(false);
        };
        if let Err(error) = spot.dir.set_stream(&spot.name, name, &value) {
            let path = shown(&spot.path);
            tracing::info!("{path} becomes a file, because DEST takes it as no attribute: {error}");
            return Ok(false);
        }
        let facts = self.facts(node.attributes.inode);
        let copy = FirstCopy {
            path: spot.path.clone(),
            identity: None,
            size: value.len() as u64,
            sha256: Sha256::digest(&value).into(),
            restored: if tells_of_loss(&facts) { Restored::Partial } else { Restored::Full },
            unreadable: Vec::new(),
            problem: None,
        };
        let host = spot.path.get(..spot.path.len().saturating_sub(stream.len()));
        self.done(spot, &copy, &facts, host)?;
        self.progress.advance(node.attributes.size);
        Ok(true)
    }

    /// What tells the file from others of its name: the number of its record.
    pub(super) fn record(&self, inode: Inode) -> String {
        let record = self.tree.xattr(inode, b"undelfs.record").ok().flatten();
        let digits = record.map(|value| {
            value.iter().take_while(|byte| byte.is_ascii_digit()).map(|&byte| char::from(byte)).collect()
        });
        digits.filter(|digits: &String| !digits.is_empty()).unwrap_or_else(|| "none".to_owned())
    }

    fn facts(&self, inode: Inode) -> Vec<(&'static str, String)> {
        let value = |name: &str| self.tree.xattr(inode, format!("undelfs.{name}").as_bytes()).ok().flatten();
        FACTS
            .into_iter()
            .filter_map(|name| Some((name, String::from_utf8_lossy(&value(name)?).into_owned())))
            .collect()
    }

    /// Counts a restored file and puts it into the manifest.
    fn done(
        &mut self,
        spot: &Spot<'_>,
        copy: &FirstCopy,
        facts: &[(&'static str, String)],
        attribute_of: Option<&[u8]>,
    ) -> Result<(), Trouble> {
        self.tally.files = self.tally.files.saturating_add(1);
        self.tally.bytes = self.tally.bytes.saturating_add(copy.size);
        if copy.restored != Restored::Full {
            self.tally.partial = self.tally.partial.saturating_add(1);
        }
        let entry = Entry {
            path: &spot.path,
            tree_path: &spot.tree_path,
            size: copy.size,
            restored: copy.restored,
            sha256: Some(copy.sha256),
            unreadable: &copy.unreadable,
            attribute_of,
            problem: copy.problem.as_deref(),
            facts,
        };
        self.manifest.add(&entry).map_err(|error| Trouble::Everywhere(self.manifest_failure(&error)))
    }

    pub(super) fn failed(
        &mut self,
        node: &Node,
        path: &[u8],
        tree_path: &[u8],
        problem: &str,
    ) -> Result<(), Failure> {
        self.tally.failed = self.tally.failed.saturating_add(1);
        self.progress.notice(format!("{} is not restored: {problem}", shown(path)));
        let entry = Entry {
            path,
            tree_path,
            size: node.attributes.size,
            restored: Restored::No,
            sha256: None,
            unreadable: &[],
            attribute_of: None,
            problem: Some(problem),
            facts: &self.facts(node.attributes.inode),
        };
        self.manifest.add(&entry).map_err(|error| self.manifest_failure(&error))
    }

    fn manifest_failure(&self, error: &io::Error) -> Failure {
        Failure::io("write the manifest in", self.destination, error)
    }
}

/// Whether the scan says that a part of the content is gone.
fn tells_of_loss(facts: &[(&'static str, String)]) -> bool {
    facts.iter().any(|(name, value)| match *name {
        "overwritten" => !value.is_empty(),
        "confidence" => matches!(value.as_str(), "partial" | "lost"),
        _ => false,
    })
}

/// The name in `:name`; `None` where DEST would have it for something else.
fn stream_name(stream: &[u8]) -> Option<&[u8]> {
    stream.strip_prefix(b":").filter(|name| !name.starts_with(RESERVED_ATTRIBUTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_stream_becomes_an_attribute_that_speaks_for_the_program() {
        assert_eq!(stream_name(b":Zone.Identifier"), Some(&b"Zone.Identifier"[..]));
        assert_eq!(stream_name(b":undelfs.confidence"), None);
        assert_eq!(stream_name(b":undelfs"), Some(&b"undelfs"[..]));
    }

    #[test]
    fn a_file_counts_as_not_in_full_when_the_scan_says_that_bytes_are_gone() {
        let fact = |name, value: &str| vec![(name, value.to_owned())];
        assert!(tells_of_loss(&fact("overwritten", "0-4095")));
        assert!(tells_of_loss(&fact("confidence", "partial")));
        assert!(!tells_of_loss(&fact("overwritten", "")));
        assert!(!tells_of_loss(&fact("confidence", "certain")));
        assert!(!tells_of_loss(&[]));
    }
}
