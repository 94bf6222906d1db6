//! The way in.
//!
//! A login, in this order: a source that guessed wrong too often is refused unseen; a password that
//! was right before is right again; a user about whom too many guessed wrong is refused; then the
//! password is hashed, few at a time, and looked at. Nobody can tell a user who is there from one
//! who is not: both are hashed, both are locked.

use super::Access;
use super::backoff::Backoff;
use super::credential::{Credentials, Digest, PasswordCheck};
use crate::worker;
use courant_engine::{Principal, Refusal};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::Semaphore;

/// Passwords that are hashed at a time: each takes a core and 19 MiB.
const HASHED_MAX: usize = 2;

/// Users as they are now, and what was guessed wrong.
#[derive(Debug)]
pub(crate) struct Gate {
    access: RwLock<Arc<Access>>,
    backoff: Mutex<Backoff>,
    hashing: Arc<Semaphore>,
    /// Of this process; what is remembered of right passwords is worth nothing elsewhere.
    key: [u8; 32],
    /// One change at a time.
    changing: Mutex<()>,
}

impl Gate {
    /// A gate that nobody has a key for.
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self {
            access: RwLock::default(),
            backoff: Mutex::default(),
            hashing: Arc::new(Semaphore::new(HASHED_MAX)),
            key,
            changing: Mutex::new(()),
        })
    }

    /// Users as they are now.
    pub(crate) fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts others in their place.
    pub(super) fn replace(&self, access: Arc<Access>) {
        *self.access.write().unwrap_or_else(PoisonError::into_inner) = access;
    }

    /// Held while users change.
    pub(super) fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn backoff(&self) -> MutexGuard<'_, Backoff> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets somebody in, or says why not. `now_ms` is asked when it is needed.
    pub(crate) async fn login(
        &self,
        credentials: &Credentials<'_>,
        source: IpAddr,
        now_ms: impl Fn() -> u64,
    ) -> Result<Arc<Principal>, Refusal> {
        let access = self.access();
        match *credentials {
            Credentials::None if access.is_empty() && source.to_canonical().is_loopback() => {
                Ok(Arc::clone(&access.anonymous))
            }
            Credentials::None => Err(Refusal::CredentialsRequired),
            _ if access.is_empty() => Err(Refusal::BadCredentials),
            Credentials::Token(token) => {
                if self.backoff().is_source_locked(source, now_ms()) {
                    return Err(Refusal::LockedOut);
                }
                let shown = Digest::of(token.as_bytes());
                // All are looked at, whichever it is.
                let mut found = None;
                for (digest, principal) in &access.tokens {
                    if *digest == shown {
                        found = Some(Arc::clone(principal));
                    }
                }
                self.conclude(found, (source, None), now_ms())
            }
            Credentials::Password { user, password } => {
                self.password(&access, (user, password), source, now_ms).await
            }
        }
    }

    async fn password(
        &self,
        access: &Access,
        (user, password): (&str, &str),
        source: IpAddr,
        now_ms: impl Fn() -> u64,
    ) -> Result<Arc<Principal>, Refusal> {
        let found = access.users.get(user).and_then(|user| user.password.as_ref());
        if self.backoff().is_source_locked(source, now_ms()) {
            return Err(Refusal::LockedOut);
        }
        if let Some((check, principal)) = found
            && check.is_known(&self.key, password)
        {
            return self.conclude(Some(Arc::clone(principal)), (source, Some(user)), now_ms());
        }
        // The gate is never closed.
        let permit = Arc::clone(&self.hashing).acquire_owned().await;
        let permit = permit.map_err(|_| Refusal::Closing)?;
        {
            // While this one waited, others may have guessed.
            let mut backoff = self.backoff();
            let now_ms = now_ms();
            if backoff.is_source_locked(source, now_ms) {
                return Err(Refusal::LockedOut);
            }
            if backoff.is_user_locked(user, now_ms) {
                backoff.failed(source, None, now_ms);
                return Err(Refusal::LockedOut);
            }
        }
        let check: PasswordCheck = found.map_or(&access.nobody, |(check, _)| check).clone();
        let (key, shown) = (self.key, password.to_owned());
        let is_right = worker::blocking(move || {
            let _permit = permit;
            check.verify(&key, &shown)
        });
        let is_right = is_right.await;
        let principal = found.filter(|_| is_right).map(|(_, principal)| Arc::clone(principal));
        self.conclude(principal, (source, Some(user)), now_ms())
    }

    /// Notes how it went.
    fn conclude(
        &self,
        principal: Option<Arc<Principal>>,
        (source, user): (IpAddr, Option<&str>),
        now_ms: u64,
    ) -> Result<Arc<Principal>, Refusal> {
        let mut backoff = self.backoff();
        if let Some(principal) = principal {
            backoff.succeeded(source, user);
            Ok(principal)
        } else {
            backoff.failed(source, user, now_ms);
            Err(Refusal::BadCredentials)
        }
    }
}
