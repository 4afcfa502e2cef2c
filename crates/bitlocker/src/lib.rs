//! BitLocker volumes: FVE metadata, key protectors, sector decryption.
//!
//! A [`BitLocker`] is a volume whose metadata were read; with a [`Key`] it becomes an [`Unlocked`] one, which is a
//! `ReadAt` like every other layer and shows the volume as Windows presents it.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod bitlocker;
// Counters and indices of whole sectors, checked once for each call.
#[allow(clippy::arithmetic_side_effects)]
mod cipher;
mod datum;
mod eow;
mod guess;
mod information;
mod key;
mod layout;
mod locate;
mod protector;
mod recovery_password;
mod remnants;
mod secret;
mod unlock;
mod unlocked;
mod unseal;

pub use bitlocker::{BitLocker, Conversion, Facts};
pub use cipher::{Method, SectorCipher};
pub use key::{Key, StartupKey};
pub use locate::Located;
pub use protector::{Protector, ProtectorKind};
pub use recovery_password::RecoveryPassword;
pub use remnants::{Origin, Remnants};
pub use secret::Secret;
pub use undelfs_volume::Guid;
pub use unlocked::Unlocked;
