//! Ids between Rust and Python lists, sequences and numpy arrays.

pub(super) mod object_layout;

mod from_python;
mod to_list;

pub(super) use from_python::{ids_of, with_reusable_buffers};
pub(super) use to_list::IntObjects;
