//! Messages of deep queues that are in the store alone, and how they come back.
//!
//! The machine says what it wants to be read ([`Effect::Fetch`](vhosts::queue::Effect)). It is read when no queue
//! is locked: by a thread of its own, if there is one, so that nobody waits for a disk.

use super::live_queue::{LiveQueue, QueueRef};
use super::registry::Broker;
use super::work::Work;
use crate::store::{Note, Reader, Recovered, RecoveredQueue};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock, Weak};
use vhosts::queue::{Amount, Effect, History, Page, Residency, Stored};
use vhosts::topology::QueueHandle;
use vhosts::{Message, Moment, Place, Queue, QueueId};

/// What a queue keeps in memory of the messages that wait in it, unless somebody wants it otherwise.
pub const RESIDENT: Residency = Residency { messages: 16 * 1024, bytes: 16 << 20 };
/// Messages that a start looks at in one go.
const CHUNK: usize = 4096;

/// Where a queue has those of its messages that are not in memory.
#[derive(Clone, Debug)]
pub struct Paging {
    /// Reads them back.
    pub reader: Reader,
    /// What stays in memory of one that is deep.
    pub resident: Residency,
    /// What all queues have in memory.
    pub memory: Arc<Memory>,
}

/// What all queues have in memory together. Transient messages are faster there, and need not be anywhere else,
/// so they are left to the store only when it is too much.
#[derive(Debug, Default)]
pub struct Memory {
    bytes: AtomicU64,
    most: u64,
}

/// Bytes that a message takes in memory beside its body, about.
const MESSAGE_BYTES: u64 = 160;
/// A change of fewer bytes is not worth telling.
const STEP: u64 = 256 * 1024;

impl Memory {
    pub(super) fn new(most: u64) -> Memory {
        Memory { bytes: AtomicU64::new(0), most }
    }

    fn is_short(&self) -> bool {
        self.bytes.load(Relaxed) > self.most
    }

    /// A queue that told `counted` before has that much now. Says what it told last.
    fn count(&self, counted: u64, now: Amount) -> u64 {
        let bytes = now.bytes + now.messages * MESSAGE_BYTES;
        if bytes.abs_diff(counted) < STEP && (bytes > 0 || counted == 0) {
            return counted;
        }
        self.bytes.fetch_add(bytes.wrapping_sub(counted), Relaxed);
        bytes
    }
}

impl Paging {
    /// Lets a queue leave to the store what it does not keep in memory, if it is worth it.
    pub(super) fn page_out(&self, queue: &mut Queue, counted: &mut u64, out: &mut Vec<Effect>) {
        *counted = self.memory.count(*counted, queue.resident());
        if queue.wants_paging(self.resident) && (self.memory.is_short() || !queue.starts_unstored()) {
            queue.page_out(self.resident, &mut |message| self.reader.place(message), out);
        }
    }
}

/// A page that is to be read.
pub type Fetch = (QueueId, Arc<Page>);

/// The way to the thread that reads.
#[derive(Debug, Default)]
pub struct Pager(OnceLock<Sender<Fetch>>);

impl Broker {
    /// What queues leave messages to; none where nothing is kept.
    pub(super) fn paging(&self) -> Option<Paging> {
        let (resident, memory) = (self.setup.resident, self.memory.clone());
        self.store.reader().cloned().map(|reader| Paging { reader, resident, memory })
    }

    /// Starts the thread that reads pages; until then, who wants one reads it.
    ///
    /// # Errors
    /// When the system refuses the thread.
    pub fn start_reader(self: &Arc<Broker>) -> io::Result<()> {
        let (sender, receiver) = channel();
        let broker = Arc::downgrade(self);
        std::thread::Builder::new().name("reader".into()).spawn(move || read_on(&broker, &receiver))?;
        self.pager.0.get_or_init(|| sender);
        Ok(())
    }

    /// Sees to it that the pages are read that queues want.
    pub(super) fn fetch_all(&self, work: &mut Work) {
        while let Some(fetch) = work.fetches.pop_front() {
            let unsent = match self.pager.0.get() {
                Some(sender) => sender.send(fetch).err().map(|refused| refused.0),
                None => Some(fetch),
            };
            if let Some((queue, page)) = unsent {
                self.fetch(queue, &page, work);
                self.hand_to_store(work);
            }
        }
    }

    /// Reads the next page of a queue, for somebody who wants its next message now.
    pub(super) fn fetch_next(&self, queue: &QueueRef, work: &mut Work) -> bool {
        let Some(page) = queue.next_page() else { return false };
        self.fetch(queue.definition().id, &page, work)
    }

