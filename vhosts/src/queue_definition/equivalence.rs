//! When a second declaration means the same queue.

use super::arguments::{ARGUMENTS, QUEUE_TYPE};
use super::{QueueDefinition, QueueType};
use crate::refusal::{Refusal, Resource};
use amq_protocol_types::AMQPValue;

impl QueueDefinition {
    /// Whether declaring `wanted` again means this queue. What counts are the arguments that queues of this
    /// type take, not those that nobody knows. Values are compared, not their types: an integer may come in
    /// another width.
    ///
    /// # Errors
    /// [`Refusal::Locked`], [`Refusal::Inequivalent`] or [`Refusal::InequivalentArgument`].
    pub fn check_equivalent(&self, wanted: &QueueDefinition) -> Result<(), Refusal> {
        if self.owner != wanted.owner {
            return Err(Refusal::Locked(self.name.clone()));
        }
        self.check_property("durable", wanted.survives_restart(), self.survives_restart())?;
        self.check_property("auto_delete", wanted.auto_delete, self.auto_delete)?;
        let queue_type = self.queue_type();
        let compared = ARGUMENTS.iter().filter(|argument| argument.is_for(queue_type));
        compared.map(|argument| argument.name).try_for_each(|argument| self.check_argument(argument, wanted))
    }

    fn check_property(&self, property: &'static str, received: bool, current: bool) -> Result<(), Refusal> {
        if received == current {
            return Ok(());
        }
        Err(Refusal::Inequivalent {
            resource: Resource::Queue,
            name: self.name.clone(),
            property,
            received: received.to_string(),
            current: current.to_string(),
        })
    }

    fn check_argument(&self, argument: &'static str, wanted: &QueueDefinition) -> Result<(), Refusal> {
        let (received, current) = (wanted.compared(argument), self.compared(argument));
        let same = match (&received, &current) {
            (Some(received), Some(current)) => exchanges::same_value(received, current),
            (received, current) => received.is_none() && current.is_none(),
        };
        if same {
            return Ok(());
        }
        let (resource, name) = (Resource::Queue, self.name.clone());
        Err(Refusal::InequivalentArgument { resource, name, argument, received, current })
    }

    /// An argument as it is compared: no queue type, and an empty one, are said in full.
    fn compared(&self, argument: &str) -> Option<AMQPValue> {
        let value = self.arguments.inner().get(argument);
        let unsaid =
            value.is_none_or(|value| matches!(value, AMQPValue::LongString(text) if text.is_empty()));
        if argument == QUEUE_TYPE && unsaid {
            return Some(AMQPValue::LongString(QueueType::default().as_str().into()));
        }
        value.cloned()
    }
}
