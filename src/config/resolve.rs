//! Makes a [`Config`] of [`Settings`]: the one place that knows what each setting may be.

use super::{
    Config, DataDir, Defaults, Disk, Invalid, Key, Limits, LogFilter, LogFormat, Settings, Value, WhenFull,
    Written, bytes,
};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

const ADDRESS: &str = "must be IP:PORT, such as 127.0.0.1:5672 or [::]:5672";
const LOG: &str = "must be off, error, warn, info, debug or trace, also per module: info,haremq::store=debug";

const BYTES: &str = "must be a number of bytes, also with a unit: 50MB, 2GiB";

/// Names of users and vhosts travel as short strings.
const NAME_MAX: usize = 255;
const ADDRESSES_MAX: usize = 64;
const HOUR_MS: i64 = 3_600_000;

pub(super) fn resolve(settings: &Settings) -> Result<Config, Invalid> {
    Ok(Config {
        amqp: settings.addresses(Key::Amqp)?,
        http: settings.address(Key::Http)?,
        metrics: settings.address(Key::Metrics)?,
        data_dir: settings.parsed(Key::DataDir, "must be a path or :memory:", data_dir)?,
        log: settings.parsed(Key::Log, LOG, |text| text.parse::<LogFilter>().ok())?,
        log_format: settings.parsed(Key::LogFormat, "must be text or json", log_format)?,
        loopback_users: settings.names(Key::LoopbackUsers)?,
        shutdown_timeout: settings.millis(Key::ShutdownTimeoutMs, 0..=HOUR_MS)?,
        limits: limits(settings)?,
        disk: Disk {
            free_limit: settings.bytes(Key::DiskFreeLimit)?,
            when_full: settings.parsed(Key::WhenFull, "must be block or refuse", when_full)?,
        },
        defaults: Defaults {
            user: settings.name(Key::DefaultUser)?,
            password: settings.name(Key::DefaultPassword)?,
            vhost: settings.name(Key::DefaultVhost)?,
        },
    })
}

fn limits(settings: &Settings) -> Result<Limits, Invalid> {
    let connections_max = match settings.written(Key::ConnectionsMax) {
        Some(_) => Some(settings.number(Key::ConnectionsMax, 1..=u32::MAX.into())?),
        None => None,
    };
    Ok(Limits {
        frame_max: settings.number(Key::FrameMax, 4096..=16 << 20)?,
        channel_max: settings.number(Key::ChannelMax, 1..=u16::MAX.into())?,
        heartbeat_s: settings.number(Key::HeartbeatS, 0..=u16::MAX.into())?,
        handshake_timeout: settings.millis(Key::HandshakeTimeoutMs, 100..=HOUR_MS)?,
        max_message_size: settings.number(Key::MaxMessageSize, 1..=512 << 20)?,
        connections_max: connections_max.and_then(std::num::NonZeroU32::new),
    })
}

fn data_dir(text: &str) -> Option<DataDir> {
    match text {
        "" => None,
        ":memory:" => Some(DataDir::Memory),
        path => Some(DataDir::Path(path.into())),
    }
}

fn log_format(text: &str) -> Option<LogFormat> {
    match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

fn when_full(text: &str) -> Option<WhenFull> {
    match text {
        "block" => Some(WhenFull::Block),
        "refuse" => Some(WhenFull::Refuse),
        _ => None,
    }
}

fn name(text: &str) -> Option<String> {
    (1..=NAME_MAX).contains(&text.len()).then(|| text.to_owned())
}

impl Settings {
    fn addresses(&self, key: Key) -> Result<Vec<SocketAddr>, Invalid> {
        let allowed = format!("{ADDRESS}; or a list of 1 to {ADDRESSES_MAX} of them");
        self.list(key, &allowed, 1..=ADDRESSES_MAX, |text| text.parse().ok())
    }

    fn address(&self, key: Key) -> Result<SocketAddr, Invalid> {
        self.parsed(key, ADDRESS, |text| text.parse().ok())
    }

    fn names(&self, key: Key) -> Result<Vec<String>, Invalid> {
        let allowed = format!("must be a list of names of 1 to {NAME_MAX} bytes");
        self.list(key, &allowed, 0..=usize::MAX, name)
    }

    fn name(&self, key: Key) -> Result<String, Invalid> {
        self.parsed(key, &format!("must be a text of 1 to {NAME_MAX} bytes"), name)
    }

    fn millis(&self, key: Key, range: RangeInclusive<i64>) -> Result<Duration, Invalid> {
        self.number(key, range).map(Duration::from_millis)
    }

    fn bytes(&self, key: Key) -> Result<u64, Invalid> {
        self.checked(key, BYTES, |value| match value {
            Value::Number(number) => u64::try_from(*number).ok(),
            Value::Text(text) => bytes::parse(text),
            _ => None,
        })
    }

    fn number<N: TryFrom<i64>>(&self, key: Key, range: RangeInclusive<i64>) -> Result<N, Invalid> {
        self.checked(key, &format!("must be {} to {}", range.start(), range.end()), |value| match value {
            Value::Number(number) if range.contains(number) => N::try_from(*number).ok(),
            _ => None,
        })
    }

    fn parsed<T>(&self, key: Key, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Invalid> {
        self.checked(key, allowed, |value| match value {
            Value::Text(text) => parse(text),
            _ => None,
        })
    }

    /// A list, or one text for a list of one.
    fn list<T>(
        &self,
        key: Key,
        allowed: &str,
        len: RangeInclusive<usize>,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, Invalid> {
        self.checked(key, allowed, |value| match value {
            Value::Text(text) => parse(text).map(|only| vec![only]),
            Value::Texts(texts) if len.contains(&texts.len()) => {
                texts.iter().map(|text| parse(text)).collect()
            }
            _ => None,
        })
    }

    fn checked<T>(&self, key: Key, allowed: &str, check: impl Fn(&Value) -> Option<T>) -> Result<T, Invalid> {
        let written: &Written = self.written(key).ok_or(Invalid::NotSet(key))?;
        check(&written.value).ok_or_else(|| Invalid::Value {
            key,
            written: Box::new(written.clone()),
            allowed: allowed.to_owned(),
        })
    }
}
