//! The configuration, parsed twice: as written, then resolved. The program sees only [`Config`].
//!
//! A setting comes from the first of these that names it: flag, environment variable, configuration file,
//! `default.toml` beside this file. All four are read into the same [`Settings`] and pass the same checks in
//! `resolve`, so a value is good or bad wherever it was written. A value that is overridden is checked too.
//!
//! Not here: the command line (`cli`), and whether an address is free or a directory can be written.
//!
//! Invariant: every value in a `Config` is within its limits.

mod bytes;
mod file;
mod invalid;
mod key;
mod log_filter;
mod resolve;
mod settings;
mod show;

pub use invalid::Invalid;
pub use key::Key;
pub use log_filter::LogFilter;
pub use settings::{Origin, Settings, Value, Written};

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the broker was told to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where AMQP 0-9-1 is served; at least one address. `[::]` is meant to take IPv4 too.
    pub amqp: Vec<SocketAddr>,
    /// Where the management API and page are served.
    pub http: SocketAddr,
    /// Where Prometheus fetches metrics.
    pub metrics: SocketAddr,
    /// Where messages and definitions are kept.
    pub data_dir: DataDir,
    /// What is logged.
    pub log: LogFilter,
    /// How a log line looks.
    pub log_format: LogFormat,
    /// Users that may log in from this machine only.
    pub loopback_users: Vec<String>,
    /// How long clients and queues may take to finish when the broker stops.
    pub shutdown_timeout: Duration,
    /// What a peer may use.
    pub limits: Limits,
    /// What happens when the disk is full.
    pub disk: Disk,
    /// What is created in an empty data directory.
    pub defaults: Defaults,
}

/// What a peer may use.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// The largest frame that is offered, in bytes with its header and end.
    pub frame_max: u32,
    /// Channels of one connection.
    pub channel_max: u16,
    /// The heartbeat that is offered, in seconds; 0 for none.
    pub heartbeat_s: u16,
    /// From the first byte of a connection until its vhost is open.
    pub handshake_timeout: Duration,
    /// The largest body of a message, in bytes.
    pub max_message_size: u64,
    /// AMQP connections at a time.
    pub connections_max: Option<NonZeroU32>,
}

/// What happens when the disk is full.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Disk {
    /// With fewer free bytes than these on the file system of the data directory, nothing more is published.
    pub free_limit: u64,
    /// What publishers are told then.
    pub when_full: WhenFull,
}

/// What happens to publishers while the disk is full, or can not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Connections that publish are blocked until there is room.
    Block,
    /// Persistent messages on channels with confirms are refused by `basic.nack`; who publishes without
    /// confirms, and so could not be told, is blocked.
    Refuse,
}

/// The first user and vhost.
#[derive(Clone, PartialEq)]
pub struct Defaults {
    /// Name of the user.
    pub user: String,
    /// Password of the user; not shown by `Debug`.
    pub password: String,
    /// Name of the vhost.
    pub vhost: String,
}

impl std::fmt::Debug for Defaults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Defaults")
            .field("user", &self.user)
            .field("vhost", &self.vhost)
            .finish_non_exhaustive()
    }
}

/// Where messages and definitions are kept.
#[derive(Clone, Debug, PartialEq)]
pub enum DataDir {
    /// Nowhere: all is gone when the broker stops. Written `:memory:`.
    Memory,
    /// In this directory.
    Path(PathBuf),
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object per line.
    Json,
}

/// A configuration and where each of its values came from.
#[derive(Clone, Debug)]
pub struct Resolved {
    config: Config,
    settings: Settings,
}

impl Resolved {
    /// Lays the file over the defaults, the environment over the file and the flags over the environment.
    ///
    /// # Errors
    /// The first value that is outside its limits, in that order of layers.
    pub fn new(file: Settings, environment: Settings, flags: Settings) -> Result<Resolved, Invalid> {
        let mut settings = file::defaults()?;
        let mut config = resolve::resolve(&settings)?;
        for layer in [file, environment, flags] {
            settings.cover_with(layer);
            config = resolve::resolve(&settings)?;
        }
        Ok(Resolved { config, settings })
    }

    /// What the program works with.
    #[must_use]
    pub fn into_config(self) -> Config {
        self.config
    }
}

/// The settings of a configuration file. `path` is only named in errors.
///
/// # Errors
/// When `text` is not TOML or has an unknown key.
pub fn parse_file(path: &Path, text: &str) -> Result<Settings, Invalid> {
    file::parse(text, |line| Origin::File { path: path.into(), line })
}

#[cfg(test)]
mod tests;
