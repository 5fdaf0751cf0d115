//! Who publishes while it should not is read no more until it may again (RabbitMQ, "Memory and Disk Alarms" and
//! "Flow Control").
//!
//! There are two causes. While resources are short, a client that understands it is told by `connection.blocked`
//! and `connection.unblocked`; it may take long. While the broker has too much under way (RabbitMQ calls that
//! flow) nobody is told; it is over soon. Either way a connection is held by the first content that comes, not
//! before, so those that only consume go on; who waits for confirms is told at once. A held peer is not given up
//! for its silence: it is not heard.

use super::heartbeat::Heartbeat;
use super::{Session, State};
use crate::wire::method;
use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::connection::{AMQPMethod, Blocked, Unblocked};
use amq_protocol::types::ShortString;
use vhosts::Moment;

/// Octets of a short string.
const REASON_MAX: usize = 255;

/// Whom a shortage holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Everybody who publishes.
    All,
    /// Who publishes without confirms. Others are told by `basic.nack`; that is up to the broker.
    Unconfirmed,
}

/// Why a publisher may have to wait, and whether it does.
#[derive(Debug, Default)]
pub struct Throttle {
    /// What is short, in words for the client.
    shortage: Option<(String, Holds)>,
    flow: bool,
    /// Content came that should not.
    held: bool,
    /// The client knows that it is blocked.
    told: bool,
}

impl Throttle {
    /// Whether the shortage holds who publishes with or without confirms.
    fn is_short_for(&self, confirms: bool) -> bool {
        self.shortage.as_ref().is_some_and(|(_, holds)| *holds == Holds::All || !confirms)
    }

    /// Something changed: lets go of who has no reason to wait any more, or who may have none. The next content
    /// decides again.
    fn reconsider(&mut self, heartbeat: &mut Heartbeat, now: Moment) {
        if self.held && !self.flow && !self.is_short_for(true) {
            self.held = false;
            heartbeat.resume(now);
        }
    }
}

impl Session {
    /// Resources are short; `reason` is for clients, such as `low on disk`.
    pub fn block(&mut self, reason: &str, holds: Holds, now: Moment) {
        let reason = reason[..reason.floor_char_boundary(REASON_MAX)].to_owned();
        self.throttle.shortage = Some((reason, holds));
        self.throttle.reconsider(&mut self.heartbeat, now);
        // Who waits for confirms may publish no more until they come, and would never be told.
        if self.throttle.is_short_for(true) && (self.is_held() || self.awaits_log()) {
            self.tell_blocked();
        }
    }

    /// There is enough of all resources again.
    pub fn unblock(&mut self, now: Moment) {
        self.throttle.shortage = None;
        self.throttle.reconsider(&mut self.heartbeat, now);
        if std::mem::take(&mut self.throttle.told) && self.state == State::Running {
            self.send(AMQPMethod::Unblocked(Unblocked {}));
        }
    }

    /// Whether the broker has too much under way to take more for the moment.
    pub fn flow(&mut self, too_much: bool, now: Moment) {
        self.throttle.flow = too_much;
        self.throttle.reconsider(&mut self.heartbeat, now);
    }

    /// Whether the client must wait: no frame of it may be taken.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.throttle.held && self.state == State::Running
    }

    /// Content came on that channel.
    pub(super) fn throttle_content(&mut self, number: u16) {
        if !self.throttle.flow && self.throttle.shortage.is_none() {
            return;
        }
        let channel = self.channels.get(&number).filter(|channel| !channel.closing);
        let Some(confirms) = channel.map(|channel| channel.confirms.is_some()) else { return };
        let is_short = self.throttle.is_short_for(confirms);
        if is_short || self.throttle.flow {
            self.throttle.held = true;
            self.heartbeat.pause();
        }
        if is_short {
            self.tell_blocked();
        }
    }

    /// Tells the client that it is blocked, once, if it is and understands.
    fn tell_blocked(&mut self) {
        let Some((reason, _)) = &self.throttle.shortage else { return };
        let is_running = self.state == State::Running;
        if self.capabilities.connection_blocked && !self.throttle.told && is_running {
            self.throttle.told = true;
            let blocked = AMQPMethod::Blocked(Blocked { reason: ShortString::from(reason.as_str()) });
            method::encode(self.output.open(), 0, &AMQPClass::Connection(blocked));
        }
    }
}
