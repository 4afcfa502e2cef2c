//! How the tree looks to Windows: names, patterns, attributes, links. Nothing here calls Windows; the mount does.

pub mod attributes;
pub mod names;
pub mod pattern;
pub mod reparse;
pub mod security;
