//! What can go wrong with the data directory, in words that say what to do next.

use std::io;
use std::path::PathBuf;

/// Why the store cannot be opened, or why it stopped.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the data directory open.
    #[error(
        "the data directory {dir} is in use by process {pid}: stop that process, or give this broker another \
         directory"
    )]
    Locked {
        /// The data directory.
        dir: PathBuf,
        /// The holder, as it wrote itself into the lock file; 0 when that cannot be read.
        pid: u32,
    },
    /// A version of the broker that keeps its data differently wrote this.
    #[error(
        "the data was written in format {found}, and this version reads format {supported} only: start the \
         version that wrote it, or give this broker another directory; the messages in it are untouched"
    )]
    OtherFormat {
        /// The format of the data.
        found: u32,
        /// The format that this version reads and writes.
        supported: u32,
    },
    /// There is nothing in the directory.
    #[error("there is no data in {dir}: name the data directory of a broker")]
    Missing {
        /// The directory.
        dir: PathBuf,
    },
    /// A version before wrote this, and no broker of this one was started on it yet.
    #[error(
        "the data in {dir} is of a format before {supported}: start the broker on it once, which brings it into          this one"
    )]
    Older {
        /// The data directory.
        dir: PathBuf,
        /// The format that this version writes.
        supported: u32,
    },
    /// The database is there but cannot be read.
    #[error(
        "the database in {dir} cannot be read ({detail}): move the directory aside and keep it, then restore a \
         copy of it or start with an empty one"
    )]
    Damaged {
        /// The directory of the database.
        dir: PathBuf,
        /// What the database said.
        detail: String,
    },
    /// The operating system refused a file operation.
    #[error("cannot {doing} {path}: {source}; look at the free space and the permissions, then start again")]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The disk refused an operation.
    #[error("cannot {doing}: {source}; look at the free space and the health of the disk, then start again")]
    Disk {
        /// What was tried, as a verb.
        doing: &'static str,
        /// What the operating system or the database said.
        source: io::Error,
    },
    /// The commit thread could not be started, or ended in a panic.
    #[error("the commit thread of the store died: {detail}; start again")]
    Thread {
        /// What is known of the reason.
        detail: String,
    },
}

/// What to make of an error of the disk.
pub(super) fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::Disk { doing, source }
}
