//! Seeds of the tests that draw at random: written down, so that a run repeats the one before.
#![allow(dead_code, reason = "each test takes what it needs")]

/// Returns the seed of `OCTAVE_TEST_SEED`, of a range the first one, else the one written down. Prints
/// it: the harness shows what a failing test has printed.
pub(crate) fn seed(written_down: u64) -> u64 {
    let seed = std::env::var("OCTAVE_TEST_SEED").map_or(written_down, |seeds| {
        let first = seeds.split("..").next().unwrap_or_default();
        first.parse().unwrap()
    });
    println!("to repeat it: OCTAVE_TEST_SEED={seed}");
    seed
}

/// Returns the configuration of a property test. `PROPTEST_CASES` overrides `cases`, and
/// `PROPTEST_RNG_SEED` the seed.
pub(crate) fn property(cases: u32) -> proptest::test_runner::Config {
    use proptest::test_runner::{Config, RngSeed};

    let default = Config::default();
    let cases = std::env::var("PROPTEST_CASES").map_or(cases, |_| default.cases);
    println!("with PROPTEST_CASES={cases}");
    Config {
        cases,
        rng_seed: match default.rng_seed {
            RngSeed::Random => RngSeed::Fixed(seed(1)),
            given @ RngSeed::Fixed(_) => given,
        },
        // A seed repeats a failure: nothing is written into the source tree.
        failure_persistence: None,
        ..default
    }
}

/// Numbers that come out the same for the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        // Knuth's MMIX generator.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}
