//! What publishers need and what may run out: room on the disk, and a store that writes.
//!
//! Whoever watches a resource says here how it stands; every client looks at one number before it takes
//! frames, and only when that has changed at the rest. What a shortage does to a conversation is the session's
//! matter; here is only when, and for whom ([`WhenFull`]).

use super::client::Client;
use super::registry::Broker;
use crate::config::WhenFull;
use parking_lot::Mutex;
use rabbit_compat::session::{Holds, Publishing};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};
use vhosts::Message;

/// How the resources of a broker stand.
#[derive(Debug, Default)]
pub struct Resources {
    /// Grows when a resource becomes short, and when it no longer is.
    generation: AtomicU64,
    levels: Mutex<Levels>,
}

/// How much there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Room on the disk; none where nothing is kept, and before somebody looked.
    pub disk: Option<DiskSpace>,
    /// Why the store can not write at the moment; it tries again by itself.
    pub stalled: Option<Arc<str>>,
}

/// Room on the file system of the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// Bytes that are left for us.
    pub free: u64,
    /// With fewer bytes than these, the disk is short.
    pub limit: u64,
}

impl DiskSpace {
    /// Whether too little is left.
    #[must_use]
    pub fn is_short(self) -> bool {
        self.free < self.limit
    }
}

impl Levels {
    /// Whether the disk is short.
    #[must_use]
    pub fn disk_is_short(&self) -> bool {
        self.disk.is_some_and(DiskSpace::is_short)
    }

    /// What is short, in words for clients; nothing if there is enough of everything. RabbitMQ has the first of
    /// them and joins several in this way.
    #[must_use]
    pub fn shortage(&self) -> Option<String> {
        let disk = self.disk_is_short().then(|| "low on disk".to_owned());
        let store = self.stalled.as_ref().map(|why| format!("the store cannot write: {why}"));
        let all: Vec<String> = disk.into_iter().chain(store).collect();
        (!all.is_empty()).then(|| all.join(" & "))
    }
}

impl Resources {
    /// How they stand now.
    #[must_use]
    pub fn levels(&self) -> Levels {
        self.levels.lock().clone()
    }

    /// Another number means that [`Levels::shortage`] may be another one.
    fn generation(&self) -> u64 {
        self.generation.load(Acquire)
    }

    /// Changes a level. True if that changed the shortage.
    fn change(&self, change: impl FnOnce(&mut Levels)) -> bool {
        let mut levels = self.levels.lock();
        let before = levels.shortage();
        change(&mut levels);
        let changed = levels.shortage() != before;
        if changed {
            self.generation.fetch_add(1, Release);
        }
        changed
    }
}

impl Broker {
    /// So much room is on the disk now.
    pub fn disk_has(&self, space: DiskSpace) {
        let DiskSpace { free, limit } = space;
        if !self.change_resources(|levels| levels.disk = Some(space)) {
            return;
        }
        let publishers = self.fate_of_publishers();
        if space.is_short() {
            tracing::warn!(free, limit, "free disk space is insufficient: {publishers}");
        } else {
            tracing::info!(free, limit, "free disk space is sufficient: {publishers}");
        }
    }

    /// The store can not write at the moment, or can again.
    pub fn store_stands_still(&self, why: Option<Arc<str>>) {
        if !self.change_resources(|levels| levels.stalled.clone_from(&why)) {
            return;
        }
        let publishers = self.fate_of_publishers();
        match why {
            Some(why) => tracing::error!("the store cannot write, and tries again: {why}: {publishers}"),
            None => tracing::info!("the store writes again: {publishers}"),
        }
    }

    fn change_resources(&self, change: impl FnOnce(&mut Levels)) -> bool {
        let changed = self.resources.change(change);
        if changed {
            // Those who are held wait for nothing else.
            self.wake_all();
        }
        changed
    }

    /// What it means for publishers, in words for the log.
    fn fate_of_publishers(&self) -> &'static str {
        match (self.resources.levels().shortage(), self.setup.when_full) {
            (None, _) => "publishers go on",
            (_, WhenFull::Block) => "connections that publish are blocked, consumers go on",
            (_, WhenFull::Refuse) => {
                "persistent messages with confirms are refused, others that publish are blocked, consumers go on"
            }
        }
    }
}

/// What a client knows of the resources.
#[derive(Debug, Default)]
pub struct Seen {
    generation: u64,
    short: bool,
    crowded: bool,
}

impl Client {
    /// Whether it waits until the store has made more safe.
    #[must_use]
    pub fn waits_for_room(&self) -> bool {
        self.seen.crowded && self.session.is_held()
    }

    /// Learns how the resources stand. Costs two numbers when nothing has changed.
    pub(super) fn look_at_resources(&mut self) {
        let changed = self.broker.resources.generation() != self.seen.generation;
        if changed {
            self.learn_shortage();
        }
        // While messages are refused, nobody who is waits for room.
        let crowded = !self.refuses() && self.broker.store.is_crowded();
        if crowded != self.seen.crowded {
            self.seen.crowded = crowded;
            self.session.flow(crowded, self.broker.clock.now());
        }
    }

    /// The number of a publish that is refused because resources are short; nothing if it is not.
    pub(super) fn refused(&self, message: &Message, how: Publishing) -> Option<u64> {
        match how {
            Publishing::Confirmed(tag) => (self.refuses() && message.persistent()).then_some(tag),
            Publishing::Plain | Publishing::Enlisted => None,
        }
    }

    fn refuses(&self) -> bool {
        self.seen.short && self.broker.setup.when_full == WhenFull::Refuse
    }

    fn learn_shortage(&mut self) {
        // First the number: what changes in between is looked at again.
        self.seen.generation = self.broker.resources.generation();
        let (shortage, now) = (self.broker.resources.levels().shortage(), self.broker.clock.now());
        self.seen.short = shortage.is_some();
        match shortage {
            Some(reason) => self.session.block(&reason, self.holds(), now),
            None => self.session.unblock(now),
        }
    }

    fn holds(&self) -> Holds {
        match self.broker.setup.when_full {
            WhenFull::Block => Holds::All,
            WhenFull::Refuse => Holds::Unconfirmed,
        }
    }
}
