//! Runs every target of `targets/` with random inputs: half a second each, or
//! `BPE_RS_RANDOM_SECONDS`. Each run has a new seed, which is printed when something fails;
//! `BPE_RS_RANDOM_SEED` repeats it.

mod targets;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::{Duration, Instant};

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }

    /// Random bytes, bytes of few values, or UTF-8; mostly short.
    fn input(&mut self) -> Vec<u8> {
        let len = match self.below(20) {
            0 => self.below(2000),
            1..4 => self.below(300),
            _ => self.below(60),
        };
        let kinds: Vec<u8> = (0..1 + self.below(6))
            .map(|_| self.below(256) as u8)
            .collect();
        match self.below(3) {
            0 => (0..len).map(|_| self.below(256) as u8).collect(),
            1 => (0..len).map(|_| kinds[self.below(kinds.len())]).collect(),
            _ => {
                let head = (0..8).map(|_| self.below(128) as u8).collect::<Vec<_>>();
                let body = (0..len).map(|_| self.character()).collect::<String>();
                [head, body.into_bytes()].concat()
            }
        }
    }

    fn character(&mut self) -> char {
        let bound = [0x80, 0x80, 0x250, 0x3100, 0x2_0000, 0x11_0000][self.below(6)];
        char::from_u32(self.below(bound) as u32).unwrap_or('\u{fffd}')
    }
}

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name}: expected a number, got {value:?}")),
    )
}

fn drive(name: &str) {
    let (_, target) = *targets::TARGETS
        .iter()
        .find(|target| target.0 == name)
        .unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let first = setting("BPE_RS_RANDOM_SEED").unwrap_or(now.as_nanos() as u64 % 1_000_000_007);
    let seconds = setting("BPE_RS_RANDOM_SECONDS").map_or(0.5, |seconds| seconds as f64);
    let (end, mut inputs) = (Instant::now() + Duration::from_secs_f64(seconds), 0);
    while inputs == 0 || Instant::now() < end {
        let seed = first + inputs;
        let input = Random(seed).input();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(&input))) {
            eprintln!("{name}: failed, repeat with BPE_RS_RANDOM_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
        inputs += 1;
    }
    println!("{name}: {inputs} inputs from seed {first}");
}

macro_rules! tests {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            drive(stringify!($name));
        })*

        #[test]
        fn every_target_is_driven() {
            let names: Vec<_> = targets::TARGETS.iter().map(|target| target.0).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

tests! { scan encode own decode files header tokenizer_json rank_files }
