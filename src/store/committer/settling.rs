//! The third and fourth step of a commit: what is settled is written, and groups in which everything is
//! settled are dropped. All chunks of the batch are in the log before.

use super::super::group::{COMPLETE_STATE, Group};
use super::super::log::{GroupNumber, Log};
use super::super::{StoreError, keys};
use super::Committer;

impl<L: Log> Committer<L> {
    /// A deleted queue must stay deleted, so its settlements do not wait: the sets are written at once.
    pub(super) fn settle_forgotten(&mut self) -> Result<(), StoreError> {
        if self.forgotten.is_empty() {
            return Ok(());
        }
        let forgotten = std::mem::take(&mut self.forgotten);
        let settle =
            |group: &mut Group| forgotten.iter().filter(|queue| group.settle_queue(**queue)).count() > 0;
        let changed = self.groups.iter_mut().filter_map(|(number, group)| settle(group).then_some(*number));
        for number in changed.collect::<Vec<_>>() {
            self.write_set(number)?;
            self.mark_dirty(number);
        }
        Ok(())
    }

    /// Writes the settled sets and the notes that changed, and drops the groups that are settled.
    pub(super) fn write_settled(&mut self) -> Result<(), StoreError> {
        if self.groups.get(&self.writer.group()).is_some_and(|open| open.live() == 0) {
            self.close_group()?;
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        for number in &dirty {
            self.write_group(*number)?;
        }
        for number in dirty.drain(..) {
            self.drop_if_finished(number)?;
        }
        self.dirty = dirty;
        self.settle_at = None;
        Ok(())
    }

    fn write_group(&mut self, number: GroupNumber) -> Result<(), StoreError> {
        let Some(group) = self.groups.get(&number) else { return Ok(()) };
        let is_finished = group.is_finished();
        if group.unsaved || is_finished {
            self.write_set(number)?;
        }
        // The notes of a finished group go with it.
        if is_finished { Ok(()) } else { self.write_notes(number) }
    }

    fn write_set(&mut self, number: GroupNumber) -> Result<(), StoreError> {
        let Some(group) = self.groups.get_mut(&number) else { return Ok(()) };
        group.state(&mut self.value);
        group.unsaved = false;
        self.unsynced = true;
        self.log.put(&keys::settled(number), &self.value)
    }

    fn write_notes(&mut self, number: GroupNumber) -> Result<(), StoreError> {
        let Some(group) = self.groups.get_mut(&number) else { return Ok(()) };
        let (log, unsynced) = (&mut self.log, &mut self.unsynced);
        group.notes.write(|block, value| {
            *unsynced = true;
            let key = keys::notes(number, block);
            match value {
                Some(value) => log.put(&key, value),
                None => log.remove(&key),
            }
        })
    }

    fn drop_if_finished(&mut self, number: GroupNumber) -> Result<(), StoreError> {
        let Some(group) = self.groups.get_mut(&number) else { return Ok(()) };
        group.dirty = false;
        if !group.is_finished() {
            return Ok(());
        }
        let Some(group) = self.groups.remove(&number) else { return Ok(()) };
        if group.settles_others {
            // Only now: the sets of all groups say by themselves what its transactions settled.
            self.put(&keys::settled(number), COMPLETE_STATE)?;
        }
        for block in group.notes.kept() {
            self.remove(&keys::notes(number, block))?;
        }
        // In this order: the set must be there as long as a part of the group is.
        self.log.drop_group(number)?;
        self.remove(&keys::settled(number))
    }
}
