//! What an operator sees over HTTP: the management API under `/api`, a page at `/`, metrics for Prometheus.
//!
//! The shape of every answer is RabbitMQ's, because its tools and dashboards read it; the values are ours. A
//! field that we have no true value for is left out.
//!
//! This crate defines what it needs to know as the trait [`Management`]; the broker implements it. Not here:
//! queues, connections and the store, and who may do what over AMQP.
//!
//! The broker's own commands ask it over a socket in its data directory ([`socket_router`]), which the permissions
//! of the file protect.
//!
//! Invariant: no answer of a port behind a login leaves before [`Management::authenticate`] said yes.

mod api;
mod console;
mod limits;
mod login;
mod management;
mod metrics;
mod reply;
mod serve;
mod socket;

pub use management::{
    Alarm, Churn, Counts, Deaths, DiskSpace, ExchangeType, Identity, Listener, Management, MessageStats,
    Overview, Refused, StoreFigures, Totals,
};
pub use serve::{Listen, serve};
pub use socket::{Administration, ExportStream, FetchError, Selection, bind_socket, export, socket_router};

use axum::Router;
use axum::middleware::from_fn;
use std::sync::Arc;

/// What every handler can reach.
type State = axum::extract::State<Arc<dyn Management>>;

/// The management port: `/api/…`, and the page at `/`.
pub fn router(management: Arc<dyn Management>) -> Router {
    Router::new()
        .merge(console::routes())
        .nest("/api", api::routes())
        .fallback(reply::not_found)
        .layer(from_fn(reply::headers))
        .layer(from_fn(limits::enforce))
        .with_state(management)
}

/// The metrics port: `/metrics`. It asks for no login, as Prometheus expects of RabbitMQ.
pub fn metrics_router(management: Arc<dyn Management>) -> Router {
    Router::new().merge(metrics::routes()).layer(from_fn(limits::enforce)).with_state(management)
}

#[cfg(test)]
mod tests;
