//! Runs a target of `tests/targets` under libFuzzer: the one that `BPE_RS_TARGET` names, or the one
//! that the first byte of the input selects.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/targets/mod.rs"]
mod targets;

fuzz_target!(|data: &[u8]| {
    let named = std::env::var("BPE_RS_TARGET").ok();
    let chosen = match &named {
        Some(name) => targets::TARGETS.iter().find(|target| target.0 == name),
        None => data
            .first()
            .map(|&byte| &targets::TARGETS[usize::from(byte) % targets::TARGETS.len()]),
    };
    match (chosen, named) {
        (Some((_, run)), None) => run(&data[1..]),
        (Some((_, run)), Some(_)) => run(data),
        (None, None) => {}
        (None, Some(name)) => {
            panic!("BPE_RS_TARGET: expected a target of tests/targets, got {name}")
        }
    }
});
