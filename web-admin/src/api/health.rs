//! `/api/health/checks/…`: 200 when all is well, 503 with a reason when not.
//!
//! Load balancers ask some of them, and they have no login.

use crate::login::Login;
use crate::reply::read_only;
use crate::{Management, Overview, State};
use axum::http::StatusCode;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::Arc;

type Check = (StatusCode, Json<Value>);

pub(super) fn routes() -> Router<Arc<dyn Management>> {
    Router::new()
        .route("/health/checks/alarms", read_only(alarms))
        .route("/health/checks/local-alarms", read_only(local_alarms))
        .route("/health/checks/is-in-service", read_only(is_in_service))
        .route("/health/checks/ready-to-serve-clients", read_only(ready_to_serve_clients))
}

async fn alarms(_: Login, management: State) -> Check {
    no_alarms(&management.overview(), "There are alarms in effect in the cluster")
}

async fn local_alarms(_: Login, management: State) -> Check {
    no_alarms(&management.overview(), "There are alarms in effect on the node")
}

async fn is_in_service(management: State) -> Check {
    match management.overview().in_service {
        true => ok(),
        false => failed("this rabbit node is not currently available to serve", json!({})),
    }
}

async fn ready_to_serve_clients(management: State) -> Check {
    let overview = management.overview();
    let connections = overview.counts.connections;
    if !overview.in_service {
        failed("the rabbit node is not currently available to serve", json!({}))
    } else if !overview.listeners.iter().any(|listener| listener.protocol.starts_with("amqp")) {
        failed("no active listeners for AMQP/AMQPS", json!({}))
    } else if overview.connections_max.is_some_and(|max| connections >= max) {
        failed("node connection limit is reached", json!({ "connections": connections }))
    } else {
        ok()
    }
}

fn no_alarms(overview: &Overview, reason: &str) -> Check {
    if overview.alarms.is_empty() {
        return ok();
    }
    let alarms = overview.alarms.iter();
    let alarms: Vec<_> =
        alarms.map(|alarm| json!({ "node": overview.node, "resource": alarm.resource() })).collect();
    failed(reason, json!({ "alarms": alarms }))
}

fn ok() -> Check {
    (StatusCode::OK, Json(json!({ "status": "ok" })))
}

/// A failure with `details` beside its reason.
fn failed(reason: &str, mut details: Value) -> Check {
    details["status"] = "failed".into();
    details["reason"] = reason.into();
    (StatusCode::SERVICE_UNAVAILABLE, Json(details))
}
