//! The sources of the settings, for errors about them.

use std::sync::OnceLock;

use octave_ws::settings::SettingSources;

/// Set once for the process: a failure comes up far from where the settings were resolved.
static SOURCES: OnceLock<SettingSources> = OnceLock::new();

pub(crate) fn keep(sources: SettingSources) {
    // Settings are resolved once.
    let _ = SOURCES.set(sources);
}

/// Returns where each setting came from, once all are resolved.
pub(crate) fn setting_sources() -> &'static SettingSources {
    const NONE: &SettingSources = &SettingSources {
        endpoint: None,
        api: None,
        user: None,
        company: None,
        token: None,
        ca_file: None,
        proxy: None,
    };
    SOURCES.get().unwrap_or(NONE)
}
