//! Raw backup streams: exported and imported by the program and by programs in C, of files of every shape, live and
//! deleted, beside `ntfsdecrypt`.
//!
//! Tests that are made of a case run the one of that name in `src/fmapi/contract_efs.c`, with the sanitizers.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use undelfs_tests::{
    efs::{self, Algorithm, Purpose, Shape, Shelf, Stored, User},
    fmapi::{How, Program, contract, example},
    guard,
    ntfs3g::{self, Format, Volume},
    program::{Tree, undelfs},
    tools, walk,
};

fn programs(kind: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("efs_raw").join(kind);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// The program that copies encrypted files, and the one with the cases.
static COPY: LazyLock<Program> =
    LazyLock::new(|| Program::compile(&example("efs_copy"), &programs("copy"), How::Sanitized));
static CASES: LazyLock<Program> =
    LazyLock::new(|| Program::compile(&contract("efs"), &programs("contract"), How::Sanitized));

fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) {
    let output = undelfs(args);
    assert!(output.status.success(), "{}", tools::said(&output));
}

/// What the program exports of each file.
fn exported(shelf: &Shelf, folder: &str) -> PathBuf {
    let folder = shelf.dir.path().join(folder);
    fs::create_dir(&folder).unwrap();
    for file in &shelf.files {
        let raw = folder.join(&file.name);
        run([
            "efs".as_ref(),
            "export".as_ref(),
            shelf.image.as_os_str(),
            file.name.as_ref(),
            raw.as_os_str(),
        ]);
    }
    folder
}

/// A second volume, and its image.
fn second(shelf: &Shelf, cluster: u32) -> PathBuf {
    let image = shelf.dir.path().join(format!("second {cluster}.img"));
    ntfs3g::format(&image, &Format { size: 40 << 20, cluster, sector: 512, label: "2".into() });
    image
}

/// Asserts that a file that was imported to `path` is the one that was exported.
fn assert_same(file: &Stored, path: &Path) {
    assert!(fs::read(path).unwrap() == file.content, "{}", file.name);
    if let Some(note) = &file.note {
        let stream = PathBuf::from(format!("{}:note", path.display()));
        assert!(fs::read(stream).unwrap() == *note, "the named stream of {}", file.name);
    }
}

/// Asserts that `image` has the files, read by us with the agent's key and by `ntfsdecrypt` with the user's.
fn assert_holds(shelf: &Shelf, image: &Path, whole: bool) {
    let args = [&shelf.key(&shelf.agent)[..], &["--view", "regular", "--streams", "files"]].concat();
    let tree = Tree::mount(image, &args);
    for file in &shelf.files {
        assert_same(file, &tree.join(&file.name));
        if Algorithm::OF_WINDOWS.contains(&file.algorithm) && (whole || file.suits_ntfsdecrypt()) {
            let found = efs::ntfsdecrypt(image, &file.name, &shelf.me);
            assert!(found == file.content, "ntfsdecrypt reads {} otherwise", file.name);
        }
    }
    tree.unmount();
}

#[test]
fn files_of_every_cipher_and_shape_are_plain_text_with_a_key_and_the_same_to_ntfsdecrypt() {
    let shelf = Shelf::new();
    assert_holds(&shelf, &shelf.image, false);
    shelf.delete_all();
    let args = [&shelf.key(&shelf.me)[..], &["--streams", "files"]].concat();
    let tree = Tree::mount(&shelf.image, &args);
    for file in &shelf.files {
        assert_same(file, &tree.join(shelf.deleted(tree.root(), file, "")));
    }
}

