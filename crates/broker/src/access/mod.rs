//! Who may come in, and as whom: users, their credentials and roles.
//!
//! [`Access`] is made from plain lists ([`AccessOptions`]) in one piece, checked and never changed;
//! another one takes its place ([`Broker::set_access`](crate::Broker::set_access)). It turns a
//! credential into a [`Principal`]: one for each credential, so that a session ends with the
//! credential that it came with. Without users everybody on this machine may do everything, and
//! nobody else anything.
//!
//! `credential.rs` hashes and compares, `backoff.rs` slows down who guesses, `gate.rs` is the way
//! through all of it, `revocation.rs` brings sessions in line with what may be done now.

mod backoff;
mod credential;
mod gate;
mod revocation;

use courant_engine::access::{Origin, Pattern};
use courant_engine::{Grant, Name, NameError, Operation, Operations, Principal};
use credential::{Digest, PasswordCheck};
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;

pub use credential::{Credentials, HashError, NewToken, hash_password, new_token};
pub(crate) use gate::Gate;
pub use revocation::Revoked;
pub(crate) use revocation::set;

/// A user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserOptions {
    /// Unique; 1 to 255 bytes without control characters.
    pub name: String,
    /// An argon2 hash as a PHC string, as [`hash_password`] makes it.
    pub password_hash: Option<String>,
    /// SHA-256 of each token, in hexadecimal, as [`new_token`] makes it.
    pub token_hashes: Vec<String>,
    /// What the user may do: names of roles.
    pub roles: Vec<String>,
}

/// What somebody with a role may do. Each list has patterns of names; see [`Pattern`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleOptions {
    /// Unique.
    pub name: String,
    /// The only namespace it is about; `None` means every one.
    pub namespace: Option<String>,
    /// Publish to these.
    pub publish: Vec<String>,
    /// Subscribe to these, claim and settle their messages, purge them.
    pub consume: Vec<String>,
    /// Declare, bind and delete these.
    pub configure: Vec<String>,
    /// Look at counts and options of these.
    pub inspect: Vec<String>,
}

/// All users and roles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessOptions {
    /// Users; none means that no credential exists.
    pub users: Vec<UserOptions>,
    /// Roles.
    pub roles: Vec<RoleOptions>,
}

/// Why users and roles cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AccessError {
    /// A user's name is no name.
    #[error("the user name {user:?} is not valid: {reason}")]
    UserName {
        /// As given.
        user: String,
        /// What is wrong with it.
        reason: NameError,
    },
    /// Two users have one name.
    #[error("the user {user:?} is there twice")]
    UserTwice {
        /// The name.
        user: String,
    },
    /// A user could never log in.
    #[error("the user {user:?} has neither a password hash nor a token hash")]
    NoCredential {
        /// Whose.
        user: String,
    },
    /// What is given as a password hash is none.
    #[error(
        "the password hash of the user {user:?} is not valid: {reason}; \
         `courant user hash` makes one"
    )]
    PasswordHash {
        /// Whose.
        user: String,
        /// What is wrong with it.
        reason: HashError,
    },
    /// What is given as a token's hash is none.
    #[error(
        "token hash {ordinal} of the user {user:?} is not the SHA-256 of a token: 64 hexadecimal \
         digits; `courant user token` makes both"
    )]
    TokenHash {
        /// Whose.
        user: String,
        /// Which, counted from 1.
        ordinal: usize,
    },
    /// One token would be two users.
    #[error("token hash {ordinal} of the user {user:?} is there twice")]
    TokenTwice {
        /// Whose.
        user: String,
        /// Which, counted from 1.
        ordinal: usize,
    },
    /// A user has a role that is not there.
    #[error("the user {user:?} has the role {role:?}, which does not exist")]
    NoSuchRole {
        /// Whose.
        user: String,
        /// Which.
        role: String,
    },
    /// Two roles have one name.
    #[error("the role {role:?} is there twice")]
    RoleTwice {
        /// The name.
        role: String,
    },
    /// A role's namespace is no name.
    #[error("the namespace {namespace:?} of the role {role:?} is not valid: {reason}")]
    Namespace {
        /// Whose.
        role: String,
        /// As given.
        namespace: String,
        /// What is wrong with it.
        reason: NameError,
    },
    /// A pattern is none.
    #[error("the pattern {pattern:?} in {list} of the role {role:?} is not valid: {reason}")]
    Pattern {
        /// Whose.
        role: String,
        /// In which of its lists.
        list: &'static str,
        /// As given.
        pattern: String,
        /// What is wrong with it.
        reason: NameError,
    },
}

/// Who may come in, and what each may do.
#[derive(Debug)]
pub struct Access {
    users: BTreeMap<String, User>,
    /// Digests of all tokens.
    tokens: Vec<(Digest, Arc<Principal>)>,
    /// What a password is compared with where there is no such user.
    nobody: PasswordCheck,
    anonymous: Arc<Principal>,
}

#[derive(Debug)]
struct User {
    password: Option<(PasswordCheck, Arc<Principal>)>,
}

