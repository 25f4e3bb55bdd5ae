use crate::error::Setting;
use crate::{Error, Result, Token};

/// The credentials of a session request.
///
/// ```
/// use octave_ws::{Credentials, Token};
///
/// let personal = Credentials::new("my_company", Token::new("secret")).user("my_user");
/// let restricted = Credentials::new("my_company", Token::new("secret"));
/// ```
#[derive(Clone, Debug)]
pub struct Credentials {
    pub(crate) user: Option<String>,
    pub(crate) company: String,
    pub(crate) token: Token,
}

/// A user or company is no longer: servers take headers of 8 KiB or so on the whole.
const LONGEST: usize = 4 << 10;

impl Credentials {
    /// Makes credentials of a company and a token, without a user: a restricted token needs none.
    pub fn new(company: impl Into<String>, token: Token) -> Self {
        Self {
            user: None,
            company: company.into(),
            token,
        }
    }

    /// Sets the user that the token belongs to. Default: none.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let user = self.user.as_deref().unwrap_or("none");
        let token = self.token.expose_secret();
        for (setting, name, value) in [
            (Setting::User, "user", user),
            (Setting::Company, "company", &self.company),
            (Setting::Token, "token", token),
        ] {
            if value.is_empty() {
                return Err(Error::config(format!("the {name} is empty")).about(setting));
            }
            if let Some(at) = value.chars().position(|c| c.is_control()) {
                let place = at + 1;
                let message = format!(
                    "the {name} has a control character at position {place}, which no header can contain"
                );
                return Err(Error::config(message).about(setting));
            }
            if setting != Setting::Token && value.len() > LONGEST {
                let length = value.len();
                let message = format!("the {name} is too long: {length} bytes, at most {LONGEST}");
                return Err(Error::config(message).about(setting));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_that_no_header_may_hold_are_refused_unseen() {
        let check = |company: &str, token: &str| {
            let credentials = Credentials::new(company, Token::new(token));
            credentials.check().map_err(|error| error.to_string())
        };
        assert_eq!(check("demo", "t"), Ok(()));
        let empty = "config: the token is empty".to_owned();
        assert_eq!(check("demo", " \n"), Err(empty));
        let control = "has a control character at position 2, which no header can contain";
        let company = format!("config: the company {control}");
        assert_eq!(check("d\r\nX: y", "t"), Err(company));
        assert_eq!(
            check("d", "a\nb"),
            Err(format!("config: the token {control}"))
        );
        let long = format!("config: the company is too long: 20000 bytes, at most {LONGEST}");
        assert_eq!(check(&"d".repeat(20_000), "t"), Err(long));
        let user = Credentials::new("d", Token::new("t")).user("");
        assert!(user.check().is_err());
    }
}