#[test]
fn what_is_exported_and_imported_to_a_second_volume_is_the_same_to_ntfsdecrypt() {
    let shelf = Shelf::new();
    let raw = exported(&shelf, "raw");
    // Clusters of the same size take the holes as they are.
    let same = second(&shelf, 1024);
    // The program fills those of larger ones with encrypted zeros, and then ntfsdecrypt reads all.
    let larger = second(&shelf, 4096);
    let volume = Volume::efs_raw(&same);
    let mut sparse = Vec::new();
    for file in shelf.files.iter().filter(|file| file.shape != Shape::Valid) {
        let (raw, target) = (raw.join(&file.name), volume.root().join(&file.name));
        COPY.run(["import".as_ref(), raw.as_os_str(), target.as_os_str()]);
        if file.shape == Shape::Sparse {
            sparse.push((&file.name, fs::metadata(&target).unwrap().ino()));
        }
    }
    for file in shelf.files.iter().filter(|file| file.shape == Shape::Valid) {
        let (raw, target) = (raw.join(&file.name), volume.root().join(&file.name));
        let output = COPY.command(["import".as_ref(), raw.as_os_str(), target.as_os_str()]).output().unwrap();
        // The end of what was written lies in a unit: without a key the rest of it cannot become zeros.
        assert_eq!((output.status.code(), &*output.stderr), (Some(1), &b"error 50\n"[..]));
        let key = [shelf.agent.pfx.as_os_str(), User::PASSWORD.as_ref()];
        COPY.run([&["import".as_ref(), raw.as_os_str(), target.as_os_str()][..], &key].concat());
    }
    volume.unmount();
    for (name, record) in sparse {
        assert!(efs::has_holes(&same, record), "{name} has lost its holes");
    }
    assert_holds(&shelf, &same, false);
    let volume = Volume::efs_raw(&larger);
    for file in &shelf.files {
        let (raw, target) = (raw.join(&file.name), volume.root().join(&file.name));
        let import = ["efs", "import", "--keep-encrypted", raw.to_str().unwrap(), target.to_str().unwrap()];
        run([&import[..], &shelf.key(&shelf.me)].concat());
    }
    volume.unmount();
    assert_holds(&shelf, &larger, true);
}

#[test]
fn a_deleted_file_is_exported_as_it_was_by_the_program_and_in_c() {
    let shelf = Shelf::new();
    let before = exported(&shelf, "before");
    shelf.delete_all();
    let tree = Tree::mount(&shelf.image, &["--view", "all"]);
    let (raw, plain) = (shelf.dir.path().join("raw"), shelf.dir.path().join("plain"));
    for file in &shelf.files {
        let path = shelf.deleted(tree.root(), file, "");
        let whole = fs::read(before.join(&file.name)).unwrap();
        for from in [shelf.image.join(&path), tree.join(&path)] {
            COPY.run(["export".as_ref(), from.as_os_str(), raw.as_os_str()]);
            assert!(fs::read(&raw).unwrap() == whole, "{}", from.display());
        }
        let key = [shelf.me.pfx.as_os_str(), User::PASSWORD.as_ref()];
        COPY.run([&["import".as_ref(), raw.as_os_str(), plain.as_os_str()][..], &key].concat());
        assert_same(file, &plain);
    }
}

