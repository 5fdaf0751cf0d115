//! What a peer did wrong, in RabbitMQ's codes and words.
//!
//! A violation is a value: the session turns it into `channel.close` or `connection.close`, the log shows
//! it, tests pin its text. Its texts are those of RabbitMQ 4.3 to the letter, since clients match on them.

use crate::erlang;
use crate::wire::FrameError;
use exchanges::BindError;
use std::borrow::Cow;
use vhosts::Refusal;
use vhosts::refusal::Flaw;

/// Reply codes (AMQP 0-9-1, section 1.5 of the reference) with their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Code {
    /// The operator closed the connection.
    ConnectionForced = 320,
    /// No permission.
    AccessRefused = 403,
    /// No such thing.
    NotFound = 404,
    /// Another connection has it.
    ResourceLocked = 405,
    /// A condition does not hold.
    PreconditionFailed = 406,
    /// A malformed frame.
    FrameError = 501,
    /// A method that may not come from there.
    CommandInvalid = 503,
    /// A channel that is not open, or is already.
    ChannelError = 504,
    /// Not the frame that had to come.
    UnexpectedFrame = 505,
    /// Against the rules of this server.
    NotAllowed = 530,
    /// This server can not do that.
    NotImplemented = 540,
    /// This server's own fault.
    InternalError = 541,
}

impl Code {
    /// Its name in reply texts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Code::ConnectionForced => "CONNECTION_FORCED",
            Code::AccessRefused => "ACCESS_REFUSED",
            Code::NotFound => "NOT_FOUND",
            Code::ResourceLocked => "RESOURCE_LOCKED",
            Code::PreconditionFailed => "PRECONDITION_FAILED",
            Code::FrameError => "FRAME_ERROR",
            Code::CommandInvalid => "COMMAND_INVALID",
            Code::ChannelError => "CHANNEL_ERROR",
            Code::UnexpectedFrame => "UNEXPECTED_FRAME",
            Code::NotAllowed => "NOT_ALLOWED",
            Code::NotImplemented => "NOT_IMPLEMENTED",
            Code::InternalError => "INTERNAL_ERROR",
        }
    }

    /// Whether it ends the whole connection, not only the channel.
    #[must_use]
    pub fn is_hard(self) -> bool {
        !matches!(
            self,
            Code::AccessRefused | Code::NotFound | Code::ResourceLocked | Code::PreconditionFailed
        )
    }
}

/// A fault of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What kind.
    pub code: Code,
    /// What exactly; may be empty.
    pub explanation: Cow<'static, str>,
    /// Class and method id of what failed, 0 when it was no method.
    pub method: (u16, u16),
}

impl Violation {
    /// A violation by no method in particular.
    #[must_use]
    pub fn new(code: Code, explanation: impl Into<Cow<'static, str>>) -> Violation {
        Violation { code, explanation: explanation.into(), method: (0, 0) }
    }

    /// The same, by that method.
    #[must_use]
    pub fn by(self, method: (u16, u16)) -> Violation {
        Violation { method, ..self }
    }

    /// The reply text: name and explanation, cut to the 255 octets of a short string.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = match &*self.explanation {
            "" => self.code.name().to_owned(),
            explanation => format!("{} - {explanation}", self.code.name()),
        };
        if text.len() > 255 {
            text.truncate(text.floor_char_boundary(252));
            text.push_str("...");
        }
        text
    }

    /// The words for what a virtual host refused to `user`.
    #[must_use]
    pub fn refused(refusal: &Refusal, vhost: &str, user: &str) -> Violation {
        let (code, text) = words(refusal, vhost, user);
        Violation::new(code, text)
    }
}

impl From<FrameError> for Violation {
    fn from(error: FrameError) -> Violation {
        let octets = |payload: &[u8]| match payload {
            [first @ .., _] if first.len() >= 16 => format!("first 16 octets = {}", erlang::binary(first)),
            all => format!("all octets = {}", erlang::binary(all)),
        };
        let text = match error {
            FrameError::TooLarge { kind, size, max } => {
                format!("type {kind}, all octets = <<>>: {{frame_too_large,{size},{max}}}")
            }
            FrameError::BadEnd { kind, payload, end } => {
                format!("type {kind}, {}: {{invalid_frame_end_marker,{end}}}", octets(&payload))
            }
            FrameError::Unknown { kind, payload } => {
                format!("type {kind}, {}: unknown_frame", octets(&payload))
            }
        };
        Violation::new(Code::FrameError, text)
    }
}

