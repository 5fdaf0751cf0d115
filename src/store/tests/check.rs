//! Holds what a broker wrote down against what a disk has.

use super::super::testing::MemoryDisk;
use super::super::{Note, Recovery};
use super::broker::Broker;
use super::{Target, is_same, opened, recovered, settle_all, settle_down, targets};
use std::collections::{BTreeMap, BTreeSet};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// What was written is there, synced or not.
    Killed,
    /// What was not synced may be gone.
    PowerLoss,
}

impl Broker {
    /// Reads the disk back and holds it against the notes.
    pub(super) fn check(&self, left: &MemoryDisk, end: End) {
        let (mut committer, recovery) = opened(left);
        assert_eq!(recovery.torn, None);
        let found = recovered(&recovery, &committer.reader());
        for (target, (message, note)) in &found {
            assert!(self.submitted.appended.contains(target), "{target:?} out of nothing");
            assert!(!self.on_disk.settled.contains(target), "{target:?} was settled, and returned");
            assert!(!self.spilled.contains(target), "{target:?} was only out of memory, and returned");
            assert!(is_same(&self.messages[target].0, message), "{target:?} has another message");
            self.check_note(*target, *note);
        }
        for target in &self.safe.appended {
            let gone = self.submitted.settled.contains(target) || !self.is_kept(target, end);
            assert!(gone || found.contains_key(target), "{target:?} was safe, and is lost");
        }
        let found: BTreeSet<Target> = found.into_keys().collect();
        self.check_moved(&found);
        self.check_transactions(&found, end);
        self.check_definitions(&recovery);
        // What was recovered is recovered again, and can be settled; then nothing is left.
        let now = settle_down(&mut committer, self.now);
        let again = opened(&left.killed()).1;
        assert_eq!(targets(&again).into_iter().collect::<BTreeSet<_>>(), found);
        assert_eq!(again.definitions, recovery.definitions);
        // Places are as good as they were, wherever the messages are now.
        let mut all = settle_all(&recovery, &committer.reader());
        committer.commit(&mut all, now);
        settle_down(&mut committer, now);
        assert_eq!((committer.notes_len(), committer.early_len()), (0, 0), "something is left in memory");
        committer.close().unwrap();
        let (committer, empty) = opened(&left.killed());
        assert_eq!((empty.messages, &empty.definitions), (0, &recovery.definitions));
        if recovery.definitions.is_empty() {
            assert_eq!((empty.segments, committer.figures().live_bytes), (0, 0));
        }
    }

    /// Whether the store promised to keep it, if it was reported as safe.
    fn is_kept(&self, target: &Target, end: End) -> bool {
        let is_synced = end == End::Killed || self.on_disk.appended.contains(target);
        let is_relaxed = self.relaxed.contains(target);
        !self.spilled.contains(target) && (!is_relaxed || is_synced && !self.syncs_fail)
    }

    /// A target has its last note that was written, or one that was submitted since.
    fn check_note(&self, target: Target, found: Note) {
        let on_disk = self.noted_on_disk.get(&target).copied().unwrap_or_default();
        let (written, since) = self.submitted.notes.split_at(on_disk);
        let last = written.iter().rfind(|(noted, _)| *noted == target).map(|(_, note)| *note);
        let mut later = since.iter().filter(|(noted, _)| *noted == target);
        let is_right = found == last.unwrap_or_default() || later.any(|(_, note)| *note == found);
        assert!(is_right, "{target:?} has the note {found:?}");
    }

    /// A safe message that moved is here or there, unless it is settled there too.
    fn check_moved(&self, found: &BTreeSet<Target>) {
        for (from, to) in &self.submitted.moved {
            let was_there = self.safe.appended.contains(from) && self.is_kept(from, End::PowerLoss);
            let is_somewhere =
                found.contains(from) || found.contains(to) || self.submitted.settled.contains(to);
            assert!(is_somewhere || !was_there, "{from:?} moved to {to:?}, and is lost");
        }
    }

    /// If there is one trace of a transaction, there are all.
    fn check_transactions(&self, found: &BTreeSet<Target>, end: End) {
        for (number, (appended, settled)) in self.submitted.transactions.iter().enumerate() {
            let is_written = |target: &Target| {
                let siblings = &self.messages[target].1;
                self.safe.appended.contains(target) || siblings.iter().any(|target| found.contains(target))
            };
            let is_taken =
                |target: &Target| is_written(target) && self.is_kept(target, end) && !found.contains(target);
            let is_there = number < self.safe.transactions.len()
                || appended.iter().any(|target| found.contains(target))
                || settled.iter().any(is_taken);
            if is_there {
                let is_appended =
                    |target: &Target| found.contains(target) || self.submitted.settled.contains(target);
                assert!(appended.iter().all(is_appended), "{appended:?} of a transaction are not all there");
                let is_settled = |target: &Target| !found.contains(target);
                assert!(settled.iter().all(is_settled), "{settled:?} of a transaction are not all settled");
            }
        }
    }

    /// All safe changes were made, and of the others each as a whole or not at all.
    fn check_definitions(&self, recovery: &Recovery) {
        let found: BTreeMap<Vec<u8>, Vec<u8>> = recovery.definitions.iter().cloned().collect();
        let (safe, since) = self.submitted.definitions.split_at(self.safe.definitions.len());
        let since = &since[..since.len().min(12)];
        let is_left = |made: u32| {
            let mut values = BTreeMap::new();
            let later = (0..).zip(since).filter(|(at, _)| made & 1 << at != 0).map(|(_, changes)| changes);
            for (key, value) in safe.iter().chain(later).flatten() {
                match value {
                    Some(value) => _ = values.insert(key.clone(), value.clone()),
                    None => _ = values.remove(key),
                }
            }
            values == found
        };
        assert!((0..1 << since.len()).any(is_left), "definitions are {found:?}");
    }
}
