//! The flags, and their variables in the environment.

use super::store::StoreCommand;
use super::usage::Usage;
use crate::config::{Key, Origin, Settings, Written};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The environment's name for `--config`.
const CONFIG: &str = "HAREMQ_CONFIG";

const AFTER_HELP: &str = "\
A setting comes from the first of these that names it: flag, environment, configuration file, default.
`haremq check-config` prints them all and where each comes from.

Exit codes:
  0  stopped
  1  failed while running, or found damage
  2  bad flags, environment or configuration
  3  the data directory cannot be used";

/// A message broker that speaks AMQP 0-9-1.
#[derive(clap::Parser, Debug)]
#[command(name = "haremq", version, after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub options: Options,
    #[command(subcommand)]
    pub command: Option<Subcommand>,
}

#[derive(clap::Subcommand, Clone, Debug)]
pub(super) enum Subcommand {
    /// Run the broker; what `haremq` alone does too.
    Serve,
    /// Check the configuration and print it with where each value comes from.
    CheckConfig,
    /// Check, measure, export or import the messages of a data directory.
    #[command(arg_required_else_help = false)]
    Store {
        #[command(subcommand)]
        command: StoreCommand,
    },
}

#[derive(clap::Args, Debug)]
pub(super) struct Options {
    /// Read settings from this TOML file [env: HAREMQ_CONFIG].
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Keep messages here, or `:memory:` [env: HAREMQ_DATA_DIR] [default: haremq-data].
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<String>,
    /// Serve AMQP here; may be repeated [env: HAREMQ_AMQP, comma separated] [default: [::]:5672, IPv4 too].
    #[arg(long, value_name = "ADDR:PORT", global = true)]
    amqp: Vec<String>,
    /// Serve the management API here [env: HAREMQ_HTTP] [default: 0.0.0.0:15672].
    #[arg(long, value_name = "ADDR:PORT", global = true)]
    http: Option<String>,
    /// Serve Prometheus metrics here [env: HAREMQ_METRICS] [default: 0.0.0.0:15692].
    #[arg(long, value_name = "ADDR:PORT", global = true)]
    metrics: Option<String>,
    /// Log this: off, error, warn, info, debug, trace, also per module as `info,haremq::store=debug`
    /// [env: HAREMQ_LOG] [default: info].
    #[arg(long, value_name = "LEVEL", global = true)]
    log: Option<String>,
    /// Log as `text` or `json` [env: HAREMQ_LOG_FORMAT] [default: text].
    #[arg(long, value_name = "FORMAT", global = true)]
    log_format: Option<String>,
}

impl Options {
    /// The settings that were given as flags.
    pub fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        for key in Key::OPTIONS {
            let texts = self.texts(key);
            if !texts.is_empty() {
                settings.set(key, Written::option(key, texts, Origin::Flag));
            }
        }
        settings
    }

    fn texts(&self, key: Key) -> &[String] {
        match key {
            Key::Amqp => &self.amqp,
            Key::Http => self.http.as_slice(),
            Key::Metrics => self.metrics.as_slice(),
            Key::DataDir => self.data_dir.as_slice(),
            Key::Log => self.log.as_slice(),
            Key::LogFormat => self.log_format.as_slice(),
            _ => &[],
        }
    }
}

/// What the environment says.
#[derive(Debug, Default)]
pub(super) struct Environment {
    pub config: Option<PathBuf>,
    pub settings: Settings,
}

/// Reads the `HAREMQ_…` variables.
///
/// An empty variable counts as not set, because container files cannot leave one out. Unknown ones are
/// ignored, because orchestrators add their own: a service called `haremq` gets `HAREMQ_PORT`.
pub(super) fn environment(env: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Environment, Usage> {
    let mut environment = Environment::default();
    for (name, value) in env.into_iter().filter(|(_, value)| !value.is_empty()) {
        if name == *CONFIG {
            environment.config = Some(value.into());
        } else if let Some(key) = Key::OPTIONS.into_iter().find(|key| name == *key.variable()) {
            let text = text_of(&value).ok_or_else(|| Usage::NotUnicode(key.variable()))?;
            environment.settings.set(key, Written::option(key, &[text], Origin::Environment));
        }
    }
    Ok(environment)
}

fn text_of(value: &OsStr) -> Option<String> {
    value.to_str().map(str::to_owned)
}
