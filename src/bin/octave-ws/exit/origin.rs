//! Where the settings came from, for whoever has to mend one.

use std::sync::OnceLock;

use octave_ws::settings::Origins;

/// Of the process, as the settings are: a failure comes up far from where they were resolved.
static ORIGINS: OnceLock<Origins> = OnceLock::new();

pub(crate) fn keep(origins: Origins) {
    // Settings are resolved once.
    let _ = ORIGINS.set(origins);
}

/// None until all settings are resolved.
pub(crate) fn kept() -> &'static Origins {
    const NONE: &Origins = &Origins {
        endpoint: None,
        user: None,
        company: None,
        token: None,
        ca_file: None,
        proxy: None,
    };
    ORIGINS.get().unwrap_or(NONE)
}
