//! One client: its session, and what the broker does for it.
//!
//! Bytes in, bytes out, no socket: `server::connection` moves the bytes, the simulation plays both sides.
//!
//! Frames are taken one by one. A publish joins the batch; anything that could see the difference makes the
//! batch be handed over first. When an operation changed a definition, the client stops taking frames until
//! the store has it safe, and only then answers ([`waits_for`](Client::waits_for)).

use super::operations::Caller;
use super::outbox::{Item, Outbox};
use super::publishing::Publisher;
use super::registry::Broker;
use super::resources::Seen;
use super::route_cache::RouteCache;
use super::vhost::Vhost;
use super::work::Work;
use crate::store::Lsn;
use rabbit_compat::session::{Command, ConsumerId, Done, Operation, State};
use rabbit_compat::wire::Decoder;
use rabbit_compat::{Code, Session, Violation};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use vhosts::queue::ConsumerKey;
use vhosts::topology::QueueHandle;
use vhosts::{ConnectionId, Moment, Name, Permissions, QueueId, Refusal};

/// Octets that may wait to be written before the client is given no more messages. Its frames, heartbeats
/// among them, are still read.
const DELIVERIES_MAX: usize = 512 * 1024;
/// Octets that may wait to be written before nothing more is read: a peer that asks without reading the
/// answers can not make us hold more.
const OUTPUT_MAX: usize = 2 * DELIVERIES_MAX;

/// One client of the broker.
pub struct Client {
    id: ConnectionId,
    peer: IpAddr,
    pub(super) broker: Arc<Broker>,
    pub(super) session: Session,
    decoder: Decoder,
    outbox: Arc<Outbox>,
    /// Taken out of the outbox, not given to the session yet.
    inbox: VecDeque<Item>,
    pub(super) opened: Option<Opened>,
    pub(super) publisher: Publisher,
    pub(super) work: Work,
    pub(super) commands: Vec<Command>,
    /// An answer that may not be given before the store is safe up to there.
    held: Option<(Lsn, Done)>,
    pub(super) safe: Lsn,
    pub(super) seen: Seen,
    counted: Counted,
}

/// What of this client is in the broker's totals already.
#[derive(Default)]
struct Counted {
    confirmed: u64,
    channels: u64,
}

/// What a client has once it opened a virtual host.
pub(super) struct Opened {
    vhost: Arc<Vhost>,
    pub(super) permissions: Arc<Permissions>,
    pub(super) routes: RouteCache,
    exclusive: Vec<QueueId>,
    /// Its consumers that wait for replies, and under which addresses.
    replies: Vec<(ConsumerId, Name)>,
}

impl Client {
    /// A client that connected from `peer` at `now`.
    pub fn new(broker: Arc<Broker>, peer: IpAddr, now: Moment) -> Client {
        let outbox = Arc::new(Outbox::default());
        let id = broker.enter(outbox.clone());
        let session = Session::new(id, broker.setup.session.clone(), now);
        let decoder = Decoder::new(session.tuning().frame_max);
        Client {
            id,
            peer,
            broker,
            session,
            decoder,
            outbox,
            inbox: VecDeque::new(),
            opened: None,
            publisher: Publisher::default(),
            work: Work::default(),
            commands: Vec::new(),
            held: None,
            safe: Lsn::default(),
            seen: Seen::default(),
            counted: Counted::default(),
        }
    }

    /// Its conversation.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Where received bytes go.
    pub fn decoder(&mut self) -> &mut Decoder {
        &mut self.decoder
    }

    /// What the broker has for it.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// What must be safe before anything more is done for it.
    pub fn waits_for(&self) -> Option<Lsn> {
        self.held.as_ref().map(|(lsn, _)| *lsn)
    }

    /// Whether it takes more bytes from its peer.
    pub fn reads(&mut self) -> bool {
        self.held.is_none()
            && !self.session.is_held()
            && self.session.output().len() < OUTPUT_MAX
            && self.session.state() != State::Closed
    }

    /// Does everything that can be done now: takes frames that were received, gives deliveries to the
    /// session, hands work to the queues.
    pub fn work(&mut self) {
        self.look_at_resources();
        self.take_frames();
        self.take_deliveries();
        self.hand_over();
        self.count();
    }

    /// The store is safe up to `lsn`.
    pub fn safe(&mut self, lsn: Lsn) {
        self.safe = lsn;
        self.session.safe(lsn.into());
        if let Some((_, done)) = self.held.take_if(|(wanted, _)| *wanted <= lsn) {
            self.session.resume(self.broker.clock.now());
            self.complete(Ok(done));
        }
    }