#[test]
fn a_file_is_exported_alike_from_an_image_from_every_mount_and_from_ntfs_3g() {
    let shelf = Shelf::new();
    let raw = exported(&shelf, "raw");
    let out = shelf.dir.path().join("out");
    let key = shelf.key(&shelf.me);
    let plain = Tree::mount(&shelf.image, &[&key[..], &["--view", "regular"]].concat());
    let shown_raw = Tree::mount(&shelf.image, &["--view", "regular", "--efs", "raw"]);
    for file in &shelf.files {
        let expected = fs::read(raw.join(&file.name)).unwrap();
        let raw_name = format!("{}.efsraw", file.name);
        let places = [
            shelf.image.join(&file.name),
            // Upper and lower case are the same to NTFS.
            shelf.image.join(file.name.to_uppercase()),
            plain.join(&file.name),
            shown_raw.join(&file.name),
            shown_raw.join(&raw_name),
        ];
        for place in places {
            COPY.run(["export".as_ref(), place.as_os_str(), out.as_os_str()]);
            assert!(fs::read(&out).unwrap() == expected, "{}", place.display());
        }
        // It stands beside the file, and is not listed.
        assert!(fs::read(plain.join(&raw_name)).unwrap() == expected, "{raw_name}");
        let listed = fs::read_dir(plain.root()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(listed.into_iter().all(|name| name != *raw_name));
    }
    plain.unmount();
    shown_raw.unmount();
    let volume = Volume::efs_raw(&shelf.image);
    let target = shelf.dir.path().join("target");
    // It gives no file of which only the begin was written.
    for file in shelf.files.iter().filter(|file| file.shape != Shape::Valid) {
        COPY.run(["export".as_ref(), volume.root().join(&file.name).as_os_str(), out.as_os_str()]);
        if file.shape != Shape::Sparse {
            assert!(fs::read(&out).unwrap() == fs::read(raw.join(&file.name)).unwrap(), "{}", file.name);
        }
        let import = ["efs", "import", "--force", out.to_str().unwrap(), target.to_str().unwrap()];
        run([&import[..], &key].concat());
        assert_same(file, &target);
    }
    volume.unmount();
}

/// A small encrypted file with a named stream on a mounted volume, its raw backup stream, and a folder to make files in.
struct Desk {
    shelf: Shelf,
    tree: Tree,
    raw: PathBuf,
    folder: PathBuf,
    key: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let shelf = Shelf::new();
        let raw = shelf.dir.path().join("raw");
        let file = &shelf.files[Self::of(&shelf)];
        run([
            "efs".as_ref(),
            "export".as_ref(),
            shelf.image.as_os_str(),
            file.name.as_ref(),
            raw.as_os_str(),
        ]);
        let folder = shelf.dir.path().join("made");
        fs::create_dir(&folder).unwrap();
        let tree = Tree::mount(&shelf.image, &["--view", "regular"]);
        let key = shelf.me.pfx.clone();
        Self { shelf, tree, raw, folder, key }
    }

    fn of(shelf: &Shelf) -> usize {
        let wanted = |file: &Stored| file.algorithm == Algorithm::Aes256 && file.content.len() == 569;
        shelf.files.iter().position(wanted).unwrap()
    }

    fn file(&self) -> PathBuf {
        self.tree.join(&self.shelf.files[Self::of(&self.shelf)].name)
    }

    /// Runs a case with further arguments, and returns what it said.
    fn run<S: AsRef<OsStr>>(&self, program: &Program, name: &str, further: &[S]) -> String {
        let file = self.file();
        let known = [
            name.as_ref(),
            file.as_os_str(),
            self.raw.as_os_str(),
            self.folder.as_os_str(),
            self.key.as_os_str(),
            User::PASSWORD.as_ref(),
        ];
        let further = further.iter().map(AsRef::as_ref);
        String::from_utf8(program.run(known.into_iter().chain(further))).unwrap()
    }
}

macro_rules! rows {
    ($($name:ident)*) => { $(
        #[test]
        fn $name() {
            let desk = Desk::new();
            desk.run(&CASES, stringify!($name), &[&desk.shelf.image]);
        }
    )* };
}

rows! {
    export_gives_all_bytes_and_one_empty_piece_by_either_name
    a_context_is_for_its_own_direction_and_used_once
    what_is_no_context_is_an_invalid_handle
    null_pointers_and_empty_names_are_invalid_parameters
    an_error_of_the_callback_is_returned_and_nothing_is_made
    a_callback_that_gives_more_than_there_is_room_for_is_not_believed
    closing_in_a_callback_cancels_and_frees
    closing_in_another_thread_cancels_and_waits
    threads_export_and_import_side_by_side
}

#[test]
fn key_files_say_why_they_give_no_key() {
    let desk = Desk::new();
    let stranger = User::new(desk.shelf.dir.path(), "stranger", Purpose::User);
    desk.run(&CASES, "key_files_say_why_they_give_no_key", &[&stranger.pfx]);
}

#[test]
fn metadata_of_an_unknown_version_are_named_and_nothing_is_made() {
    let desk = Desk::new();
    let mut raw = fs::read(&desk.raw).unwrap();
    let metadata = parts(&raw)[1].0 + 16;
    assert_eq!(raw[metadata + 8], 2);
    raw[metadata + 8] = 6;
    let changed = desk.shelf.dir.path().join("changed");
    fs::write(&changed, raw).unwrap();
    desk.run(&CASES, "metadata_of_an_unknown_version_are_named_and_nothing_is_made", &[&changed]);
    let target = desk.folder.join("made");
    let import = ["efs", "import", changed.to_str().unwrap(), target.to_str().unwrap()];
    let output = undelfs([&import[..], &desk.shelf.key(&desk.shelf.me)].concat());
    undelfs_tests::program::assert_refused(&output, 1, &["version 6", "Rights Management"]);
}

#[test]
fn open_says_what_a_name_is_not() {
    let desk = Desk::new();
    desk.run(&CASES, "open_says_what_a_name_is_not", &[&desk.raw, &desk.shelf.image]);
}

