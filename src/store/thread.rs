//! Between the threads of the broker and the committer: the inbox, the progress, and the thread that works
//! from one to the other.
//!
//! The thread takes everything that waits, commits it, and looks again: back to back under load, at once
//! when idle. It wakes up by itself only while settlements wait to be written.

use super::committer::Committer;
use super::log::Log;
use super::{Figures, Lsn, Op, Progress, StoreError};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use vhosts::Moment;

/// A batch of more operations gives its memory back.
const KEPT_CAPACITY: usize = 64 * 1024;

#[derive(Debug, Default)]
struct Inbox {
    ops: Vec<Op>,
    submitted: Lsn,
    /// The thread sleeps and must be woken.
    asleep: bool,
    ending: Option<Ending>,
    /// Nothing will be committed any more.
    ended: bool,
    figures: Figures,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Write everything, then stop.
    Close,
    /// Stop.
    Abandon,
}

#[derive(Debug, Default)]
struct Shared {
    inbox: Mutex<Inbox>,
    wake: Condvar,
    progress: watch::Sender<Progress>,
}

impl Shared {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, ending: Ending) {
        self.inbox().ending.get_or_insert(ending);
        self.wake.notify_one();
    }

    fn fail(&self, error: StoreError) {
        let mut inbox = self.inbox();
        inbox.ended = true;
        let dropped = std::mem::take(&mut inbox.ops);
        drop(inbox);
        drop(dropped);
        tracing::error!(%error, "the store stopped");
        self.progress.send_modify(|progress| progress.failed = Some(Arc::new(error)));
    }
}

/// What a [`Store`](super::Store) is a handle of.
#[derive(Debug)]
pub(super) struct Handle {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Handle {
    pub(super) fn manual<L: Log>(committer: Committer<L>) -> (Handle, Stepper<L>) {
        let shared = Arc::new(Shared::default());
        let stepper = Stepper { shared: Arc::clone(&shared), committer, batch: Vec::new() };
        (Handle { shared, thread: Mutex::new(None) }, stepper)
    }

    pub(super) fn threaded<L: Log + 'static>(committer: Committer<L>) -> Result<Handle, StoreError> {
        let (handle, stepper) = Handle::manual(committer);
        let builder = std::thread::Builder::new().name("store".into());
        let thread = builder.spawn(move || run(stepper));
        let thread = thread.map_err(|error| StoreError::Thread { detail: error.to_string() })?;
        *handle.thread() = Some(thread);
        Ok(handle)
    }

    pub(super) fn submit(&self, ops: &mut Vec<Op>) -> Lsn {
        let mut inbox = self.shared.inbox();
        if ops.is_empty() {
            return inbox.submitted;
        }
        inbox.submitted.0 += 1;
        let lsn = inbox.submitted;
        if inbox.ended {
            drop(inbox);
            ops.clear();
            return lsn;
        }
        inbox.ops.append(ops);
        let asleep = std::mem::take(&mut inbox.asleep);
        drop(inbox);
        if asleep {
            self.shared.wake.notify_one();
        }
        lsn
    }

    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.shared.progress.subscribe()
    }

    pub(super) fn close(&self) -> Result<(), Arc<StoreError>> {
        self.shared.end(Ending::Close);
        self.join();
        self.shared.progress.borrow().failed.clone().map_or(Ok(()), Err)
    }

    pub(super) fn figures(&self) -> Figures {
        let inbox = self.shared.inbox();
        Figures { pending: inbox.ops.len() as u64, ..inbox.figures }
    }

    fn join(&self) {
        let thread = self.thread().take();
        // The thread catches its panics and reports them itself.
        thread.map(JoinHandle::join);
    }

    fn thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.end(Ending::Abandon);
        self.join();
    }
}

/// Commits what was submitted, one batch with each step. The commit thread is a loop around one; the
/// simulation has its own.
pub struct Stepper<L> {
    shared: Arc<Shared>,
    committer: Committer<L>,
    batch: Vec<Op>,
}

impl<L: Log> Stepper<L> {
    /// Commits everything that waits, or the settlements if it is time, and reports it. False if there was
    /// nothing to do, or if the store has failed or is closed.
    pub fn step(&mut self, now: Moment) -> bool {
        let mut inbox = self.shared.inbox();
        if inbox.ended {
            return false;
        }
        std::mem::swap(&mut inbox.ops, &mut self.batch);
        let (lsn, ending) = (inbox.submitted, inbox.ending);
        inbox.ended = ending.is_some();
        drop(inbox);
        let due = self.committer.deadline().is_some_and(|at| at <= now);
        if ending == Some(Ending::Abandon) || (self.batch.is_empty() && !due && ending.is_none()) {
            return false;
        }
        let committed = self.committer.commit(&mut self.batch, now);
        let closed = committed.and_then(|()| ending.map_or(Ok(()), |_| self.committer.close()));
        match closed {
            Ok(()) => self.report(lsn),
            Err(error) => self.shared.fail(error),
        }
        true
    }

    /// When [`step`](Self::step) has something to do though nothing was submitted.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.committer.deadline()
    }

    fn report(&mut self, lsn: Lsn) {
        if self.batch.capacity() > KEPT_CAPACITY {
            self.batch.shrink_to(KEPT_CAPACITY);
        }
        let (counts, log) = (self.committer.counts(), self.committer.log().figures());
        self.shared.inbox().figures = Figures {
            disk_bytes: log.disk_bytes,
            groups: counts.groups,
            written: counts.written,
            spared: counts.spared,
            syncs: log.syncs,
            last_sync_us: log.last_sync_us,
            pending: 0,
        };
        self.shared.progress.send_if_modified(|progress| {
            let advanced = progress.durable < lsn;
            progress.durable = lsn;
            advanced
        });
    }

    /// Waits until a step has something to do.
    fn wait(&self, epoch: Instant) {
        let mut inbox = self.shared.inbox();
        while inbox.ops.is_empty() && inbox.ending.is_none() {
            let left = self
                .committer
                .deadline()
                .map(|at| Duration::from_millis(at.0).saturating_sub(epoch.elapsed()));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            inbox.asleep = true;
            inbox = match left {
                None => self.shared.wake.wait(inbox).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    self.shared.wake.wait_timeout(inbox, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        inbox.asleep = false;
    }
}

fn run<L: Log>(stepper: Stepper<L>) {
    let shared = Arc::clone(&stepper.shared);
    // The log is dropped in here too: a database may panic even then.
    let worked = catch_unwind(AssertUnwindSafe(move || work(stepper)));
    if let Err(panic) = worked {
        shared.fail(StoreError::Thread { detail: panic_text(panic.as_ref()) });
    }
}

fn work<L: Log>(mut stepper: Stepper<L>) {
    let epoch = Instant::now();
    while !stepper.shared.inbox().ended {
        stepper.wait(epoch);
        stepper.step(Moment(epoch.elapsed().as_millis() as u64));
    }
}

/// The text of a panic.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".into())
}
