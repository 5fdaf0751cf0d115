//! `tx.*`: publishes and answers that take effect at the commit, or never (AMQP 0-9-1, class tx; RabbitMQ,
//! "Semantics of tx").
//!
//! The broker keeps the publishes, the channel keeps the answers. An answer that is kept is not unacked, so
//! that it cannot be given twice, but it makes no room for more deliveries before the commit. RabbitMQ's
//! `basic.recover` knows no transactions, and neither does this one: what has no answer goes back at once.
//!
//! Invariant: a delivery is in `unacked` or in `kept`, never in both.

use super::answers::Reply;
use super::channel::{Channel, Unacked};
use super::command::{Answer, Command, Operation};
use super::{Session, operations};
use crate::violation::Violation;
use amq_protocol::protocol::tx::AMQPMethod;
use std::mem;
use vhosts::queue::Outcome;

/// What a transactional channel did since the last commit or rollback.
#[derive(Debug, Default)]
pub struct Transaction {
    kept: Vec<Kept>,
}

#[derive(Debug)]
struct Kept {
    delivery_tag: u64,
    unacked: Unacked,
    outcome: Outcome,
}

impl Transaction {
    /// Keeps an answer.
    pub fn keep(&mut self, delivery_tag: u64, unacked: Unacked, outcome: Outcome) {
        self.kept.push(Kept { delivery_tag, unacked, outcome });
    }
}

impl Channel {
    /// The answers since the last commit, in the order in which they were given.
    fn commit(&mut self) -> Vec<Answer> {
        let kept = self.transaction.as_mut().map(|open| mem::take(&mut open.kept)).unwrap_or_default();
        let mut answers = Vec::with_capacity(kept.len());
        for Kept { unacked, outcome, .. } in kept {
            self.settle(unacked, outcome, &mut answers);
        }
        answers
    }

    /// Unsays the answers since the last commit: their deliveries wait for one again, under their old tags.
    pub fn rollback(&mut self) {
        let Some(transaction) = &mut self.transaction else { return };
        for Kept { delivery_tag, unacked, .. } in transaction.kept.drain(..) {
            self.unacked.put_back(delivery_tag, unacked);
        }
    }
}

impl Session {
    pub(super) fn tx_class(
        &mut self,
        number: u16,
        ids: (u16, u16),
        method: &AMQPMethod,
        commands: &mut Vec<Command>,
    ) -> Result<(), Violation> {
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        let operation = match method {
            AMQPMethod::Select(_) => return self.select_transactions(number),
            AMQPMethod::Commit(_) | AMQPMethod::Rollback(_) if channel.transaction.is_none() => {
                return Err(operations::precondition("channel is not transactional"));
            }
            AMQPMethod::Commit(_) => Operation::Commit { channel: number, answers: channel.commit() },
            AMQPMethod::Rollback(_) => {
                channel.rollback();
                Operation::Rollback { channel: number }
            }
            _ => return Err(operations::unimplemented_method()),
        };
        self.hand_out(number, ids, false, String::new(), operation, commands);
        Ok(())
    }

    fn select_transactions(&mut self, number: u16) -> Result<(), Violation> {
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        if channel.confirms.is_some() {
            return Err(operations::precondition("cannot switch from confirm to tx mode"));
        }
        channel.transaction.get_or_insert_default();
        self.respond(number, Reply::Plain(90, 11));
        Ok(())
    }

    pub(super) fn select_confirms(&mut self, number: u16, nowait: bool) -> Result<(), Violation> {
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        if channel.transaction.is_some() {
            return Err(operations::precondition("cannot switch from tx to confirm mode"));
        }
        channel.confirms.get_or_insert_default();
        if !nowait {
            self.respond(number, Reply::Plain(85, 11));
        }
        Ok(())
    }
}
