//! The environment's variables.

use std::env;

use crate::settings::source::{SettingSource, SettingValue};
use crate::{Error, Result};

/// Returns the first of the variables that is set and not empty.
///
/// # Errors
/// Fails if its value is not UTF-8.
pub fn first(variables: &[&'static str]) -> Result<Option<SettingValue>> {
    for &name in variables {
        match env::var(name) {
            Ok(value) if !value.is_empty() => {
                let source = SettingSource::Variable(name);
                return Ok(Some(SettingValue { value, source }));
            }
            Err(env::VarError::NotUnicode(_)) => {
                return Err(Error::config(format!("{name} is not UTF-8")));
            }
            _ => {}
        }
    }
    Ok(None)
}
