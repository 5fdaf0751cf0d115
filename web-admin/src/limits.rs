//! What one request may cost. A management port has few and small requests; what is larger is a mistake.

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::Limited;
use std::time::Duration;

/// Bytes of a request's body.
pub(crate) const BODY_MAX: usize = 64 * 1024;

/// From the end of a request's head to its answer.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Refuses a body that is announced over [`BODY_MAX`], cuts one that turns out so, and ends what takes long.
pub(crate) async fn enforce(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_TIMEOUT, enforce_body(request, next)).await {
        Ok(response) => response,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// The same, but it may take as long as it takes.
pub(crate) async fn enforce_body(request: Request, next: Next) -> Response {
    if request.body().size_hint().lower() > BODY_MAX as u64 {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    next.run(request.map(|body| Body::new(Limited::new(body, BODY_MAX)))).await
}
