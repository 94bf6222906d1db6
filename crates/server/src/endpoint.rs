//! Which broker a command talks to, and as whom: the options that all such commands share.

use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;
use courant_wire::text::Login;
use tokio::net::TcpStream;

use crate::destination::parse_bare_name;
use crate::transport::Transport;

/// A broker and the credentials for it.
#[derive(Args)]
pub(crate) struct Endpoint {
    /// The broker's native door
    #[arg(long, env = "COURANT_ADDR", default_value = crate::cmd::ADDRESS_DEFAULT)]
    pub(crate) addr: String,

    /// The namespace of all names
    #[arg(long, value_name = "NAME", env = "COURANT_NAMESPACE", default_value = "/")]
    #[arg(value_parser = parse_bare_name)]
    namespace: String,

    /// The user to log in as, with a password
    #[arg(long, value_name = "NAME", env = "COURANT_USER")]
    user: Option<String>,

    #[arg(long, env = "COURANT_PASSWORD", hide_env_values = true)]
    #[arg(
        help = "The user's password; others on this machine can read a command line, so better \
                  set COURANT_PASSWORD"
    )]
    password: Option<String>,

    #[arg(long, env = "COURANT_TOKEN", hide_env_values = true)]
    #[arg(help = "A token to log in with, instead of user and password; better set COURANT_TOKEN")]
    token: Option<String>,

    /// Talk TLS, and trust what this system trusts
    #[arg(long, env = "COURANT_TLS", value_parser = FalseyValueParser::new())]
    tls: bool,

    /// Talk TLS, and trust only the certificates in this PEM file
    #[arg(long, value_name = "FILE", env = "COURANT_CA")]
    ca: Option<PathBuf>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Makes of a socket to `address` what the options ask for.
    pub(crate) fn transport(&self, stream: TcpStream, address: &str) -> anyhow::Result<Transport> {
        if self.tls || self.ca.is_some() {
            Transport::secure(stream, address, self.ca.as_deref())
        } else {
            Ok(Transport::Plain(stream))
        }
    }

    /// What to say of a session that begins. A token goes before user and password.
    pub(crate) fn login(&self, client_id: &str) -> anyhow::Result<Login> {
        let mut login = Login {
            version: Some("1.0".to_owned()),
            client_id: Some(client_id.to_owned()),
            namespace: Some(self.namespace.clone()),
            ..Login::default()
        };
        match (&self.token, &self.user, &self.password) {
            (Some(token), _, _) => login.token = Some(token.clone()),
            (None, Some(user), Some(password)) => {
                login.user = Some(user.clone());
                login.password = Some(password.clone());
            }
            (None, Some(_), None) => {
                anyhow::bail!("a user without a password: set --password or COURANT_PASSWORD")
            }
            (None, None, Some(_)) => {
                anyhow::bail!("a password without a user: set --user or COURANT_USER")
            }
            (None, None, None) => {}
        }
        Ok(login)
    }
}
