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
            // The last is the most alike.
            Some(ContextValue::Strings(names)) => names.last().map(String::as_str),
            _ => None,
        });
        let missing = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::Strings(names)) => Some(names.join(" ")),
            _ => None,
        };
        Usage::Arguments(match (suggestion, missing) {
            (Some(name), _) => format!("{problem}; did you mean '{name}'?"),
            (None, Some(names)) => format!("{problem}: {names}"),
            (None, None) => problem.to_owned(),
        })
    }
}
