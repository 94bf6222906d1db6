//! The JSON object of CONNECT.

use crate::excerpt::Excerpt;

/// What a client says of itself. Every field may be missing.
#[derive(Clone, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Login {
    /// The version of the protocol that the client speaks: `1` or `1.` and anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// A name for the connection, shown to people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// With `password`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// With `user`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Instead of user and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The namespace of all names; `/` if it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Messages that may be open at once in the whole session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credit: Option<u32>,
    /// The same in bytes of their bodies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credit_bytes: Option<u64>,
    /// Whether a command without `req:` gets an OK.
    pub verbose: bool,
}

/// Why the object of a CONNECT is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// It is no JSON.
    #[error("CONNECT is not followed by valid JSON: {reason}")]
    Syntax {
        /// What the parser says.
        reason: Excerpt,
    },
    /// A field is unknown, given twice, or of another type.
    #[error("a field of CONNECT is not valid: {reason}")]
    Field {
        /// What the parser says; names the field.
        reason: Excerpt,
    },
    /// A version of the protocol that this server does not speak.
    #[error("this server speaks version 1.0 of the text protocol, not \"{version}\"")]
    Version {
        /// What the client asked for.
        version: Excerpt,
    },
    /// A password without a user, a user without a password, or a token beside them.
    #[error("CONNECT takes either user and password, or token")]
    Credentials,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            version: None,
            client_id: None,
            user: None,
            password: None,
            token: None,
            namespace: None,
            credit: None,
            credit_bytes: None,
            verbose: true,
        }
    }
}

impl Login {
    /// Parses what [`super::Command::Connect`] borrowed; empty is the default.
    pub fn parse(json: &[u8]) -> Result<Self, LoginError> {
        if json.is_empty() {
            return Ok(Self::default());
        }
        let login: Self = serde_json::from_slice(json).map_err(|error| {
            let reason = Excerpt::from(error.to_string().as_bytes());
            if error.is_data() {
                LoginError::Field { reason }
            } else {
                LoginError::Syntax { reason }
            }
        })?;
        if let Some(version) = &login.version
            && version != "1"
            && !version.starts_with("1.")
        {
            return Err(LoginError::Version { version: Excerpt::from(version.as_bytes()) });
        }
        if login.user.is_some() != login.password.is_some()
            || login.user.is_some() && login.token.is_some()
        {
            return Err(LoginError::Credentials);
        }
        Ok(login)
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Login")
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("user", &self.user)
            .field("namespace", &self.namespace)
            .field("verbose", &self.verbose)
            .finish_non_exhaustive()
    }
}
