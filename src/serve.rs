//! Running the broker: from a configuration to serving, and back down in order.
//!
//! Down: stop accepting, tell every client, wait for what they have under way, write everything out. What
//! was confirmed is safe at every moment of that, so stopping at once loses nothing either.

use crate::broker::{Broker, Setup, StartError};
use crate::cli::Exit;
use crate::clock::Clock;
use crate::config::{Config, DataDir};
use crate::management::{RABBITMQ_VERSION, View, node_name};
use crate::server;
use crate::store::{Progress, Recovery, Store, StoreError};
use rabbit_compat::session::handshake::server_properties;
use rabbit_compat::session::{Settings, Tuning};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{interval, timeout};
use web_admin::Listener;

/// Why the broker did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("cannot listen on {address}: {error}")]
    Listen { address: SocketAddr, error: io::Error },
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Failure::Store(_) | Failure::Start(_) => Exit::DataDir,
            Failure::Listen { .. } | Failure::Io(_) => Exit::Failed,
        }
    }
}

/// Runs the broker until it is told to stop.
#[must_use]
pub fn run(config: &Config) -> Exit {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => tracing::debug!(files, "open files allowed"),
        Err(error) => tracing::warn!("cannot raise the limit of open files: {error}"),
    }
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(serve(config)));
    result.unwrap_or_else(|failure| {
        tracing::error!("{failure}");
        failure.exit()
    })
}

async fn serve(config: &Config) -> Result<Exit, Failure> {
    let started = Instant::now();
    let (store, recovery) = open(&config.data_dir)?;
    let recovered = recovery.messages.len();
    let broker = Arc::new(Broker::new(setup(config), store.clone(), recovery, Clock::system())?);
    let (stop, stopping) = watch::channel(false);
    let mut amqp = Vec::new();
    for address in &config.amqp {
        amqp.push(bind(*address).await?);
    }
    let (http, metrics) = (bind(config.http).await?, bind(config.metrics).await?);
    let listeners: Vec<Listener> = amqp
        .iter()
        .map(|bound| Listener { protocol: "amqp", address: bound.address })
        .chain(
            [("http", &http), ("http/prometheus", &metrics)]
                .map(|(protocol, bound)| Listener { protocol, address: bound.address }),
        )
        .collect();
    announce(&listeners, &broker, recovered, started);
    let connections_max = config.limits.connections_max;
    let view = Arc::new(View {
        broker: broker.clone(),
        listeners,
        started,
        stopping: stopping.clone(),
        connections_max: connections_max.map(|max| u64::from(max.get())),
    });
    tokio::spawn(server::look_after_queues(broker.clone()));
    for bound in amqp {
        tokio::spawn(server::serve(bound, broker.clone(), connections_max, stopping.clone()));
    }
    for (bound, router) in
        [(http, web_admin::router(view.clone())), (metrics, web_admin::metrics_router(view))]
    {
        let mut stopping = stopping.clone();
        let stopped = async move { _ = stopping.wait_for(|stop| *stop).await };
        tokio::spawn(web_admin::serve(bound.listener, router, stopped));
    }
    let mut signals = Signals::new()?;
    let exit = tokio::select! {
        () = signals.next() => Exit::Stopped,
        () = failed(store.progress()) => Exit::Failed,
    };
    let _ = stop.send(true);
    Ok(down(&broker, &store, config.shutdown_timeout, signals, exit).await)
}

/// Ends all connections and closes the store.
async fn down(broker: &Broker, store: &Store, patience: Duration, mut signals: Signals, exit: Exit) -> Exit {
    tracing::info!(connections = broker.connections_len(), "stopping");
    broker.close_all("shutdown");
    let all_gone = async {
        let mut look = interval(Duration::from_millis(20));
        while broker.connections_len() > 0 {
            look.tick().await;
        }
    };
    tokio::select! {
        gone = timeout(patience, all_gone) => if gone.is_err() {
            tracing::warn!(connections = broker.connections_len(), "stopped waiting for clients");
        },
        () = signals.next() => {
            tracing::warn!("told twice to stop: stopping at once");
            return Exit::Failed;
        }
    }
    match store.close() {
        Ok(()) => {
            tracing::info!("stopped");
            exit
        }
        Err(error) => {
            tracing::error!("the store did not close: {error}");
            Exit::Failed
        }
    }
}

fn open(data_dir: &DataDir) -> Result<(Store, Recovery), StoreError> {
    let (store, recovery) = match data_dir {
        DataDir::Memory => Store::in_memory()?,
        DataDir::Path(dir) => Store::open(dir)?,
    };
    if let Some(torn) = &recovery.torn {
        tracing::warn!("recovered up to what was whole: {torn}");
    }
    Ok((store, recovery))
}

fn setup(config: &Config) -> Setup {
    let limits = &config.limits;
    let tuning = Tuning {
        channel_max: limits.channel_max,
        frame_max: limits.frame_max,
        heartbeat_s: limits.heartbeat_s,
    };
    let session = Settings {
        tuning,
        max_message_size: limits.max_message_size,
        handshake_timeout_ms: limits.handshake_timeout.as_millis() as u64,
        server_properties: server_properties(
            RABBITMQ_VERSION,
            concat!("HareMQ ", env!("CARGO_PKG_VERSION")),
            &node_name(),
        ),
    };
    let first = &config.defaults;
    Setup {
        session: Arc::new(session),
        loopback_users: config.loopback_users.clone(),
        first: (first.user.clone(), first.password.clone(), first.vhost.clone()),
    }
}

async fn bind(address: SocketAddr) -> Result<server::Bound, Failure> {
    server::bind(address).await.map_err(|error| Failure::Listen { address, error })
}

/// The one line that says that it is ready.
fn announce(listeners: &[Listener], broker: &Broker, recovered: usize, started: Instant) {
    let addresses: Vec<String> =
        listeners.iter().map(|listener| format!("{}={}", listener.protocol, listener.address)).collect();
    tracing::info!(
        vhosts = broker.vhosts().len(),
        messages_recovered = recovered,
        took_ms = started.elapsed().as_millis() as u64,
        "accepting connections: {}",
        addresses.join(" ")
    );
}

/// Waits until the store can no longer keep what it is given.
async fn failed(mut progress: watch::Receiver<Progress>) {
    let failed = progress.wait_for(|progress| progress.failed.is_some()).await;
    let reason = failed.ok().and_then(|progress| progress.failed.clone());
    match reason {
        Some(error) => tracing::error!("the store failed, nothing more can be kept: {error}"),
        None => tracing::error!("the store's commit thread is gone"),
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
