//! The whole of an image, beside what the mount of Linux gives for it.
//!
//! `UNDELFS_WALK` names a folder with `image.img`, `nodes.jsonl`, in which a line says of each node of the Linux mount
//! (all files, streams as files) its path, kind, size, hash and where its content stands in `contents.bin`.

use std::{
    collections::BTreeMap,
    env,
    fmt::Write,
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use undelfs_restore::{
    Options, View,
    windows::names::{shown, to_utf16, tree_name},
};
use undelfs_source::Source;

use super::{
    Mounted,
    client::{Client, Facts},
    mount, units,
};

/// Programs that read at once.
const READERS: usize = 8;

/// Random reads, of all readers together.
const READS: usize = 100_000;

#[derive(Deserialize)]
struct Line {
    /// Bytes of the path in hexadecimal.
    path: String,
    /// `file`, `directory` or `link`.
    kind: String,
    size: u64,
    sha256: Option<String>,
    at: Option<u64>,
}

struct Expected {
    nodes: BTreeMap<Vec<u8>, Line>,
    contents: Vec<u8>,
}

fn folder() -> PathBuf {
    env::var_os("UNDELFS_WALK")
        .expect("UNDELFS_WALK: `cargo xtask windows` makes what this test reads")
        .into()
}

fn expected() -> Expected {
    let text = fs::read_to_string(folder().join("nodes.jsonl")).unwrap();
    let bytes = |hex: &str| {
        let digits = hex.as_bytes().chunks_exact(2);
        digits
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
            .collect::<Vec<u8>>()
    };
    let lines = text.lines().map(|line| serde_json::from_str::<Line>(line).unwrap());
    let nodes = lines.map(|line| (bytes(&line.path), line)).collect();
    Expected { nodes, contents: fs::read(folder().join("contents.bin")).unwrap() }
}

fn mounted() -> Mounted {
    let source = Source::open(&folder().join("image.img")).unwrap();
    mount(Arc::new(source), &Options { view: View::All, ..Options::default() })
}

/// The path on Windows of one in the Linux mount.
fn windows_path(path: &[u8]) -> Vec<u16> {
    let mut out = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        out.push(u16::from(b'\\'));
        out.extend(shown(name));
    }
    out
}

fn hash_of(client: &Client, path: &[u16]) -> (u64, String) {
    let handle =
        client.open(path).unwrap_or_else(|status| panic!("{}: {status:#x}", String::from_utf16_lossy(path)));
    let mut hash = Sha256::new();
    let size = client.read_all(&handle, &mut |piece| hash.update(piece)).unwrap();
    assert_eq!(size, handle.facts.size, "{}", String::from_utf16_lossy(path));
    client.close(&handle);
    let mut text = String::new();
    hash.finalize().iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
    (size, text)
}

/// All nodes below the root, by the paths that they have on Linux.
fn walk(client: &Client) -> BTreeMap<Vec<u8>, (Vec<u16>, Facts)> {
    let found = Mutex::new(BTreeMap::new());
    let waiting = Mutex::new(vec![(Vec::new(), Vec::new())]);
    let busy = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                loop {
                    let next = {
                        let mut waiting = waiting.lock().unwrap();
                        let next = waiting.pop();
                        if next.is_some() {
                            busy.fetch_add(1, Ordering::SeqCst);
                        }
                        next
                    };
                    let Some((path, linux)) = next else {
                        if busy.load(Ordering::SeqCst) == 0 {
                            return;
                        }
                        thread::yield_now();
                        continue;
                    };
                    let here = if path.is_empty() { units(r"\") } else { path.clone() };
                    let handle = client.open(&here).unwrap();
                    // A small buffer, so that a directory takes several requests.
                    for (name, facts) in client.list(&handle, None, 2048) {
                        if name == units(".") || name == units("..") {
                            continue;
                        }
                        let path: Vec<u16> = [&path[..], &[u16::from(b'\\')], &name].concat();
                        let mut linux: Vec<u8> = linux.clone();
                        if !linux.is_empty() {
                            linux.push(b'/');
                        }
                        linux.extend(tree_name(&name));
                        if facts.attributes & 0x410 == 0x10 {
                            waiting.lock().unwrap().push((path.clone(), linux.clone()));
                        }
                        found.lock().unwrap().insert(linux, (path, facts));
                    }
                    client.close(&handle);
                    busy.fetch_sub(1, Ordering::SeqCst);
                }
            });
        }
    });
    found.into_inner().unwrap()
}

