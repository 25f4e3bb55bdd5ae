use serde_json::{Value, json};

use super::stream::Stream;

/// Returns the `n`-th event, shaped like the documented one, of this date in milliseconds since the Unix
/// epoch.
pub(super) fn value(stream: &Stream, n: u64, date: u64, elems: &str) -> String {
    let editor = "i65f0c1a24b5a8d2c0c3a5001";
    let value = json!({
        "creationDate": date,
        "creatorId": editor,
        "elems": null,
        "generatedDate": date,
        "hash": null,
        "id": format!("e{:08x}{n:016x}", date / 1000),
        "lastEditDate": date,
        "lastEditorId": editor,
        "location": null,
        "metadata": null,
        "path": stream.path,
        "streamId": stream.id,
        "tags": {},
    });
    // Put in as they are, since no `Value` holds every number.
    let value = value.to_string();
    value.replacen(r#""elems":null"#, &format!(r#""elems":{elems}"#), 1)
}

pub(super) fn message(stream: &Stream, value: &str) -> String {
    let id = &stream.id;
    format!(r#"{{"type":"message","resource":"{id}","value":{value}}}"#)
}

/// Returns a plausible measurement.
pub(super) fn sample(path: &str, n: u64) -> Value {
    // Up and down within a hundred steps, which every float holds.
    let step = (n % 200).abs_diff(100);
    let step = f64::from(u8::try_from(step).unwrap_or_default());
    match path.rsplit('/').next() {
        Some("temperature") => json!({ "temperature": (200.0 + step) / 10.0 }),
        Some("humidity") => json!({ "humidity": (200.0 + step) / 5.0 }),
        Some("location") => json!({ "latitude": (48_800.0 + step) / 1000.0, "longitude": 2.3 }),
        _ => json!({ "value": step }),
    }
}
