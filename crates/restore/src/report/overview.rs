use std::fmt::Write;

use undelfs_bitlocker::BitLocker;

use crate::{Confidence, Context, View, names::printable};

/// What a context has found, in one line.
pub(crate) fn summary(context: &Context) -> String {
    let name = printable(&context.name());
    let Some(catalogue) = context.catalogue() else {
        return format!("volume {name}: {}", context.closed().map_or("not scanned", |(_, reason)| reason));
    };
    let count = catalogue.count();
    let facts = catalogue.facts();
    let mut text = format!("volume {name} ({}): ", facts.kind);
    if catalogue.view() != View::Regular {
        let _ = write!(
            text,
            "{} deleted files and {} deleted folders",
            count.removed_files, count.removed_directories
        );
        let gone: u64 = Confidence::ALL
            .iter()
            .zip(count.confidence)
            .filter(|(value, _)| **value >= Confidence::Partial)
            .map(|(_, number)| number)
            .sum();
        if gone > 0 {
            let _ = write!(text, " ({gone} not in full)");
        }
    }
    if catalogue.view() != View::Deleted {
        let and = if catalogue.view() == View::All { " and " } else { "" };
        let _ = write!(text, "{and}{} files and folders that still exist", count.regular);
    }
    text
}

/// A page about a context, for people.
pub(crate) fn overview(context: &Context) -> String {
    let mut text = String::new();
    let volume = context.volume();
    let _ = writeln!(text, "undelfs {}\n", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(text, "Source:   {}", context.source_path().display());
    let _ = writeln!(
        text,
        "Volume:   {}, {} sectors of {} bytes from sector {} on, {}",
        volume.number, volume.sectors, volume.sector_size, volume.start_sector, volume.role
    );
    if let Some(number) = context.snapshot() {
        let _ = writeln!(text, "Snapshot: shadow copy {number}");
    }
    if let Some(facts) = context.encryption().and_then(BitLocker::facts) {
        let method = facts.method.map_or_else(String::new, |method| format!("{method}, "));
        let _ = writeln!(text, "BitLocker: {method}{}, identifier {}", facts.conversion, facts.identifier);
    }
    let Some(catalogue) = context.catalogue() else {
        let _ = writeln!(
            text,
            "\n{}",
            context.closed().map_or("The volume has not been scanned.", |(_, reason)| reason)
        );
        write_notes(context, &mut text);
        return text;
    };
    let facts = catalogue.facts();
    let _ = writeln!(
        text,
        "System:   {} {}, label \"{}\", serial {:016X}, {} clusters of {} bytes, {} records",
        facts.kind,
        facts.version,
        printable(&facts.label),
        facts.serial,
        facts.clusters,
        facts.bytes_per_cluster,
        facts.records
    );
    let _ = writeln!(text, "Found:    {}\n", summary(context));
    if catalogue.view() != View::Regular {
        let count = catalogue.count();
        let _ = writeln!(text, "Deleted files by confidence, before a look at their content:");
        for (value, number) in Confidence::ALL.iter().zip(count.confidence) {
            let _ = writeln!(text, "  {:<8} {number:>10}  {}", value.as_str(), meaning(*value));
        }
        let facts = catalogue.facts();
        let stored = count.clusters.saturating_mul(facts.bytes_per_cluster.into());
        let _ = writeln!(
            text,
            "Their sizes add up to {} bytes. {stored} bytes of clusters are theirs, on a volume of {}: holes and\n\
             compression make sizes larger than that, and clusters that several files had one after another count\n\
             for each.",
            count.bytes,
            facts.clusters.saturating_mul(facts.bytes_per_cluster.into()),
        );
        text.push('\n');
    }
    write_notes(context, &mut text);
    text
}

fn write_notes(context: &Context, text: &mut String) {
    let notes: Vec<&str> = context.notes().collect();
    let _ =
        writeln!(text, "{}", if notes.is_empty() { "No damage was met." } else { "Damage that was met:" });
    for note in notes {
        let _ = writeln!(text, "  - {note}");
    }
}

fn meaning(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Certain => "the content is inside the file's own record",
        Confidence::Likely => "its clusters are free, and no other file claims them",
        Confidence::Partial => "some of its clusters belong to other files by now; which, is declared",
        Confidence::Lost => "nothing of the content is left",
    }
}
