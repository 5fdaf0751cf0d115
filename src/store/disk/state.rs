//! The state of a data directory: a sled database, synced after each write, and put aside when it is damaged.
//!
//! sled is not trusted. It panics at some damage, passes over other damage with a part of the data missing,
//! and refuses everything once the disk was full. So the state carries a [`Seal`] that is checked when it is
//! opened; after any error the database is opened anew before the next write; and a file beside it says
//! which write was the last, so that one whose end is missing does not pass for a whole one.
//!
//! `flush` only hands the data to the operating system, on Linux without waiting for the disk. The file itself
//! is therefore synced after it. What sled keeps in files under `blobs/` it never syncs; there are none,
//! because every page stays below a quarter of a segment.
//!
//! [`Seal`]: seal::Seal

mod database;
mod seal;
#[cfg(test)]
mod tests;

use super::Assignment;
use super::real::{failed, sync_directory};
use crate::store::StoreError;
use database::{Database, Refusal};
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

const DIRECTORY: &str = "state";
/// Bytes of a key. An index page of sled has up to 319 of them.
const KEY_MAX: usize = 512;
/// Bytes of a value. A leaf of sled has up to 19 of them.
const VALUE_MAX: usize = 8 * 1024;
/// Directories that were put aside and are still there.
const ASIDE_MAX: u32 = 1000;

/// The state of a data directory that this process has for itself.
#[derive(Debug)]
pub(super) struct State {
    data_dir: PathBuf,
    /// None when it was to be opened anew and could not be.
    database: Option<Database>,
    /// After an error: sled may still be read, but takes no more writes.
    is_spoiled: bool,
    put_aside: Option<String>,
}

impl State {
    /// Opens the database, or makes it; puts it aside and makes another when it is damaged.
    pub(super) fn open(data_dir: &Path) -> Result<State, StoreError> {
        let mut state =
            State { data_dir: data_dir.into(), database: None, is_spoiled: false, put_aside: None };
        let dir = data_dir.join(DIRECTORY);
        state.open_database().map_err(failed("open the database in", &dir))?;
        Ok(state)
    }

    pub(super) fn read(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()> {
        let database = self.database.as_ref().ok_or_else(|| io::Error::other("the state is closed"))?;
        database.read(each).map_err(Refusal::into_error)
    }

    pub(super) fn write(&mut self, changes: &[Assignment]) -> io::Result<()> {
        check(changes)?;
        let database = match self.database.take_if(|_| !self.is_spoiled) {
            Some(database) => self.database.insert(database),
            None => self.open_database()?,
        };
        let written = database.write(changes);
        self.is_spoiled = written.is_err();
        written.map_err(Refusal::into_error)
    }

    pub(super) fn put_aside(&self) -> Option<&str> {
        self.put_aside.as_deref()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.database.as_ref().map_or(0, Database::bytes)
    }

    fn open_database(&mut self) -> io::Result<&mut Database> {
        let dir = self.data_dir.join(DIRECTORY);
        // The one that is open holds the lock of its file.
        self.close();
        let database = match Database::open(&dir) {
            Ok(database) => database,
            Err(Refusal::Io(refused)) => return Err(refused),
            Err(Refusal::Damaged(detail)) => {
                self.put_away(&dir, &detail)?;
                Database::open(&dir).map_err(Refusal::into_error)?
            }
        };
        sync_directory(&self.data_dir)?;
        self.is_spoiled = false;
        Ok(self.database.insert(database))
    }

    fn put_away(&mut self, dir: &Path, detail: &str) -> io::Result<()> {
        let aside = free_name(&self.data_dir)?;
        fs::rename(dir, &aside)?;
        let told = format!(
            "the database in {} cannot be read ({detail}): it was put aside as {}, and an empty one was begun; no \
             message is lost, but messages that were acknowledged before may be delivered again",
            dir.display(),
            aside.display()
        );
        tracing::error!("{told}");
        self.put_aside = Some(told);
        Ok(())
    }

    fn close(&mut self) {
        let database = self.database.take();
        // sled panics when its last sync fails; what was written before was synced without it.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.close();
    }
}

/// Whether sled keeps them where a sync covers them. The empty key is the [`Seal`](seal::Seal)'s.
fn check(changes: &[Assignment]) -> io::Result<()> {
    let fits = |(key, value): &Assignment| {
        (1..=KEY_MAX).contains(&key.len()) && value.as_ref().is_none_or(|value| value.len() <= VALUE_MAX)
    };
    if changes.iter().all(fits) {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "an entry of the state is too large, or its key is empty",
    ))
}

fn free_name(data_dir: &Path) -> io::Result<PathBuf> {
    let mut names = (1..=ASIDE_MAX).map(|number| data_dir.join(format!("{DIRECTORY}.damaged-{number}")));
    let is_free = |name: &PathBuf| !name.exists();
    names.find(is_free).ok_or_else(|| io::Error::other("too many damaged states were put aside"))
}
