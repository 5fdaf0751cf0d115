//! When something must be sent, and when a silent peer is given up (AMQP 0-9-1, section 4.2.7; RabbitMQ,
//! "Detecting Dead TCP Connections with Heartbeats").
//!
//! The server sends after half an interval of silence of its own, and gives the peer up after two intervals
//! of the peer's, unless it is not listened to. Any traffic counts. The same clock limits the handshake and the wait for `close-ok`.

use vhosts::Moment;

/// Both sides' signs of life.
#[derive(Debug)]
pub struct Heartbeat {
    /// Milliseconds; 0 for none.
    interval_ms: u64,
    received: Moment,
    sent: Moment,
    /// Nothing is read from the peer, so its silence means nothing.
    paused: bool,
    /// The latest moment for what is under way.
    limit: Option<Moment>,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// A heartbeat is to be sent.
    Send,
    /// The peer is to be given up.
    GiveUp,
}

impl Heartbeat {
    /// During the handshake only its own limit counts.
    pub fn handshake(now: Moment, limit_ms: u64) -> Heartbeat {
        let limit = Some(now.after_ms(limit_ms));
        Heartbeat { interval_ms: 0, received: now, sent: now, paused: false, limit }
    }

    /// The handshake is over.
    pub fn running(&mut self, interval_s: u16) {
        self.interval_ms = u64::from(interval_s) * 1000;
        self.limit = None;
    }

    /// The peer has that long to answer a close.
    pub fn closing(&mut self, limit_ms: u64) {
        self.limit = Some(self.received.max(self.sent).after_ms(limit_ms));
    }

    /// Bytes came.
    pub fn received(&mut self, now: Moment) {
        self.received = now;
    }

    /// Bytes went.
    pub fn sent(&mut self, now: Moment) {
        self.sent = now;
    }

    /// From now on nothing is read from the peer.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// The peer is read again; its silence begins now.
    pub fn resume(&mut self, now: Moment) {
        self.paused = false;
        self.received = now;
    }

    /// What is due now.
    pub fn due(&self, now: Moment) -> Due {
        let dead = self.dead_at().is_some_and(|at| now >= at);
        if dead || self.limit.is_some_and(|limit| now >= limit) {
            Due::GiveUp
        } else if self.interval_ms != 0 && now >= self.sent.after_ms(self.interval_ms / 2) {
            Due::Send
        } else {
            Due::Nothing
        }
    }

    /// When to ask again, if nothing happens until then.
    pub fn deadline(&self) -> Option<Moment> {
        let beat = (self.interval_ms != 0).then(|| self.sent.after_ms(self.interval_ms / 2));
        beat.into_iter().chain(self.dead_at()).chain(self.limit).min()
    }

    fn dead_at(&self) -> Option<Moment> {
        let listens = self.interval_ms != 0 && !self.paused;
        listens.then(|| self.received.after_ms(2 * self.interval_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_interval_to_send_and_two_to_give_up() {
        let mut heartbeat = Heartbeat::handshake(Moment(0), 10_000);
        assert_eq!(heartbeat.due(Moment(9_999)), Due::Nothing);
        assert_eq!(heartbeat.due(Moment(10_000)), Due::GiveUp);
        heartbeat.running(10);
        assert_eq!(heartbeat.deadline(), Some(Moment(5_000)));
        assert_eq!(heartbeat.due(Moment(5_000)), Due::Send);
        heartbeat.sent(Moment(5_000));
        assert_eq!(heartbeat.due(Moment(9_999)), Due::Nothing);
        heartbeat.sent(Moment(19_000));
        assert_eq!(heartbeat.due(Moment(20_000)), Due::GiveUp);
        heartbeat.received(Moment(19_999));
        assert_eq!(heartbeat.due(Moment(20_000)), Due::Nothing);
    }

    #[test]
    fn no_interval_no_beats() {
        let mut heartbeat = Heartbeat::handshake(Moment(0), 10);
        heartbeat.running(0);
        assert_eq!(heartbeat.deadline(), None);
        assert_eq!(heartbeat.due(Moment(u64::MAX)), Due::Nothing);
    }
}
