//! `haremq store …`: looks into a data directory, and carries messages out of it and into it.
//!
//! What was asked for goes to the standard output; how far it is, and what is wrong with it, to the standard error
//! output.

mod check;
mod export;
mod import;
mod names;
mod progress;
mod stats;

use super::Exit;
use crate::store::StoreError;
use std::io;
use std::path::PathBuf;

/// What to do with a store.
#[derive(clap::Subcommand, Clone, Debug, PartialEq)]
pub enum StoreCommand {
    /// Read everything in a data directory that no broker is using, and say what is damaged. Changes nothing.
    Check {
        /// The data directory.
        dir: PathBuf,
    },
    /// Say what takes the space in a data directory that no broker is using. Changes nothing.
    Stats {
        /// The data directory.
        dir: PathBuf,
        /// Print JSON, with all sizes in bytes.
        #[arg(long)]
        json: bool,
    },
    /// Write definitions and messages as lines of JSON, also of a running broker, which goes on meanwhile.
    Export {
        /// The data directory.
        dir: PathBuf,
        /// Only this vhost.
        #[arg(long)]
        vhost: Option<String>,
        /// Only queues of this name, with their bindings.
        #[arg(long)]
        queue: Option<String>,
        /// Write to this file, which is there when it is whole; without it, to the standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Add what was exported to a data directory that no broker is using, or to a new one.
    Import {
        /// The data directory.
        dir: PathBuf,
        /// The export; without it, the standard input.
        file: Option<PathBuf>,
    },
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
enum Problem {
    /// The data directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something else, in words.
    #[error("{0}")]
    Other(String),
    /// A file or a pipe.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Problem {
    fn exit(&self) -> Exit {
        match self {
            Problem::Store(_) => Exit::DataDir,
            Problem::Other(_) | Problem::Io(_) => Exit::Failed,
        }
    }
}

/// Does it.
#[must_use]
pub fn run(command: StoreCommand) -> Exit {
    // Every segment is a file that is open.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let done = match command {
        StoreCommand::Check { dir } => check::run(&dir),
        StoreCommand::Stats { dir, json } => stats::run(&dir, json),
        StoreCommand::Export { dir, vhost, queue, output } => export::run(&dir, vhost, queue, output),
        StoreCommand::Import { dir, file } => import::run(&dir, file.as_deref()),
    };
    match done {
        Ok(exit) => exit,
        Err(Problem::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Failed,
        Err(problem) => {
            eprintln!("haremq: {problem}");
            problem.exit()
        }
    }
}

#[cfg(test)]
mod tests;
