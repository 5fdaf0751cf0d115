//! The management API: one file per resource.

mod health;
mod overview;

use crate::{Management, reply};
use axum::Router;
use std::sync::Arc;

/// Everything under `/api`.
pub(crate) fn routes() -> Router<Arc<dyn Management>> {
    Router::new().merge(health::routes()).merge(overview::routes()).fallback(reply::not_found)
}
