//! Tells when this is built: a clock that reads an earlier time was never set.

use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    // https://reproducible-builds.org/specs/source-date-epoch/
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo::rerun-if-changed=build.rs");
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs());
    let built_at = match env::var("SOURCE_DATE_EPOCH") {
        Ok(given) => given.parse().expect("SOURCE_DATE_EPOCH is no Unix time"),
        Err(_) => now,
    };
    println!("cargo::rustc-env=BUILT_AT={built_at}");
}
