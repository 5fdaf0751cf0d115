//! The store: what must outlive the process, written by one thread and confirmed in order.
//!
//! The broker hands over operations from any thread with [`Store::submit`], and gets a number, the [`Lsn`].
//! When [`Progress::durable`] has reached it, all of these operations would survive a loss of power, and only
//! then may a publisher be told. Settlements gate nothing: they are written some 100 ms later, so after a
//! crash a message that was acked just before may be delivered again; one that was confirmed is never lost.
//! A [`Note`] is as late.
//!
//! ```text
//! submit → inbox → committer → disk → progress
//!          (thread)  (pure)    (files, sled, or memory)
//! ```
//!
//! Messages and definitions are records of one log, cut into segments, which are files (see `layout`). A message
//! is written once for all its queues. A message that is settled everywhere before its turn to be written is
//! never written. A segment goes when everything in it is settled; what stays behind in sparse ones is moved.
//! Which records are settled is a small state in a sled database beside the log; without it some acked
//! messages come back, and nothing else happens.
//!
//! Operations that are submitted together are committed together. So who appends a copy of a message and
//! settles the original in one submission cannot lose it; who must not see one without the other after a
//! crash makes them a [`Transaction`].
//!
//! A message need not stay in memory: a queue may keep its [`Place`] instead, and read it back
//! with a [`Reader`].
//!
//! What the store does not do: it knows no exchange, queue type or policy; a definition is bytes to it. It
//! does not limit what is submitted and not yet written: who submits what a peer sends looks at
//! [`Store::is_crowded`].
//!
//! When the disk refuses, [`Progress::stalled`] says why, `durable` stands still, and it is tried again until
//! it works.

mod atomic;
mod committer;
mod definitions;
mod directory_lock;
mod disk;
mod early;
mod error;
mod format2;
mod index;
mod keys;
mod layout;
mod migration;
mod notes;
mod reader;
mod record;
mod recovery;
mod segment;
mod settled;
mod shelf;
mod slot;
mod snapshot;
mod thread;
mod view;

#[cfg(test)]
mod tests;

pub use atomic::{TRANSACTION_TARGETS_MAX, Transaction};
pub use committer::{RELAXED_MS, SETTLE_EVERY_MS};
pub use disk::{Assignment, segment_file_name};
pub use error::StoreError;
pub use notes::Note;
pub use reader::Reader;
pub use record::Targets;
pub use recovery::{Damaged, Recovered, RecoveredQueue, Recovery, Torn};
pub use snapshot::Snapshot;
pub use thread::Stepper;
pub use view::{Checked, Fault, MessageRange, QueueUsage, Usage, View};

/// What tests and the simulation put below a [`Store`].
pub mod testing {
    pub use super::committer::Committer;
    pub use super::disk::memory::{Fault, Faults, MemoryDisk};
    pub use super::disk::{Assignment, Disk, Mark, SegmentFile, SegmentNumber};
    pub use super::layout::SEGMENT_BYTES;
    pub use super::recovery::{recover, recover_with};
}

use disk::Disk;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use thread::Handle;
use tokio::sync::{oneshot, watch};
use vhosts::{Message, Place, QueueId, Seq};

/// The number of a submission; grows by one with each.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Lsn(pub u64);

/// What must have happened to a message before its [`Lsn`] is reported.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Safety {
    /// It is synced.
    #[default]
    Synced,
    /// It is written, and will be synced within [`RELAXED_MS`].
    Relaxed,
    /// It is written, only to be out of memory: a restart forgets it.
    Spilled,
}

/// Something to be stored.
#[derive(Clone, Debug)]
pub enum Op {
    /// Changes of definitions, of which a crash leaves all or none. Keys and values are opaque.
    Define(Vec<Assignment>),
    /// A message, stored once for all its queues. A message is appended once; to send it on with other targets,
    /// make another.
    Append {
        /// The message; its [`store_slot`](Message::store_slot) now belongs to the store.
        message: Message,
        /// The durable queues that it went to, each once, with its number there.
        targets: Targets,
        /// How safe it is to be.
        safety: Safety,
    },
    /// The message is done in that queue: acked, dropped. It may overtake its append, but each must have one that
    /// names this target.
    Settle {
        /// One of the targets of its append.
        queue: QueueId,
        /// The number of the message in the queue.
        seq: Seq,
        /// The same message as in its append, not one of the same parts; or one that was read back.
        message: Message,
    },
    /// These messages are done in that queue, without having been read back.
    Purge {
        /// The queue.
        queue: QueueId,
        /// Where they are.
        places: Vec<Place>,
    },
    /// What is to be remembered of the message in that queue, instead of an older note. It gates nothing, is
    /// written with the settlements and lost with them in a crash. It may overtake its append; one that comes
    /// behind its settlement is dropped.
    Note {
        /// One of the targets of its append.
        queue: QueueId,
        /// The number of the message in the queue.
        seq: Seq,
        /// As in [`Op::Settle`].
        message: Message,
        /// Replaces all of the older note.
        note: Note,
    },
    /// Appends and settlements that a crash leaves all or not at all; see [`TRANSACTION_TARGETS_MAX`].
    Transaction(Box<Transaction>),
}

impl Op {
    /// The messages that it appends, and where to.
    fn appends(&self) -> impl Iterator<Item = (&Message, &Targets)> {
        let (one, several) = match self {
            Op::Append { message, targets, .. } => (Some((message, targets)), &[][..]),
            Op::Transaction(transaction) => (None, &transaction.appends[..]),
            Op::Define(_) | Op::Settle { .. } | Op::Purge { .. } | Op::Note { .. } => (None, &[][..]),
        };
        one.into_iter().chain(several.iter().map(|(message, targets)| (message, targets)))
    }

