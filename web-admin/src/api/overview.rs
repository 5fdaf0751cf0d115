//! `/api/overview`: what runs, how much of it, and where it listens.
//!
//! We keep no history of counters, so we say `rates_mode: none`, as RabbitMQ does when it keeps none, and send
//! counters without rates.

use crate::login::Login;
use crate::reply::read_only;
use crate::{Churn, Deaths, Listener, Management, MessageStats, Overview, State};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn routes() -> Router<Arc<dyn Management>> {
    Router::new().route("/overview", read_only(overview))
}

async fn overview(_: Login, management: State) -> Json<Value> {
    Json(shape(&management.overview()))
}

fn shape(overview: &Overview) -> Value {
    let counts = &overview.counts;
    let totals = &overview.totals;
    let exchange_types = overview.exchange_types.iter();
    json!({
        "management_version": overview.rabbitmq_version,
        "rates_mode": "none",
        "exchange_types": exchange_types.map(|kind| json!({
            "name": kind.name,
            "description": kind.description,
            "enabled": true,
        })).collect::<Vec<_>>(),
        "product_version": overview.version,
        "product_name": "HareMQ",
        "rabbitmq_version": overview.rabbitmq_version,
        "cluster_name": overview.cluster_name,
        // Tools insist on these two.
        "erlang_version": "none",
        "erlang_full_version": "none: HareMQ is written in Rust",
        "message_stats": message_stats(&overview.message_stats),
        "churn_rates": churn(&overview.churn),
        "queue_totals": {
            "messages": totals.messages(),
            "messages_ready": totals.messages_ready,
            "messages_unacknowledged": totals.messages_unacknowledged,
            "messages_delayed": totals.messages_delayed,
            "messages_dlx": totals.messages_dead_lettering,
        },
        "object_totals": {
            "connections": counts.connections,
            "channels": counts.channels,
            "exchanges": counts.exchanges,
            "queues": counts.queues,
            "consumers": counts.consumers,
        },
        // Counters are read where they are kept; no events wait for anybody.
        "statistics_db_event_queue": 0,
        "node": overview.node,
        "listeners": overview.listeners.iter().map(|port| listener(&overview.node, port)).collect::<Vec<_>>(),
    })
}

fn message_stats(stats: &MessageStats) -> Value {
    json!({
        "publish": stats.publish,
        "confirm": stats.confirm,
        "deliver": stats.deliver,
        "deliver_no_ack": stats.deliver_no_ack,
        "get": stats.get,
        "get_no_ack": stats.get_no_ack,
        "get_empty": stats.get_empty,
        "deliver_get": stats.deliver_get(),
        "redeliver": stats.redeliver,
        "ack": stats.ack,
        "return_unroutable": stats.return_unroutable,
        "drop_unroutable": stats.drop_unroutable,
        "dead_lettered": deaths(&stats.dead_lettered),
        "dead_dropped": deaths(&stats.dead_dropped),
    })
}

fn deaths(deaths: &Deaths) -> Value {
    Value::Object(
        deaths.by_reason().into_iter().map(|(reason, count)| (reason.into(), count.into())).collect(),
    )
}

fn churn(churn: &Churn) -> Value {
    json!({
        "connection_created": churn.connection_created,
        "connection_closed": churn.connection_closed,
        "channel_created": churn.channel_created,
        "channel_closed": churn.channel_closed,
        "queue_declared": churn.queue_declared,
        "queue_created": churn.queue_created,
        "queue_deleted": churn.queue_deleted,
    })
}

fn listener(node: &str, listener: &Listener) -> Value {
    json!({
        "node": node,
        "protocol": listener.protocol,
        "ip_address": listener.address.ip().to_string(),
        "port": listener.address.port(),
        // RabbitMQ's way to write no options.
        "socket_opts": [],
        "tls": listener.protocol.ends_with("/ssl"),
    })
}
