//! What the broker has, and how it comes back after a restart.

use super::alarms::Alarms;
use super::live_queue::{LiveQueue, OnlyIf, QueueRef};
use super::outbox::{Item, Outbox};
use super::paging::{Memory, Pager};
use super::records::{self, Definition, PermissionRecord, UserRecord, VhostRecord};
use super::replies::Replies;
use super::resources::Resources;
use super::vhost::Vhost;
use super::work::Work;
use crate::auth::{self, Refused};
use crate::clock::Clock;
use crate::config::WhenFull;
use crate::store::{Lsn, Op, Recovery, Store};
use dashmap::DashMap;
use parking_lot::Mutex;
use rabbit_compat::session::Settings;
use rabbit_compat::{Code, Violation};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use vhosts::queue::{Counters, Residency};
use vhosts::topology::QueueHandle;
use vhosts::{ConnectionId, Moment, Name, Permissions, QueueId, Seq, Topology};

/// Queue ids that are set aside at once, so that not every declare writes the counter.
const ID_BLOCK: u64 = 1024;

/// What a broker is made of besides its store.
#[derive(Clone, Debug)]
pub struct Setup {
    /// For sessions.
    pub session: Arc<Settings>,
    /// Users that may come from this machine only.
    pub loopback_users: Vec<String>,
    /// What happens to publishers while resources are short.
    pub when_full: WhenFull,
    /// What a queue keeps in memory of the messages that wait in it.
    pub resident: Residency,
    /// Bytes that queues may have in memory together before transient messages are left to the store too.
    pub memory_bytes: u64,
    /// In an empty store: user, password and virtual host to begin with.
    pub first: (String, String, String),
}

/// A stored definition that keeps the broker from starting.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A definition is not readable.
    #[error(transparent)]
    Unreadable(#[from] records::Unreadable),
    /// A stored permission is not a regular expression.
    #[error("the permissions of user '{user}' in vhost '{vhost}' are not regular expressions: {error}")]
    Permission {
        /// Whose.
        user: String,
        /// Where.
        vhost: String,
        /// Why not.
        error: Box<regex::Error>,
    },
}

/// The broker.
pub struct Broker {
    /// What it was made of.
    pub setup: Setup,
    /// Where everything durable goes.
    pub store: Store,
    /// What time it is.
    pub clock: Clock,
    /// Counters over all queues and connections.
    pub totals: Totals,
    /// When queues want to be looked at.
    pub alarms: Alarms,
    /// What may run out.
    pub resources: Resources,
    /// Clients that wait for replies.
    pub replies: Replies,
    /// Reads what deep queues have in the store alone.
    pub(super) pager: Pager,
    pub(super) memory: Arc<Memory>,
    vhosts: DashMap<String, Arc<Vhost>>,
    users: DashMap<String, UserRecord>,
    permissions: DashMap<(String, String), Arc<Permissions>>,
    queues: DashMap<QueueId, QueueRef, foldhash::fast::RandomState>,
    connections: DashMap<ConnectionId, Arc<Outbox>>,
    next_connection: AtomicU64,
    queue_ids: Mutex<QueueIds>,
}

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Totals {
    /// Messages that clients published.
    pub published: AtomicU64,
    /// Publishes on confirm channels.
    pub confirmed: AtomicU64,
    /// Messages that no queue took and nobody wanted back.
    pub unroutable_dropped: AtomicU64,
    /// Messages that no queue took and that were returned.
    pub unroutable_returned: AtomicU64,
    /// Answers of consumers.
    pub acknowledged: AtomicU64,
    /// `basic.get` without a message.
    pub get_empty: AtomicU64,
    /// Connections that were opened.
    pub connections_created: AtomicU64,
    /// Connections that ended.
    pub connections_closed: AtomicU64,
    /// Channels that are open.
    pub channels: AtomicU64,
    /// Channels that were opened.
    pub channels_created: AtomicU64,
    /// Queues that were made.
    pub queues_created: AtomicU64,
    /// Queues that were deleted.
    pub queues_deleted: AtomicU64,
    /// `queue.declare`, also of queues that were there.
    pub queues_declared: AtomicU64,
    /// What deleted queues had counted, so that sums over all queues never fall.
    pub deleted_queues: Mutex<Counters>,
}

