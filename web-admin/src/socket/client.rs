//! The other end of the socket: what a command asks a running broker.

use super::Selection;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use std::io;
use std::path::Path;
use tokio::net::UnixStream;

/// Bytes of a refusal.
const REFUSAL_MAX: usize = 64 * 1024;

/// Why an answer did not come, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nobody answers at the socket.
    #[error("its socket does not answer: {0}")]
    Unreachable(io::Error),
    /// The broker says why not.
    #[error("the broker refuses: {0}")]
    Refused(String),
    /// The answer ended before its end.
    #[error("the broker broke off ({0}); its log says why")]
    Broken(#[from] hyper::Error),
    /// What came could not be kept.
    #[error("{0}")]
    Kept(io::Error),
}

/// Asks the broker behind the socket for an export, and shows the pieces of it.
///
/// # Errors
/// [`FetchError`].
pub async fn export(
    socket: &Path,
    selection: &Selection,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), FetchError> {
    let stream = UnixStream::connect(socket).await.map_err(FetchError::Unreachable)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(target(selection)).header(header::HOST, "haremq").body(Empty::<Bytes>::new());
    let request = request.map_err(|error| FetchError::Refused(error.to_string()))?;
    let mut response = sender.send_request(request).await?;
    if response.status() != StatusCode::OK {
        let body = Limited::new(response.into_body(), REFUSAL_MAX).collect().await;
        return Err(FetchError::Refused(reason(&body.map(|body| body.to_bytes()).unwrap_or_default())));
    }
    while let Some(frame) = response.body_mut().frame().await {
        if let Some(bytes) = frame?.data_ref() {
            each(bytes).map_err(FetchError::Kept)?;
        }
    }
    connection.abort();
    Ok(())
}

fn target(selection: &Selection) -> String {
    let fields = [("vhost", &selection.vhost), ("queue", &selection.queue)];
    let mut target = String::from("/api/store/export");
    for (name, value) in fields {
        if let Some(value) = value {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str(&format!("{name}={}", encoded(value)));
        }
    }
    target
}

/// As a part of a query: everything but letters and digits is escaped.
fn encoded(text: &str) -> String {
    let octet = |octet: u8| match octet {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(octet).to_string(),
        _ => format!("%{octet:02X}"),
    };
    text.bytes().map(octet).collect()
}

fn reason(body: &[u8]) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let reason = parsed.as_ref().and_then(|body| body.get("reason")?.as_str());
    reason.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned)
}
