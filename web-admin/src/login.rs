//! HTTP basic authentication: a handler that takes a [`Login`] is reached by users with a management tag only.

use crate::reply::Refusal;
use crate::{Identity, Management, Refused};
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::{HeaderValue, header, request::Parts};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Tags that open the management API; which of its parts is up to each resource.
const TAGS: [&str; 4] = ["management", "policymaker", "monitoring", "administrator"];

/// Proof that the request came with a login that may use the API.
#[derive(Debug)]
pub(crate) struct Login;

impl FromRequestParts<Arc<dyn Management>> for Login {
    type Rejection = Refusal;

    async fn from_request_parts(
        parts: &mut Parts,
        management: &Arc<dyn Management>,
    ) -> Result<Login, Refusal> {
        let header = parts.headers.get(header::AUTHORIZATION).ok_or(Refusal::LoginWanted)?;
        let (user, password) = credentials(header)?;
        let ConnectInfo(peer) = parts.extensions.get::<ConnectInfo<SocketAddr>>().ok_or(Refusal::Internal)?;
        let identity = authenticate(management, user, password, peer.ip().to_canonical()).await?;
        match identity.tags.iter().any(|tag| TAGS.contains(&tag.as_str())) {
            true => Ok(Login),
            false => Err(Refusal::Rights("Not management user")),
        }
    }
}

/// User and password of a basic login. A password may contain colons, a user may not.
fn credentials(header: &HeaderValue) -> Result<(String, String), Refusal> {
    let text = header.to_str().map_err(|_| Refusal::Malformed)?;
    let (scheme, encoded) = text.split_once(' ').ok_or(Refusal::Malformed)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(Refusal::Login("Not_Authorized"));
    }
    let bytes = BASE64_STANDARD.decode(encoded.trim()).map_err(|_| Refusal::Malformed)?;
    let pair = String::from_utf8(bytes).map_err(|_| Refusal::Malformed)?;
    let (user, password) = pair.split_once(':').ok_or(Refusal::Malformed)?;
    Ok((user.to_owned(), password.to_owned()))
}

async fn authenticate(
    management: &Arc<dyn Management>,
    user: String,
    password: String,
    peer: IpAddr,
) -> Result<Identity, Refusal> {
    let management = Arc::clone(management);
    let login = tokio::task::spawn_blocking(move || {
        let answer = management.authenticate(&user, &password, peer);
        if let Err(reason) = &answer {
            tracing::warn!(user, %peer, %reason, "management login refused");
        }
        answer
    });
    match login.await {
        Ok(Ok(identity)) => Ok(identity),
        Ok(Err(Refused::Credentials)) => Err(Refusal::Login("Not_Authorized")),
        Ok(Err(Refused::NotLoopback)) => Err(Refusal::Rights("User can only log in via localhost")),
        Err(_) => Err(Refusal::Internal),
    }
}