#[derive(Debug)]
struct QueueIds {
    next: u64,
    set_aside: u64,
}

impl Broker {
    /// A broker with everything that was recovered from its store.
    ///
    /// # Errors
    /// A stored definition that is not readable.
    pub fn new(setup: Setup, store: Store, recovery: Recovery, clock: Clock) -> Result<Broker, StartError> {
        let memory = Arc::new(Memory::new(setup.memory_bytes));
        let broker = Broker {
            setup,
            store,
            clock,
            totals: Totals::default(),
            alarms: Alarms::default(),
            resources: Resources::default(),
            replies: Replies::default(),
            pager: Pager::default(),
            memory,
            vhosts: DashMap::new(),
            users: DashMap::new(),
            permissions: DashMap::new(),
            queues: DashMap::default(),
            connections: DashMap::new(),
            next_connection: AtomicU64::new(1),
            queue_ids: Mutex::new(QueueIds { next: 1, set_aside: 1 }),
        };
        broker.recover(recovery)?;
        // Also when definitions were imported before the first start: these have no users.
        if broker.users.is_empty() {
            broker.begin()?;
        }
        Ok(broker)
    }

    /// A virtual host by name.
    pub fn vhost(&self, name: &str) -> Option<Arc<Vhost>> {
        self.vhosts.get(name).map(|vhost| vhost.clone())
    }

    /// All virtual hosts.
    pub fn vhosts(&self) -> Vec<Arc<Vhost>> {
        self.vhosts.iter().map(|vhost| vhost.clone()).collect()
    }

    /// What a user may do in a virtual host; none if it may not enter.
    pub fn permissions(&self, user: &str, vhost: &str) -> Option<Arc<Permissions>> {
        self.permissions.get(&(user.to_owned(), vhost.to_owned())).map(|permissions| permissions.clone())
    }

