//! The broker as the management port sees it.

use crate::auth;
use crate::broker::{Broker, DiskSpace, Levels};
use crate::store::{Figures, Store};
use exchanges::Kind;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use tokio::sync::watch;
use web_admin::{
    Alarm, Churn, Counts, Deaths, ExchangeType, Identity, Listener, Management, MessageStats, Overview,
    Refused, StoreFigures, Totals,
};

/// What the management port shows.
pub struct View {
    /// The broker.
    pub broker: Arc<Broker>,
    /// Open ports.
    pub listeners: Vec<Listener>,
    /// When it started.
    pub started: Instant,
    /// Whether it is about to stop.
    pub stopping: watch::Receiver<bool>,
    /// Connections that are allowed.
    pub connections_max: Option<u64>,
}

/// The RabbitMQ whose behaviour is offered; clients that look at versions take us for this one.
pub const RABBITMQ_VERSION: &str = "4.3.6";

/// The name that clients and tools see for this node.
#[must_use]
pub fn node_name() -> String {
    "haremq@localhost".to_owned()
}

impl Management for View {
    fn overview(&self) -> Overview {
        let levels = self.broker.resources.levels();
        let mut overview = Overview {
            node: node_name(),
            cluster_name: node_name(),
            version: env!("CARGO_PKG_VERSION"),
            rabbitmq_version: RABBITMQ_VERSION,
            uptime_ms: self.started.elapsed().as_millis() as u64,
            in_service: !*self.stopping.borrow() && is_healthy(&self.broker.store),
            connections_max: self.connections_max,
            listeners: self.listeners.clone(),
            exchange_types: Kind::ALL.into_iter().map(exchange_type).collect(),
            counts: Counts::default(),
            totals: Totals::default(),
            message_stats: self.message_stats(),
            churn: self.churn(),
            store: self.broker.store.reader().map(|_| store_figures(self.broker.store.figures())),
            disk: levels.disk.map(|DiskSpace { free, limit }| web_admin::DiskSpace { free, limit }),
            alarms: alarms(&levels),
        };
        self.count(&mut overview);
        overview
    }

    fn authenticate(&self, user: &str, password: &str, peer: IpAddr) -> Result<Identity, Refused> {
        match self.broker.authenticate(user, password.as_bytes(), peer) {
            Ok(tags) => Ok(Identity { name: user.to_owned(), tags }),
            Err(auth::Refused::Credentials) => Err(Refused::Credentials),
            Err(auth::Refused::NotLoopback) => Err(Refused::NotLoopback),
        }
    }
}

fn store_figures(figures: Figures) -> StoreFigures {
    let Figures { log_bytes, live_bytes, state_bytes, segments, pending, .. } = figures;
    let Figures { written, spared, moved, written_bytes, syncs, .. } = figures;
    StoreFigures {
        log_bytes,
        live_bytes,
        state_bytes,
        segments,
        pending,
        written,
        spared,
        moved,
        written_bytes,
        syncs,
    }
}

impl View {
    /// Adds up what queues and virtual hosts have.
    fn count(&self, overview: &mut Overview) {
        let (counts, totals, stats) =
            (&mut overview.counts, &mut overview.totals, &mut overview.message_stats);
        counts.connections = self.broker.connections_len() as u64;
        counts.channels = read(&self.broker.totals.channels);
        let mut counters = *self.broker.totals.deleted_queues.lock();
        for vhost in self.broker.vhosts() {
            let topology = vhost.topology().load();
            counts.exchanges += topology.exchanges().count() as u64;
            for queue in topology.queues() {
                let figures = queue.figures();
                counts.queues += 1;
                counts.consumers += figures.consumers as u64;
                totals.messages_ready += figures.ready.messages as u64;
                totals.messages_unacknowledged += figures.unacked.messages as u64;
                totals.messages_delayed += figures.delayed.messages as u64;
                totals.messages_dead_lettering += figures.dead_lettered as u64;
                counters += figures.counters;
            }
        }
        stats.deliver = counters.delivered - counters.delivered_no_ack;
        stats.deliver_no_ack = counters.delivered_no_ack;
        stats.get = counters.got - counters.got_no_ack;
        stats.get_no_ack = counters.got_no_ack;
        stats.redeliver = counters.redelivered;
        stats.dead_lettered = deaths(counters.dead_lettered);
        stats.dead_dropped = deaths(counters.dropped);
    }

