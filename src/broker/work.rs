//! What running queues leaves to be done once no queue is locked any more.
//!
//! Queues never call each other, the store or a timer: whoever runs them passes a `Work` along, and ends
//! with [`Broker::finish`](super::Broker::finish).

use super::paging::Fetch;
use crate::store::{Op, Safety, Transaction};
use std::collections::{HashSet, VecDeque};
use vhosts::{Moment, QueueId};

/// What is left to be done.
#[derive(Debug, Default)]
pub struct Work {
    /// For the store, in this order.
    pub ops: Vec<Op>,
    /// Queues that want to be looked at, and when.
    pub alarms: Vec<(Moment, QueueId)>,
    /// Pages whose messages are to be read.
    pub fetches: VecDeque<Fetch>,
    /// Queues that have dead letters to be carried away, each by whoever has it here.
    pub mail: Vec<QueueId>,
}

impl Work {
    /// Makes all that is to be stored one operation that survives a crash as a whole, or not at all.
    pub fn make_atomic(&mut self) {
        let own: HashSet<_> = self.ops.iter().filter_map(targets).flatten().copied().collect();
        let mut transaction = Transaction::default();
        let mut others = Vec::new();
        for op in self.ops.drain(..) {
            match op {
                Op::Append { message, targets, safety } if safety != Safety::Spilled => {
                    transaction.appends.push((message, targets));
                }
                // What the transaction brought and is settled already has nothing to be undone.
                Op::Settle { queue, seq, message } if !own.contains(&(queue, seq)) => {
                    transaction.settles.push((queue, seq, message));
                }
                other => others.push(other),
            }
        }
        if !transaction.appends.is_empty() || !transaction.settles.is_empty() {
            self.ops.push(Op::Transaction(Box::new(transaction)));
        }
        self.ops.extend(others);
    }
}

fn targets(op: &Op) -> Option<&crate::store::Targets> {
    match op {
        Op::Append { targets, .. } => Some(targets),
        _ => None,
    }
}
