//! The page at `/`: that the broker runs, and how to reach it. It works without a login, so it shows no
//! numbers and no names; those are in the API.

use crate::reply::read_only;
use crate::{Listener, Management, Overview, State};
use axum::Router;
use axum::http::HeaderName;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

const STYLE: &str = include_str!("style.css");
const PAGE: &str = include_str!("index.html");

/// Nothing but our own style sheet, in nobody's frame.
const HEADERS: [(HeaderName, &str); 3] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
];

pub(crate) fn routes() -> Router<Arc<dyn Management>> {
    Router::new().route("/", read_only(index)).route("/style.css", read_only(style))
}

async fn index(management: State) -> Response {
    let page = page(&management.overview());
    (HEADERS, [(CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

async fn style() -> Response {
    (HEADERS, [(CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

fn page(overview: &Overview) -> String {
    let (health, words) = match (overview.in_service, overview.alarms.is_empty()) {
        (false, _) => ("down", "Not serving clients"),
        (true, false) => ("alarm", "Serving, with alarms: publishers are held"),
        (true, true) => ("up", "Serving clients"),
    };
    let listeners: String = overview.listeners.iter().map(listener).collect();
    PAGE.replace("{version}", overview.version)
        .replace("{health}", health)
        .replace("{words}", words)
        .replace("{uptime}", &uptime(overview.uptime_ms))
        .replace("{listeners}", &listeners)
}

/// A row of the table. Protocols are our own words; an address has no character that HTML minds.
fn listener(listener: &Listener) -> String {
    format!("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", listener.protocol, listener.address)
}

/// For people: the two largest units.
fn uptime(uptime_ms: u64) -> String {
    let s = uptime_ms / 1000;
    match (s / 86_400, s / 3600 % 24, s / 60 % 60, s % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, min, s) => format!("{min} min {s} s"),
        (0, h, min, _) => format!("{h} h {min} min"),
        (d, h, _, _) => format!("{d} d {h} h"),
    }
}
