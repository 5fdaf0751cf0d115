//! The first step of a commit: settlements and notes are brought to their messages, in the order in which
//! they were submitted. Nothing is written.

use super::super::Op;
use super::super::atomic::Transaction;
use super::super::notes::Note;
use super::super::record::Targets;
use super::super::segment::Whole;
use super::super::slot::Slot;
use super::Committer;
use vhosts::{Message, Place, QueueId, Seq};

impl Committer {
    /// Notes where appends are, and brings settlements and notes to them. What is to be written is kept.
    pub(super) fn take(&mut self, mut op: Op) {
        let at = self.pending.len();
        match &mut op {
            Op::Append { message, targets, .. } => {
                self.expect(message, targets, at, 0);
            }
            Op::Transaction(transaction) => self.match_transaction(transaction, at),
            Op::Define(_) => {}
            Op::Settle { queue, seq, message } => return self.settle(message, (*queue, *seq)),
            Op::Purge { queue, places } => {
                return self.held.extend(places.iter().map(|place| (*place, *queue)));
            }
            Op::Note { queue, seq, message, note } => return self.note(message, (*queue, *seq), *note),
        }
        self.pending.push(op);
    }

    fn settle(&mut self, message: &Message, target: (QueueId, Seq)) {
        match Slot::load(message) {
            Slot::Pending { op, part, .. } => {
                strike(self.pending.get_mut(op).and_then(|op| pending_targets(op, part)), target);
                self.early.forget_note(&target);
            }
            Slot::Written(place) => self.held.push((place, target.0)),
            Slot::Unknown | Slot::Early => {
                Slot::Early.store(message);
                self.early.settle(target);
            }
            Slot::Never => {}
        }
    }

    fn note(&mut self, message: &Message, target: (QueueId, Seq), note: Note) {
        match Slot::load(message) {
            Slot::Pending { op, part, .. } => {
                // The append takes the note along when it is written. A target that is not there any more was
                // settled.
                let targets = self.pending.get_mut(op).and_then(|op| pending_targets(op, part));
                if targets.is_some_and(|targets| targets.contains(&target)) {
                    self.early.note(target, note);
                }
            }
            Slot::Written(place) => self.note_place(place, target.0, note),
            Slot::Unknown | Slot::Early => self.early.note(target, note),
            Slot::Never => {}
        }
    }

    /// An append is there: from now on settlements find it.
    fn expect(&mut self, message: &Message, targets: &mut Targets, op: usize, part: usize) {
        let shared = targets.len() > 1;
        match Slot::load(message) {
            Slot::Unknown => {}
            Slot::Early => targets.retain(|target| !self.early.take_settled(target)),
            slot => panic!("a message is appended once, but this one is {slot:?}"),
        }
        Slot::Pending { op, part, shared }.store(message);
    }

    /// What was appended before the transaction waits for its record to name the place.
    fn match_transaction(&mut self, transaction: &mut Transaction, at: usize) {
        for (part, (message, targets)) in transaction.appends.iter_mut().enumerate() {
            self.expect(message, targets, at, part);
        }
        for (queue, seq, message) in &transaction.settles {
            let target = (*queue, *seq);
            match Slot::load(message) {
                Slot::Pending { op, part, .. } if op == at => {
                    strike(transaction.appends.get_mut(part).map(|(_, targets)| targets), target);
                    self.early.forget_note(&target);
                }
                Slot::Unknown | Slot::Early => {
                    Slot::Early.store(message);
                    self.early.settle(target);
                }
                Slot::Pending { .. } | Slot::Written(_) | Slot::Never => {}
            }
        }
    }

    /// Where a record is: its segment may have been moved, or be gone when everything in it was settled.
    pub(super) fn find(&self, place: Place) -> Option<Place> {
        if self.segments.contains_key(&place.segment) {
            return Some(place);
        }
        let place = self.shelf.find(place);
        self.segments.contains_key(&place.segment).then_some(place)
    }

    pub(super) fn settle_place(&mut self, place: Place, queue: QueueId) {
        let Some(place) = self.find(place) else { return };
        let Some(segment) = self.segments.get_mut(&place.segment) else { return };
        let Some(Whole(is_whole)) = segment.settle(place, queue) else { return };
        if is_whole && let Some(origin) = segment.origin(place.unit) {
            self.shelf.forget_moved(origin);
        }
        if !segment.dirty {
            self.mark_dirty(place.segment);
        }
    }

    pub(super) fn note_place(&mut self, place: Place, queue: QueueId, note: Note) {
        let Some(place) = self.find(place) else { return };
        let Some(segment) = self.segments.get_mut(&place.segment) else { return };
        if segment.bit(place, queue).is_some_and(|bit| segment.note(bit, note)) {
            self.mark_dirty(place.segment);
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

/// Takes a target out of an append that is not written yet.
fn strike(targets: Option<&mut Targets>, target: (QueueId, Seq)) {
    if let Some(targets) = targets
        && let Some(at) = targets.iter().position(|found| *found == target)
    {
        targets.swap_remove(at);
    }
}
