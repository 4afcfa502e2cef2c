//! How much comes back from formatted, damaged and worn volumes, and how far the program's word for it can be
//! trusted. Every test prints its figures: `cargo test -p undelfs-tests --test recovery -- --nocapture`.

use std::{collections::BTreeMap, path::Path};

use undelfs_tests::{
    check, guard,
    program::{self, Tree, undelfs},
    recipe::Recipe,
    recovery::{
        Known,
        damage::Damage,
        layout::{Change, Layout},
        links,
        shown::{Shown, percent},
        slack::{Entries, Place},
        trust::Tally,
        wear::{self, LiveSectors},
    },
    tools,
};

/// Files of every volume that is damaged.
const FILES: usize = 600;

/// Damages a volume. Every stream of which all is left comes back; so does the full path of at least 95 % of the
/// files of whose path all names are left, be it in FILE records or in index entries.
fn check_recovered(recipe: &Recipe, damage: Damage) {
    let dir = guard::scratch();
    let known = Known::make(recipe, dir.path());
    let copy = damage.copy(recipe, &known.image);
    let change = Change::read(&known.image, &copy);
    let left = change.left();
    let wanted = change.wanted(&known, &left);
    let files = known.manifest.files.len();
    assert!(wanted.len() > files * 3 / 4, "{} of {files} files are left: nothing is measured", wanted.len());

    // What stood on the volume before it was formatted counts as deleted, all of it.
    let view = if matches!(damage, Damage::QuickFormat(_)) { "deleted" } else { "all" };
    let tree = Tree::mount(&copy, &["--deep", "--view", view, "--streams", "files"]);
    let figures = Shown::read(tree.root()).measure(&wanted, &known.manifest);
    println!("{damage:?} over clusters of {} bytes, seed {}: {figures}", recipe.cluster, recipe.seed);
    let entries = Entries::read(&copy, &left);
    let mut pathless: BTreeMap<Option<Place>, Vec<&Path>> = BTreeMap::new();
    for file in &figures.pathless {
        let places = file.names.iter().filter_map(|name| entries.place(&known, &left, &name.path));
        pathless.entry(places.min()).or_default().push(file.path());
    }
    for (place, files) in &pathless {
        let place = place.map_or("nowhere".to_owned(), |place| format!("in {place:?}"));
        println!("  {} files without a path, which is {place}, as {:?}", files.len(), files[0]);
    }
    let possible = figures.files - pathless.get(&None).map_or(0, Vec::len);
    println!(
        "  full paths {} of {possible} possible ({})",
        figures.at_path,
        percent(figures.at_path, possible)
    );
    if matches!(damage, Damage::QuickFormat(_)) {
        check_declared(&known, &copy);
    }
    check::assert_none("streams", &figures.missing);
    assert!(figures.at_path * 100 >= possible * 95, "{figures}");
    check::assert_none("files where they never were", &figures.misplaced());
    assert_eq!(figures.unknown, 0, "{figures}");
}

/// What a format wrote over is declared, and no file of which a byte is gone is marked certain.
fn check_declared(known: &Known, image: &Path) {
    let mut all = Known { image: image.to_owned(), ..known.clone() };
    let names = all.manifest.files.iter_mut().flat_map(|file| &mut file.names);
    names.for_each(|name| name.removed = true);
    let live = LiveSectors::read(image, &Layout::read(image));
    let tally = Tally::of(&all, &live, &["--deep"]);
    println!("  {tally}");
    check::assert_none("certain", &tally.wrong);
    check::assert_none("bytes of what exists", &tally.leaks);
}

#[test]
fn a_quick_format_with_the_same_clusters_costs_only_what_it_wrote_over() {
    check_recovered(&Recipe::new(1401), Damage::QuickFormat(4096));
}

#[test]
fn a_quick_format_with_smaller_clusters_costs_only_what_it_wrote_over() {
    check_recovered(&Recipe::new(1402), Damage::QuickFormat(1024));
}

#[test]
fn a_quick_format_with_larger_clusters_costs_only_what_it_wrote_over() {
    check_recovered(&Recipe::new(1403), Damage::QuickFormat(65_536));
    check_recovered(&Recipe::new(1404).clusters_of(1024), Damage::QuickFormat(4096));
}

#[test]
fn without_both_boot_sectors_everything_else_comes_back() {
    check_recovered(&Recipe::new(1405), Damage::BootSectors);
}

#[test]
fn without_the_first_records_everything_else_comes_back() {
    check_recovered(&Recipe::new(1406), Damage::MftStart);
}

#[test]
fn without_the_first_records_and_their_mirror_everything_else_comes_back() {
    check_recovered(&Recipe::new(1407), Damage::MftStartAndMirror);
}

#[test]
fn without_boot_sectors_and_the_first_records_everything_else_comes_back() {
    check_recovered(&Recipe::new(1408), Damage::All);
}

