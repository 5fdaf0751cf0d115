//! Carrying dead letters from their queue to the queues that the dead-letter exchange leads to (RabbitMQ,
//! "Dead Letter Exchanges").
//!
//! A letter is published while no queue is locked, by one thread at a time for each queue, so that letters
//! keep their order. Its copies go to the store before the original is settled, in the same submission: after
//! a crash the message is in its old queue or in the new ones, or in both, never in none.

use super::batch::Batch;
use super::live_queue::{LiveQueue, Locked, QueueRef};
use super::registry::Broker;
use super::route_cache::Routed;
use super::work::Work;
use std::collections::HashMap;
use vhosts::dead_letter::{self, Death, Reason};
use vhosts::queue::settings::DeadLetterTo;
use vhosts::queue::{Carried, LetterId};
use vhosts::topology::QueueHandle;
use vhosts::{Message, Moment, QueueId, Topology};

/// Rounds that one thread carries letters of a queue; then an alarm goes on, so that a client whose publish
/// killed a message does not carry letters for others for ever.
const ROUNDS_MAX: usize = 16;
/// Milliseconds between two lines in the log about letters of one queue that nobody took.
const REPORT_EVERY_MS: u64 = 60_000;

/// The letters of a queue that wait to be carried.
#[derive(Debug, Default)]
pub struct Outgoing {
    letters: Vec<Died>,
    /// Somebody carries, and will look for more.
    has_carrier: bool,
    /// The queues that have a letter which others refused.
    partly: HashMap<LetterId, Vec<QueueId>>,
    stranded: u64,
    reported: Option<Moment>,
}

#[derive(Debug)]
struct Died {
    letter: LetterId,
    message: Message,
    reason: Reason,
    /// The queues that have it already, from an earlier try.
    taken: Vec<QueueId>,
}

/// One thread's turn of carrying letters.
#[derive(Debug, Default)]
struct Round {
    batch: Batch,
    /// What became of the letters that were sent, and is not told yet.
    sent: Vec<Sent>,
    found: Vec<QueueRef>,
}

#[derive(Debug)]
struct Sent {
    letter: LetterId,
    carried: Carried,
    /// The queues that took it.
    taken: Vec<QueueId>,
}

impl Outgoing {
    /// A message died.
    pub fn push(&mut self, letter: LetterId, message: Message, reason: Reason) {
        self.letters.push(Died { letter, message, reason, taken: Vec::new() });
    }

    /// Whether somebody is to carry letters; who is told so must.
    pub fn wants_carrier(&mut self) -> bool {
        let wants = !self.has_carrier && !self.letters.is_empty();
        self.has_carrier |= wants;
        wants
    }

    /// Takes the letters that wait, each with the queues that have it already. With none, nobody carries any
    /// more.
    fn take(&mut self) -> Vec<Died> {
        let mut letters = std::mem::take(&mut self.letters);
        self.has_carrier = !letters.is_empty();
        if !self.partly.is_empty() {
            letters
                .iter_mut()
                .for_each(|died| died.taken = self.partly.remove(&died.letter).unwrap_or_default());
        }
        letters
    }

    /// Remembers who has a letter that will be tried again.
    fn note(&mut self, sent: Sent) {
        if sent.carried == Carried::Stranded && !sent.taken.is_empty() {
            self.partly.insert(sent.letter, sent.taken);
        }
    }

    /// Counts letters that nobody took; says how many, if it is time for a line in the log.
    fn report(&mut self, stranded: u64, now: Moment) -> Option<u64> {
        self.stranded += stranded;
        let is_due = self.reported.is_none_or(|last| now >= last.after_ms(REPORT_EVERY_MS));
        if self.stranded == 0 || !is_due {
            return None;
        }
        self.reported = Some(now);
        Some(std::mem::take(&mut self.stranded))
    }
}

