//! Between the threads of the broker and the committer: the inbox, the progress, and the thread that works
//! from one to the other.
//!
//! The thread takes everything that waits, commits it, and looks again: back to back under load, at once
//! when idle. It wakes up by itself only while settlements wait to be written.

use super::committer::{Committer, KEPT_CAPACITY};
use super::error::failed;
use super::{Figures, Lsn, Op, Progress, Reader, Snapshot, StoreError};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use vhosts::Moment;

/// Bytes that are submitted and not yet safe before publishers should wait.
const CROWDED: u64 = 64 << 20;
/// How often the figures are brought up to date, in milliseconds.
const FIGURES_EVERY_MS: u64 = 100;

#[derive(Debug, Default)]
struct Inbox {
    ops: Vec<Op>,
    /// What they cost.
    bytes: u64,
    submitted: Lsn,
    /// Who wants to know what is there.
    asking: Vec<oneshot::Sender<Snapshot>>,
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
    /// Bytes that are submitted and not yet safe.
    pending: AtomicU64,
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
        inbox.asking.clear();
        // Nothing is submitted any more, and nobody shall wait for room.
        self.pending.store(0, Relaxed);
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
    /// None if nothing is kept.
    reader: Option<Reader>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Handle {
    pub(super) fn manual(committer: Committer) -> (Handle, Stepper) {
        let shared = Arc::new(Shared::default());
        let reader = Some(committer.reader());
        let stepper = Stepper::new(Arc::clone(&shared), committer);
        (Handle { shared, reader, thread: Mutex::new(None) }, stepper)
    }

    /// Keeps nothing, and everything is safe at once.
    pub(super) fn forgetful() -> Handle {
        Handle { shared: Arc::default(), reader: None, thread: Mutex::new(None) }
    }

    pub(super) fn threaded(committer: Committer) -> Result<Handle, StoreError> {
        let (handle, stepper) = Handle::manual(committer);
        let builder = std::thread::Builder::new().name("store".into());
        let thread = builder.spawn(move || run(stepper));
        let thread = thread.map_err(|error| StoreError::Thread { detail: error.to_string() })?;
        *handle.thread() = Some(thread);
        Ok(handle)
    }

    pub(super) fn submit(&self, ops: &mut Vec<Op>) -> Lsn {
        if self.reader.is_none() {
            ops.clear();
            return Lsn::default();
        }
        let bytes: u64 = ops.iter().map(Op::cost).sum();
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
        inbox.bytes += bytes;
        self.shared.pending.fetch_add(bytes, Relaxed);
        let asleep = std::mem::take(&mut inbox.asleep);
        drop(inbox);
        if asleep {
            self.shared.wake.notify_one();
        }
        lsn
    }

    pub(super) fn snapshot(&self) -> oneshot::Receiver<Snapshot> {
        let (sender, receiver) = oneshot::channel();
        let mut inbox = self.shared.inbox();
        if self.reader.is_some() && !inbox.ended {
            inbox.asking.push(sender);
            self.shared.wake.notify_one();
        }
        receiver
    }

    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.shared.progress.subscribe()
    }

    pub(super) fn reader(&self) -> Option<&Reader> {
        self.reader.as_ref()
    }

    pub(super) fn is_crowded(&self) -> bool {
        self.shared.pending.load(Relaxed) > CROWDED
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
pub struct Stepper {
    shared: Arc<Shared>,
    committer: Committer,
    batch: Vec<Op>,
    /// What was taken and is not reported as safe.
    taken_bytes: u64,
    /// When the figures are looked at next.
    figures_at: Moment,
}

impl Stepper {
    fn new(shared: Arc<Shared>, committer: Committer) -> Stepper {
        Stepper { shared, committer, batch: Vec::new(), taken_bytes: 0, figures_at: Moment(0) }
    }

    /// Commits everything that waits, or the settlements if it is time, and reports it. False if there was
    /// nothing to do, or if the store has failed or is closed.
    pub fn step(&mut self, now: Moment) -> bool {
        let mut inbox = self.shared.inbox();
        if inbox.ended {
            return false;
        }
        std::mem::swap(&mut inbox.ops, &mut self.batch);
        self.taken_bytes += std::mem::take(&mut inbox.bytes);
        let (lsn, ending, asking) = (inbox.submitted, inbox.ending, std::mem::take(&mut inbox.asking));
        inbox.ended = ending.is_some();
        drop(inbox);
        let due = self.committer.deadline().is_some_and(|at| at <= now);
        let is_idle = self.batch.is_empty() && !due && ending.is_none() && asking.is_empty();
        if ending == Some(Ending::Abandon) || is_idle {
            return false;
        }
        let is_safe = self.committer.commit(&mut self.batch, now);
        // Who does not wait any more does not need it.
        asking.into_iter().for_each(|asking| _ = asking.send(self.committer.snapshot()));
        if ending.is_some()
            && let Err(error) = self.committer.close()
        {
            self.shared.fail(failed("write everything before the end")(error));
            return true;
        }
        self.report((is_safe || ending.is_some()).then_some(lsn), now);
        true
    }

    /// When [`step`](Self::step) has something to do though nothing was submitted.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.committer.deadline()
    }

    /// The committer that it drives.
    #[must_use]
    pub fn committer(&self) -> &Committer {
        &self.committer
    }

    fn report(&mut self, safe: Option<Lsn>, now: Moment) {
        self.batch.shrink_to(KEPT_CAPACITY);
        if self.figures_at <= now {
            self.figures_at = now.after_ms(FIGURES_EVERY_MS);
            let figures = self.committer.figures();
            self.shared.inbox().figures = figures;
        }
        if safe.is_some() {
            // Before the progress: who is woken by that finds the room.
            self.shared.pending.fetch_sub(std::mem::take(&mut self.taken_bytes), Relaxed);
        }
        let stalled = self.committer.stalled();
        self.shared.progress.send_if_modified(|progress| {
            let advanced = safe.is_some_and(|lsn| progress.durable < lsn);
            progress.durable = safe.unwrap_or(progress.durable);
            let turned = progress.stalled.as_ref() != stalled;
            if turned {
                progress.stalled = stalled.cloned();
            }
            advanced || turned
        });
    }

    /// Waits until a step has something to do.
    fn wait(&self, epoch: Instant) {
        let mut inbox = self.shared.inbox();
        while inbox.ops.is_empty() && inbox.ending.is_none() && inbox.asking.is_empty() {
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

fn run(stepper: Stepper) {
    let shared = Arc::clone(&stepper.shared);
    // The log is dropped in here too: a database may panic even then.
    let worked = catch_unwind(AssertUnwindSafe(move || work(stepper)));
    if let Err(panic) = worked {
        shared.fail(StoreError::Thread { detail: panic_text(panic.as_ref()) });
    }
}

fn work(mut stepper: Stepper) {
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