#[test]
fn no_call_leaks_or_reads_beyond_its_bytes() {
    let mut desk = Desk::new();
    // Reading PKCS#12 makes tables that last as long as the process, which valgrind takes for leaks.
    desk.key = desk.shelf.me.key.clone();
    let cases = Program::compile(&contract("efs"), &programs("valgrind"), How::Valgrind);
    for name in [
        "export_gives_all_bytes_and_one_empty_piece_by_either_name",
        "a_context_is_for_its_own_direction_and_used_once",
        "closing_in_a_callback_cancels_and_frees",
        "what_is_no_context_is_an_invalid_handle",
    ] {
        assert_eq!(desk.run(&cases, name, &[&desk.shelf.image]), "");
        for left in fs::read_dir(&desk.folder).unwrap() {
            fs::remove_file(left.unwrap().path()).unwrap();
        }
    }
}

/// Runs a case with a folder on a volume that ntfs-3g has mounted with `efs_raw`, and no key; what it said.
fn on_second<S: AsRef<OsStr>>(
    desk: &Desk,
    file: &Path,
    name: &str,
    further: impl Fn(&Path) -> Vec<S>,
) -> String {
    let volume = Volume::efs_raw(&second(&desk.shelf, 4096));
    let folder = volume.root().join("made");
    fs::create_dir(&folder).unwrap();
    let known =
        [name.as_ref(), file.as_os_str(), desk.raw.as_os_str(), folder.as_os_str(), "".as_ref(), "".as_ref()];
    let further = further(&folder);
    let said = CASES.run(known.into_iter().chain(further.iter().map(AsRef::as_ref)));
    volume.unmount();
    String::from_utf8(said).unwrap()
}

#[test]
fn a_directory_is_exported_and_imported_with_its_flag() {
    let desk = Desk::new();
    let folder = desk.tree.join(desk.shelf.folder());
    on_second(&desk, &folder, "a_directory_is_exported_and_imported_with_its_flag", |_| Vec::<&str>::new());
    let tree = Tree::mount(&desk.shelf.dir.path().join("second 4096.img"), &["--view", "regular"]);
    let who = walk::xattr_text(&tree.join("made/folder"), "user.undelfs.efs");
    assert!(who.contains(&desk.shelf.me.thumbprint()), "{who}");
}

#[test]
fn hidden_and_read_only_files_are_replaced_only_as_windows_does() {
    let desk = Desk::new();
    on_second(
        &desk,
        &desk.file(),
        "hidden_and_read_only_files_are_replaced_only_as_windows_does",
        |folder| {
            let files = [("hidden", 2_u32), ("read-only", 1)];
            let make = |(name, attributes): (&str, u32)| {
                let path = folder.join(name);
                fs::write(&path, name).unwrap();
                let flags = rustix::fs::XattrFlags::empty();
                rustix::fs::setxattr(&path, "system.ntfs_attrib", &attributes.to_le_bytes(), flags).unwrap();
                path
            };
            files.into_iter().map(make).collect()
        },
    );
}

/// Where the parts of a raw backup stream begin, as its headers say, and what they are called.
fn parts(raw: &[u8]) -> Vec<(usize, [u8; 8])> {
    let mut parts = Vec::new();
    let mut at = 20;
    while at < raw.len() {
        let number = u32::from_le_bytes(raw[at..at + 4].try_into().unwrap());
        parts.push((at, raw[at + 4..at + 12].try_into().unwrap()));
        at += number as usize;
    }
    parts
}

#[test]
fn a_stream_cut_at_any_byte_is_not_export_format_and_leaves_nothing() {
    let desk = Desk::new();
    let name = "a_stream_cut_at_any_byte_is_not_export_format_and_leaves_nothing";
    let parts = parts(&fs::read(&desk.raw).unwrap());
    // Behind the header of the unnamed stream, its only segment, the header of the named one: a shorter file.
    let [_, _, _, first, ..] = parts[..] else { panic!("{parts:?}") };
    let between = parts.len() - 3;
    let said = desk.run(&CASES, name, &[first.0.to_string()]);
    assert_eq!(said.trim(), between.to_string());
    let said = on_second(&desk, &desk.file(), name, |_| vec![first.0.to_string()]);
    assert_eq!(said.trim(), between.to_string());
}

