//! EFS, the encryption of single files on NTFS: the `$EFS` attribute, keys, decryption, the raw backup stream.
//!
//! [`Metadata`] says who can decrypt a file. A [`KeyRing`] unwraps its file encryption key, a [`Fek`], with which
//! [`Efs`] decrypts the file's streams. The formats are those of MS-EFSR; how streams are encrypted on disk, which no
//! document of Microsoft says, follows what ntfs-3g reads, and was compared with files that Windows wrote.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

// Counters and indices of whole blocks, checked once for each call.
#[allow(clippy::arithmetic_side_effects)]
mod cipher;
mod codec;
mod datum;
mod entry;
mod fek;
mod key;
mod key_file;
mod metadata;
pub mod raw;
mod ring;
mod sid;
mod text;

pub use cipher::{Cipher, UNIT};
pub use codec::Efs;
pub use entry::{Entry, List, Thumbprint, Wrapped};
pub use fek::{Algorithm, Fek};
pub use key::PrivateKey;
pub use key_file::{BadKeyFile, load};
pub use metadata::{MAX_METADATA, Metadata};
pub use ring::{KeyRing, Locked};
pub use sid::Sid;