    /// Gives back memory that only a busy client needs.
    pub fn rest(&mut self) {
        self.publisher.shrink();
        self.session.output().shrink();
        if self.inbox.is_empty() {
            self.inbox = VecDeque::new();
        }
        self.work.ops.shrink_to(16);
        self.commands.shrink_to(4);
    }

    /// The peer is gone, or the conversation has ended: everything that it held goes back.
    pub fn end(&mut self) {
        self.hand_over();
        self.cancel_all(self.session.all_consumers().collect());
        self.forget_replies(self.session.all_reply_consumers().collect());
        self.session.end();
        self.count();
        // Whatever room there is: what stayed here would be unacked for ever.
        self.drain();
        self.hand_over();
        let exclusive = self.opened.as_mut().map(|opened| std::mem::take(&mut opened.exclusive));
        for id in exclusive.into_iter().flatten() {
            if let Some(queue) = self.broker.queue(id)
                && let Some((caller, work)) = self.caller()
            {
                // It can not be refused: the queue is ours, and nothing is demanded of it.
                let _ = caller.delete_queue(&queue.definition().name, Default::default(), work);
            }
        }
        self.hand_over();
        self.broker.leave(self.id);
    }

    fn take_frames(&mut self) {
        if self.session.state() == State::Header {
            let Some(header) = self.decoder.protocol_header() else { return };
            self.session.receive_header(header);
        }
        self.look_at_topology();
        while self.reads() {
            match self.decoder.next_frame() {
                Ok(Some(frame)) => self.session.receive(frame, &mut self.commands),
                Ok(None) => return,
                Err(error) => return self.session.malformed(error),
            }
            self.carry_out();
            if self.publisher.is_full() {
                self.hand_over();
            }
        }
    }

    /// Gives deliveries to the session while there is room to write them, and no answer is held that
    /// belongs before them.
    fn take_deliveries(&mut self) {
        while self.held.is_none() && self.session.output().len() < DELIVERIES_MAX && self.take_item() {}
        self.carry_out();
    }

    /// Gives the session all deliveries there are, whatever room there is.
    fn drain(&mut self) {
        while self.take_item() {}
    }

    /// Gives the session the next thing that the broker has for it. False if there is none.
    fn take_item(&mut self) -> bool {
        if self.inbox.is_empty() {
            self.outbox.take(&mut self.inbox);
        }
        let Some(item) = self.inbox.pop_front() else { return false };
        match item {
            Item::Delivery { consumer, queue, delivery } => self.session.deliver(consumer, queue, &delivery),
            Item::Reply { consumer, message } => self.session.reply(consumer, &message),
            Item::Cancelled(consumer) => self.session.cancelled(consumer),
            Item::TimedOut { consumer, timeout_ms } => {
                self.session.timed_out(consumer, timeout_ms, &mut self.commands);
            }
            Item::Close(violation) => self.session.close(&violation),
        }
        true
    }

    pub(super) fn carry_out(&mut self) {
        while !self.commands.is_empty() {
            match self.commands.remove(0) {
                Command::Publish { channel, message, mandatory, how } => {
                    self.publish(channel, message, mandatory, how);
                }
                Command::Operate(operation) => self.operate(operation),
                Command::Release { channel, consumers, replies } => {
                    self.release(channel, consumers, replies);
                }
                Command::Authenticate { user, password } => self.authenticate(&user, &password),
                Command::Open { vhost } => self.open(&vhost),
            }
        }
    }

    /// Routes on the topology as it is now, until the next look.
    fn look_at_topology(&mut self) {
        if let Some(opened) = &mut self.opened {
            opened.routes.refresh(&opened.vhost.topology().load());
        }
    }

    /// Brings the broker's totals up to date: a few additions for a whole batch.
    fn count(&mut self) {
        let (totals, counted) = (&self.broker.totals, &mut self.counted);
        let published = self.publisher.take_published();
        let confirmed = self.session.confirmed() - counted.confirmed;
        let channels = self.session.channels_len() as u64;
        if published > 0 {
            totals.published.fetch_add(published, Relaxed);
        }
        if confirmed > 0 {
            totals.confirmed.fetch_add(confirmed, Relaxed);
            counted.confirmed += confirmed;
        }
        if channels != counted.channels {
            totals.channels_created.fetch_add(channels.saturating_sub(counted.channels), Relaxed);
            totals.channels.fetch_add(channels.wrapping_sub(counted.channels), Relaxed);
            counted.channels = channels;
        }
    }

