//! Files as EFS encrypts them, made without our code: OpenSSL makes keys and certificates and wraps, other crates encrypt,
//! and ntfs-3g writes the bytes and the `$EFS` attribute to the volume (`efs_raw`).

mod cipher;
mod shelf;
mod user;

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

pub use cipher::{Algorithm, encrypt, encrypt_at};
pub use shelf::{Shape, Shelf, Stored, has_holes};
pub use user::{Purpose, User};

use crate::tools;

/// Name of the extended attribute with the `$EFS` attribute on a volume that is mounted with `efs_raw`.
const EFS: &str = "user.ntfs.efsinfo";

/// A file encryption key.
#[derive(Debug, Clone)]
pub struct Fek {
    /// Its cipher.
    pub algorithm: Algorithm,
    /// The key.
    pub key: Vec<u8>,
}

impl Fek {
    /// The key of a cipher that a seed gives.
    pub fn new(algorithm: Algorithm, seed: u64) -> Self {
        let mut key = vec![0; algorithm.key_len()];
        fastrand::Rng::with_seed(seed).fill(&mut key);
        Self { algorithm, key }
    }

    /// As it is wrapped: length, entropy in bytes as Windows writes it, cipher, a reserved word, the key.
    fn blob(&self) -> Vec<u8> {
        let len = self.key.len() as u32;
        let head = [len, len, self.algorithm.id(), 0];
        head.into_iter().flat_map(u32::to_le_bytes).chain(self.key.iter().copied()).collect()
    }
}

fn words(numbers: &[usize]) -> Vec<u8> {
    numbers.iter().flat_map(|number| u32::try_from(*number).expect("a field").to_le_bytes()).collect()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// An entry of a key list, laid out as Windows does it.
fn entry(user: &User, fek: &Fek) -> Vec<u8> {
    let names = [utf16(&format!("{}-container", user.name)), utf16("Provider"), utf16(&user.display())];
    let starts = [40, 40 + names[0].len(), 40 + names[0].len() + names[1].len()];
    let certificate =
        [words(&[20, 20, starts[0], starts[1], starts[2]]), user.thumbprint.to_vec(), names.concat()]
            .concat();
    let sid = User::SID;
    let start = 28 + sid.len();
    let key = [
        words(&[start + certificate.len(), 28, 3, certificate.len(), start, 0, 0]),
        sid.to_vec(),
        certificate,
    ]
    .concat();
    let wrapped = user.wrap(&fek.blob());
    let at = 20 + key.len();
    [words(&[at + wrapped.len(), 20, wrapped.len(), at, 0]), key, wrapped].concat()
}

/// The `$EFS` attribute of a file that these users and recovery agents can decrypt.
pub fn metadata(fek: &Fek, users: &[&User], agents: &[&User]) -> Vec<u8> {
    let list = |users: &[&User]| {
        let entries: Vec<u8> = users.iter().flat_map(|user| entry(user, fek)).collect();
        [words(&[users.len()]), entries].concat()
    };
    let (ddf, drf) = (list(users), list(agents));
    let drf_at = if agents.is_empty() { 0 } else { 84 + ddf.len() };
    let version = if fek.algorithm == Algorithm::Desx { 1 } else { 2 };
    let mut all = [words(&[0, 0, version, 0]), vec![0xA5; 16], vec![0; 32]].concat();
    all.extend(words(&[84, drf_at, 0, 0, 0]));
    all.extend(ddf);
    if !agents.is_empty() {
        all.extend(drf);
    }
    let length = words(&[all.len()]);
    all[..4].copy_from_slice(&length);
    all
}

/// A stream as a volume that is mounted with `efs_raw` takes it: encrypted to the end of its last 512 bytes, and how many of
/// them are too many.
pub fn stored(content: &[u8], fek: &Fek) -> Vec<u8> {
    if content.is_empty() {
        return Vec::new();
    }
    let mut bytes = content.to_vec();
    bytes.resize(content.len().next_multiple_of(512), 0);
    let padding = u16::try_from(bytes.len() - content.len()).expect("less than 512");
    encrypt(fek, &mut bytes);
    bytes.extend(padding.to_le_bytes());
    bytes
}

/// Writes an encrypted file to a volume that is mounted with `efs_raw`: its content, then named streams, then the metadata.
pub fn write(path: &Path, content: &[u8], streams: &[(&str, &[u8])], fek: &Fek, metadata: &[u8]) {
    fs::write(path, stored(content, fek)).expect("the encrypted bytes");
    for (name, content) in streams {
        let stream = format!("{}:{name}", path.display());
        fs::write(stream, stored(content, fek)).expect("the encrypted bytes of a stream");
    }
    seal(path, metadata);
}

/// Gives a file whose streams are stored as [`stored`] says its metadata, which makes it an encrypted one.
pub fn seal(path: &Path, metadata: &[u8]) {
    rustix::fs::setxattr(path, EFS, metadata, rustix::fs::XattrFlags::CREATE).expect("the metadata");
}

/// What `ntfsdecrypt` reads in a volume with a user's key.
///
/// # Panics
/// When it fails, with all that it said.
pub fn ntfsdecrypt(image: &Path, path: &str, user: &User) -> Vec<u8> {
    // Without a terminal it reads the password from standard input.
    let mut child = tools::tool("setsid")
        .args(["--wait", "ntfsdecrypt", "--force", "--keyfile"])
        .arg(&user.pfx)
        .args([image.as_os_str(), path.as_ref()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ntfsdecrypt");
    let mut input = child.stdin.take().expect("its input");
    input.write_all(format!("{}\n", User::PASSWORD).as_bytes()).expect("the password");
    drop(input);
    let output = child.wait_with_output().expect("its output");
    assert!(output.status.success(), "ntfsdecrypt of {path}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A command of OpenSSL.
fn openssl(args: &[&str]) -> Command {
    let mut command = tools::tool("openssl");
    command.args(args);
    command
}
