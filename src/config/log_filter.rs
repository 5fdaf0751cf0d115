//! What is logged: a level, also per module. The notation of `RUST_LOG`, without its fields and spans.

use std::fmt;
use std::str::FromStr;
use tracing_subscriber::filter::{LevelFilter, Targets};

/// What is logged, for example `info,haremq::store=debug`.
#[derive(Clone, Debug, PartialEq)]
pub struct LogFilter {
    text: String,
    targets: Targets,
}

/// Not a log filter.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("not a log filter")]
pub struct NotAFilter;

impl LogFilter {
    /// The filter for a subscriber.
    #[must_use]
    pub fn targets(&self) -> Targets {
        self.targets.clone()
    }
}

impl FromStr for LogFilter {
    type Err = NotAFilter;

    /// Stricter than [`Targets`], which takes a misspelt level for the name of a module.
    fn from_str(text: &str) -> Result<LogFilter, NotAFilter> {
        let mut targets = Targets::new();
        for directive in text.split(',') {
            targets = match directive.split_once('=') {
                None => targets.with_default(level(directive)?),
                Some((target, _)) if target.trim().is_empty() => return Err(NotAFilter),
                Some((target, named)) => targets.with_target(target.trim(), level(named)?),
            };
        }
        Ok(LogFilter { text: text.to_owned(), targets })
    }
}

fn level(name: &str) -> Result<LevelFilter, NotAFilter> {
    const LEVELS: [(&str, LevelFilter); 6] = [
        ("off", LevelFilter::OFF),
        ("error", LevelFilter::ERROR),
        ("warn", LevelFilter::WARN),
        ("info", LevelFilter::INFO),
        ("debug", LevelFilter::DEBUG),
        ("trace", LevelFilter::TRACE),
    ];
    let name = name.trim();
    LEVELS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, level)| *level)
        .ok_or(NotAFilter)
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
