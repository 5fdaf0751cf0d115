//! The names of all settings. A setting's flag and variable follow from its name in the file.

/// A setting. Their order is the order of `check-config`: a section's keys stand together.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(missing_docs, reason = "described in default.toml and in the fields of Config")]
pub enum Key {
    Amqp,
    Http,
    Metrics,
    DataDir,
    Log,
    LogFormat,
    LoopbackUsers,
    ShutdownTimeoutMs,
    FrameMax,
    ChannelMax,
    HeartbeatS,
    HandshakeTimeoutMs,
    MaxMessageSize,
    ConnectionsMax,
    DiskFreeLimit,
    WhenFull,
    DefaultUser,
    DefaultPassword,
    DefaultVhost,
}

impl Key {
    /// All of them.
    pub const ALL: [Key; 19] = [
        Key::Amqp,
        Key::Http,
        Key::Metrics,
        Key::DataDir,
        Key::Log,
        Key::LogFormat,
        Key::LoopbackUsers,
        Key::ShutdownTimeoutMs,
        Key::FrameMax,
        Key::ChannelMax,
        Key::HeartbeatS,
        Key::HandshakeTimeoutMs,
        Key::MaxMessageSize,
        Key::ConnectionsMax,
        Key::DiskFreeLimit,
        Key::WhenFull,
        Key::DefaultUser,
        Key::DefaultPassword,
        Key::DefaultVhost,
    ];

    /// Those that are flags and environment variables too.
    pub const OPTIONS: [Key; 6] =
        [Key::Amqp, Key::Http, Key::Metrics, Key::DataDir, Key::Log, Key::LogFormat];

    /// Its table and its name in the file; the table is empty for a key of the top level.
    #[must_use]
    pub const fn path(self) -> (&'static str, &'static str) {
        match self {
            Key::Amqp => ("", "amqp"),
            Key::Http => ("", "http"),
            Key::Metrics => ("", "metrics"),
            Key::DataDir => ("", "data_dir"),
            Key::Log => ("", "log"),
            Key::LogFormat => ("", "log_format"),
            Key::LoopbackUsers => ("", "loopback_users"),
            Key::ShutdownTimeoutMs => ("", "shutdown_timeout_ms"),
            Key::FrameMax => ("limits", "frame_max"),
            Key::ChannelMax => ("limits", "channel_max"),
            Key::HeartbeatS => ("limits", "heartbeat_s"),
            Key::HandshakeTimeoutMs => ("limits", "handshake_timeout_ms"),
            Key::MaxMessageSize => ("limits", "max_message_size"),
            Key::ConnectionsMax => ("limits", "connections_max"),
            Key::DiskFreeLimit => ("disk", "free_limit"),
            Key::WhenFull => ("disk", "when_full"),
            Key::DefaultUser => ("defaults", "user"),
            Key::DefaultPassword => ("defaults", "password"),
            Key::DefaultVhost => ("defaults", "vhost"),
        }
    }

    /// Its name in messages: `limits.frame_max`.
    #[must_use]
    pub fn dotted(self) -> String {
        match self.path() {
            ("", name) => name.to_owned(),
            (table, name) => format!("{table}.{name}"),
        }
    }

    /// Its flag, for [`OPTIONS`](Self::OPTIONS): `--data-dir`.
    #[must_use]
    pub fn flag(self) -> String {
        format!("--{}", self.path().1.replace('_', "-"))
    }

    /// Its environment variable, for [`OPTIONS`](Self::OPTIONS): `HAREMQ_DATA_DIR`.
    #[must_use]
    pub fn variable(self) -> String {
        format!("HAREMQ_{}", self.path().1.to_uppercase())
    }

    /// Whether its value must not be shown.
    #[must_use]
    pub const fn is_secret(self) -> bool {
        matches!(self, Key::DefaultPassword)
    }
}