    /// Checks a login and says which tags the user has.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn authenticate(&self, user: &str, password: &[u8], peer: IpAddr) -> Result<Vec<String>, Refused> {
        let user = self.users.get(user);
        auth::check(user.as_deref(), password, peer, &self.setup.loopback_users)?;
        Ok(user.map(|user| user.tags.clone()).unwrap_or_default())
    }

    /// A running queue by id.
    pub fn queue(&self, id: QueueId) -> Option<QueueRef> {
        self.queues.get(&id).map(|queue| queue.clone())
    }

    /// Enters a connection; what the broker has for it goes to `outbox`.
    pub fn enter(&self, outbox: Arc<Outbox>) -> ConnectionId {
        let id = ConnectionId(self.next_connection.fetch_add(1, Relaxed));
        self.connections.insert(id, outbox);
        self.totals.connections_created.fetch_add(1, Relaxed);
        id
    }

    /// Takes a connection off the list.
    pub fn leave(&self, connection: ConnectionId) {
        self.connections.remove(&connection);
        self.totals.connections_closed.fetch_add(1, Relaxed);
    }

    /// Connections now.
    pub fn connections_len(&self) -> usize {
        self.connections.len()
    }

    /// Asks all connections to end.
    pub fn close_all(&self, reason: &str) {
        let text = format!("broker forced connection closure with reason '{reason}'");
        let violation = Violation::new(Code::ConnectionForced, text);
        for outbox in &self.connections {
            outbox.push(&mut vec![Item::Close(violation.clone())]);
        }
    }

    /// Makes all connections look whether there is something to do.
    pub(super) fn wake_all(&self) {
        self.connections.iter().for_each(|outbox| outbox.wake());
    }

    /// An id that no queue ever had.
    pub fn new_queue_id(&self) -> QueueId {
        let mut ids = self.queue_ids.lock();
        if ids.next >= ids.set_aside {
            ids.set_aside = ids.next + ID_BLOCK;
            self.store.submit(&mut vec![Op::Define(vec![records::next_queue_id(QueueId(ids.set_aside))])]);
        }
        let id = QueueId(ids.next);
        ids.next += 1;
        id
    }

    /// Takes a new queue on the list.
    pub fn add_queue(&self, queue: QueueRef) {
        self.totals.queues_created.fetch_add(1, Relaxed);
        self.queues.insert(queue.definition().id, queue);
    }

    /// Takes a deleted queue off the list.
    pub fn remove_queue(&self, id: QueueId) {
        self.totals.queues_deleted.fetch_add(1, Relaxed);
        if let Some((_, queue)) = self.queues.remove(&id) {
            *self.totals.deleted_queues.lock() += queue.figures().counters;
        }
    }

    /// Does what running queues left to be done, and ends with the store. Says what covers it there.
    pub fn finish(&self, work: &mut Work) -> Option<Lsn> {
        let lsn = self.hand_to_store(work);
        self.fetch_all(work);
        lsn
    }

    pub(super) fn hand_to_store(&self, work: &mut Work) -> Option<Lsn> {
        self.carry_mail(work);
        (!work.ops.is_empty()).then(|| self.store.submit(&mut work.ops))
    }

    /// The same, and what is to be stored survives a crash as a whole or not at all.
    pub fn finish_atomic(&self, work: &mut Work) -> Option<Lsn> {
        self.carry_mail(work);
        work.make_atomic();
        self.finish(work)
    }

    /// Looks at the queues that want it by now. Says when the next one does.
    pub fn tick(&self) -> Option<Moment> {
        let (now, mut work) = (self.clock.now(), Work::default());
        while let Some(queue) = self.alarms.pop_due(now) {
            if let Some(queue) = self.queue(queue)
                && queue.tick(now, &mut work)
            {
                self.expire(&queue, now, &mut work);
            }
            self.finish(&mut work);
        }
        self.alarms.next()
    }

    fn carry_mail(&self, work: &mut Work) {
        while let Some(queue) = work.mail.pop() {
            self.carry(queue, work);
        }
        for (at, queue) in work.alarms.drain(..) {
            self.alarms.set(at, queue);
        }
    }

    /// Deletes a queue that was not used for as long as it may be.
    fn expire(&self, queue: &QueueRef, now: Moment, work: &mut Work) {
        let definition = queue.definition();
        let Some(vhost) = self.vhost(queue.vhost()) else { return };
        let only = OnlyIf { expired: Some(now), ..OnlyIf::default() };
        let owner = definition.owner.unwrap_or_default();
        // Refused when somebody uses it by now: then it stays.
        if let Ok((Some((queue, messages)), _)) = vhost.delete_queue(&definition.name, owner, only, work) {
            self.remove_queue(queue.definition().id);
            tracing::info!(
                vhost = &**queue.vhost(),
                queue = &*definition.name,
                messages,
                "an unused queue expired"
            );
        }
    }

    fn recover(&self, recovery: Recovery) -> Result<(), StartError> {
        let mut topologies: HashMap<String, Topology<QueueRef>> = HashMap::new();
        let (mut exchanges, mut queues, mut bindings) = (Vec::new(), Vec::new(), Vec::new());
        for (key, value) in &recovery.definitions {
            match records::read(key, value)? {
                Definition::Vhost(vhost) => _ = topologies.insert(vhost.name, Topology::predeclared()),
                Definition::User(user) => _ = self.users.insert(user.name.clone(), user),
                Definition::Permission(permission) => self.insert_permission(permission)?,
                Definition::Exchange(vhost, exchange) => exchanges.push((vhost, exchange)),
                Definition::Queue(vhost, queue) => queues.push((vhost, queue)),
                Definition::Binding(vhost, binding) => bindings.push((vhost, binding)),
                Definition::NextQueueId(next) => {
                    *self.queue_ids.lock() = QueueIds { next: next.0, set_aside: next.0 };
                }
            }
        }
        // An object without its vhost, or a binding without its ends, was about to be deleted with it.
        for (vhost, exchange) in exchanges {
            topologies.entry(vhost).and_modify(|topology| topology.insert_exchange(exchange));
        }
        let next_seqs: HashMap<QueueId, Seq> =
            recovery.queues.iter().map(|queue| (queue.queue, queue.next)).collect();
        for (vhost, definition) in queues {
            let next_seq = next_seqs.get(&definition.id).copied().unwrap_or(Seq(1));
            let queue =
                LiveQueue::new(vhost.as_str().into(), definition, next_seq, self.paging(), self.clock.now());
            let queue = QueueRef(Arc::new(queue));
            self.queues.insert(queue.definition().id, queue.clone());
            topologies.entry(vhost).and_modify(|topology| topology.insert_queue(queue, &mut Vec::new()));
        }
        for (vhost, binding) in bindings {
            if let Some(topology) = topologies.get_mut(&vhost)
                && let Err(refusal) = topology.bind(binding, &mut Vec::new())
            {
                tracing::warn!(vhost, ?refusal, "left out a binding whose ends are gone");
            }
        }
        for (name, topology) in topologies {
            self.vhosts.insert(
                name.clone(),
                Arc::new(Vhost::new(name.into(), topology, self.store.clone(), self.paging())),
            );
        }
        self.recover_messages(recovery);
        Ok(())
    }

    fn recover_messages(&self, recovery: Recovery) {
        let mut work = Work::default();
        for recovered in recovery.queues {
            let id = recovered.queue;
            let Some(queue) = self.queue(id) else {
                // It was deleted, or never said to be there, when the process ended.
                let places = recovered.messages().map(|message| message.place).collect();
                work.ops.push(Op::Purge { queue: id, places });
                continue;
            };
            self.recover_queue(&queue, &recovered, !recovery.closed, &mut work);
        }
        // Also those without messages may go one day because nobody uses them.
        self.queues.iter().for_each(|queue| _ = queue.touch(self.clock.now(), &mut work));
        self.finish(&mut work);
    }

    /// Fills a store in which there is nobody to log in.
    fn begin(&self) -> Result<(), StartError> {
        let (user, password, vhost) = &self.setup.first;
        let vhost = VhostRecord { name: vhost.clone() };
        let tags = vec!["administrator".to_owned()];
        let user = UserRecord { name: user.clone(), password_hash: auth::hash(password.as_bytes()), tags };
        let all = || ".*".to_owned();
        let permission = PermissionRecord {
            user: user.name.clone(),
            vhost: vhost.name.clone(),
            configure: all(),
            write: all(),
            read: all(),
        };
        let all = vec![records::user(&user), records::permission(&permission), records::vhost(&vhost)];
        self.store.submit(&mut vec![Op::Define(all)]);
        self.insert_permission(permission)?;
        self.users.insert(user.name.clone(), user);
        let name: Name = vhost.name.as_str().into();
        let made = || Arc::new(Vhost::new(name, Topology::predeclared(), self.store.clone(), self.paging()));
        self.vhosts.entry(vhost.name).or_insert_with(made);
        Ok(())
    }

    fn insert_permission(&self, permission: PermissionRecord) -> Result<(), StartError> {
        let PermissionRecord { user, vhost, configure, write, read } = permission;
        match Permissions::new(&configure, &write, &read) {
            Ok(permissions) => {
                self.permissions.insert((user, vhost), Arc::new(permissions));
                Ok(())
            }
            Err(error) => Err(StartError::Permission { user, vhost, error: Box::new(error) }),
        }
    }
}