impl Default for Access {
    fn default() -> Self {
        let anonymous = Principal { origin: Origin::Anonymous, ..Principal::unrestricted("") };
        Self {
            users: BTreeMap::new(),
            tokens: Vec::new(),
            nobody: PasswordCheck::of_nobody(),
            anonymous: Arc::new(anonymous),
        }
    }
}

impl Access {
    /// Checks users and roles.
    pub fn new(options: AccessOptions) -> Result<Self, AccessError> {
        let mut roles = BTreeMap::new();
        for role in options.roles {
            let grants = grants(&role)?;
            if roles.insert(role.name.clone(), grants).is_some() {
                return Err(AccessError::RoleTwice { role: role.name });
            }
        }
        let mut access = Self::default();
        for user in options.users {
            access.add(user, &roles)?;
        }
        // Nobody costs as much as somebody.
        let first = access.users.values().find_map(|user| user.password.as_ref());
        if let Some((check, _)) = first {
            access.nobody = check.clone();
        }
        Ok(access)
    }

    fn add(
        &mut self,
        options: UserOptions,
        roles: &BTreeMap<String, Vec<Grant>>,
    ) -> Result<(), AccessError> {
        let UserOptions { name: user, password_hash, token_hashes, roles: names } = options;
        if let Err(reason) = Name::check(user.as_bytes()) {
            return Err(AccessError::UserName { user, reason });
        }
        if self.users.contains_key(&user) {
            return Err(AccessError::UserTwice { user });
        }
        if password_hash.is_none() && token_hashes.is_empty() {
            return Err(AccessError::NoCredential { user });
        }
        let mut grants = Vec::new();
        for role in names {
            match roles.get(&role) {
                Some(of_role) => grants.extend_from_slice(of_role),
                None => return Err(AccessError::NoSuchRole { user, role }),
            }
        }
        let grants: Arc<[Grant]> = grants.into();
        let principal = |credential: Digest| {
            let (name, grants) = (user.clone(), Arc::clone(&grants));
            Arc::new(Principal { name, grants, origin: Origin::Credential(credential.0) })
        };
        let password = match password_hash {
            None => None,
            Some(hash) => {
                let digest = Digest::of_parts(&[b"password", hash.as_bytes()]);
                match PasswordCheck::new(&hash) {
                    Ok(check) => Some((check, principal(digest))),
                    Err(reason) => return Err(AccessError::PasswordHash { user, reason }),
                }
            }
        };
        for (i, hash) in token_hashes.iter().enumerate() {
            let ordinal = i + 1;
            let Some(digest) = Digest::from_hex(hash) else {
                return Err(AccessError::TokenHash { user, ordinal });
            };
            if self.tokens.iter().any(|(there, _)| *there == digest) {
                return Err(AccessError::TokenTwice { user, ordinal });
            }
            let principal = principal(Digest::of_parts(&[b"token", &digest.0]));
            self.tokens.push((digest, principal));
        }
        self.users.insert(user, User { password });
        Ok(())
    }

    /// Whether no credential exists.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Who somebody is now who was once let in; `None` if the credential is not valid any more.
    pub(crate) fn current(&self, principal: &Arc<Principal>) -> Option<Arc<Principal>> {
        match principal.origin {
            Origin::Process => Some(Arc::clone(principal)),
            Origin::Anonymous => self.is_empty().then(|| Arc::clone(&self.anonymous)),
            Origin::Credential(_) => {
                let user = self.users.get(&principal.name)?;
                let by_password = user.password.iter().map(|(_, principal)| principal);
                let by_token = self.tokens.iter().map(|(_, principal)| principal);
                let is_it = |other: &&Arc<Principal>| {
                    other.origin == principal.origin && other.name == principal.name
                };
                by_password.chain(by_token).find(is_it).cloned()
            }
        }
    }
}

/// What a role permits.
fn grants(role: &RoleOptions) -> Result<Vec<Grant>, AccessError> {
    let namespace = match &role.namespace {
        None => None,
        Some(name) => Some(Name::new(name.as_bytes()).map_err(|reason| {
            let (role, namespace) = (role.name.clone(), name.clone());
            AccessError::Namespace { role, namespace, reason }
        })?),
    };
    let lists = [
        ("publish", Operation::Publish, &role.publish),
        ("consume", Operation::Consume, &role.consume),
        ("configure", Operation::Configure, &role.configure),
        ("inspect", Operation::Inspect, &role.inspect),
    ];
    let mut grants: Vec<Grant> = Vec::new();
    for (list, operation, patterns) in lists {
        for text in patterns {
            let pattern = Pattern::new(text).map_err(|reason| {
                let (role, pattern) = (role.name.clone(), text.clone());
                AccessError::Pattern { role, list, pattern, reason }
            })?;
            if let Some(same) = grants.iter_mut().find(|grant| grant.pattern == pattern) {
                same.operations = same.operations.with(operation);
            } else {
                let operations = Operations::NONE.with(operation);
                grants.push(Grant { namespace: namespace.clone(), pattern, operations });
            }
        }
    }
    Ok(grants)
}
