//! The third step of a commit: what is settled is written to the state, and segments in which everything is
//! settled are removed. The whole log is synced before.

use super::super::disk::{Assignment, SegmentNumber};
use super::{Committer, RETRY_EVERY_MS, SETTLE_EVERY_MS};
use std::io;

/// So many bytes of state are written in a second at most: when settlements are all over the log, they wait
/// a little longer.
const STATE_BYTES_PER_MS: u64 = 32 * 1024;
/// So many values of the state are written at once at most: the database holds them in memory.
const PORTION: usize = 512;

impl Committer {
    /// Writes the settled sets and the notes that changed, and removes the segments that are settled.
    pub(super) fn settle_round(&mut self) -> io::Result<()> {
        self.settle_at = None;
        let prepared = self.sync_all().and_then(|()| self.cut_ragged()).and_then(|()| self.remove_replaced());
        let settled = prepared.and_then(|()| self.settle_dirty());
        if settled.is_err() {
            self.settle_at = Some(self.now.after_ms(RETRY_EVERY_MS));
        }
        settled
    }

    /// What replaced them is kept until they are gone.
    fn remove_replaced(&mut self) -> io::Result<()> {
        if !self.replaced.is_empty() {
            self.disk.remove(&self.replaced)?;
            self.replaced.clear();
        }
        Ok(())
    }

    fn settle_dirty(&mut self) -> io::Result<()> {
        let dirty = std::mem::take(&mut self.dirty);
        let (finished, mut left): (Vec<_>, Vec<_>) = dirty
            .into_iter()
            .partition(|number| self.segments.get(number).is_none_or(|segment| segment.is_finished()));
        // What one of them settles may be in another, which a crash may leave.
        if finished.iter().any(|number| self.settles_others(number)) {
            left.extend(&finished);
        }
        let saved = self.save(&left);
        if saved.is_err() {
            self.dirty.extend(left.iter().filter(|number| !finished.contains(number)));
        }
        let removed = self.remove(finished, saved.is_ok());
        saved.and(removed)
    }

    fn settles_others(&self, number: &SegmentNumber) -> bool {
        self.segments.get(number).is_some_and(|segment| segment.settles_others)
    }

    /// Writes what changed in these segments.
    fn save(&mut self, numbers: &[SegmentNumber]) -> io::Result<()> {
        let mut changes: Vec<Assignment> = self.stale.iter().map(|key| (key.clone(), None)).collect();
        for number in numbers {
            if let Some(segment) = self.segments.get(number) {
                segment.changes(*number, |change| changes.push(change));
            }
        }
        for portion in changes.chunks(PORTION) {
            self.disk.write_state(portion)?;
        }
        self.stale.clear();
        for number in numbers {
            let Some(segment) = self.segments.get_mut(number) else { continue };
            segment.saved();
            (segment.dirty, segment.settles_others) = (false, false);
            if segment.is_sparse() {
                self.sparse.push(*number);
                self.compact_at.get_or_insert(self.now);
            }
        }
        let bytes: u64 = changes.iter().map(|(_, value)| value.as_ref().map_or(0, Vec::len) as u64).sum();
        if bytes > SETTLE_EVERY_MS * STATE_BYTES_PER_MS {
            self.settle_at = Some(self.now.after_ms(bytes / STATE_BYTES_PER_MS));
        }
        Ok(())
    }

    /// Removes segments in which everything is settled. One that settles others waits until the state says so
    /// by itself.
    fn remove(&mut self, finished: Vec<SegmentNumber>, is_saved: bool) -> io::Result<()> {
        let waits = |number: &SegmentNumber| !is_saved && self.settles_others(number);
        let (waiting, gone): (Vec<_>, Vec<_>) = finished.into_iter().partition(waits);
        self.dirty.extend(waiting);
        if gone.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.disk.remove(&gone) {
            self.dirty.extend(gone);
            return Err(error);
        }
        let mut settled = Vec::new();
        for number in gone {
            self.shelf.remove(number);
            self.definitions.removed(number, &mut settled);
            if let Some(segment) = self.segments.remove(&number) {
                self.stale.extend(segment.kept(number));
            }
        }
        self.settle_homes(settled);
        Ok(())
    }
}
