#![no_main]

use std::collections::HashMap;

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

#[allow(dead_code, reason = "it is used here in part")]
#[path = "../../src/protocol/scanner.rs"]
mod scanner;

#[path = "../../tests/strict/mod.rs"]
mod strict;

fuzz_target!(|text: &str| {
    // In any cut: what came of a text before it was complete.
    for (end, _) in text.char_indices().take(64).chain([(text.len(), ' ')]) {
        check(&text[..end]);
    }
});

/// Two other parsers have the same opinion, and one finds the same.
fn check(text: &str) {
    let found = scanner::members(text, ["a", "b"]);
    let is_json = found != Err(scanner::Invalid::NotJson);
    assert_eq!(is_json, strict::is_json(text), "{text:?}");
    // serde_json has 128 levels, and no string for a lone surrogate.
    if let Ok(all) = serde_json::from_str::<HashMap<String, &RawValue>>(text) {
        let [a, b] = found.expect("an object");
        assert_eq!(a, all.get("a").map(|value| value.get()), "{text:?}");
        assert_eq!(b, all.get("b").map(|value| value.get()), "{text:?}");
    }
}