    fn message_stats(&self) -> MessageStats {
        let totals = &self.broker.totals;
        MessageStats {
            publish: read(&totals.published),
            confirm: read(&totals.confirmed),
            get_empty: read(&totals.get_empty),
            ack: read(&totals.acknowledged),
            return_unroutable: read(&totals.unroutable_returned),
            drop_unroutable: read(&totals.unroutable_dropped),
            ..MessageStats::default()
        }
    }

    fn churn(&self) -> Churn {
        let totals = &self.broker.totals;
        Churn {
            connection_created: read(&totals.connections_created),
            connection_closed: read(&totals.connections_closed),
            channel_created: read(&totals.channels_created),
            channel_closed: read(&totals.channels_created) - read(&totals.channels),
            queue_declared: read(&totals.queues_declared),
            queue_created: read(&totals.queues_created),
            queue_deleted: read(&totals.queues_deleted),
        }
    }
}

fn deaths(queues: vhosts::queue::Deaths) -> Deaths {
    let vhosts::queue::Deaths { rejected, expired, maxlen, delivery_limit } = queues;
    Deaths { rejected, expired, maxlen, delivery_limit }
}

fn alarms(levels: &Levels) -> Vec<Alarm> {
    let disk = levels.disk_is_short().then_some(Alarm::Disk);
    disk.into_iter().chain(levels.stalled.is_some().then_some(Alarm::Store)).collect()
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

fn is_healthy(store: &Store) -> bool {
    store.progress().borrow().failed.is_none()
}

fn exchange_type(kind: Kind) -> ExchangeType {
    let description = match kind {
        Kind::Direct => "AMQP direct exchange, as per the AMQP specification",
        Kind::Fanout => "AMQP fanout exchange, as per the AMQP specification",
        Kind::Topic => "AMQP topic exchange, as per the AMQP specification",
        Kind::Headers => "AMQP headers exchange, as per the AMQP specification",
    };
    ExchangeType { name: kind.as_str(), description }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{Batch, RESIDENT, Setup, Work};
    use crate::config::WhenFull;
    use rabbit_compat::session::{Settings, Tuning, handshake::server_properties};
    use vhosts::topology::QueueHandle;
    use vhosts::{ConnectionId, Message, Moment, QueueDefinition};

    fn view() -> View {
        let (store, recovery) = Store::in_memory();
        let session = Arc::new(Settings {
            tuning: Tuning { channel_max: 10, frame_max: 4096, heartbeat_s: 0 },
            max_message_size: 100,
            handshake_timeout_ms: 1000,
            server_properties: server_properties("1", "test", "test"),
        });
        let first = ("guest".into(), "guest".into(), "/".into());
        let setup = Setup {
            session,
            loopback_users: Vec::new(),
            when_full: WhenFull::Block,
            resident: RESIDENT,
            memory_bytes: 0,
            first,
        };
        let broker = Arc::new(Broker::new(setup, store, recovery, crate::clock::Clock::system()).unwrap());
        let stopping = watch::channel(false).1;
        View { broker, listeners: Vec::new(), started: Instant::now(), stopping, connections_max: None }
    }

    #[test]
    fn what_a_deleted_queue_had_counted_stays() {
        let view = view();
        let vhost = view.broker.vhost("/").unwrap();
        let id = view.broker.new_queue_id();
        let name = "q".into();
        let definition = QueueDefinition {
            id,
            name,
            durable: false,
            auto_delete: false,
            owner: None,
            arguments: Default::default(),
        };
        let ((queue, _), _) = vhost.declare_queue(definition, Moment(1)).unwrap();
        view.broker.add_queue(queue.clone());
        let message = Message::new("", b"q", &[0, 0], b"").unwrap();
        let (mut batch, mut work) = (Batch::default(), Work::default());
        batch.push(message, 0, std::slice::from_ref(&queue));
        batch.hand_over(Moment(1), &mut work);
        queue.get(true, Moment(1), &mut work).unwrap();
        assert_eq!(view.overview().message_stats.get_no_ack, 1);
        assert_eq!(view.overview().counts.queues, 1);

        vhost.delete_queue("q", ConnectionId(1), Default::default(), &mut work).unwrap();
        view.broker.remove_queue(queue.definition().id);
        assert_eq!(view.overview().message_stats.get_no_ack, 1);
        assert_eq!(view.overview().counts.queues, 0);
    }
}
