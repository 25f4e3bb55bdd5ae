//! The environment's variables.

use std::env;

use crate::exit::Failure;

/// The first of the variables that is set and not empty.
pub(crate) fn first(variables: &[&str]) -> Result<Option<String>, Failure> {
    for name in variables {
        match env::var(name) {
            Ok(value) if !value.is_empty() => return Ok(Some(value)),
            Err(env::VarError::NotUnicode(_)) => {
                return Err(Failure::config(format!("config: {name} is not UTF-8")));
            }
            _ => {}
        }
    }
    Ok(None)
}
