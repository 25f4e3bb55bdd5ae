//! The environment's variables.

use std::env;

use crate::exit::Failure;
use crate::exit::origin::{Given, Origin};

/// The first of the variables that is set and not empty.
pub(crate) fn first(variables: &[&'static str]) -> Result<Option<Given>, Failure> {
    for &name in variables {
        match env::var(name) {
            Ok(value) if !value.is_empty() => {
                let origin = Origin::Variable(name);
                return Ok(Some(Given { value, origin }));
            }
            Err(env::VarError::NotUnicode(_)) => {
                return Err(Failure::config(format!("config: {name} is not UTF-8")));
            }
            _ => {}
        }
    }
    Ok(None)
}
