/// The streams of the company's one device, each by its path and its id.
pub(super) const DEMO: [(&str, &str); 3] = [
    ("/demo/devices/gw1/temperature", "s65f0c1a24b5a8d2c0c3a5101"),
    ("/demo/devices/gw1/humidity", "s65f0c1a24b5a8d2c0c3a5102"),
    ("/demo/devices/gw1/location", "s65f0c1a24b5a8d2c0c3a5103"),
];

/// A stream of the company.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) id: String,
    pub(super) path: String,
}
