//! Ids between Rust and Python lists, sequences and numpy arrays.

pub(super) mod object_layout;

mod from_python;
mod repeated;
mod to_list;

pub(super) use from_python::{ids_of, with_reusable_buffers};
pub(super) use repeated::{list_of_repeated, list_of_runs};
pub(super) use to_list::IntObjects;
