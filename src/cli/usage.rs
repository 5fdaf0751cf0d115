//! Why a command line is refused.

use crate::config::Invalid;
use clap::error::{ContextKind, ContextValue};

/// Why nothing was started. Displayed as one line.
#[derive(Debug, thiserror::Error)]
pub enum Usage {
    /// A flag or command that does not exist, or a flag without its value.
    #[error("{0}; see haremq --help")]
    Arguments(String),
    /// A variable that is not UTF-8.
    #[error("{0}: must be UTF-8")]
    NotUnicode(String),
    /// A setting.
    #[error(transparent)]
    Setting(#[from] Invalid),
}

impl From<clap::Error> for Usage {
    /// The first line of what clap would print, and the likely flag or command.
    fn from(error: clap::Error) -> Usage {
        let text = error.to_string();
        let problem =
            text.lines().next().unwrap_or_default().trim_start_matches("error: ").trim_end_matches(':');
        let suggested = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand];
        let suggestion = suggested.iter().find_map(|kind| match error.get(*kind) {
            Some(ContextValue::String(name)) => Some(name.as_str()),
            Some(ContextValue::Strings(names)) => names.first().map(String::as_str),
            _ => None,
        });
        Usage::Arguments(match suggestion {
            Some(name) => format!("{problem}; did you mean '{name}'?"),
            None => problem.to_owned(),
        })
    }
}
