//! `undelfs demo`: the bundled image, mounted, with something to try.

use std::{
    fs, io,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    thread,
};

use flate2::read::GzDecoder;
use undelfs_restore::{Inode, NodeKind, Options, Tree};

use crate::{
    cli::{Chatter, DemoArgs, VolumeArgs, exit_code},
    failure::{Failure, notice},
    opening,
    output::{Output, write_failure},
    platform::{DEMO_ADVICE, Settings, mounting::Mounted, mountpoint, unmounting},
};

/// A small NTFS volume from which files were deleted; `images/README.md` says which.
const IMAGE: &[u8] = include_bytes!("../../images/demo.img.gz");

/// Folder that the demo makes in the working folder.
const FOLDER: &str = "undelfs-demo";

/// Entries of the tree that are listed.
const LISTED: usize = 60;

pub(crate) fn run(args: &DemoArgs, chatter: Chatter) -> Result<u8, Failure> {
    let scratch = tempfile::Builder::new()
        .prefix("undelfs-demo-")
        .tempdir()
        .map_err(|error| temporary_failure(&error))?;
    let image = scratch.path().join("demo.img");
    unpack(&image).map_err(|error| Failure::io("write the bundled image to", &image, &error))?;
    let tree = tree(&image, chatter)?;
    let found = tree.summary();
    let listing = listing(&tree)?;

    let folder = Folder::find(args.mountpoint.as_deref(), scratch.path())?;
    let full = mountpoint::check(&folder.path, &image)?;
    let settings =
        Settings { source: image.to_string_lossy().into_owned(), allow_other: false, direct_io: false };
    let mounted = match Mounted::new(tree, &full, &settings) {
        Ok(mounted) => mounted,
        Err(failure) => {
            print(&format!("{found}\n\n{listing}"))?;
            notice("this is what the mount would show, if it could be made");
            return Err(failure);
        }
    };
    let serving = thread::Builder::new()
        .name("mount".to_owned())
        .spawn(move || mounted.run())
        .map_err(|error| Failure::new(format!("cannot serve the mount: {error}")))?;
    let once = args.once || !io::stdin().is_terminal();
    let shown = show(&folder.path, &found, &listing, once);
    if (once || shown.is_err())
        && let Err(unmounting::Refused::Busy) = unmounting::unmount(&full, false)
    {
        // Something looked in just then, as desktop search does.
        let _ = unmounting::unmount(&full, true);
    }
    let served =
        serving.join().unwrap_or_else(|_| Err(Failure::new("the mount ended with an internal error")));
    shown.and(served).map(|()| exit_code::DONE)
}

fn show(folder: &Path, found: &str, listing: &str, once: bool) -> Result<(), Failure> {
    if once {
        let (files, bytes) = read_everything(folder).map_err(|error| Failure::io("read", folder, &error))?;
        return print(&format!(
            "{found}\n\n{listing}\nMounted on {}, read {files} files ({bytes} bytes) and unmounted.\n",
            mountpoint::quoted(folder)
        ));
    }
    print(&format!("{found}\n\n{listing}\n{}", advice(folder)))
}

fn advice(folder: &Path) -> String {
    let here = mountpoint::quoted(folder);
    format!(
        "Mounted on {here}. In another terminal, try:\n\
         \n\
         {}\n\
         Ctrl-C here unmounts it.\n",
        DEMO_ADVICE.replace("{}", &here)
    )
}

fn unpack(image: &Path) -> io::Result<()> {
    let mut file = fs::File::create_new(image)?;
    io::copy(&mut GzDecoder::new(IMAGE), &mut file)?;
    file.flush()
}

fn tree(image: &Path, chatter: Chatter) -> Result<Tree, Failure> {
    opening::tree(image, &VolumeArgs::default(), &Options::default(), chatter)
}

