//! Listening for connections.

use super::connection;
use crate::broker::Broker;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

/// A socket that listens.
pub struct Bound {
    /// It.
    pub listener: TcpListener,
    /// Where, with the port that it got.
    pub address: SocketAddr,
}

/// Listens on an address; port 0 takes a free one. On a machine without IPv6 the address that stands for all
/// falls back to that of IPv4.
///
/// # Errors
/// As the system says, most often that somebody else listens there.
pub async fn bind(address: SocketAddr) -> io::Result<Bound> {
    let listener = match TcpListener::bind(address).await {
        Err(error) if error.kind() == io::ErrorKind::Unsupported || no_ipv6(address, &error) => {
            TcpListener::bind(("0.0.0.0", address.port())).await?
        }
        other => other?,
    };
    let address = listener.local_addr()?;
    Ok(Bound { listener, address })
}

/// Accepts connections until told to stop.
pub async fn serve(
    bound: Bound,
    broker: Arc<Broker>,
    connections_max: Option<NonZeroU32>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = bound.listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, peer)) => admit(stream, peer, &broker, connections_max),
            Err(error) => {
                // Out of descriptors, most likely: others must end before this can go on.
                tracing::error!("cannot accept a connection: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn admit(stream: TcpStream, peer: SocketAddr, broker: &Arc<Broker>, max: Option<NonZeroU32>) {
    let open = broker.connections_len();
    if max.is_some_and(|max| open >= max.get() as usize) {
        tracing::warn!(%peer, open, "connection refused: limits.connections_max is reached");
        return;
    }
    tokio::spawn(connection::serve(stream, peer, broker.clone()));
}

fn no_ipv6(address: SocketAddr, error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    address.is_ipv6() && address.ip().is_unspecified() && error.raw_os_error() == Some(EAFNOSUPPORT)
}
