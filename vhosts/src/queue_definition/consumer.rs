//! The arguments of consumers.

use super::argument::{self, Argument};
use super::value::{integer, timeout_ms};
use super::{DURATION_MAX_MS, QueueDefinition};
use crate::refusal::Refusal;
use amq_protocol_types::FieldTable;

/// What a consumer asks for (`basic.consume`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumerArguments {
    /// Consumers with a higher one are served first (`x-priority`).
    pub priority: i32,
    /// Milliseconds that it may keep a message unacked (`x-consumer-timeout`); none: what the queue says.
    pub timeout_ms: Option<u64>,
}

/// Every argument that is known. RabbitMQ has the timeout for quorum queues only.
const ARGUMENTS: [Argument<ConsumerArguments>; 5] = [
    Argument::of_all("x-priority", |value, wanted| {
        let priority = integer(value)?;
        // Clamped, it fits: nobody needs more levels to say which consumer comes first.
        wanted.priority = priority.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
        Ok(())
    }),
    Argument::of_all("x-consumer-timeout", |value, wanted| {
        // None would mean that of the queue; the longest time is as good as no limit.
        wanted.timeout_ms = Some(timeout_ms(value)?.unwrap_or(DURATION_MAX_MS));
        Ok(())
    }),
    Argument::of_streams("x-stream-offset"),
    Argument::of_streams("x-stream-filter"),
    Argument::of_streams("x-stream-match-unfiltered"),
];

/// Reads the arguments of a consumer of `queue`. Unknown ones are fine.
///
/// # Errors
/// [`Refusal::InvalidArgument`].
pub fn consumer_arguments(
    queue: &QueueDefinition,
    arguments: &FieldTable,
) -> Result<ConsumerArguments, Refusal> {
    match argument::take(&ARGUMENTS, arguments, queue.queue_type()) {
        (taken, None) => Ok(taken),
        (_, Some((argument, flaw))) => Err(queue.invalid(argument, flaw)),
    }
}
