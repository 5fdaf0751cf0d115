//! The store: what must outlive the process, written by one thread and confirmed in order.
//!
//! The broker hands over operations from any thread with [`Store::submit`], and gets a number, the [`Lsn`].
//! When [`Progress::durable`] has reached it, all of these operations would survive a loss of power, and only
//! then may a publisher be told. Settlements gate nothing: they are written some 100 ms later, so after a
//! crash a message that was acked just before may be delivered again; one that was confirmed is never lost.
//! A [`Note`] is as late.
//!
//! ```text
//! submit → inbox → committer → log → sync → progress
//!          (thread)  (pure)    (sled, memory)
//! ```
//!
//! A message is written once for all its queues, into chunks of a few hundred KiB, which lie in groups that
//! are removed whole when everything in them is settled. A message that is settled everywhere before its turn
//! to be written is never written.
//!
//! Operations that are submitted together are committed together. So who appends a copy of a message and
//! settles the original in one submission cannot lose it; who must not see one without the other after a
//! crash makes them a [`Transaction`].
//!
//! What the store does not do: it knows no exchange, queue type or policy; a definition is bytes to it. It
//! does not order the messages of a queue; whoever recovers sorts by [`Seq`]. It does not limit what is
//! submitted and not yet written; [`Figures::pending`] says how much that is.
//!
//! After a failed write the store is poisoned: [`Progress::failed`] says why, `durable` stands still for
//! ever, and operations are dropped.

mod chunk;
mod committer;
mod directory_lock;
mod early;
mod error;
mod failing_log;
mod group;
mod keys;
mod log;
mod memory_log;
mod no_log;
mod notes;
mod queues;
mod record;
mod recovery;
mod settled;
mod sled_log;
mod slot;
mod thread;
mod transaction;
mod watermark;

#[cfg(test)]
mod tests;

pub use chunk::Damage;
pub use committer::SETTLE_EVERY_MS;
pub use error::StoreError;
pub use notes::Note;
pub use record::Targets;
pub use recovery::{Recovered, RecoveredTarget, Recovery, Torn};
pub use thread::Stepper;
pub use transaction::{TRANSACTION_TARGETS_MAX, Transaction};

/// What tests and the simulation put below a [`Store`].
pub mod testing {
    pub use super::chunk::{CHUNK_MAX, GROUP_MAX};
    pub use super::committer::{Committer, Counts};
    pub use super::failing_log::{FailingLog, FailurePlan};
    pub use super::log::{GroupNumber, Log, LogFigures};
    pub use super::memory_log::{Disk, MemoryLog};
    pub use super::no_log::NoLog;
    pub use super::recovery::recover;
}

use log::Log;
use sled_log::SledLog;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use thread::Handle;
use tokio::sync::watch;
use vhosts::{Message, QueueId, Seq};

/// The number of a submission; grows by one with each.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Lsn(pub u64);

/// The largest value of a definition, in bytes. A larger one is stored too, but outside of what a sync
/// covers, and an error is logged.
pub const DEFINITION_MAX: usize = 96 * 1024;

/// Something to be stored.
#[derive(Clone, Debug)]
pub enum Op {
    /// Puts or removes a definition. Key and value are opaque; see [`DEFINITION_MAX`].
    Define {
        /// Chosen by the broker.
        key: Vec<u8>,
        /// Nothing removes the definition.
        value: Option<Vec<u8>>,
    },
    /// A persistent message, stored once for all its queues. A message is appended once; to send it on
    /// with other targets, make another.
    Append {
        /// The message; its [`store_slot`](Message::store_slot) now belongs to the store.
        message: Message,
        /// The durable queues that it went to, each once, with its number there.
        targets: Targets,
    },
    /// The message is done in that queue: acked, dropped, purged. It may overtake its append, but each must
    /// have one that names this target.
    Settle {
        /// One of the targets of its append.
        queue: QueueId,
        /// The number of the message in the queue.
        seq: Seq,
        /// The same message as in its append, not one of the same parts.
        message: Message,
    },
    /// What is to be remembered of the message in that queue, instead of an older note. It gates nothing, is
    /// written with the settlements and lost with them in a crash. It may overtake its append; one that comes
    /// behind its settlement is dropped.
    Note {
        /// One of the targets of its append.
        queue: QueueId,
        /// The number of the message in the queue.
        seq: Seq,
        /// The same message as in its append, not one of the same parts.
        message: Message,
        /// Replaces all of the older note.
        note: Note,
    },
    /// Appends and settlements that a crash leaves all or not at all; see [`TRANSACTION_TARGETS_MAX`].
    Transaction(Box<Transaction>),
    /// The queue is deleted: none of its messages is recovered any more, also none that is appended later.
    /// Ids are never reused.
    Forget {
        /// The queue.
        queue: QueueId,
    },
}

/// How far the store has come.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Everything up to here is safe.
    pub durable: Lsn,
    /// Why nothing more will be.
    pub failed: Option<Arc<StoreError>>,
}

/// Plain numbers for metrics, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes of the database file.
    pub disk_bytes: u64,
    /// Groups of the message log that are kept.
    pub groups: u64,
    /// Messages that were written.
    pub written: u64,
    /// Messages that were settled before they had to be written.
    pub spared: u64,
    /// Syncs that succeeded.
    pub syncs: u64,
    /// How long the last of them took, in microseconds.
    pub last_sync_us: u64,
    /// Operations that wait for the commit thread.
    pub pending: u64,
}

/// A handle of the store; a clone is the same store. When the last one goes without [`close`](Self::close),
/// the commit thread stops as if the process had been killed.
#[derive(Clone, Debug)]
pub struct Store(Arc<Handle>);

impl Store {
    /// Opens the database in `dir`, or makes it, and starts the commit thread.
    ///
    /// # Errors
    /// When another process has it, when it is damaged or of another format, and when the system refuses
    /// a file or the thread.
    pub fn open(dir: &Path) -> Result<(Store, Recovery), StoreError> {
        // sled panics when its files are damaged; what it leaves behind is dropped with the error.
        let opened = catch_unwind(AssertUnwindSafe(|| Store::threaded(SledLog::open(dir)?)));
        opened.unwrap_or_else(|panic| {
            Err(StoreError::Damaged { dir: dir.into(), detail: thread::panic_text(panic.as_ref()) })
        })
    }

    /// A store that keeps nothing and finds everything safe at once.
    ///
    /// # Errors
    /// When the system refuses the thread.
    pub fn in_memory() -> Result<(Store, Recovery), StoreError> {
        Store::threaded(no_log::NoLog)
    }

    /// A store on any log that is driven by hand, for tests and the simulation.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn manual<L: Log>(log: L) -> Result<(Store, Stepper<L>, Recovery), StoreError> {
        let (committer, recovery) = recovery::recover(log)?;
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

    /// Writes everything, the settlements too, and ends the commit thread; waits for it. What is submitted
    /// later is dropped. With a [`Stepper`], its next step does it and this does not wait.
    ///
    /// # Errors
    /// When the store failed, now or before.
    pub fn close(&self) -> Result<(), Arc<StoreError>> {
        self.0.close()
    }

    /// Plain numbers for metrics.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.0.figures()
    }

    fn threaded<L: Log + 'static>(log: L) -> Result<(Store, Recovery), StoreError> {
        let begun = Instant::now();
        let (committer, mut recovery) = recovery::recover(log)?;
        recovery.duration = begun.elapsed();
        Ok((Store(Arc::new(Handle::threaded(committer)?)), recovery))
    }
}
