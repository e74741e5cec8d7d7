//! Files.

pub mod idfile;
