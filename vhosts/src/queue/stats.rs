//! What a queue counts, at constant cost for each message.

use crate::Moment;
use crate::dead_letter::Reason;
use std::ops::AddAssign;

/// Plain counters since the queue was declared or recovered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages that came in.
    pub published: u64,
    /// Messages that were refused because there were too many.
    pub refused: u64,
    /// Deliveries to consumers, acknowledged or not.
    pub delivered: u64,
    /// Of these, the ones that need no acknowledgement.
    pub delivered_no_ack: u64,
    /// Of all deliveries, those of a message that was delivered before.
    pub redelivered: u64,
    /// Messages taken by `basic.get`.
    pub got: u64,
    /// Of these, the ones that need no acknowledgement.
    pub got_no_ack: u64,
    /// Messages that consumers were done with.
    pub acked: u64,
    /// Messages that came back to be delivered again.
    pub returned: u64,
    /// Deliveries that were taken back because no answer came in time.
    pub timed_out: u64,
    /// Messages that died and went to another queue.
    pub dead_lettered: Deaths,
    /// Messages that died and went nowhere.
    pub dropped: Deaths,
    /// Messages that the store could not read any more.
    pub unreadable: u64,
    /// Messages that the queue is done with, for whatever reason.
    pub settled: u64,
}

/// Deaths by their reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deaths {
    /// A consumer refused them.
    pub rejected: u64,
    /// Their time was up.
    pub expired: u64,
    /// The queue was too long.
    pub maxlen: u64,
    /// They failed too often.
    pub delivery_limit: u64,
}

impl Deaths {
    /// Counts one more.
    pub fn count(&mut self, reason: Reason) {
        *match reason {
            Reason::Rejected => &mut self.rejected,
            Reason::Expired => &mut self.expired,
            Reason::MaxLength => &mut self.maxlen,
            Reason::DeliveryLimit => &mut self.delivery_limit,
        } += 1;
    }
}

impl AddAssign for Deaths {
    fn add_assign(&mut self, other: Deaths) {
        self.rejected += other.rejected;
        self.expired += other.expired;
        self.maxlen += other.maxlen;
        self.delivery_limit += other.delivery_limit;
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Counters) {
        self.published += other.published;
        self.refused += other.refused;
        self.delivered += other.delivered;
        self.delivered_no_ack += other.delivered_no_ack;
        self.redelivered += other.redelivered;
        self.got += other.got;
        self.got_no_ack += other.got_no_ack;
        self.acked += other.acked;
        self.returned += other.returned;
        self.timed_out += other.timed_out;
        self.dead_lettered += other.dead_lettered;
        self.dropped += other.dropped;
        self.unreadable += other.unreadable;
        self.settled += other.settled;
    }
}

/// How long messages waited before they were first handed out: how many, by powers of two of milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits(Option<Box<[u64; Waits::BUCKETS]>>);

impl Waits {
    /// The last bucket takes everything over 2^30 ms, some 12 days.
    pub const BUCKETS: usize = 32;

    /// Counts a message that waited that long.
    pub fn count(&mut self, wait_ms: u64) {
        let bucket = (u64::BITS - wait_ms.leading_zeros()) as usize;
        self.0.get_or_insert_default()[bucket.min(Waits::BUCKETS - 1)] += 1;
    }

    /// Bucket 0 has the messages that waited less than 1 ms, bucket n those that waited less than 2^n ms and
    /// are in none before.
    #[must_use]
    pub fn buckets(&self) -> [u64; Waits::BUCKETS] {
        self.0.as_deref().copied().unwrap_or_default()
    }
}

/// Messages per second over the last seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// That came in.
    pub published: f64,
    /// That were handed out.
    pub delivered: f64,
    /// That consumers were done with.
    pub acked: f64,
}

/// Two looks at the counters, from which rates are made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sampler {
    before: Sample,
    last: Sample,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    at: Moment,
    published: u64,
    delivered: u64,
    acked: u64,
}

impl Sampler {
    /// Milliseconds between two looks, at least.
    const EVERY_MS: u64 = 5_000;

    /// Takes a look, if the last one is long ago.
    pub fn look(&mut self, now: Moment, counters: &Counters) {
        if now >= self.last.at.after_ms(Sampler::EVERY_MS) {
            *self = Sampler { before: self.last, last: Sample::of(now, counters) };
        }
    }

    /// The rates over the 5 to 10 seconds before `now`, or since the last look when that is longer ago.
    #[must_use]
    pub fn rates(&self, now: Moment, counters: &Counters) -> Rates {
        let recent = self.last.at.after_ms(Sampler::EVERY_MS) > now;
        let from = if recent && self.before.at != Moment(0) { self.before } else { self.last };
        let to = Sample::of(now, counters);
        let seconds = (to.at.0.saturating_sub(from.at.0)) as f64 / 1000.0;
        let rate =
            |from: u64, to: u64| if seconds > 0.0 { to.saturating_sub(from) as f64 / seconds } else { 0.0 };
        Rates {
            published: rate(from.published, to.published),
            delivered: rate(from.delivered, to.delivered),
            acked: rate(from.acked, to.acked),
        }
    }
}

impl Sample {
    fn of(at: Moment, counters: &Counters) -> Sample {
        let Counters { published, delivered, got, acked, .. } = *counters;
        Sample { at, published, delivered: delivered + got, acked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_sorted_by_powers_of_two() {
        let mut waits = Waits::default();
        for wait_ms in [0, 1, 2, 3, 4, 1 << 29, 1 << 30, u64::MAX] {
            waits.count(wait_ms);
        }
        let buckets = waits.buckets();
        assert_eq!(buckets[..4], [1, 1, 2, 1]);
        assert_eq!(buckets[30..], [1, 2]);
    }

    #[test]
    fn rates_are_of_the_last_seconds() {
        let (mut sampler, mut counters) = (Sampler::default(), Counters::default());
        let mut rates = Vec::new();
        for second in 100..120 {
            let now = Moment(second * 1000);
            sampler.look(now, &counters);
            rates.push(sampler.rates(now, &counters).published);
            counters.published += if second < 110 { 10 } else { 0 };
        }
        assert_eq!(rates[9], 10.0);
        assert_eq!(rates[19], 0.0);
        assert!((rates[12] - 7.0).abs() < 4.0, "{rates:?}");
    }
}
