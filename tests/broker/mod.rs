//! A broker as a child process: the real binary, on free loopback ports, in a data directory of its own.
//!
//! `AMQP_URL` puts a running broker in its place, which shows whether a test asks for more than RabbitMQ
//! gives; such a broker is never killed nor restarted. `HAREMQ_BIN` puts in another binary.
//!
//! Every wait has an end ([`PATIENCE`]), and what the broker wrote is printed when a test fails.

#![allow(dead_code, reason = "each test uses its part of this")]

use lapin::{Channel, Connection, ConnectionProperties};
use std::net::TcpListener;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

/// The longest wait for anything that must happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Part of the line that the broker logs when its listeners accept connections.
const READY: &str = "accepting";

/// A broker for one test. Dropping it kills it.
pub struct Broker {
    url: String,
    process: Option<Process>,
}

/// The child process with all that a restart needs.
struct Process {
    child: Child,
    log: Log,
    /// For AMQP, HTTP and metrics.
    ports: [u16; 3],
    data: TempDir,
}

/// What the process wrote, shared with the tasks that read its pipes.
type Log = Arc<Mutex<Vec<String>>>;

impl Broker {
    /// The broker that `AMQP_URL` names, else one of our [`own`](Self::own).
    pub async fn start() -> Broker {
        match std::env::var("AMQP_URL") {
            Ok(url) => Broker { url, process: None },
            Err(_) => Broker::own().await,
        }
    }

    /// Starts a broker on an empty data directory and waits until it accepts connections. Only such a one can
    /// be killed and restarted.
    pub async fn own() -> Broker {
        let data = tempfile::tempdir().expect("a temporary directory");
        let ports = free_ports();
        let (child, log) = spawn(&data, ports).await;
        Broker {
            url: format!("amqp://guest:guest@127.0.0.1:{}/%2f", ports[0]),
            process: Some(Process { child, log, ports, data }),
        }
    }

    /// Where clients connect. Stays the same over restarts.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A new connection.
    pub async fn connect(&self) -> Connection {
        let connecting = Connection::connect(&self.url, ConnectionProperties::default());
        timeout(PATIENCE, connecting).await.expect("a connection in time").expect("a connection")
    }

    /// A channel on a connection of its own; keep both.
    pub async fn channel(&self) -> (Connection, Channel) {
        let connection = self.connect().await;
        let channel = connection.create_channel().await.expect("a channel");
        (connection, channel)
    }

    /// Ends the process as a power cut would: nothing more is written.
    pub async fn kill9(&mut self) {
        let process = self.process.as_mut().expect("a broker of this test");
        process.child.kill().await.expect("kill -9");
    }

    /// Starts again, after [`kill9`](Self::kill9) or [`terminate`](Self::terminate), on the same ports and
    /// the same data.
    pub async fn restart(&mut self) {
        let process = self.process.as_mut().expect("a broker of this test");
        (process.child, process.log) = spawn(&process.data, process.ports).await;
    }

    /// Asks the process to end (SIGTERM) and returns how it ended.
    pub async fn terminate(&mut self) -> ExitStatus {
        let child = &mut self.process.as_mut().expect("a broker of this test").child;
        let pid = child.id().expect("a running process").to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill");
        assert!(sent.success(), "kill -TERM {pid}: {sent}");
        timeout(PATIENCE, child.wait()).await.expect("an orderly end in time").expect("an exit status")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let (true, Some(process)) = (std::thread::panicking(), &self.process) {
            let log = process.log.lock().unwrap_or_else(PoisonError::into_inner);
            eprintln!("--- the broker wrote:\n{}\n---", log.join("\n"));
        }
    }
}

/// Starts the binary and waits for its [`READY`] line.
async fn spawn(data: &TempDir, ports: [u16; 3]) -> (Child, Log) {
    let binary = std::env::var("HAREMQ_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_haremq").into());
    let [amqp, http, metrics] = ports.map(|port| format!("127.0.0.1:{port}"));
    let mut child = Command::new(&binary)
        .args(["serve", "--amqp", &amqp, "--http", &http, "--metrics", &metrics, "--data-dir"])
        .arg(data.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {binary}: {error}"));
    let log = Log::default();
    let (ready, mut accepting) = watch::channel(false);
    tokio::spawn(read(child.stdout.take().expect("a pipe"), Arc::clone(&log), ready.clone()));
    tokio::spawn(read(child.stderr.take().expect("a pipe"), Arc::clone(&log), ready));
    // An error means that both pipes were closed without the line: the process has ended.
    if !matches!(timeout(PATIENCE, accepting.wait_for(|ready| *ready)).await, Ok(Ok(_))) {
        let log = log.lock().unwrap_or_else(PoisonError::into_inner);
        panic!("{binary} did not log «{READY}»; it wrote:\n{}", log.join("\n"));
    }
    (child, log)
}

/// Reads a pipe to its end, so that the process never waits for us to read.
async fn read(pipe: impl AsyncRead + Unpin, log: Log, ready: watch::Sender<bool>) {
    let mut lines = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let accepts = line.contains(READY);
        log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        if accepts {
            ready.send_replace(true);
        }
    }
}

/// Ports that nothing listens on. They are taken from below the range that the system gives to outgoing
/// connections, where a port could be taken again before the broker, or its restart, binds it.
fn free_ports() -> [u16; 3] {
    let mut found = Vec::new();
    while found.len() < 3 {
        let port = rand::random_range(20_000..32_000);
        if !found.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            found.push(port);
        }
    }
    [found[0], found[1], found[2]]
}
