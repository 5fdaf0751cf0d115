//! Transactions of a channel: publishes and answers that take effect together (AMQP 0-9-1, class tx).
//!
//! All queues that a transaction touches are locked while it is carried out, so nobody sees a part of it; and
//! what is to be stored is one operation, so a crash leaves all of it or nothing. RabbitMQ promises neither
//! over several queues.

use super::batch::Batch;
use super::live_queue::{Locked, QueueRef};
use super::registry::Broker;
use super::work::Work;
use crate::store::TRANSACTION_TARGETS_MAX;
use rabbit_compat::session::Answer;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use vhosts::topology::QueueHandle;
use vhosts::{Message, Moment, QueueId, Refusal};

/// Publishes of one transaction at most.
const MESSAGES_MAX: usize = 100_000;
/// Bytes of them at most: they are one atomic group of the log.
const BYTES_MAX: u64 = 128 << 20;

/// The publishes of a channel's transaction.
#[derive(Debug, Default)]
pub struct Enlisted {
    publishes: Vec<Publish>,
    bytes: u64,
    targets: usize,
}

/// A publish that waits for its commit.
#[derive(Debug)]
struct Publish {
    message: Message,
    mandatory: bool,
    /// Where it goes, as things stood when it was published.
    queues: SmallVec<[QueueRef; 1]>,
}

/// What became of the publishes of a transaction.
#[derive(Debug, Default)]
pub struct Committed {
    /// Mandatory messages that no queue took.
    pub returned: Vec<Message>,
    /// Others that no queue took.
    pub dropped: u64,
}

impl Enlisted {
    /// Adds a publish for these queues. False if the transaction would become too large.
    pub fn push(&mut self, message: Message, mandatory: bool, queues: &[QueueRef]) -> bool {
        self.bytes += message.body_len() + (message.address().len() + message.raw_properties().len()) as u64;
        self.targets += queues.len();
        let fits = self.publishes.len() < MESSAGES_MAX
            && self.targets < TRANSACTION_TARGETS_MAX
            && self.bytes <= BYTES_MAX;
        if fits {
            self.publishes.push(Publish { message, mandatory, queues: queues.into() });
        }
        fits
    }

    /// Carries everything out, with the `answers` of the channel.
    ///
    /// # Errors
    /// A queue that is full. Then nothing was done.
    pub fn commit(
        self,
        broker: &Broker,
        answers: &mut [Answer],
        work: &mut Work,
    ) -> Result<Committed, Refusal> {
        let (mut batch, mut committed) = (Batch::default(), Committed::default());
        for (number, Publish { message, mandatory, queues }) in (0..).zip(self.publishes) {
            match &*queues {
                [] if mandatory => committed.returned.push(message),
                [] => committed.dropped += 1,
                queues => batch.push(message, number, queues),
            }
        }
        answers.sort_by_key(|answer| answer.queue);
        let answered = answers.iter().filter_map(|answer| broker.queue(answer.queue));
        let queues: BTreeMap<QueueId, QueueRef> = batch
            .queues()
            .map(|(queue, _)| queue.clone())
            .chain(answered)
            .map(|queue| (queue.definition().id, queue))
            .collect();
        let mut locks = Locks(queues.iter().map(|(id, queue)| (*id, queue.lock())).collect());
        locks.check_room(&batch)?;
        locks.carry_out(&mut batch, answers, broker.clock.now(), work);
        Ok(committed)
    }
}

/// Queues that nobody else may use now, locked in the order of their ids.
#[derive(Debug)]
pub struct Locks<'a>(BTreeMap<QueueId, Locked<'a>>);

impl<'a> Locks<'a> {
    /// One of them.
    pub(super) fn at(&mut self, queue: &QueueRef) -> Option<&mut Locked<'a>> {
        self.0.get_mut(&queue.definition().id)
    }

    fn check_room(&mut self, batch: &Batch) -> Result<(), Refusal> {
        for (queue, incoming) in batch.queues() {
            let bytes = incoming.iter().map(|incoming| incoming.message.body_len()).sum();
            if self.at(queue).is_some_and(|locked| locked.is_full_for(incoming.len() as u64, bytes)) {
                return Err(Refusal::Full(queue.definition().name.clone()));
            }
        }
        Ok(())
    }

    /// Publishes come first: for them there is room, but what answers put back would take it.
    fn carry_out(&mut self, batch: &mut Batch, answers: &[Answer], now: Moment, work: &mut Work) {
        batch.hand_over_locked(now, self, work);
        for run in answers.chunk_by(|one, next| one.queue == next.queue) {
            if let Some(locked) = self.0.get_mut(&run[0].queue) {
                locked.answer(run, now);
            }
        }
        self.0.values_mut().for_each(|locked| locked.deliver(now, work));
    }
}
