//! Who may log in: users, salted password hashes, and where from.
//!
//! Hashes are RabbitMQ's, so that its users can be taken over with their passwords:
//! `base64(salt ++ SHA-256(salt ++ password))` with a salt of four octets ("Passwords").

use crate::broker::records::UserRecord;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use subtle::ConstantTimeEq;

const SALT_LEN: usize = 4;

/// Why a login was refused, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No such user, or another password; which of them is not told.
    #[error("invalid credentials")]
    Credentials,
    /// A user for this machine only came from another one.
    #[error("user can only connect via localhost")]
    NotLoopback,
}

/// The hash of a password, with a salt of its own.
#[must_use]
pub fn hash(password: &[u8]) -> String {
    let salt: [u8; SALT_LEN] = rand::random();
    BASE64.encode(salted(salt, password))
}

/// Checks a password, and whether the user may come from `peer`.
///
/// # Errors
/// [`Refused`].
pub fn check(
    user: Option<&UserRecord>,
    password: &[u8],
    peer: IpAddr,
    loopback_users: &[String],
) -> Result<(), Refused> {
    let user = user.ok_or(Refused::Credentials)?;
    let stored = BASE64.decode(&user.password_hash).map_err(|_| Refused::Credentials)?;
    let salt = *stored.first_chunk::<SALT_LEN>().ok_or(Refused::Credentials)?;
    if !bool::from(salted(salt, password).ct_eq(&stored)) {
        return Err(Refused::Credentials);
    }
    if !peer.to_canonical().is_loopback() && loopback_users.contains(&user.name) {
        return Err(Refused::NotLoopback);
    }
    Ok(())
}

fn salted(salt: [u8; SALT_LEN], password: &[u8]) -> Vec<u8> {
    let mut salted = salt.to_vec();
    salted.extend(Sha256::new().chain_update(salt).chain_update(password).finalize());
    salted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(password_hash: &str) -> UserRecord {
        UserRecord { name: "guest".into(), password_hash: password_hash.into(), tags: Vec::new() }
    }

    #[test]
    fn a_hash_that_rabbitmq_made() {
        // `rabbitmqctl hash_password`'s documented example: "test12" with the salt 90 8D C6 0A.
        let user = user("kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR");
        let local = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(check(Some(&user), b"test12", local, &[]), Ok(()));
        assert_eq!(check(Some(&user), b"test13", local, &[]), Err(Refused::Credentials));
        assert_eq!(check(None, b"test12", local, &[]), Err(Refused::Credentials));
    }

    #[test]
    fn guests_come_from_this_machine() {
        let user = user(&hash(b"guest"));
        let only_local = ["guest".to_owned()];
        let check = |peer: &str| check(Some(&user), b"guest", peer.parse().unwrap(), &only_local);
        assert_eq!(check("127.0.0.1"), Ok(()));
        assert_eq!(check("::1"), Ok(()));
        assert_eq!(check("::ffff:127.0.0.1"), Ok(()));
        assert_eq!(check("10.0.0.1"), Err(Refused::NotLoopback));
    }
}