impl Broker {
    /// Carries the letters of a queue away.
    pub(super) fn carry(&self, id: QueueId, work: &mut Work) {
        let Some(queue) = self.queue(id) else { return };
        let Some(to) = &queue.settings().dead_letter else { return };
        let mut round = Round::default();
        for _ in 0..ROUNDS_MAX {
            let now = self.clock.now();
            let letters = queue.next_letters(&mut round, now, work);
            if letters.is_empty() {
                return;
            }
            let vhost = self.vhost(queue.vhost());
            let topology = vhost.map(|vhost| vhost.topology().load_full());
            for (number, died) in (0..).zip(letters) {
                round.address(&queue, to, died, topology.as_deref(), now, number);
            }
            round.send(to, now, work);
        }
        queue.pause_letters(&mut round, self.clock.now(), work);
    }
}

impl Round {
    /// Makes a letter and finds its queues.
    fn address(
        &mut self,
        queue: &LiveQueue,
        to: &DeadLetterTo,
        died: Died,
        topology: Option<&Topology<QueueRef>>,
        now: Moment,
        number: u32,
    ) {
        let Died { letter: id, message, reason, taken } = died;
        let death = Death { queue: &queue.definition().name, reason, to, now };
        let letter = dead_letter::letter(&message, &death);
        self.found.clear();
        if let Some(topology) = topology {
            topology.route(&to.exchange, &Routed::new(&letter), &mut self.found);
        }
        let has_route = !self.found.is_empty();
        self.found.retain(|target| !dead_letter::is_cycle(&letter, &target.definition().name));
        let carried = match (has_route, self.found.is_empty()) {
            (false, _) => Carried::Stranded,
            (true, true) => Carried::Cycle,
            (true, false) => Carried::Arrived,
        };
        self.found.retain(|target| !taken.contains(&target.definition().id));
        let taken = taken.into_iter().chain(self.found.iter().map(|target| target.definition().id));
        self.sent.push(Sent { letter: id, carried, taken: taken.collect() });
        self.batch.push(letter, number, &self.found);
    }

    /// Hands the letters to their queues.
    fn send(&mut self, to: &DeadLetterTo, now: Moment, work: &mut Work) {
        self.batch.hand_over(now, work);
        for (number, refused_by) in self.batch.refused() {
            let sent = &mut self.sent[number as usize];
            sent.taken.retain(|queue| *queue != refused_by);
            // Where letters are not insisted on, one queue that has it is enough.
            if to.at_least_once || sent.taken.is_empty() {
                sent.carried = Carried::Stranded;
            }
        }
    }
}

impl LiveQueue {
    /// Tells the machine what became of the letters before, and takes the next. With none left, the caller
    /// does not carry any more.
    fn next_letters(&self, round: &mut Round, now: Moment, work: &mut Work) -> Vec<Died> {
        let mut locked = self.lock();
        self.tell(&mut locked, round, now, work);
        locked.running.outgoing.take()
    }

    /// Tells the machine what became of the letters before, and leaves the next to an alarm.
    fn pause_letters(&self, round: &mut Round, now: Moment, work: &mut Work) {
        let mut locked = self.lock();
        self.tell(&mut locked, round, now, work);
        locked.running.outgoing.has_carrier = false;
        work.alarms.push((now, self.definition().id));
    }

    fn tell(&self, locked: &mut Locked<'_>, round: &mut Round, now: Moment, work: &mut Work) {
        let mut stranded = 0;
        for sent in round.sent.drain(..) {
            stranded += u64::from(sent.carried == Carried::Stranded);
            locked.carried(sent.letter, sent.carried, now);
            locked.running.outgoing.note(sent);
        }
        if let Some(stranded) = locked.running.outgoing.report(stranded, now) {
            self.report_stranded(stranded);
        }
        locked.carry_out(work);
    }

    fn report_stranded(&self, letters: u64) {
        let to = self.settings().dead_letter.as_ref();
        tracing::warn!(
            vhost = &**self.vhost(),
            queue = &*self.definition().name,
            exchange = to.map(|to| &*to.exchange),
            letters,
            kept = to.is_some_and(|to| to.at_least_once),
            "dead letters found no queue, or a queue that is full: is the dead-letter exchange there and bound?"
        );
    }
}
