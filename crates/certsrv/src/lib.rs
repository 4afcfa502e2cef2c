//! Certificate Services: the files of a certification authority (CA), live or deleted, as a backup set; a backup session; a
//! restore session.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod error;
pub mod ese;
mod hresult;
mod text;

pub use error::Error;
pub use hresult::HResult;
