//! Passwords and tokens: made, hashed, and compared in a time that does not depend on them.
//!
//! A password is checked against its argon2 hash, which is slow on purpose. Once it was right, a
//! digest of it under a key of this process is remembered, so that many clients of one user who
//! come back at once need not wait for each other; a wrong one is as slow as ever. A token has 256
//! bits of chance: its plain SHA-256 gives nothing away.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use sha2::{Digest as _, Sha256};
use std::fmt::{self, Write as _};
use std::sync::{Arc, OnceLock};
use subtle::ConstantTimeEq;
use thiserror::Error;

/// Most memory that checking one password may take, in KiB.
const MEMORY_KIB_MAX: u32 = 1 << 20;
/// Longest password that is looked at.
const PASSWORD_BYTES_MAX: usize = 1024;
/// A hash that no password is known for, with the usual cost.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5LW5vYm9keQ\
                      $AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What somebody shows to be let in.
#[derive(Clone, Copy)]
pub enum Credentials<'a> {
    /// Nothing.
    None,
    /// A name and its password.
    Password {
        /// The user's name.
        user: &'a str,
        /// Not its hash.
        password: &'a str,
    },
    /// A token, which says who it is.
    Token(&'a str),
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Password { user, .. } => write!(f, "Password of {user:?}"),
            Self::Token(_) => f.write_str("Token"),
        }
    }
}

/// Why a text is no usable hash of a password, or none could be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HashError {
    /// It is no PHC string.
    #[error("it is no PHC string such as $argon2id$v=19$m=19456,t=2,p=1$…$…")]
    Syntax,
    /// Another algorithm.
    #[error("only argon2id, argon2i and argon2d are known here")]
    Algorithm,
    /// Costs out of range.
    #[error("its costs are out of range: memory is at most 1 GiB")]
    Costs,
    /// The password cannot be hashed.
    #[error("a password has 1 to 1024 bytes")]
    Password,
    /// The system has no randomness to give.
    #[error("the system gives no random bytes")]
    Randomness,
}

/// Makes the hash of a password, to be kept in [`UserOptions`](super::UserOptions).
pub fn hash_password(password: &str) -> Result<String, HashError> {
    if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
        return Err(HashError::Password);
    }
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|_| HashError::Randomness)?;
    let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
    hash.map(|hash| hash.to_string()).map_err(|_| HashError::Password)
}

/// A token nobody had before.
#[derive(Clone, PartialEq, Eq)]
pub struct NewToken {
    /// For the client; kept nowhere else.
    pub token: String,
    /// For [`UserOptions`](super::UserOptions).
    pub hash: String,
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewToken").field("hash", &self.hash).finish_non_exhaustive()
    }
}

/// Makes a token.
pub fn new_token() -> Result<NewToken, HashError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| HashError::Randomness)?;
    let token = hex(&bytes);
    let hash = hex(&Digest::of(token.as_bytes()).0);
    Ok(NewToken { token, hash })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A SHA-256. Two are compared in constant time.
#[derive(Clone, Copy)]
pub(super) struct Digest(pub(super) [u8; 32]);

impl Digest {
    /// Of a token.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Of several texts, whatever bytes are in them.
    pub(super) fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// From 64 hexadecimal digits.
    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return None;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(bytes))
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest")
    }
}

/// What a password is compared with; a cheap handle.
#[derive(Clone)]
pub(super) struct PasswordCheck(Arc<Check>);

struct Check {
    hash: PasswordHash,
    /// The digest of the password, once it was shown.
    verified: OnceLock<Digest>,
}

impl fmt::Debug for PasswordCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordCheck")
    }
}

impl PasswordCheck {
    /// Takes a PHC string.
    pub(super) fn new(text: &str) -> Result<Self, HashError> {
        let hash = PasswordHash::new(text).map_err(|_| HashError::Syntax)?;
        if argon2::Algorithm::try_from(hash.algorithm.as_str()).is_err() {
            return Err(HashError::Algorithm);
        }
        let costs = argon2::Params::try_from(&hash).map_err(|_| HashError::Costs)?;
        if costs.m_cost() > MEMORY_KIB_MAX {
            return Err(HashError::Costs);
        }
        if hash.hash.is_none() || hash.salt.is_none() {
            return Err(HashError::Syntax);
        }
        Ok(Self(Arc::new(Check { hash, verified: OnceLock::new() })))
    }

    /// What no password fits.
    pub(super) fn of_nobody() -> Self {
        // invariant: the constant is a PHC string, as a test shows
        Self::new(NOBODY).expect("a PHC string")
    }

    /// Whether it was shown before and is right. Quick, and says nothing of others.
    pub(super) fn is_known(&self, key: &[u8; 32], password: &str) -> bool {
        self.0.verified.get().is_some_and(|verified| *verified == remembered(key, password))
    }

    /// Whether it is right. Takes its time: not for a network thread.
    pub(super) fn verify(&self, key: &[u8; 32], password: &str) -> bool {
        if password.len() > PASSWORD_BYTES_MAX {
            return false;
        }
        let is_right = Argon2::default().verify_password(password.as_bytes(), &self.0.hash).is_ok();
        if is_right {
            let _ = self.0.verified.set(remembered(key, password));
        }
        is_right
    }
}

fn remembered(key: &[u8; 32], password: &str) -> Digest {
    Digest::of_parts(&[key, password.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_what_was_hashed() {
        let key = [7; 32];
        let check = PasswordCheck::new(&hash_password("correct horse").unwrap()).unwrap();
        assert!(!check.is_known(&key, "correct horse"));
        assert!(!check.verify(&key, "wrong horse"));
        assert!(!check.is_known(&key, "wrong horse"));
        assert!(check.verify(&key, "correct horse"));
        assert!(check.is_known(&key, "correct horse"));
        assert!(!check.is_known(&key, "wrong horse"));
        assert!(!PasswordCheck::of_nobody().verify(&key, "nobody"));
        assert_ne!(hash_password("x").unwrap(), hash_password("x").unwrap(), "salted");
    }

    #[test]
    fn what_is_no_hash_is_said() {
        let hash = hash_password("x").unwrap();
        for (text, error) in [
            ("", HashError::Syntax),
            ("secret", HashError::Syntax),
            ("$2y$12$abcdefghijklmnopqrstuv", HashError::Syntax),
            ("$argon2id$v=19$m=19456,t=2,p=1", HashError::Syntax),
            (&hash.replace("m=19456", "m=4000000"), HashError::Costs),
            (&hash.replace("m=19456", "m=1"), HashError::Costs),
            (&hash.replace("argon2id", "scrypt"), HashError::Algorithm),
        ] {
            let made = PasswordCheck::new(text).map(|_| ());
            assert_eq!(made, Err(error), "{text}");
        }
        assert_eq!(hash_password(""), Err(HashError::Password));
    }

    #[test]
    fn tokens_are_new_and_known_by_their_hash() {
        let (one, two) = (new_token().unwrap(), new_token().unwrap());
        assert_ne!(one, two);
        assert_eq!(Digest::from_hex(&one.hash), Some(Digest::of(one.token.as_bytes())));
        assert_ne!(Digest::from_hex(&one.hash), Some(Digest::of(two.token.as_bytes())));
        for text in ["", "abc", &"g".repeat(64), &"a".repeat(63), &"a".repeat(66)] {
            assert_eq!(Digest::from_hex(text), None, "{text}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let shown = format!(
            "{:?} {:?} {:?}",
            Credentials::Password { user: "u", password: "hunter2" },
            Credentials::Token("hunter2"),
            NewToken { token: "hunter2".into(), hash: "h".into() },
        );
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