#[test]
fn the_whole_tree_has_the_names_sizes_and_hashes_of_the_linux_mount() {
    let expected = expected();
    let mounted = mounted();
    let client = &mounted.client;
    let found = walk(client);
    let nodes: Vec<(&Vec<u8>, &Line)> = expected.nodes.iter().collect();
    let next = AtomicUsize::new(0);
    let (files, streams) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                while let Some((path, line)) = nodes.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let shown = String::from_utf8_lossy(path);
                    let sum = line.sha256.as_deref();
                    let Some((windows, facts)) = found.get(*path) else {
                        // A stream, which is no file here.
                        let colon = path.iter().rposition(|byte| *byte == b':');
                        let colon = colon.unwrap_or_else(|| panic!("{shown} is missing"));
                        let (host, stream) = path.split_at(colon);
                        assert!(found.contains_key(host), "{shown} is missing");
                        let windows = [&windows_path(host)[..], &to_utf16(stream)].concat();
                        let (size, hash) = hash_of(client, &windows);
                        assert_eq!((size, Some(&hash[..])), (line.size, sum), "{shown}");
                        streams.fetch_add(1, Ordering::SeqCst);
                        continue;
                    };
                    assert_eq!(*windows, windows_path(path), "{shown}");
                    match &*line.kind {
                        "directory" => assert_eq!(facts.attributes & 0x410, 0x10, "{shown}"),
                        "link" => assert_eq!(facts.attributes & 0x400, 0x400, "{shown}"),
                        _ => {
                            let (size, hash) = hash_of(client, windows);
                            assert_eq!((size, Some(&hash[..])), (line.size, sum), "{shown}");
                            assert_eq!(facts.size, size, "{shown}");
                            files.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
            });
        }
    });
    for path in found.keys() {
        assert!(expected.nodes.contains_key(path), "{} is too much", String::from_utf8_lossy(path));
    }
    let (files, streams) = (files.into_inner(), streams.into_inner());
    println!("{} nodes, {files} files and {streams} streams with {READERS} readers", found.len());
    assert!(files >= 500 && streams >= 50, "{files} files, {streams} streams");
}

#[test]
fn the_listed_streams_of_a_file_are_those_of_the_linux_mount() {
    let expected = expected();
    let mounted = mounted();
    let client = &mounted.client;
    let mut checked = 0;
    for (path, line) in expected.nodes.iter().filter(|(_, line)| line.kind == "file") {
        let mut theirs: Vec<(Vec<u16>, u64)> = expected
            .nodes
            .range([&path[..], b":"].concat()..[&path[..], b";"].concat())
            .map(|(stream, line)| (to_utf16(&stream[path.len() + 1..]), line.size))
            .collect();
        // Of very many only as many as fit are listed.
        if theirs.is_empty() || theirs.len() > 20 {
            continue;
        }
        let handle = client.open(&windows_path(path)).unwrap();
        let mut ours = client.streams(&handle).unwrap();
        client.close(&handle);
        assert_eq!(ours.remove(0), (Vec::new(), line.size));
        assert_eq!(ours.pop().map(|(name, _)| name), Some(units("undelfs")));
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs, "{}", String::from_utf8_lossy(path));
        checked += 1;
    }
    assert!(checked >= 10, "{checked}");
}

#[test]
fn random_reads_give_the_bytes_of_the_linux_mount() {
    let expected = expected();
    let mounted = mounted();
    let files: Vec<(&Vec<u8>, u64, u64)> = expected
        .nodes
        .iter()
        .filter(|(path, line)| line.kind == "file" && !path.contains(&b':') && line.size > 0)
        .map(|(path, line)| (path, line.size, line.at.unwrap()))
        .collect();
    thread::scope(|scope| {
        for reader in 0..READERS as u64 {
            let client = mounted.client.clone();
            let (files, contents) = (&files, &expected.contents);
            scope.spawn(move || {
                // xorshift64*, so that each reader reads the same in every run.
                let mut state = 0x9E37_79B9_7F4A_7C15 ^ (reader + 1);
                let mut random = |below: u64| {
                    state ^= state >> 12;
                    state ^= state << 25;
                    state ^= state >> 27;
                    state.wrapping_mul(0x2545_F491_4F6C_DD1D) % below
                };
                let mut done = 0;
                while done < READS / READERS {
                    let (path, size, at) = files[random(files.len() as u64) as usize];
                    let handle = client.open(&windows_path(path)).unwrap();
                    for _ in 0..40 {
                        let offset = random(size);
                        let len = 1 + random(20_000);
                        let read = client.read(&handle, offset, len as usize).unwrap();
                        let wanted = len.min(size - offset);
                        let from = (at + offset) as usize;
                        assert!(read == contents[from..from + wanted as usize], "{offset} {len}");
                        done += 1;
                    }
                    client.close(&handle);
                }
            });
        }
    });
}
