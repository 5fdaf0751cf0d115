//! `/metrics` for Prometheus, under RabbitMQ's names, so that its dashboards work unchanged.
//!
//! What we do not measure is absent: a dashboard shows "no data" for it, which is true, rather than 0.

use crate::reply::read_only;
use crate::{Alarm, DiskSpace, Management, Overview, State};
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use std::fmt::{Display, Write};
use std::sync::Arc;

/// Our clients speak this.
const AMQP: &str = "protocol=\"amqp091\"";

pub(crate) fn routes() -> Router<Arc<dyn Management>> {
    Router::new().route("/metrics", read_only(metrics))
}

async fn metrics(management: State) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], exposition(&management.overview())).into_response()
}

fn exposition(overview: &Overview) -> String {
    let mut page = Page::default();
    identity(&mut page, overview);
    objects(&mut page, overview);
    churn(&mut page, overview);
    messages(&mut page, overview);
    store(&mut page, overview);
    disk(&mut page, overview);
    alarms(&mut page, overview);
    page.0
}

/// Dashboards join every other metric with these two.
fn identity(page: &mut Page, overview: &Overview) {
    let build = labels(&[
        ("rabbitmq_version", overview.rabbitmq_version),
        ("prometheus_plugin_version", overview.version),
        ("product_name", "HareMQ"),
        ("product_version", overview.version),
    ]);
    page.metric("untyped", "rabbitmq_build_info", "Versions", &build, 1);
    let identity = labels(&[
        ("rabbitmq_node", &overview.node),
        ("rabbitmq_cluster", &overview.cluster_name),
        ("rabbitmq_endpoint", "aggregated"),
    ]);
    page.metric("untyped", "rabbitmq_identity_info", "Node and cluster", &identity, 1);
    let uptime_s = overview.uptime_ms as f64 / 1000.0;
    // The dashboard's name for the node's uptime.
    page.metric("gauge", "rabbitmq_erlang_uptime_seconds", "Node uptime", "", uptime_s);
}

fn objects(page: &mut Page, overview: &Overview) {
    let counts = &overview.counts;
    let totals = &overview.totals;
    let depth = totals.messages();
    page.gauge("rabbitmq_connections", "Connections currently open", counts.connections);
    page.gauge("rabbitmq_channels", "Channels currently open", counts.channels);
    page.gauge("rabbitmq_consumers", "Consumers currently connected", counts.consumers);
    page.gauge("rabbitmq_queues", "Queues available", counts.queues);
    page.gauge("rabbitmq_queue_consumers", "Consumers on queues", counts.consumers);
    page.gauge(
        "rabbitmq_queue_messages_ready",
        "Messages ready to be delivered to consumers",
        totals.messages_ready,
    );
    page.gauge(
        "rabbitmq_queue_messages_unacked",
        "Messages delivered to consumers but not yet acknowledged",
        totals.messages_unacknowledged,
    );
    page.gauge(
        "haremq_queue_messages_delayed",
        "Messages that wait to become ready again",
        totals.messages_delayed,
    );
    page.gauge(
        "haremq_queue_messages_dead_lettering",
        "Dead messages on their way to the dead-letter exchange",
        totals.messages_dead_lettering,
    );
    page.gauge("rabbitmq_queue_messages", "Sum of all messages in queues", depth);
    page.metric("gauge", "rabbitmq_global_consumers", "Current number of consumers", AMQP, counts.consumers);
}

fn churn(page: &mut Page, overview: &Overview) {
    let churn = &overview.churn;
    page.counter("rabbitmq_connections_opened_total", "Connections opened", "", churn.connection_created);
    page.counter("rabbitmq_connections_closed_total", "Connections closed", "", churn.connection_closed);
    page.counter("rabbitmq_channels_opened_total", "Channels opened", "", churn.channel_created);
    page.counter("rabbitmq_channels_closed_total", "Channels closed", "", churn.channel_closed);
    page.counter("rabbitmq_queues_declared_total", "Queues declared", "", churn.queue_declared);
    page.counter("rabbitmq_queues_created_total", "Queues created", "", churn.queue_created);
    page.counter("rabbitmq_queues_deleted_total", "Queues deleted", "", churn.queue_deleted);
}

