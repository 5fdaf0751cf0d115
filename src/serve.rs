//! Running the broker: from a configuration to serving, and back down in order.
//!
//! Down: stop accepting, tell every client, wait for what they have under way, write everything out. What
//! was confirmed is safe at every moment of that, so stopping at once loses nothing either.

use crate::administration::{Administrator, socket_path};
use crate::broker::{Broker, RESIDENT, Setup, StartError};
use crate::cli::Exit;
use crate::clock::Clock;
use crate::config::{Config, DataDir};
use crate::management::{RABBITMQ_VERSION, View, node_name};
use crate::server;
use crate::store::{Progress, Recovery, Store, StoreError, Torn};
use rabbit_compat::session::handshake::server_properties;
use rabbit_compat::session::{Settings, Tuning};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{interval, timeout};
use vhosts::topology::QueueHandle;
use vhosts::{QueueId, Seq};
use web_admin::Listener;

/// The part of the memory that messages may take before transient ones are written to the disk.
const MEMORY_SHARE: u64 = 8;

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
    // Before anybody is told that it runs.
    let mut signals = Signals::new()?;
    let (store, recovery) = open(&config.data_dir)?;
    let (recovered, torn) = (recovery.messages, recovery.torn.clone());
    let broker = Arc::new(Broker::new(setup(config), store.clone(), recovery, Clock::system())?);
    torn.iter().for_each(|torn| report_torn(torn, &broker));
    if let DataDir::Path(dir) = &config.data_dir {
        let monitor = server::DiskMonitor::start(broker.clone(), dir.clone(), config.disk.free_limit).await;
        tokio::spawn(monitor.run());
    }
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
    broker.start_reader()?;
    tokio::spawn(server::look_after_queues(broker.clone()));
    tokio::spawn(server::watch_store(broker.clone()));
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
    let socket = serve_socket(&config.data_dir, &store, stopping);
    let exit = tokio::select! {
        () = signals.next() => Exit::Stopped,
        () = failed(store.progress()) => Exit::Failed,
    };
    let _ = stop.send(true);
    // Nobody finds it any more; should it stay, the next start takes its place.
    socket.map(fs::remove_file);
    Ok(down(&broker, &store, config.shutdown_timeout, signals, exit).await)
}

/// Serves the socket of the data directory, and says where it is. Without it the broker works as well.
fn serve_socket(data_dir: &DataDir, store: &Store, mut stopping: watch::Receiver<bool>) -> Option<PathBuf> {
    let DataDir::Path(dir) = data_dir else { return None };
    let path = socket_path(dir);
    match web_admin::bind_socket(&path) {
        Ok(listener) => {
            let router = web_admin::socket_router(Arc::new(Administrator { store: store.clone() }));
            let stopped = async move { _ = stopping.wait_for(|stop| *stop).await };
            tokio::spawn(web_admin::serve(listener, router, stopped));
            Some(path)
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "no socket could be made; `haremq store export` works only while the broker is stopped");
            None
        }
    }
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
        DataDir::Memory => Store::in_memory(),
        DataDir::Path(dir) => Store::open(dir)?,
    };
    Ok((store, recovery))
}

/// What a fault of the disk has taken, in the words of an operator.
fn report_torn(torn: &Torn, broker: &Broker) {
    if let Some(put_aside) = &torn.put_aside {
        tracing::error!("{put_aside}");
    }
    if torn.lost_states > 0 {
        tracing::error!(
            values = torn.lost_states,
            "settlement states are unreadable; some messages that were acknowledged are delivered again"
        );
    }
    let name = |found: Option<(QueueId, Seq)>| {
        found.map(|(id, seq)| match broker.queue(id) {
            Some(queue) => format!("{}/{} message {}", queue.vhost(), queue.definition().name, seq.0),
            None => format!("a deleted queue message {}", seq.0),
        })
    };
    for damaged in &torn.damaged {
        tracing::error!(
            segment = damaged.segment,
            offset = damaged.offset,
            bytes = damaged.bytes,
            after = name(damaged.after),
            before = name(damaged.before),
            "a part of the log is damaged; the messages in it are lost, all others were recovered"
        );
    }
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
        when_full: config.disk.when_full,
        resident: RESIDENT,
        memory_bytes: memory_bytes() / MEMORY_SHARE,
        first: (first.user.clone(), first.password.clone(), first.vhost.clone()),
    }
}

/// Bytes of memory that this process may use: those of the machine, or of the control group that it is in.
fn memory_bytes() -> u64 {
    let system = rustix::system::sysinfo();
    let machine = system.totalram.saturating_mul(system.mem_unit.into());
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    group.and_then(|bytes| bytes.trim().parse().ok()).map_or(machine, |group: u64| group.min(machine))
}

async fn bind(address: SocketAddr) -> Result<server::Bound, Failure> {
    server::bind(address).await.map_err(|error| Failure::Listen { address, error })
}

/// The one line that says that it is ready.
fn announce(listeners: &[Listener], broker: &Broker, recovered: u64, started: Instant) {
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
