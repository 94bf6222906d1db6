//! How to reach a broker, and who one is there.

use std::path::PathBuf;

use serde_json::{Map, Value};

/// How to connect.
///
/// ```
/// use courant_client::{Login, Options};
/// let options = Options::new("localhost:7530").login(Login::Token("secret".to_owned()));
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) address: String,
    pub(crate) tls: Option<Tls>,
    login: Option<Login>,
    namespace: Option<String>,
    client_id: Option<String>,
    pub(crate) window: WindowSize,
}

/// Who one is.
#[derive(Clone)]
pub enum Login {
    /// A user with a password.
    Password {
        /// The name of the user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Login(..)")
    }
}

/// TLS, and what to trust.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// A file with certificates in PEM; `None` is what the system trusts.
    pub ca: Option<PathBuf>,
}

/// How much may be published and not confirmed yet: whoever publishes more waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSize {
    /// Messages, at least one.
    pub messages: u32,
    /// Bytes of their payloads. A larger message goes alone.
    pub bytes: u32,
}

impl Default for WindowSize {
    /// 8,192 messages, 32 MiB.
    fn default() -> Self {
        Self { messages: 8192, bytes: 32 * 1024 * 1024 }
    }
}

impl Options {
    /// To a broker at `host:port`, without TLS and without a login.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            tls: None,
            login: None,
            namespace: None,
            client_id: None,
            window: WindowSize::default(),
        }
    }

    /// Behind TLS. The certificate has to be for the host of the address.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// As somebody.
    #[must_use]
    pub fn login(mut self, login: Login) -> Self {
        self.login = Some(login);
        self
    }

    /// In that namespace instead of `/`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// With a name that is shown to people.
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// The window of [`crate::Client::publish`]; a publisher has its own.
    #[must_use]
    pub fn window(mut self, window: WindowSize) -> Self {
        self.window = window;
        self
    }

    /// The object of CONNECT.
    pub(crate) fn json(&self) -> Vec<u8> {
        let mut object = Map::new();
        let mut set = |key: &str, value: &str| {
            object.insert(key.to_owned(), Value::from(value));
        };
        match &self.login {
            Some(Login::Password { user, password }) => {
                set("user", user);
                set("password", password);
            }
            Some(Login::Token(token)) => set("token", token),
            None => {}
        }
        if let Some(namespace) = &self.namespace {
            set("namespace", namespace);
        }
        if let Some(client_id) = &self.client_id {
            set("client_id", client_id);
        }
        Value::Object(object).to_string().into_bytes()
    }
}