fn messages(page: &mut Page, overview: &Overview) {
    let stats = &overview.message_stats;
    let counters = [
        ("received", "Messages received from publishers", stats.publish),
        ("confirmed", "Messages confirmed to publishers", stats.confirm),
        ("unroutable_returned", "Mandatory messages returned as unroutable", stats.return_unroutable),
        ("unroutable_dropped", "Messages dropped as unroutable", stats.drop_unroutable),
        ("delivered", "Messages delivered to consumers", stats.deliver_get()),
        ("delivered_consume_manual_ack", "Delivered to consumers that acknowledge", stats.deliver),
        (
            "delivered_consume_auto_ack",
            "Delivered to consumers that do not acknowledge",
            stats.deliver_no_ack,
        ),
        ("delivered_get_manual_ack", "Got by basic.get with acknowledgement", stats.get),
        ("delivered_get_auto_ack", "Got by basic.get without acknowledgement", stats.get_no_ack),
        ("get_empty", "basic.get on an empty queue", stats.get_empty),
        ("redelivered", "Messages delivered again", stats.redeliver),
        ("acknowledged", "Messages acknowledged by consumers", stats.ack),
    ];
    for (name, help, value) in counters {
        page.counter(&format!("rabbitmq_global_messages_{name}_total"), help, AMQP, value);
    }
    for ((reason, arrived), (_, dropped)) in
        stats.dead_lettered.by_reason().into_iter().zip(stats.dead_dropped.by_reason())
    {
        let name = format!("rabbitmq_global_messages_dead_lettered_{reason}_total");
        let rows = [
            ("dead_letter_strategy=\"at_least_once\"", arrived),
            ("dead_letter_strategy=\"disabled\"", dropped),
        ];
        page.family("counter", &name, "Messages that died, and went to another queue or nowhere", &rows);
    }
}

fn disk(page: &mut Page, overview: &Overview) {
    if let Some(DiskSpace { free, limit }) = overview.disk {
        page.gauge("rabbitmq_disk_space_available_bytes", "Disk space available in bytes", free);
        let help = "Free disk space low watermark in bytes";
        page.gauge("rabbitmq_disk_space_available_limit_bytes", help, limit);
    }
}

fn store(page: &mut Page, overview: &Overview) {
    let Some(store) = overview.store else { return };
    page.gauge("haremq_store_log_bytes", "Bytes of the message log", store.log_bytes);
    page.gauge("haremq_store_live_bytes", "Bytes of the message log that are still needed", store.live_bytes);
    page.gauge("haremq_store_state_bytes", "Bytes of the state beside the log", store.state_bytes);
    page.gauge("haremq_store_segments", "Segments of the message log", store.segments);
    page.gauge("haremq_store_pending_operations", "Operations that wait to be committed", store.pending);
    let sums = [
        ("haremq_store_written_total", "Messages written to the log", store.written),
        ("haremq_store_spared_total", "Messages settled before they had to be written", store.spared),
        ("haremq_store_moved_total", "Messages moved out of sparse segments", store.moved),
        ("haremq_store_written_bytes_total", "Bytes written to the log", store.written_bytes),
        ("haremq_store_syncs_total", "Syncs of the log", store.syncs),
    ];
    sums.into_iter().for_each(|(name, help, sum)| page.counter(name, help, "", sum));
}

fn alarms(page: &mut Page, overview: &Overview) {
    let raised = |alarm| u8::from(overview.alarms.contains(&alarm));
    let disk = "is 1 if free disk space watermark alarm is in effect";
    page.metric("untyped", "rabbitmq_alarms_free_disk_space_watermark", disk, "", raised(Alarm::Disk));
    let memory = "is 1 if memory watermark alarm is in effect";
    page.metric("untyped", "rabbitmq_alarms_memory_used_watermark", memory, "", raised(Alarm::Memory));
    let store = "is 1 if the store cannot write, and tries again";
    page.metric("untyped", "haremq_alarms_store", store, "", raised(Alarm::Store));
}

/// The exposition, as it grows.
#[derive(Default)]
struct Page(String);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.metric("gauge", name, help, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, labels: &str, value: u64) {
        self.metric("counter", name, help, labels, value);
    }

    fn metric(&mut self, kind: &str, name: &str, help: &str, labels: &str, value: impl Display) {
        self.family(kind, name, help, &[(labels, value)]);
    }

    /// One metric with several rows, each with its labels.
    fn family(&mut self, kind: &str, name: &str, help: &str, rows: &[(&str, impl Display)]) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# TYPE {name} {kind}\n# HELP {name} {help}");
        for (labels, value) in rows {
            let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }
}

fn labels(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    pairs.join(",")
}

/// A label value as the text format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
