//! The environment's variables.

use std::env;

use crate::settings::origin::{Given, Origin};
use crate::{Error, Result};

/// The first of the variables that is set and not empty.
///
/// # Errors
/// That its value is not UTF-8.
pub fn first(variables: &[&'static str]) -> Result<Option<Given>> {
    for &name in variables {
        match env::var(name) {
            Ok(value) if !value.is_empty() => {
                let origin = Origin::Variable(name);
                return Ok(Some(Given { value, origin }));
            }
            Err(env::VarError::NotUnicode(_)) => {
                return Err(Error::config(format!("{name} is not UTF-8")));
            }
            _ => {}
        }
    }
    Ok(None)
}
