//! What the broker tells us: plain values, read at one moment.

use std::net::{IpAddr, SocketAddr};

/// The broker, as the management port needs it.
pub trait Management: Send + Sync + 'static {
    /// The state of the broker now. It must not block: every request asks, and metrics every few seconds.
    fn overview(&self) -> Overview;

    /// Who `user` is, if `password` is right and the user may come from `peer`. Hashing takes its time, so
    /// this is called on a thread that may block. An IPv4 peer is never given as a mapped IPv6 address.
    ///
    /// # Errors
    /// [`Refused`], without a hint of which part was wrong unless the password was right.
    fn authenticate(&self, user: &str, password: &str, peer: IpAddr) -> Result<Identity, Refused>;
}

/// Who logged in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// Name of the user.
    pub name: String,
    /// The user's tags, for example `administrator`.
    pub tags: Vec<String>,
}

/// Why somebody may not log in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// No such user, or not this password.
    #[error("Not_Authorized")]
    Credentials,
    /// The password was right, but this user may log in from the broker's own machine only.
    #[error("User can only log in via localhost")]
    NotLoopback,
}

/// What the store has and did, since the start where it is a sum.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreFigures {
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Bytes of the log that are kept for messages and definitions.
    pub live_bytes: u64,
    /// Bytes of the state beside the log.
    pub state_bytes: u64,
    /// Segments of the log.
    pub segments: u64,
    /// Operations that wait for the commit thread.
    pub pending: u64,
    /// Messages that were written.
    pub written: u64,
    /// Messages that were done before they had to be written.
    pub spared: u64,
    /// Messages that were moved out of sparse segments.
    pub moved: u64,
    /// Bytes that were written to the log.
    pub written_bytes: u64,
    /// Syncs of the log.
    pub syncs: u64,
}

/// The state of the broker.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// Name of the node, for example `rabbit@host`.
    pub node: String,
    /// Name of the cluster; the node's until somebody sets another.
    pub cluster_name: String,
    /// The version of HareMQ.
    pub version: &'static str,
    /// The version of RabbitMQ that clients may take us for.
    pub rabbitmq_version: &'static str,
    /// Since the start.
    pub uptime_ms: u64,
    /// Whether clients are served: false while starting and while stopping.
    pub in_service: bool,
    /// AMQP connections at a time, if that is limited.
    pub connections_max: Option<u64>,
    /// Every open port.
    pub listeners: Vec<Listener>,
    /// The exchange types that can be declared.
    pub exchange_types: Vec<ExchangeType>,
    /// What there is now.
    pub counts: Counts,
    /// Messages in all queues now.
    pub totals: Totals,
    /// What happened to messages since the start.
    pub message_stats: MessageStats,
    /// What came and went since the start.
    pub churn: Churn,
    /// The store; none where nothing is kept.
    pub store: Option<StoreFigures>,
    /// Room on the disk; none where nothing is kept on one.
    pub disk: Option<DiskSpace>,
    /// What is wrong now.
    pub alarms: Vec<Alarm>,
}

/// An open port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listener {
    /// `amqp`, `http` or `http/prometheus`; with TLS, `/ssl` behind it.
    pub protocol: &'static str,
    /// Where it is bound.
    pub address: SocketAddr,
}

/// A kind of exchange.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ExchangeType {
    /// As in `exchange.declare`.
    pub name: &'static str,
    /// For people.
    pub description: &'static str,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Counts {
    pub connections: u64,
    pub channels: u64,
    pub exchanges: u64,
    pub queues: u64,
    pub consumers: u64,
}

/// Messages in all queues.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// Waiting for a consumer.
    pub messages_ready: u64,
    /// Delivered, not yet settled.
    pub messages_unacknowledged: u64,
    /// Waiting to become ready again.
    pub messages_delayed: u64,
    /// Dead, on their way to the dead-letter exchange.
    pub messages_dead_lettering: u64,
}

impl Totals {
    /// All that are there.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages_ready
            + self.messages_unacknowledged
            + self.messages_delayed
            + self.messages_dead_lettering
    }
}

/// Counters of messages; they start at 0 with the broker and never fall.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MessageStats {
    /// Published by clients.
    pub publish: u64,
    /// Confirmed to publishers.
    pub confirm: u64,
    /// Delivered to consumers that acknowledge.
    pub deliver: u64,
    /// Delivered to consumers that do not.
    pub deliver_no_ack: u64,
    /// Answers to `basic.get` that want an acknowledgement.
    pub get: u64,
    /// Answers to `basic.get` that do not.
    pub get_no_ack: u64,
    /// `basic.get` on an empty queue.
    pub get_empty: u64,
    /// Of the delivered and got, those that had been delivered before.
    pub redeliver: u64,
    /// Acknowledged by clients.
    pub ack: u64,
    /// Returned to the publisher, for want of a queue.
    pub return_unroutable: u64,
    /// Dropped for want of a queue.
    pub drop_unroutable: u64,
    /// Died in a queue, and went to another.
    pub dead_lettered: Deaths,
    /// Died in a queue, and went nowhere.
    pub dead_dropped: Deaths,
}

/// Messages that died, by the reason.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Deaths {
    /// A consumer refused them.
    pub rejected: u64,
    /// Their time was up.
    pub expired: u64,
    /// Their queue was too long.
    pub maxlen: u64,
    /// They failed too often.
    pub delivery_limit: u64,
}

impl Deaths {
    /// With the reasons, as RabbitMQ calls them.
    #[must_use]
    pub fn by_reason(&self) -> [(&'static str, u64); 4] {
        [
            ("rejected", self.rejected),
            ("expired", self.expired),
            ("maxlen", self.maxlen),
            ("delivery_limit", self.delivery_limit),
        ]
    }
}

impl MessageStats {
    /// All that went out to clients.
    #[must_use]
    pub fn deliver_get(&self) -> u64 {
        self.deliver + self.deliver_no_ack + self.get + self.get_no_ack
    }
}

/// Counters of what came and went; they start at 0 with the broker and never fall.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Churn {
    /// AMQP connections opened.
    pub connection_created: u64,
    /// AMQP connections that ended.
    pub connection_closed: u64,
    /// Channels opened.
    pub channel_created: u64,
    /// Channels that ended.
    pub channel_closed: u64,
    /// `queue.declare` that succeeded, of new and old queues.
    pub queue_declared: u64,
    /// Queues that came to be.
    pub queue_created: u64,
    /// Queues that went.
    pub queue_deleted: u64,
}

/// Room on the file system of the data directory, in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DiskSpace {
    /// What is left.
    pub free: u64,
    /// With less than this, publishers are held.
    pub limit: u64,
}

/// A resource that runs out, for which publishers are held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Alarm {
    /// Memory is over its high watermark.
    Memory,
    /// Free disk space is under its limit.
    Disk,
    /// The store cannot write; it tries again by itself. RabbitMQ has no such alarm.
    Store,
}

impl Alarm {
    /// As RabbitMQ calls the resource.
    #[must_use]
    pub const fn resource(self) -> &'static str {
        match self {
            Alarm::Memory => "memory",
            Alarm::Disk => "disk",
            Alarm::Store => "store",
        }
    }
}