/// The tree as text: folders end in a slash, files say their size.
fn listing(tree: &Tree) -> Result<String, Failure> {
    let mut text = String::new();
    let mut lines = 0_usize;
    let mut waiting = vec![(Vec::new(), Inode::ROOT, 0_usize)];
    while let Some((name, inode, depth)) = waiting.pop() {
        let node = tree.attributes(inode)?;
        if depth > 0 {
            lines = lines.saturating_add(1);
            if lines > LISTED {
                text.push_str("    ...\n");
                break;
            }
            let name = String::from_utf8_lossy(&name);
            let indent = "    ".repeat(depth);
            text.push_str(&match node.kind {
                NodeKind::Directory => format!("{indent}{name}/\n"),
                NodeKind::File => format!("{indent}{name}  ({} bytes)\n", node.size),
                NodeKind::Link => format!("{indent}{name}@\n"),
            });
        }
        if node.kind != NodeKind::Directory || node.volatile {
            continue;
        }
        let mut children = Vec::new();
        tree.read_dir(inode, 0, &mut |entry| {
            if !matches!(entry.name, b"." | b".." | b".undelfs") {
                children.push((entry.name.to_vec(), entry.attributes.inode));
            }
            true
        })?;
        // The last one pushed is the next one listed.
        children.sort_by(|(a, _), (b, _): &(Vec<u8>, Inode)| b.cmp(a));
        waiting.extend(children.into_iter().map(|(name, inode)| (name, inode, depth.saturating_add(1))));
    }
    Ok(text)
}

/// Reads every file below `folder`: how many, and how many bytes.
fn read_everything(folder: &Path) -> io::Result<(u64, u64)> {
    let (mut files, mut bytes) = (0_u64, 0_u64);
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() && entry.file_name() != ".undelfs" {
                folders.push(entry.path());
            } else if kind.is_file() {
                let read = io::copy(&mut fs::File::open(entry.path())?, &mut io::sink())?;
                files = files.saturating_add(1);
                bytes = bytes.saturating_add(read);
            }
        }
    }
    Ok((files, bytes))
}

/// Where the demo is mounted; a folder that it made disappears with it.
struct Folder {
    path: PathBuf,
    made: bool,
}

impl Folder {
    fn find(wanted: Option<&Path>, scratch: &Path) -> Result<Self, Failure> {
        let wanted_or_here = wanted.unwrap_or(Path::new(FOLDER));
        match fs::create_dir(wanted_or_here) {
            Ok(()) => Ok(Self { path: wanted_or_here.to_owned(), made: true }),
            Err(_) if wanted.is_some() => Ok(Self { path: wanted_or_here.to_owned(), made: false }),
            Err(_) => {
                // Next to the image, not above it: a mount must not hide its own source.
                let path = scratch.join("mounted");
                fs::create_dir(&path).map_err(|error| temporary_failure(&error))?;
                Ok(Self { path, made: true })
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.made {
            // Not empty means still mounted or used by somebody: then it stays.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

fn temporary_failure(error: &io::Error) -> Failure {
    Failure::new(format!("cannot make a temporary folder for the bundled image: {error}; set TMPDIR to one"))
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = Output::new();
    let result = out.write_all(text.as_bytes()).map_err(|error| write_failure(&error));
    out.finish(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_image_unpacks_to_an_ntfs_volume_with_deleted_files() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("demo.img");
        unpack(&image).unwrap();
        let quiet = Chatter { verbose: 0, quiet: true };
        let text = listing(&tree(&image, quiet).unwrap()).unwrap();
        assert!(text.lines().count() > 3, "{text}");
    }

    #[test]
    fn a_folder_that_the_demo_made_is_removed_and_another_one_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (own, given) = (folder.path().join("own"), folder.path().join("given"));
        fs::create_dir(&given).unwrap();
        drop(Folder::find(Some(&own), folder.path()).unwrap());
        drop(Folder::find(Some(&given), folder.path()).unwrap());
        assert!(!own.exists() && given.exists());
    }
}
