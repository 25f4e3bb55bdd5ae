//! The sources of the settings, for errors about them.

use std::sync::{LazyLock, OnceLock};

use octave_ws::settings::SettingSources;

/// Set once for the process: a failure comes up far from where the settings were resolved.
static SOURCES: OnceLock<SettingSources> = OnceLock::new();

pub(crate) fn keep(sources: SettingSources) {
    // Settings are resolved once.
    let _ = SOURCES.set(sources);
}

/// Returns where each setting came from, once all are resolved.
pub(crate) fn setting_sources() -> &'static SettingSources {
    static NONE: LazyLock<SettingSources> = LazyLock::new(SettingSources::default);
    SOURCES.get().unwrap_or(&NONE)
}