#[test]
fn an_ordinary_scan_says_where_a_deep_search_would_help() {
    let dir = guard::scratch();
    let recipe = Recipe { files: 40, ..Recipe::new(1409) };
    let made = recipe.make(dir.path());
    let said = |image: &Path, more: &[&str]| {
        let mut scan = program::command();
        let output = tools::succeed(scan.arg("scan").arg(image).args(more));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let first = said(&made.image, &[]);
    assert!(first.contains("the volume was formatted on ") && first.contains("--deep"), "{first}");
    for quiet in ["--deep", "--quiet"] {
        assert_eq!(said(&made.image, &[quiet]), "", "{quiet}");
    }
    for damage in [Damage::BootSectors, Damage::MftStart, Damage::QuickFormat(4096)] {
        let copy = damage.copy(&recipe, &made.image);
        let output = undelfs(["scan".as_ref(), copy.as_os_str()]);
        assert!(tools::said(&output).contains("--deep"), "{damage:?}: {}", tools::said(&output));
    }
}

/// What is shown of volumes to which `new` files were written after half of their files were deleted, for each
/// number of files in `files`; plain and with `--deep`. Confidence is deserved, and no file got another one's name.
fn check_trust(first_seed: u64, files: &[usize], new: usize) {
    let mut tallies = [Tally::default(), Tally::default()];
    for (seed, files) in (first_seed..).zip(files) {
        let dir = guard::scratch();
        let part = files / FILES;
        let recipe = Recipe { files: *files, size: (part as u64 * 384) << 20, ..Recipe::new(seed) };
        let mut known = Known::make(&recipe, dir.path());
        wear::wear(&mut known, seed, new, (part * 150) << 20);
        let live = LiveSectors::read(&known.image, &Layout::read(&known.image));
        for (args, tally) in [&[][..], &["--deep"]].into_iter().zip(&mut tallies) {
            let own = Tally::of(&known, &live, args);
            println!("{new} files after the deletion of half of {files}, seed {seed}, {args:?}: {own}");
            tally.add(own);
        }
        let tree = Tree::mount(&known.image, &["--deep", "--streams", "files"]);
        let figures = Shown::read(tree.root()).measure(&[], &known.manifest);
        check::assert_none("files where they never were", &figures.misplaced());
    }
    for tally in tallies {
        println!("{new} files, all together: {tally}");
        let (marked, exact) = tally.certain();
        assert!(marked > 100, "only {marked} files are marked certain: nothing is measured");
        assert!(exact * 1000 >= marked * 999, "{exact} of {marked} are right: {:?}", tally.wrong);
        let (intact, trusted) = tally.trusted();
        assert!(trusted * 10 >= intact * 9, "{trusted} of {intact} intact files are trusted");
        check::assert_none("intact files that lost by a look at their content", &tally.wronged);
        check::assert_none("bytes of what exists", &tally.leaks);
    }
}

#[test]
fn confidence_is_deserved_after_100_files_were_written() {
    check_trust(1411, &[FILES; 3], 100);
}

#[test]
fn confidence_is_deserved_after_1000_files_were_written() {
    // Of three times as many files so many are deleted that the new ones take only a part of their records.
    check_trust(1414, &[FILES, FILES, 3 * FILES], 1000);
}

/// Every name that a FILE record or an index entry still holds is shown with its file, and the names of one file
/// share an inode; names that only index entries hold take `--deep`. Returns how many no record holds.
fn check_names(known: &Known) -> usize {
    let layout = Layout::read(&known.image);
    let held = Entries::read(&known.image, &layout).held(known, &layout);
    let all = known.manifest.deleted().flat_map(|file| &file.names).count();
    println!("{all} deleted names, {} of them held somewhere", held.len());
    let mut complaints = Vec::new();
    for args in [&[][..], &["--deep"]] {
        let tree = Tree::mount(&known.image, args);
        let shown = Shown::read(tree.root());
        let mut counts = BTreeMap::from(PLACES.map(|place| (place, [0, 0])));
        let mut inodes = BTreeMap::new();
        for name in &held {
            let file = &known.manifest.files[name.file];
            let inode = match &file.link {
                Some(_) => shown.at(&name.path).first().map(|item| item.inode),
                None => shown.exact(&name.path, &file.content()).map(|item| item.inode),
            };
            let [all, found] = counts.entry(name.place).or_default();
            *all += 1;
            *found += usize::from(inode.is_some());
            if let Some(inode) = inode {
                if *inodes.entry(name.file).or_insert(inode) != inode {
                    complaints.push(format!("{args:?} {:?}: another inode", name.path));
                }
            } else if name.place == Place::Record || !args.is_empty() {
                complaints.push(format!("{args:?} {:?} in {:?}: {:?}", file.kind, name.place, name.path));
            }
        }
        for (place, [all, found]) in counts {
            println!("  {args:?}: {found} of {all} in {place:?} ({})", percent(found, all));
        }
    }
    check::assert_none("names", &complaints);
    held.iter().filter(|name| name.place != Place::Record).count()
}

const PLACES: [Place; 3] = [Place::Record, Place::Index, Place::Remains];

#[test]
fn every_name_of_a_hard_link_that_index_slack_holds_comes_back() {
    let dir = guard::scratch();
    let known = links::make(&dir.path().join("links.img"), 1421, 300);
    let beyond_records = check_names(&known);
    assert!(beyond_records > 50, "only {beyond_records} names are in index slack: nothing is measured");
}

#[test]
fn a_name_that_the_deletion_wiped_out_of_its_record_comes_back_from_index_slack() {
    let dir = guard::scratch();
    let known = Known::make(&Recipe::new(1422), dir.path());
    let beyond_records = check_names(&known);
    assert!(beyond_records > 10, "only {beyond_records} names are in index slack: nothing is measured");
}
