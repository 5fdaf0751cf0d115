//! What an argument is, whether a queue or a consumer is declared with it.

use super::QueueType;
use crate::refusal::Flaw;
use amq_protocol_types::{AMQPValue, FieldTable};

/// Checks a value and puts what it means into `T`, or leaves `T` as it is.
pub type Take<T> = fn(&AMQPValue, &mut T) -> Result<(), Flaw>;

/// An argument that RabbitMQ or this broker knows.
pub struct Argument<T> {
    /// As clients write it.
    pub name: &'static str,
    whose: Whose,
    take: Take<T>,
}

#[derive(PartialEq)]
enum Whose {
    All,
    Only(QueueType),
    Streams,
}

impl<T> Argument<T> {
    /// One for all queues, whichever type RabbitMQ has it for.
    pub const fn of_all(name: &'static str, take: Take<T>) -> Argument<T> {
        Argument { name, whose: Whose::All, take }
    }

    /// One for queues of one type.
    pub const fn only(queue_type: QueueType, name: &'static str, take: Take<T>) -> Argument<T> {
        Argument { name, whose: Whose::Only(queue_type), take }
    }

    /// One for streams: no queue takes it.
    pub const fn of_streams(name: &'static str) -> Argument<T> {
        Argument { name, whose: Whose::Streams, take: |_, _| Ok(()) }
    }

    /// Whether queues of that type take it.
    pub fn is_for(&self, queue_type: QueueType) -> bool {
        self.whose == Whose::All || self.whose == Whose::Only(queue_type)
    }
}

/// What all `given` arguments in the table mean, and the first that is wrong, if any. As in RabbitMQ the
/// values are checked in the order of the table, then the names in their own; unknown ones are fine.
pub fn take<T: Default>(
    table: &[Argument<T>],
    given: &FieldTable,
    queue_type: QueueType,
) -> (T, Option<(&'static str, Flaw)>) {
    let (mut taken, mut fault) = (T::default(), None);
    for argument in table.iter().filter(|argument| argument.is_for(queue_type)) {
        if let Some(value) = given.inner().get(argument.name)
            && let Err(flaw) = (argument.take)(value, &mut taken)
        {
            fault = fault.or(Some((argument.name, flaw)));
        }
    }
    let stray = |name: &str| table.iter().find(|known| known.name == name && !known.is_for(queue_type));
    let stray = || given.inner().keys().find_map(|name| stray(name.as_str()));
    (taken, fault.or_else(|| stray().map(|known| (known.name, Flaw::OfAnotherQueueType(queue_type)))))
}
