//! Tests across the crates of undelfs: makers of real NTFS images, oracles to compare with, and the program
//! itself, run as a user runs it.
//!
//! Images are made by `mkntfs` and written to by `ntfs-3g`, so nothing that undelfs believes about the format
//! goes into them. A [`recipe::Recipe`] and its seed say what an image holds; the [`manifest::Manifest`] that
//! comes with the image knows every byte of it.

pub mod big;
pub mod bitlocker;
pub mod certsrv;
pub mod check;
pub mod cheese;
pub mod content;
pub mod demo;
pub mod disk;
pub mod efs;
pub mod encrypted;
pub mod faulty;
pub mod fmapi;
pub mod guard;
pub mod journal;
pub mod manifest;
pub mod mft;
pub mod names;
pub mod ntfs3g;
pub mod overwrite;
pub mod picture;
pub mod plan;
pub mod program;
pub mod recipe;
pub mod recovery;
pub mod reparse;
pub mod terminal;
pub mod tools;
pub mod typed;
pub mod vss;
pub mod walk;
pub mod windows_made;
pub mod wof;
