//! What a peer did wrong, in RabbitMQ's codes and words.
//!
//! A violation is a value: the session turns it into `channel.close` or `connection.close`, the log shows
//! it, tests pin its text. Its texts are those of RabbitMQ 4.3 to the letter, since clients match on them.

use crate::wire::FrameError;
use crate::{erlang, refusals};
use std::borrow::Cow;
use vhosts::Refusal;

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
        Violation::new(refusals::code(refusal), refusals::text(refusal, vhost, user))
    }
}

impl From<FrameError> for Violation {
    fn from(error: FrameError) -> Violation {
        let text = match error {
            FrameError::TooLarge { kind, size, max } => {
                format!("type {kind}, all octets = <<>>: {{frame_too_large,{size},{max}}}")
            }
            FrameError::BadEnd { kind, payload, end } => {
                format!("type {kind}, {}: {{invalid_frame_end_marker,{end}}}", erlang::octets(&payload))
            }
            FrameError::Unknown { kind, payload } => {
                format!("type {kind}, {}: unknown_frame", erlang::octets(&payload))
            }
        };
        Violation::new(Code::FrameError, text)
    }
}
