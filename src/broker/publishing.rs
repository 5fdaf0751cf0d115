//! What a client publishes and answers, until its queues have it.

use super::batch::Batch;
use super::client::Client;
use super::registry::Broker;
use super::replies::Replies;
use super::transaction::Enlisted;
use super::vhost;
use super::work::Work;
use rabbit_compat::session::{Answer, Done, Publishing};
use rabbit_compat::{Code, Violation};
use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use vhosts::queue::Outcome;
use vhosts::{Message, Moment, Refusal};

/// The number of a publish whose publisher is not told anything.
const UNTOLD: u32 = u32::MAX;

/// The publishes of one client.
#[derive(Default)]
pub struct Publisher {
    batch: Batch,
    /// Channel and number of the publishes of the batch that are to be confirmed.
    confirmed: Vec<(u16, u64)>,
    transactions: HashMap<u16, Enlisted>,
    /// Not in the broker's totals yet.
    published: u64,
}

impl Publisher {
    /// Whether the batch should be handed over before more comes.
    pub fn is_full(&self) -> bool {
        self.batch.is_full()
    }

    /// Forgets what a channel published in its transaction.
    pub fn roll_back(&mut self, channel: u16) {
        self.transactions.remove(&channel);
    }

    /// How many there were since this was asked last.
    pub fn take_published(&mut self) -> u64 {
        std::mem::take(&mut self.published)
    }

    /// Gives back memory that only a busy client needs.
    pub fn shrink(&mut self) {
        self.batch.shrink();
        self.confirmed.shrink_to(16);
    }

    /// What a publish of the batch is called.
    fn number(&mut self, channel: u16, how: Publishing) -> u32 {
        let Publishing::Confirmed(tag) = how else { return UNTOLD };
        self.confirmed.push((channel, tag));
        self.confirmed.len() as u32 - 1
    }
}

impl Client {
    pub(super) fn publish(&mut self, channel: u16, message: Message, mandatory: bool, how: Publishing) {
        let refused = self.refused(&message, how);
        let Some(opened) = &mut self.opened else { return };
        self.publisher.published += 1;
        if Replies::is_addressed(&message) {
            if !self.broker.replies.send(&message) {
                self.unroutable(channel, mandatory, &message);
            }
            return;
        }
        match opened.routes.route(&message, &opened.permissions) {
            Ok(queues) if how == Publishing::Enlisted => {
                let transaction = self.publisher.transactions.entry(channel).or_default();
                if !transaction.push(message, mandatory, queues) {
                    let text = "the transaction has too many messages or bytes";
                    let violation = Violation::new(Code::PreconditionFailed, text);
                    self.session.refuse(channel, violation, &mut self.commands);
                }
            }
            Ok([]) => self.unroutable(channel, mandatory, &message),
            Ok(queues) => match refused {
                Some(tag) => self.session.rejected(channel, tag),
                None => {
                    let number = self.publisher.number(channel, how);
                    self.publisher.batch.push(message, number, queues);
                }
            },
            Err(refusal) => {
                let violation = self.violation(&refusal);
                self.session.refuse(channel, violation, &mut self.commands);
            }
        }
    }

    /// Hands publishes, answers and credit to the queues, and what must be stored to the store.
    pub(super) fn hand_over(&mut self) {
        let now = self.broker.clock.now();
        let stored = self.publisher.batch.hand_over(now, &mut self.work);
        for (number, _) in self.publisher.batch.refused() {
            if let Some((channel, tag)) = self.publisher.confirmed.get(number as usize) {
                self.session.rejected(*channel, *tag);
            }
        }
        self.publisher.confirmed.clear();
        let answers = self.session.answers();
        count_settled(&self.broker.totals.acknowledged, answers);
        hand_answers(&self.broker, answers, now, &mut self.work);
        answers.clear();
        for grant in self.session.grants().drain(..) {
            if let Some(queue) = self.broker.queue(grant.queue) {
                queue.grant(grant, now, &mut self.work);
            }
        }
        let position = self.broker.finish(&mut self.work).filter(|_| stored);
        self.session.published(position.map(Into::into), self.safe.into());
    }

    /// Carries a transaction out. It is answered once it is safe.
    pub(super) fn commit(
        &mut self,
        channel: u16,
        mut answers: Vec<Answer>,
    ) -> Result<vhost::Outcome<Done>, Refusal> {
        let enlisted = self.publisher.transactions.remove(&channel).unwrap_or_default();
        let committed = enlisted.commit(&self.broker, &mut answers, &mut self.work);
        let committed = committed.inspect_err(|_| {
            // The channel ends, and with it go its deliveries, answered or not.
            answers.iter_mut().for_each(|answer| answer.outcome = Outcome::Fail);
            hand_answers(&self.broker, &answers, self.broker.clock.now(), &mut self.work);
        })?;
        count_settled(&self.broker.totals.acknowledged, &answers);
        committed.returned.iter().for_each(|message| self.unroutable(channel, true, message));
        self.broker.totals.unroutable_dropped.fetch_add(committed.dropped, Relaxed);
        Ok((Done::Plain, self.broker.finish_atomic(&mut self.work)))
    }

    fn unroutable(&mut self, channel: u16, mandatory: bool, message: &Message) {
        let totals = &self.broker.totals;
        if mandatory {
            totals.unroutable_returned.fetch_add(1, Relaxed);
            self.session.unroutable(channel, message);
        } else {
            totals.unroutable_dropped.fetch_add(1, Relaxed);
        }
    }
}

fn hand_answers(broker: &Broker, answers: &[Answer], now: Moment, work: &mut Work) {
    for run in answers.chunk_by(|one: &Answer, next| one.queue == next.queue) {
        if let Some(queue) = broker.queue(run[0].queue) {
            queue.answer(run, now, work);
        }
    }
}

fn count_settled(acknowledged: &std::sync::atomic::AtomicU64, answers: &[Answer]) {
    let settled = answers.iter().filter(|answer| answer.outcome == Outcome::Settle).count();
    if settled > 0 {
        acknowledged.fetch_add(settled as u64, Relaxed);
    }
}
