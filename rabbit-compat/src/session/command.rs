//! What a session asks the broker to do, and what the broker answers.
//!
//! A session carries out nothing itself. It hands out commands in the order of the frames that caused them;
//! those that have an answer get it by [`Session::complete`](super::Session::complete) before the next frame.

use amq_protocol::types::FieldTable;
use vhosts::queue::{ConsumerKey, ConsumerSpec, Delivery, Outcome};
use vhosts::{Binding, DeliveryId, Message, Name, QueueId};

/// Names a consumer within its connection; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(pub u64);

/// A point in the store's log: what was handed to it up to here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition(pub u64);

/// Something for the broker to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// Check a password; answer with [`Session::authenticated`](super::Session::authenticated).
    Authenticate {
        /// Who.
        user: String,
        /// What proves it.
        password: Vec<u8>,
    },
    /// Enter a virtual host; answer with [`Session::opened`](super::Session::opened).
    Open {
        /// Its name.
        vhost: String,
    },
    /// Route a message. Has no answer of its own: see [`Session::published`](super::Session::published),
    /// [`Session::unroutable`](super::Session::unroutable) and [`Session::refuse`](super::Session::refuse).
    Publish {
        /// On which channel.
        channel: u16,
        /// What.
        message: Message,
        /// To be returned if no queue takes it.
        mandatory: bool,
        /// What its publisher will be told.
        how: Publishing,
    },
    /// Anything that has one answer; give it to [`Session::complete`](super::Session::complete).
    Operate(Operation),
    /// A channel ends. Cancel its consumers, drop what it published in an open transaction, then call
    /// [`Session::released`](super::Session::released).
    Release {
        /// Which channel.
        channel: u16,
        /// Its consumers of queues.
        consumers: Vec<(QueueId, ConsumerKey)>,
        /// Its consumer of replies.
        replies: Option<ConsumerId>,
    },
}

/// What the publisher of a message will be told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publishing {
    /// Nothing.
    Plain,
    /// Whether it was taken. The number is that of the publish on its channel, as
    /// [`Session::rejected`](super::Session::rejected) wants it.
    Confirmed(u64),
    /// Nothing, but it waits for the commit of its channel: check it now, keep it until
    /// [`Operation::Commit`], forget it on [`Operation::Rollback`].
    Enlisted,
}

/// An operation with one answer.
#[derive(Clone, Debug)]
pub enum Operation {
    /// `exchange.declare`.
    DeclareExchange {
        /// Only look whether it is there.
        passive: bool,
        /// Its name.
        name: Name,
        /// Its type, as the client wrote it.
        kind: String,
        /// Survives a restart.
        durable: bool,
        /// Goes with its last binding.
        auto_delete: bool,
        /// Not for clients to publish to.
        internal: bool,
        /// Optional arguments.
        arguments: FieldTable,
    },
    /// `exchange.delete`.
    DeleteExchange {
        /// Its name.
        name: Name,
        /// Only without bindings.
        if_unused: bool,
    },
    /// `queue.bind` and `exchange.bind`.
    Bind(Binding),
    /// `queue.unbind` and `exchange.unbind`.
    Unbind(Binding),
    /// `queue.declare`.
    DeclareQueue {
        /// Only look whether it is there.
        passive: bool,
        /// Its name; the broker makes one for an empty one.
        name: Name,
        /// Survives a restart.
        durable: bool,
        /// Goes with its last consumer.
        auto_delete: bool,
        /// For this connection alone.
        exclusive: bool,
        /// Optional arguments.
        arguments: FieldTable,
    },
    /// `queue.delete`.
    DeleteQueue {
        /// Its name.
        name: Name,
        /// Only without consumers.
        if_unused: bool,
        /// Only without messages.
        if_empty: bool,
    },
    /// `queue.purge`.
    Purge {
        /// Its name.
        name: Name,
    },
    /// `basic.consume`.
    Consume {
        /// The queue.
        queue: Name,
        /// How deliveries will name the consumer.
        consumer: ConsumerId,
        /// How it wants its messages; priority and timeout are still to be taken from the arguments.
        spec: ConsumerSpec,
        /// Optional arguments.
        arguments: FieldTable,
    },
    /// `basic.consume` on `amq.rabbitmq.reply-to`: make an address, and give what is published to it by the
    /// default exchange to [`Session::reply`](super::Session::reply).
    ConsumeReplies {
        /// How replies will name the consumer.
        consumer: ConsumerId,
    },
    /// `basic.cancel` of it: nothing more comes to its address.
    CancelReplies {
        /// Which consumer.
        consumer: ConsumerId,
    },
    /// `basic.cancel`. Deliveries that are on their way go to the session before the answer.
    Cancel {
        /// The queue.
        queue: QueueId,
        /// The consumer there.
        key: ConsumerKey,
    },
    /// `basic.get`.
    Get {
        /// The queue.
        queue: Name,
        /// Counts as acknowledged.
        no_ack: bool,
    },
    /// `tx.commit`: route what the channel enlisted, then apply the answers. They hold whatever is answered.
    Commit {
        /// Which channel.
        channel: u16,
        /// Answers to deliveries, in the order in which the client gave them.
        answers: Vec<Answer>,
    },
    /// `tx.rollback`: forget what the channel enlisted.
    Rollback {
        /// Which channel.
        channel: u16,
    },
}

/// The good answer to an [`Operation`].
#[derive(Clone, Debug)]
pub enum Done {
    /// Nothing to say but that it is done.
    Plain,
    /// The queue is there.
    Queue {
        /// Its name.
        name: Name,
        /// Ready messages.
        messages: usize,
        /// Consumers.
        consumers: usize,
    },
    /// That many messages went.
    Messages(usize),
    /// The consumer is there.
    Consuming {
        /// The queue.
        queue: QueueId,
        /// The consumer there.
        key: ConsumerKey,
    },
    /// The consumer of replies is there.
    Replies {
        /// The name that replies are published to.
        address: Name,
    },
    /// A message for `basic.get`.
    Got {
        /// Its queue.
        queue: QueueId,
        /// Itself.
        delivery: Delivery,
        /// Ready messages left.
        left: usize,
    },
    /// No message for `basic.get`.
    Empty,
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The queue that it came from.
    pub queue: QueueId,
    /// Which.
    pub delivery: DeliveryId,
    /// What.
    pub outcome: Outcome,
}

/// Room for more deliveries to a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The queue that it consumes.
    pub queue: QueueId,
    /// The consumer there.
    pub consumer: ConsumerKey,
    /// How many more.
    pub credit: u32,
}
