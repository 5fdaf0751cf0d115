//! What a user may do in a virtual host: three regular expressions over names (RabbitMQ, "Access Control").

use crate::refusal::{Name, Refusal, Resource};
use regex::Regex;

/// A kind of access to an exchange or a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Declare and delete.
    Configure,
    /// Put messages in.
    Write,
    /// Take messages out.
    Read,
}

impl Access {
    /// As texts name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Access::Configure => "configure",
            Access::Write => "write",
            Access::Read => "read",
        }
    }
}

/// The permissions of one user in one virtual host.
#[derive(Clone, Debug)]
pub struct Permissions {
    configure: Regex,
    write: Regex,
    read: Regex,
}

impl Permissions {
    /// From patterns. An empty one matches nothing but the empty name.
    ///
    /// # Errors
    /// A pattern that is not a regular expression, or too large a one.
    pub fn new(configure: &str, write: &str, read: &str) -> Result<Permissions, regex::Error> {
        let compile = |pattern: &str| Regex::new(if pattern.is_empty() { "^$" } else { pattern });
        Ok(Permissions { configure: compile(configure)?, write: compile(write)?, read: compile(read)? })
    }

    /// Checks one access. The default exchange is checked under the name `amq.default`.
    ///
    /// # Errors
    /// [`Refusal::AccessRefused`].
    pub fn check(&self, access: Access, resource: Resource, name: &str) -> Result<(), Refusal> {
        let name = if resource == Resource::Exchange && name.is_empty() { "amq.default" } else { name };
        let pattern = match access {
            Access::Configure => &self.configure,
            Access::Write => &self.write,
            Access::Read => &self.read,
        };
        if pattern.is_match(name) {
            return Ok(());
        }
        Err(Refusal::AccessRefused { permission: access.as_str(), resource, name: Name::from(name) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_searched_and_an_empty_one_matches_nothing() {
        let permissions = Permissions::new("^own-", "", ".*").unwrap();
        let allowed = |access, name| permissions.check(access, Resource::Queue, name).is_ok();
        assert!(allowed(Access::Configure, "own-queue"));
        assert!(!allowed(Access::Configure, "disown-queue"));
        assert!(!allowed(Access::Write, "own-queue"));
        assert!(allowed(Access::Read, "anything"));
    }

    #[test]
    fn the_default_exchange_has_a_name_for_permissions() {
        let permissions = Permissions::new("", "^amq\\.default$", "").unwrap();
        assert!(permissions.check(Access::Write, Resource::Exchange, "").is_ok());
        let refusal = permissions.check(Access::Read, Resource::Exchange, "").unwrap_err();
        let name = Name::from("amq.default");
        assert_eq!(
            refusal,
            Refusal::AccessRefused { permission: "read", resource: Resource::Exchange, name }
        );
    }
}
