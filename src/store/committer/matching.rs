//! The first step of a commit: settlements and notes are brought to their messages, in the order in which
//! they were submitted. Nothing is written.

use super::super::Op;
use super::super::log::{GroupNumber, Log};
use super::super::notes::Note;
use super::super::record::Targets;
use super::super::slot::Slot;
use super::super::transaction::Transaction;
use super::Committer;
use vhosts::{Message, QueueId, Seq};

impl<L: Log> Committer<L> {
    /// Notes where appends are, and brings settlements and notes to them.
    pub(super) fn match_up(&mut self, ops: &mut [Op], index: usize) {
        match &mut ops[index] {
            Op::Append { message, targets } => {
                self.expect(message, targets, Slot::Pending { op: index, part: 0 });
            }
            Op::Settle { queue, seq, message } => {
                let target = (*queue, *seq);
                if !self.queues.seen(target.0, target.1) {
                    return;
                }
                match Slot::load(message) {
                    Slot::Pending { op, part } => self.strike(ops.get_mut(op), part, target),
                    Slot::Written { group, first, shared } => self.settle(group, first, shared, target.0),
                    Slot::Unknown | Slot::Early => self.settle_early(message, target),
                    Slot::Never => {}
                }
            }
            Op::Note { queue, seq, message, note } => {
                let (target, note) = ((*queue, *seq), *note);
                if !self.queues.seen(target.0, target.1) {
                    return;
                }
                match Slot::load(message) {
                    Slot::Pending { op, part } => self.note_pending(ops.get_mut(op), part, target, note),
                    Slot::Written { group, first, shared } => {
                        self.note_written(group, first, shared, target.0, note);
                    }
                    Slot::Unknown | Slot::Early => self.early.note(target, note),
                    Slot::Never => {}
                }
            }
            Op::Transaction(transaction) => self.match_transaction(transaction, index),
            Op::Define { .. } | Op::Forget { .. } => {}
        }
    }

    /// An append is there: from now on settlements find it.
    fn expect(&mut self, message: &Message, targets: &mut Targets, pending: Slot) {
        match Slot::load(message) {
            Slot::Unknown => {}
            Slot::Early => targets.retain(|target| !self.early.take_settled(target)),
            slot => panic!("a message is appended once, but this one is {slot:?}"),
        }
        pending.store(message);
    }

    /// What was appended before the transaction waits for its record to name the place.
    fn match_transaction(&mut self, transaction: &mut Transaction, index: usize) {
        for (part, (message, targets)) in transaction.appends.iter_mut().enumerate() {
            self.expect(message, targets, Slot::Pending { op: index, part });
        }
        for (queue, seq, message) in &transaction.settles {
            let target = (*queue, *seq);
            if !self.queues.seen(target.0, target.1) {
                continue;
            }
            match Slot::load(message) {
                Slot::Pending { op, part } if op == index => {
                    strike(transaction.appends.get_mut(part).map(|(_, targets)| targets), target);
                    self.early.forget_note(&target);
                }
                Slot::Unknown | Slot::Early => self.settle_early(message, target),
                Slot::Pending { .. } | Slot::Written { .. } | Slot::Never => {}
            }
        }
    }

    fn strike(&mut self, op: Option<&mut Op>, part: usize, target: (QueueId, Seq)) {
        strike(op.and_then(|op| pending_targets(op, part)), target);
        self.early.forget_note(&target);
    }

    fn settle(&mut self, number: GroupNumber, first: u32, shared: bool, queue: QueueId) {
        // A group that is gone had settled everything.
        let Some(group) = self.groups.get_mut(&number) else { return };
        let ordinal = if shared { group.find(first, shared, queue) } else { Some(first) };
        let changed = ordinal.is_some_and(|ordinal| group.settle(ordinal));
        if changed && !group.dirty {
            self.mark_dirty(number);
        }
    }

    fn settle_early(&mut self, message: &Message, target: (QueueId, Seq)) {
        Slot::Early.store(message);
        self.early.settle(target);
    }

    /// The append takes the note along when it is written.
    fn note_pending(&mut self, op: Option<&mut Op>, part: usize, target: (QueueId, Seq), note: Note) {
        // A target that is not there any more was settled.
        if op.and_then(|op| pending_targets(op, part)).is_some_and(|targets| targets.contains(&target)) {
            self.early.note(target, note);
        }
    }

    fn note_written(&mut self, number: GroupNumber, first: u32, shared: bool, queue: QueueId, note: Note) {
        let Some(group) = self.groups.get_mut(&number) else { return };
        if group.find(first, shared, queue).is_some_and(|ordinal| group.note(ordinal, note)) {
            self.mark_dirty(number);
        }
    }
}

/// The targets of an append that is to be written.
fn pending_targets(op: &mut Op, part: usize) -> Option<&mut Targets> {
    match op {
        Op::Append { targets, .. } => Some(targets),
        Op::Transaction(transaction) => transaction.appends.get_mut(part).map(|(_, targets)| targets),
        _ => None,
    }
}

/// Takes a target out of an append of the same batch.
fn strike(targets: Option<&mut Targets>, target: (QueueId, Seq)) {
    if let Some(targets) = targets
        && let Some(at) = targets.iter().position(|found| *found == target)
    {
        targets.swap_remove(at);
    }
}
