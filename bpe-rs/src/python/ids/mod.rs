//! Ids between Rust and Python lists, sequences and numpy arrays.

pub(super) mod object_layout;

mod from_python;
mod to_list;

pub(super) use from_python::{ids_of, with_reusable_buffers};
pub(super) use to_list::IntObjects;

/// How many list items ahead an `int` object is prefetched: the objects lie scattered in memory.
const PREFETCH_DISTANCE: usize = 32;