    fn operate(&mut self, operation: Operation) {
        self.hand_over();
        let cancelling = matches!(operation, Operation::Cancel { .. });
        let exclusive = matches!(operation, Operation::DeclareQueue { exclusive: true, passive: false, .. });
        let result = match operation {
            Operation::ConsumeReplies { consumer } => Some(Ok((self.consume_replies(consumer), None))),
            Operation::CancelReplies { consumer } => {
                self.forget_replies(vec![consumer]);
                Some(Ok((Done::Plain, None)))
            }
            Operation::Commit { channel, answers } => Some(self.commit(channel, answers)),
            Operation::Rollback { channel } => {
                self.publisher.roll_back(channel);
                Some(Ok((Done::Plain, None)))
            }
            operation => self.caller().map(|(caller, work)| caller.operate(operation, work)),
        };
        self.broker.finish(&mut self.work);
        self.look_at_topology();
        if cancelling {
            // What was on its way belongs before the answer.
            self.drain();
        }
        match result {
            Some(Ok((done, lsn))) => {
                self.note(&done, exclusive);
                match lsn.filter(|lsn| *lsn > self.safe) {
                    Some(lsn) => {
                        self.held = Some((lsn, done));
                        self.session.pause();
                    }
                    None => self.complete(Ok(done)),
                }
            }
            Some(Err(refusal)) => {
                let violation = self.violation(&refusal);
                self.complete(Err(violation));
            }
            None => self.session.close(&Violation::new(Code::InternalError, "")),
        }
    }

    fn note(&mut self, done: &Done, exclusive: bool) {
        if let (Done::Queue { name, .. }, true, Some(opened)) = (done, exclusive, &mut self.opened)
            && let Some(queue) = opened.vhost.topology().load().queue(name)
            && !opened.exclusive.contains(&queue.definition().id)
        {
            opened.exclusive.push(queue.definition().id);
        }
    }

    fn complete(&mut self, result: Result<Done, Violation>) {
        self.session.complete(result, &mut self.commands);
        self.carry_out();
    }

    fn release(&mut self, channel: u16, consumers: Vec<(QueueId, ConsumerKey)>, replies: Option<ConsumerId>) {
        self.hand_over();
        self.publisher.roll_back(channel);
        self.cancel_all(consumers);
        self.forget_replies(replies.into_iter().collect());
        self.drain();
        self.session.released(channel);
        self.hand_over();
    }

    fn cancel_all(&mut self, consumers: Vec<(QueueId, ConsumerKey)>) {
        for (queue, key) in consumers {
            if let Some((caller, work)) = self.caller() {
                caller.cancel(queue, key, work);
            }
        }
    }

    fn consume_replies(&mut self, consumer: ConsumerId) -> Done {
        let address = self.broker.replies.enter(self.outbox.clone(), consumer);
        if let Some(opened) = &mut self.opened {
            opened.replies.push((consumer, address.clone()));
        }
        Done::Replies { address }
    }

    fn forget_replies(&mut self, consumers: Vec<ConsumerId>) {
        let Some(opened) = &mut self.opened else { return };
        for (_, address) in opened.replies.extract_if(.., |(consumer, _)| consumers.contains(consumer)) {
            self.broker.replies.leave(&address);
        }
    }

    fn authenticate(&mut self, user: &str, password: &[u8]) {
        let checked = self.broker.authenticate(user, password, self.peer);
        if let Err(refused) = &checked {
            tracing::warn!(peer = %self.peer, user, "login refused: {refused}");
        }
        self.session.authenticated(checked.is_ok());
    }

    fn open(&mut self, name: &str) {
        self.decoder.limit(self.session.tuning().frame_max);
        let user = self.session.user();
        let result = match (self.broker.vhost(name), self.broker.permissions(user, name)) {
            (None, _) => Err(format!("vhost {name} not found")),
            (_, None) => Err(format!("access to vhost '{name}' refused for user '{user}'")),
            (Some(vhost), Some(permissions)) => {
                let (routes, exclusive, replies) = (RouteCache::default(), Vec::new(), Vec::new());
                self.opened = Some(Opened { vhost, permissions, routes, exclusive, replies });
                self.look_at_topology();
                Ok(())
            }
        };
        self.session.opened(result.map_err(|text| Violation::new(Code::NotAllowed, text)));
    }

    fn caller(&mut self) -> Option<(Caller<'_>, &mut Work)> {
        let Opened { vhost, permissions, .. } = self.opened.as_ref()?;
        let (broker, outbox) = (&*self.broker, &self.outbox);
        Some((Caller { broker, vhost, connection: self.id, permissions, outbox }, &mut self.work))
    }

    pub(super) fn violation(&self, refusal: &Refusal) -> Violation {
        Violation::refused(refusal, self.session.vhost(), self.session.user())
    }
}
