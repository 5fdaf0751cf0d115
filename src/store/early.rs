//! What came before the append that it belongs to: settlements and notes, by queue and number.
//!
//! A settlement makes the note of its target forgotten, and a note that comes behind it is one too many.

use super::notes::Note;
use foldhash::fast::RandomState;
use std::collections::{HashMap, HashSet};
use vhosts::{QueueId, Seq};

type Target = (QueueId, Seq);

#[derive(Debug, Default)]
pub(super) struct Early {
    settled: HashSet<Target, RandomState>,
    notes: HashMap<Target, Note, RandomState>,
}

impl Early {
    pub(super) fn settle(&mut self, target: Target) {
        self.forget_note(&target);
        self.settled.insert(target);
    }

    /// Whether the target was settled, which is then no longer remembered.
    pub(super) fn take_settled(&mut self, target: &Target) -> bool {
        self.settled.remove(target)
    }

    pub(super) fn note(&mut self, target: Target, note: Note) {
        if !self.settled.contains(&target) {
            self.notes.insert(target, note);
        }
    }

    /// The note of a target, which is then no longer remembered.
    pub(super) fn take_note(&mut self, target: &Target) -> Option<Note> {
        self.notes.remove(target)
    }

    /// The target of a message that is about to be written is settled.
    pub(super) fn forget_note(&mut self, target: &Target) {
        if self.has_notes() {
            self.notes.remove(target);
        }
    }

    /// Mostly there are none, and then no target needs to be looked for.
    pub(super) fn has_notes(&self) -> bool {
        !self.notes.is_empty()
    }

    pub(super) fn settled_len(&self) -> usize {
        self.settled.len()
    }

    pub(super) fn notes_len(&self) -> usize {
        self.notes.len()
    }
}
