//! The command line: what was asked for, and with which configuration.
//!
//! [`Invocation::parse`] takes arguments and environment as values and touches nothing of the process, but
//! for the configuration file. Not here: what the settings may be (`config`), and doing what was asked.

mod exit;
pub mod logging;
mod options;
pub mod store;
mod usage;

pub use exit::Exit;
pub use store::StoreCommand;
pub use usage::Usage;

use crate::config::{self, Config, Invalid, Resolved, Settings};
use clap::{CommandFactory, FromArgMatches, error::ErrorKind};
use options::{Arguments, Subcommand};
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A configuration file over this many bytes is refused.
const FILE_MAX: u64 = 1 << 20;

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Run the broker.
    Serve(Box<Config>),
    /// Look into a store, or carry messages out of it or into it.
    Store(StoreCommand),
    /// Print this text and stop: a checked configuration, a help page or the version.
    Print(String),
}

/// Arguments and environment of a process.
#[derive(Clone, Copy, Debug)]
pub struct Invocation;

impl Invocation {
    /// Reads `args`, the first of which is the program's name, and the `HAREMQ_…` variables of `env`.
    ///
    /// # Errors
    /// [`Usage`], which is one line to print behind `haremq: `; the process then ends with [`Exit::Usage`].
    pub fn parse(
        args: impl IntoIterator<Item = OsString>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Command, Usage> {
        parse_with(args, env, read_config_file)
    }
}

/// [`Invocation::parse`] with the file system as a value.
fn parse_with(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    read: impl Fn(&Path) -> std::io::Result<String>,
) -> Result<Command, Usage> {
    let arguments = match Arguments::command().try_get_matches_from(args) {
        Ok(matches) => Arguments::from_arg_matches(&matches)?,
        Err(shown) if matches!(shown.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Ok(Command::Print(shown.to_string()));
        }
        Err(error) => return Err(error.into()),
    };
    // It names its directory itself, and needs no configuration.
    if let Some(Subcommand::Store { command }) = arguments.command {
        return Ok(Command::Store(command));
    }
    let environment = options::environment(env)?;
    let file = match arguments.options.config.as_ref().or(environment.config.as_ref()) {
        Some(path) => read_settings(path, read)?,
        None => Settings::default(),
    };
    let resolved = Resolved::new(file, environment.settings, arguments.options.settings())?;
    Ok(match arguments.command {
        Some(Subcommand::CheckConfig) => Command::Print(resolved.to_string()),
        Some(Subcommand::Serve | Subcommand::Store { .. }) | None => {
            Command::Serve(Box::new(resolved.into_config()))
        }
    })
}

fn read_settings(path: &Path, read: impl Fn(&Path) -> std::io::Result<String>) -> Result<Settings, Invalid> {
    let text = read(path).map_err(|error| Invalid::Unreadable { path: PathBuf::from(path), error })?;
    config::parse_file(path, &text)
}

fn read_config_file(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_MAX {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