#[test]
fn a_stream_that_lies_is_not_export_format_and_leaves_nothing() {
    let desk = Desk::new();
    let raw = fs::read(&desk.raw).unwrap();
    let parts = parts(&raw);
    let starts: Vec<usize> = parts.iter().map(|(at, _)| *at).chain([raw.len()]).collect();
    let part = |number: usize| &raw[starts[number]..starts[number + 1]];
    let mut lies: Vec<Vec<u8>> = vec![b"".into(), b"ROBS".into(), vec![0; 5000]];
    // A byte of the magic, of each tag.
    for at in (0..12).chain(parts.iter().flat_map(|(at, _)| at + 4..at + 12)) {
        let mut lie = raw.clone();
        lie[at] ^= 0x20;
        lies.push(lie);
    }
    // A length that is too small, too large, by a little and by much.
    for at in &starts[..starts.len() - 1] {
        let length = u32::from_le_bytes(raw[*at..*at + 4].try_into().unwrap());
        for wrong in [0, 1, 11, length - 1, length + 1, length + 512, 0x7FFF_FFFF, u32::MAX] {
            let mut lie = raw.clone();
            lie[*at..*at + 4].copy_from_slice(&wrong.to_le_bytes());
            lies.push(lie);
        }
    }
    // The fields of an encryption header: offset, its own length, sizes, shift, format, number of blocks, block.
    let header = starts[3] + 16;
    for (at, wrong) in [
        (0, u64::MAX.to_le_bytes().to_vec()),
        (0, 1_u64.to_le_bytes().to_vec()),
        (8, u32::MAX.to_le_bytes().to_vec()),
        (8, 0_u32.to_le_bytes().to_vec()),
        (12, u32::MAX.to_le_bytes().to_vec()),
        (16, 570_u32.to_le_bytes().to_vec()),
        (20, vec![2, 0]),
        (22, vec![63]),
        (22, vec![8]),
        (25, vec![2]),
        (26, vec![0, 0]),
        (26, vec![0xFF, 0xFF]),
        (28, 513_u32.to_le_bytes().to_vec()),
        (28, u32::MAX.to_le_bytes().to_vec()),
    ] {
        let mut lie = raw.clone();
        lie[header + at..header + at + wrong.len()].copy_from_slice(&wrong);
        lies.push(lie);
    }
    // The length of the metadata, in themselves.
    let mut lie = raw.clone();
    lie[starts[1] + 16] ^= 1;
    lies.push(lie);
    // Parts in the wrong order, twice, of two streams in turns.
    let head = &raw[..20];
    for order in [
        &[1, 0, 2, 3][..],
        &[0, 2, 3],
        &[2, 3, 0, 1],
        &[0, 1, 3],
        &[0, 1, 2, 3, 3],
        &[0, 1, 2, 3, 2, 3],
        &[0, 1, 2, 4, 5, 2, 3],
        &[0, 1, 2, 4, 3, 2, 5],
        &[0, 1, 2, 3, 4, 5, 0, 1],
        &[0, 1, 4, 5],
        &[0, 1],
        &[0],
    ] {
        let lie: Vec<u8> = head
            .iter()
            .copied()
            .chain(order.iter().flat_map(|number| part(*number).iter().copied()))
            .collect();
        lies.push(lie);
    }
    let dir = guard::scratch();
    let files: Vec<PathBuf> = lies
        .iter()
        .enumerate()
        .map(|(number, lie)| {
            let path = dir.path().join(number.to_string());
            fs::write(&path, lie).unwrap();
            path
        })
        .collect();
    let name = "a_stream_that_lies_is_not_export_format_and_leaves_nothing";
    desk.run(&CASES, name, &files);
    on_second(&desk, &desk.file(), name, |_| files.clone());
    // The program says where, and what it expected.
    let target = desk.folder.join("made");
    for file in &files {
        let import = ["efs", "import", file.to_str().unwrap(), target.to_str().unwrap()];
        let output = undelfs([&import[..], &desk.shelf.key(&desk.shelf.me)].concat());
        undelfs_tests::program::assert_refused(&output, 1, &["raw backup stream"]);
        assert_eq!(fs::read_dir(&desk.folder).unwrap().count(), 0, "{}", file.display());
    }
}