    /// Reads a page and brings it to its queue. False if it can not be read for now.
    fn fetch(&self, id: QueueId, page: &Arc<Page>, work: &mut Work) -> bool {
        let (Some(queue), Some(reader)) = (self.queue(id), self.store.reader()) else { return false };
        let places: Vec<Place> = page.entries().map(|entry| entry.place).collect();
        let read = reader.read(&places);
        let now = self.clock.now();
        match read {
            Ok(messages) => {
                queue.report_unreadable(page, &messages);
                queue.fetched(page, messages, now, work);
                true
            }
            Err(error) => {
                tracing::error!(
                    vhost = &**queue.vhost(),
                    queue = &*queue.definition().name,
                    %error,
                    "messages cannot be read; the queue stands still and tries again every second"
                );
                queue.fetch_failed(page, now, work);
                false
            }
        }
    }

    /// Brings back what a queue had before a restart. Bodies stay where they are, but those of messages that wait
    /// for a delayed retry. If it is `uncertain` who got what before, all count as handed out once.
    pub(super) fn recover_queue(
        &self,
        queue: &LiveQueue,
        recovered: &RecoveredQueue,
        uncertain: bool,
        work: &mut Work,
    ) {
        let Some(reader) = self.store.reader() else { return };
        let mut messages = recovered.messages();
        loop {
            let chunk: Vec<Recovered> = messages.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                break;
            }
            let delayed = chunk.iter().filter(|message| message.note.due.is_some());
            let places: Vec<Place> = delayed.map(|message| message.place).collect();
            let read = reader.read(&places).unwrap_or_else(|error| {
                tracing::error!(vhost = &**queue.vhost(), queue = &*queue.definition().name, %error, "delayed messages cannot be read; they wait for the next start");
                vec![None; places.len()]
            });
            queue.recover(&chunk, read, uncertain);
        }
        queue.recovered(self.clock.now(), work);
    }
}

/// Reads pages until the broker is gone.
fn read_on(broker: &Weak<Broker>, pages: &Receiver<Fetch>) {
    let mut work = Work::default();
    while let Ok((queue, page)) = pages.recv() {
        let Some(broker) = broker.upgrade() else { return };
        broker.fetch(queue, &page, &mut work);
        broker.finish(&mut work);
    }
}

impl LiveQueue {
    /// Takes back messages that were stored before a restart, in the order of their numbers. Of those that wait
    /// for a delayed retry `delayed` has the messages.
    fn recover(&self, messages: &[Recovered], delayed: Vec<Option<Message>>, uncertain: bool) {
        let mut locked = self.lock();
        let mut delayed = delayed.into_iter();
        for Recovered { seq, place, body_len, arrived, expiration_ms, priority, note } in
            messages.iter().copied()
        {
            let Note { acquired, failed, due } = note;
            let (queue, history) = (&mut locked.running.queue, History { acquired, failed, uncertain });
            match due.map(|_| delayed.next().flatten()) {
                None => {
                    queue.recover_stored(Stored {
                        seq,
                        place,
                        body_len,
                        arrived,
                        expiration_ms,
                        priority,
                        history,
                    });
                }
                Some(Some(message)) => queue.recover(seq, message, history, due),
                Some(None) => {}
            }
        }
    }

    fn recovered(&self, now: Moment, work: &mut Work) {
        let mut locked = self.lock();
        locked.running.queue.recovered();
        locked.deliver(now, work);
    }

    fn fetched(&self, page: &Arc<Page>, messages: Vec<Option<Message>>, now: Moment, work: &mut Work) {
        let mut locked = self.lock();
        locked.fetched(page, messages, now);
        locked.carry_out(work);
    }

    fn fetch_failed(&self, page: &Arc<Page>, now: Moment, work: &mut Work) {
        let mut locked = self.lock();
        locked.running.queue.fetch_failed(page, now);
        locked.carry_out(work);
    }

    fn report_unreadable(&self, page: &Page, messages: &[Option<Message>]) {
        let lost = page.entries().zip(messages).filter(|(_, message)| message.is_none());
        let lost: Vec<u64> = lost.map(|(entry, _)| entry.seq.0).collect();
        if let (Some(first), Some(last)) = (lost.first(), lost.last()) {
            tracing::error!(
                vhost = &**self.vhost(),
                queue = &*self.definition().name,
                messages = lost.len(),
                first,
                last,
                "stored messages are damaged and lost: their checksums are wrong; look at the health of the disk"
            );
        }
    }
}
