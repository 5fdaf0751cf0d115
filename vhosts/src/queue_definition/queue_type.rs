//! The types of queues that a client can ask for.
//!
//! There is one queue machine, and it does what both types do. The type decides what a queue may be declared
//! with, and what is meant by what is left unsaid.

use super::arguments::QUEUE_TYPE;
use crate::refusal::Flaw;
use amq_protocol_types::{AMQPValue, FieldTable};

/// A type of queues (`x-queue-type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueType {
    /// The usual one.
    #[default]
    Classic,
    /// For messages that must not be lost.
    Quorum,
}

impl QueueType {
    /// As clients name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            QueueType::Classic => "classic",
            QueueType::Quorum => "quorum",
        }
    }

    /// The one that `arguments` ask for.
    ///
    /// # Errors
    /// [`Flaw::UnacceptableType`] or [`Flaw::UnsupportedQueueType`].
    pub fn of(arguments: &FieldTable) -> Result<QueueType, Flaw> {
        arguments.inner().get(QUEUE_TYPE).map_or(Ok(QueueType::default()), QueueType::parse)
    }

    pub(super) fn parse(value: &AMQPValue) -> Result<QueueType, Flaw> {
        match super::value::text(value)? {
            b"" | b"classic" => Ok(QueueType::Classic),
            b"quorum" => Ok(QueueType::Quorum),
            other => Err(Flaw::UnsupportedQueueType(String::from_utf8_lossy(other).into_owned())),
        }
    }
}