fn words(refusal: &Refusal, vhost: &str, user: &str) -> (Code, String) {
    match refusal {
        Refusal::NotFound(resource, name) => {
            (Code::NotFound, format!("no {resource} '{name}' in vhost '{vhost}'"))
        }
        Refusal::Locked(queue) => (
            Code::ResourceLocked,
            format!(
                "cannot obtain exclusive access to locked queue '{queue}' in vhost '{vhost}'. It could be \
                 originally declared on another connection or the exclusive property value does not match \
                 that of the original declaration."
            ),
        ),
        Refusal::Inequivalent { resource, name, property, received, current } => (
            Code::PreconditionFailed,
            format!(
                "inequivalent arg '{property}' for {resource} '{name}' in vhost '{vhost}': received \
                 '{received}' but current is '{current}'"
            ),
        ),
        Refusal::InequivalentArgument { resource, name, argument, received, current } => (
            Code::PreconditionFailed,
            format!(
                "inequivalent arg '{argument}' for {resource} '{name}' in vhost '{vhost}': {}",
                erlang::difference(received.as_ref(), current.as_ref())
            ),
        ),
        Refusal::InvalidArgument { queue, argument, flaw } => (
            Code::PreconditionFailed,
            format!("invalid arg '{argument}' for queue '{queue}' in vhost '{vhost}'{}", flaw_words(flaw)),
        ),
        Refusal::NotAString { resource, name, argument, value } => (
            Code::PreconditionFailed,
            format!(
                "invalid type '{}' for arg '{argument}' in {resource} '{name}' in vhost '{vhost}'",
                erlang::type_name(value)
            ),
        ),
        Refusal::NotImplemented(what) => (Code::NotImplemented, format!("{what} is not implemented")),
        Refusal::UnknownExchangeType(kind) => {
            // RabbitMQ tells types that it knows as words from others; so do the clients' tests.
            let known = kind.is_empty() || matches!(kind.as_str(), "queue" | "x-random");
            let unknown = if known { "invalid" } else { "unknown" };
            (Code::PreconditionFailed, format!("{unknown} exchange type '{kind}'"))
        }
        Refusal::Reserved(resource, name) => {
            (Code::AccessRefused, format!("{resource} name '{name}' contains reserved prefix 'amq.*'"))
        }
        Refusal::DefaultExchange => {
            (Code::AccessRefused, "operation not permitted on the default exchange".to_owned())
        }
        Refusal::SystemExchange(name) => (
            Code::AccessRefused,
            format!("deletion of system exchange '{name}' in vhost '{vhost}' not allowed"),
        ),
        Refusal::Internal(name) => {
            (Code::AccessRefused, format!("cannot publish to internal exchange '{name}' in vhost '{vhost}'"))
        }
        Refusal::InUse(resource, name) => {
            (Code::PreconditionFailed, format!("{resource} '{name}' in vhost '{vhost}' in use"))
        }
        Refusal::NotEmpty(queue) => {
            (Code::PreconditionFailed, format!("queue '{queue}' in vhost '{vhost}' not empty"))
        }
        Refusal::ExclusiveUse(queue) => {
            (Code::AccessRefused, format!("queue '{queue}' in vhost '{vhost}' in exclusive use"))
        }
        Refusal::Binding(error) => (Code::PreconditionFailed, binding_words(error)),
        Refusal::AccessRefused { permission, resource, name } => (
            Code::AccessRefused,
            format!(
                "{permission} access to {resource} '{name}' in vhost '{vhost}' refused for user '{user}'"
            ),
        ),
    }
}

fn flaw_words(flaw: &Flaw) -> String {
    match flaw {
        Flaw::UnacceptableType(value) => format!(": {{unacceptable_type,{}}}", erlang::type_name(value)),
        Flaw::UnsupportedQueueType(kind) => format!(": \"unsupported queue type '{kind}'\""),
        Flaw::UnsupportedQueueVersion(version) => format!(": \"unsupported queue version '{version}'\""),
        Flaw::LeaderLocator => ": invalid_queue_locator_arg".to_owned(),
        Flaw::OfAnotherQueueType => " of queue type rabbit_classic_queue".to_owned(),
    }
}

fn binding_words(error: &BindError) -> String {
    match error {
        BindError::TooManyWildcards { binding_key, count } => {
            let key = String::from_utf8_lossy(binding_key);
            let max = exchanges::MAX_HASH_WILDCARDS;
            format!("Topic binding key '{key}' uses {count} '#' wildcards, at most {max} are allowed")
        }
        BindError::InvalidXMatch { value } => {
            let value = erlang::binary(value.as_bytes());
            format!("Invalid x-match field value {value}; expected all, any, all-with-x, or any-with-x")
        }
        BindError::InvalidXMatchType { value } => {
            let (kind, value) = (erlang::type_name(value), erlang::value(value));
            format!("Invalid x-match field type {kind} (value {value}); expected longstr")
        }
    }
}
