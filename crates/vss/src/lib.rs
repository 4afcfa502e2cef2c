//! Volume shadow copies: what the Volume Shadow Copy Service of Windows keeps of a volume in `System Volume Information`.
//!
//! [`Vss`] lists the shadow copies of a volume; a [`Snapshot`] is the volume as one of them has it, a `ReadAt` like every
//! other layer.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod block;
mod blocks;
mod catalogue;
mod descriptor;
mod information;
mod map;
mod search;
mod snapshot;
mod vss;

pub use information::{Attributes, Information};
pub use snapshot::{Gaps, Snapshot, Unkept};
pub use vss::{ShadowCopy, Vss};