    /// About how many bytes it takes until it is safe.
    fn cost(&self) -> u64 {
        let messages = match self {
            Op::Append { message, .. } => message.body_len(),
            Op::Transaction(transaction) => {
                transaction.appends.iter().map(|(message, _)| message.body_len()).sum()
            }
            Op::Define(changes) => changes.iter().map(|(key, _)| key.len() as u64).sum(),
            Op::Purge { places, .. } => size_of_val(&places[..]) as u64,
            Op::Settle { .. } | Op::Note { .. } => 0,
        };
        messages + size_of::<Op>() as u64
    }
}

/// How far the store has come.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Everything up to here is safe.
    pub durable: Lsn,
    /// Why nothing can be written at the moment. It is tried again, and nothing is lost meanwhile.
    pub stalled: Option<Arc<str>>,
    /// Why nothing more will be.
    pub failed: Option<Arc<StoreError>>,
}

/// Plain numbers for metrics, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes of the records of the log.
    pub log_bytes: u64,
    /// Bytes of those that are not settled.
    pub live_bytes: u64,
    /// Bytes of the state beside the log.
    pub state_bytes: u64,
    /// Segments of the log that are kept.
    pub segments: u64,
    /// Messages that were written.
    pub written: u64,
    /// Bytes that were written to the log.
    pub written_bytes: u64,
    /// Messages that were moved out of sparse segments.
    pub moved: u64,
    /// Messages that were settled before they had to be written.
    pub spared: u64,
    /// Syncs of the log that succeeded.
    pub syncs: u64,
    /// Operations that wait for the commit thread.
    pub pending: u64,
}

/// A handle of the store; a clone is the same store. When the last one goes without [`close`](Self::close),
/// the commit thread stops as if the process had been killed.
#[derive(Clone, Debug)]
pub struct Store(Arc<Handle>);

impl Store {
    /// Opens the store in `dir`, or makes it, and starts the commit thread.
    ///
    /// # Errors
    /// When another process has it, when it is of another format, and when the system refuses a file or the
    /// thread.
    pub fn open(dir: &Path) -> Result<(Store, Recovery), StoreError> {
        Store::threaded(|| migration::migrate(dir, Box::new(disk::RealDisk::open(dir)?)))
    }

    /// A store that keeps nothing and finds everything safe at once.
    #[must_use]
    pub fn in_memory() -> (Store, Recovery) {
        (Store(Arc::new(Handle::forgetful())), Recovery::default())
    }

    /// A store on any disk that is driven by hand, for tests and the simulation.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn manual(disk: Box<dyn Disk>) -> Result<(Store, Stepper, Recovery), StoreError> {
        Store::manual_with(disk, layout::SEGMENT_BYTES)
    }

    /// Like [`manual`](Self::manual), with segments of another size: small ones fill up in a short test.
    ///
    /// # Errors
    /// See [`manual`](Self::manual).
    pub fn manual_with(
        disk: Box<dyn Disk>,
        segment_bytes: u64,
    ) -> Result<(Store, Stepper, Recovery), StoreError> {
        let (committer, recovery) = recovery::recover_with(disk, segment_bytes)?;
        let (handle, stepper) = Handle::manual(committer);
        Ok((Store(Arc::new(handle)), stepper, recovery))
    }

    /// Takes all of `ops` in their order and leaves it empty. Returns the number whose durability covers them;
    /// with no operations, everything that was submitted before. Costs one short lock.
    pub fn submit(&self, ops: &mut Vec<Op>) -> Lsn {
        self.0.submit(ops)
    }

    /// Watches what is safe.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.0.progress()
    }

    /// Whether so much is submitted and not yet safe that who brings more should wait. A change of the
    /// [`progress`](Self::progress) says when to ask again.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.0.is_crowded()
    }

    /// Reads messages back; none where nothing is kept.
    #[must_use]
    pub fn reader(&self) -> Option<&Reader> {
        self.0.reader()
    }

    /// Writes everything, the settlements too, and ends the commit thread; waits for it. What is submitted
    /// later is dropped. With a [`Stepper`], its next step does it and this does not wait.
    ///
    /// # Errors
    /// When the store failed, now or before.
    pub fn close(&self) -> Result<(), Arc<StoreError>> {
        self.0.close()
    }

    /// Asks for what the store holds after everything that was submitted so far. It comes with the next step of
    /// the commit thread; nothing comes when that has ended, or when nothing is kept.
    #[must_use]
    pub fn snapshot(&self) -> oneshot::Receiver<Snapshot> {
        self.0.snapshot()
    }

    /// Plain numbers for metrics.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.0.figures()
    }

    fn threaded(
        open: impl FnOnce() -> Result<Box<dyn Disk>, StoreError>,
    ) -> Result<(Store, Recovery), StoreError> {
        let begun = Instant::now();
        // The database of the state may panic when its files are damaged.
        let opened = catch_unwind(AssertUnwindSafe(|| recovery::recover(open()?)));
        let (committer, mut recovery) = opened
            .unwrap_or_else(|panic| Err(StoreError::Thread { detail: thread::panic_text(panic.as_ref()) }))?;
        recovery.duration = begun.elapsed();
        Ok((Store(Arc::new(Handle::threaded(committer)?)), recovery))
    }
}
