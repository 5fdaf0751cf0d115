//! What goes into and out of the queue machine besides messages.

use super::{ConsumerKey, History, LetterId, Page};
use crate::dead_letter::Reason;
use crate::{DeliveryId, Message, Moment, Seq};
use std::sync::Arc;

/// What the shell must do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Hand a message to a consumer.
    Deliver {
        /// To whom.
        consumer: ConsumerKey,
        /// What.
        delivery: Delivery,
    },
    /// The queue has no part in a stored message any more; the store may forget it.
    Settled {
        /// Its number in the queue.
        seq: Seq,
        /// Itself.
        message: Message,
    },
    /// What the store should know of a stored message, instead of what it knew before.
    Noted {
        /// Its number in the queue.
        seq: Seq,
        /// Itself.
        message: Message,
        /// What happened to it.
        history: History,
        /// When it is ready again; none: it is.
        due: Option<Moment>,
    },
    /// Store a message that is not stored because it need not survive a restart, and is not to be recovered. It is
    /// one of its own, without other queues. The queue says when it is done with it.
    Spill {
        /// Its number in the queue.
        seq: Seq,
        /// Itself.
        message: Message,
    },
    /// Read the messages of a page, and bring them with [`Queue::fetched`](super::Queue::fetched), or say that it
    /// failed with [`Queue::fetch_failed`](super::Queue::fetch_failed).
    Fetch {
        /// Where they are.
        page: Arc<Page>,
    },
    /// The queue has no part in messages of a page any more, as with [`Effect::Settled`].
    SettledPaged {
        /// Where they are.
        page: Arc<Page>,
        /// Which of them, in their order in the page; none: all.
        which: Option<Box<[u32]>>,
    },
    /// A message died. Send it to the dead-letter exchange, then say what came of it with
    /// [`Queue::carried`](super::Queue::carried).
    Died {
        /// How the answer will name it.
        letter: LetterId,
        /// Itself, as it was in the queue.
        message: Message,
        /// Why.
        reason: Reason,
    },
    /// A message failed too often, and there is no exchange for dead letters: it is gone.
    Dropped {
        /// Itself.
        message: Message,
        /// How often.
        history: History,
    },
    /// A consumer did not answer in time: it was removed, and the message went back.
    TimedOut {
        /// Who.
        consumer: ConsumerKey,
        /// How long it had, in milliseconds.
        timeout_ms: u64,
    },
}

/// A message on its way to a consumer.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// How the consumer's answer will name it; none when it need not answer.
    pub id: Option<DeliveryId>,
    /// What was published.
    pub message: Message,
    /// What happened to it in this queue before.
    pub history: History,
}

/// What a consumer answered to a delivery, or what its end answered for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done (`basic.ack`).
    Settle,
    /// Refused for good (`basic.reject` and `basic.nack` without requeue): it dies here.
    Reject,
    /// Given back (`basic.nack` with requeue, `basic.recover`): back to its place.
    Return,
    /// Failed (`basic.reject` with requeue, the end of the channel): back to its place, if it may.
    Fail,
    /// Back to its place as if it had never left: the consumer did not see it.
    Undelivered,
}

/// What became of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// All queues that it was routed to have it; the store, if it was told so, before it is told that the
    /// message is settled here.
    Arrived,
    /// No queue was found, or one refused it.
    Stranded,
    /// It would only come to queues that it died in before, and go round for ever.
    Cycle,
}

/// The queue has an exclusive consumer, or has consumers and was to get an exclusive one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExclusiveUse;

/// The queue is full and takes no more (`x-overflow` is one of the `reject-publish` ones).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;
