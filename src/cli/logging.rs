//! Logging to stderr: what the filter lets through, as text for people or JSON for machines.

use crate::config::{Config, LogFilter, LogFormat};
use std::io;
use tracing::Subscriber;
use tracing_subscriber::fmt::{self, MakeWriter, time::FormatTime};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::{Registry, registry};

/// Logs everything from here on as `config` says.
///
/// # Errors
/// When the process logs already.
pub fn start(config: &Config) -> Result<(), tracing::subscriber::SetGlobalDefaultError> {
    let subscriber = subscriber(&config.log, config.log_format, io::stderr, fmt::time::SystemTime);
    tracing::subscriber::set_global_default(subscriber)
}

/// What [`start`] installs, with its output and its clock as values.
pub fn subscriber<W, T>(
    filter: &LogFilter,
    format: LogFormat,
    writer: W,
    clock: T,
) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    T: FormatTime + Send + Sync + 'static,
{
    let lines = fmt::layer::<Registry>().with_writer(writer).with_timer(clock);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => Box::new(lines.with_ansi(false).with_filter(filter.targets())),
        LogFormat::Json => Box::new(lines.json().flatten_event(true).with_filter(filter.targets())),
    };
    registry().with(lines)
}
