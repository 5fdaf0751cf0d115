//! The socket in the data directory of a broker: what only those may ask who may read its files. It asks for
//! no login; the file is its owner's alone.

mod body;
mod client;
#[cfg(test)]
mod tests;

pub use client::{FetchError, export};

use crate::{limits, reply};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use body::Streamed;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use tokio::net::UnixListener;

/// What the socket needs of the broker.
pub trait Administration: Send + Sync + 'static {
    /// Begins an export of the definitions and messages at this moment. Called on a thread that may block.
    ///
    /// # Errors
    /// Why not, in words for the operator.
    fn export(&self, of: &Selection) -> Result<ExportStream, String>;
}

/// Writes the lines of an export. Called on a thread that may block.
pub type ExportStream = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send>;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Only this virtual host.
    pub vhost: Option<String>,
    /// Only queues of this name.
    pub queue: Option<String>,
}

/// What the socket serves.
pub fn socket_router(administration: Arc<dyn Administration>) -> Router {
    Router::new()
        .route("/api/store/export", get(store_export))
        .fallback(reply::not_found)
        .layer(from_fn(limits::enforce_body))
        .with_state(administration)
}

/// Makes the socket at `path`, in the place of one that a broker left behind. Nobody but the owner can ever
/// connect.
///
/// # Errors
/// When the system refuses; also when the path is longer than some hundred bytes.
pub fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    // Made where only the owner gets in, until it has its permissions.
    let private = path.with_extension("new");
    _ = fs::remove_dir_all(&private);
    DirBuilder::new().mode(0o700).create(&private)?;
    let made = private.join("s");
    let bound = UnixListener::bind(&made).and_then(|listener| {
        fs::set_permissions(&made, Permissions::from_mode(0o600))?;
        fs::rename(&made, path)?;
        Ok(listener)
    });
    _ = fs::remove_dir_all(&private);
    bound
}

async fn store_export(
    State(administration): State<Arc<dyn Administration>>,
    Query(selection): Query<Selection>,
) -> Response {
    let begun = tokio::task::spawn_blocking(move || administration.export(&selection)).await;
    let refused = |status, reason: String| {
        (status, Json(json!({ "error": "refused", "reason": reason }))).into_response()
    };
    match begun {
        Ok(Ok(stream)) => {
            ([(header::CONTENT_TYPE, "application/jsonl")], axum::body::Body::new(Streamed::new(stream)))
                .into_response()
        }
        Ok(Err(reason)) => refused(StatusCode::BAD_REQUEST, reason),
        Err(_) => refused(StatusCode::INTERNAL_SERVER_ERROR, "it failed; the broker's log says why".into()),
    }
}
