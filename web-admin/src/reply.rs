//! Answers in the form of RabbitMQ's management port: bodies of errors, and the headers of everything.

use axum::Json;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, VARY, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use serde_json::json;
use std::sync::Arc;

use crate::Management;

/// What a resource that can only be read allows.
const READ_ONLY: HeaderValue = HeaderValue::from_static("HEAD, GET, OPTIONS");

/// An answer that is not the resource.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The `Authorization` header cannot be read.
    Malformed,
    /// There is none.
    LoginWanted,
    /// The login failed.
    Login(&'static str),
    /// The login is right, and does not suffice.
    Rights(&'static str),
    /// Ours: no thread for the login, or no address of the peer.
    Internal,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let unauthorised = |error: &str, reason: &str| {
            (StatusCode::UNAUTHORIZED, Json(json!({ "error": error, "reason": reason }))).into_response()
        };
        match self {
            Refusal::Malformed => StatusCode::BAD_REQUEST.into_response(),
            Refusal::LoginWanted => {
                let realm = HeaderValue::from_static("Basic realm=\"RabbitMQ Management\"");
                (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, realm)]).into_response()
            }
            // RabbitMQ spells the two differently.
            Refusal::Login(reason) => unauthorised("not_authorized", reason),
            Refusal::Rights(reason) => unauthorised("not_authorised", reason),
            Refusal::Internal => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// For a path that nobody serves.
pub(crate) async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "error": "Object Not Found", "reason": "Not Found" })))
        .into_response()
}

/// A resource that can only be read.
pub(crate) fn read_only<H, T>(handler: H) -> MethodRouter<Arc<dyn Management>>
where
    H: Handler<T, Arc<dyn Management>>,
    T: 'static,
{
    get(handler).options(async || StatusCode::OK).fallback(async || StatusCode::METHOD_NOT_ALLOWED)
}

/// Sets the headers that RabbitMQ sets on every answer, unless the handler chose its own.
pub(crate) async fn headers(request: Request, next: Next) -> Response {
    let is_options = request.method() == axum::http::Method::OPTIONS;
    let mut response = next.run(request).await;
    let status = response.status();
    let is_data = !is_options && (status.is_success() || status == StatusCode::SERVICE_UNAVAILABLE);
    let (cache, vary) = match is_data {
        true => ("no-cache", "accept, accept-encoding, origin"),
        false => ("public, max-age=0, must-revalidate", "origin, accept-encoding"),
    };
    let headers = response.headers_mut();
    // The router's own list lacks OPTIONS.
    headers.insert(ALLOW, READ_ONLY);
    set(headers, CACHE_CONTROL, cache);
    set(headers, VARY, vary);
    set(headers, CONTENT_SECURITY_POLICY, "script-src 'self'; object-src 'self'");
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.entry(name).or_insert(HeaderValue::from_static(value));
}
