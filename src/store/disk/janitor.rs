//! Segments that were removed: some are made zeros and used again, the others are deleted. A thread does it, so
//! that nobody waits; what it does not get to is deleted at the next start.
//!
//! A segment that somebody still reads is left alone until nobody does.

use super::real::{RealSegment, reserve};
use crate::store::layout::SEGMENT_BYTES;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// Segments that are kept to be used again.
const SPARES: usize = 3;
/// Bytes of room without which nothing is kept.
const PLENTY: u64 = 1 << 30;
/// How often it is looked whether a segment is still read.
const LOOK_EVERY: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Janitor {
    /// None while it ends.
    retired: Option<Sender<Retired>>,
    spares: Spares,
    thread: Option<JoinHandle<()>>,
}

/// A segment that was removed, and who still reads it.
#[derive(Debug)]
struct Retired {
    path: PathBuf,
    users: Weak<RealSegment>,
    /// It is not used again.
    is_waste: bool,
}

/// Files with room for a segment, full of zeros.
type Spares = Arc<Mutex<Vec<PathBuf>>>;

impl Janitor {
    pub(super) fn start() -> io::Result<Janitor> {
        let (sender, receiver) = channel();
        let spares = Spares::default();
        let ours = Arc::clone(&spares);
        let builder = std::thread::Builder::new().name("janitor".into());
        let thread = builder.spawn(move || work(&receiver, &ours))?;
        Ok(Janitor { retired: Some(sender), spares, thread: Some(thread) })
    }

    /// Takes a segment that was removed.
    pub(super) fn retire(&self, path: PathBuf, users: Weak<RealSegment>) {
        self.send(Retired { path, users, is_waste: false });
    }

    /// Deletes a file.
    pub(super) fn delete(&self, path: PathBuf) {
        self.send(Retired { path, users: Weak::new(), is_waste: true });
    }

    /// A file to be used again, if there is one.
    pub(super) fn take_spare(&self) -> Option<PathBuf> {
        lock(&self.spares).pop()
    }

    /// Room is short: what is kept to be used again goes.
    pub(super) fn give_up_spares(&self) {
        lock(&self.spares).drain(..).for_each(|path| self.delete(path));
    }

    fn send(&self, retired: Retired) {
        // The thread ends with us, so it takes everything.
        self.retired.as_ref().map(|sender| sender.send(retired));
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        self.retired = None;
        self.thread.take().map(JoinHandle::join);
        lock(&self.spares).drain(..).for_each(|path| delete(&path));
    }
}

fn work(retired: &Receiver<Retired>, spares: &Spares) {
    let mut in_use: Vec<Retired> = Vec::new();
    loop {
        let next = match in_use.is_empty() {
            true => retired.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => retired.recv_timeout(LOOK_EVERY),
        };
        match next {
            Ok(next) => in_use.push(next),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        in_use.extend(retired.try_iter());
        let is_free = |retired: &mut Retired| retired.users.strong_count() == 0;
        in_use.extract_if(.., is_free).for_each(|free| put_away(free, spares));
    }
}

fn put_away(Retired { path, is_waste, .. }: Retired, spares: &Spares) {
    let is_wanted = !is_waste && lock(spares).len() < SPARES && has_plenty(&path);
    if is_wanted && zero(&path).is_ok() {
        return lock(spares).push(path);
    }
    delete(&path);
}

/// Whether the file system has so much room that nobody misses what is kept.
fn has_plenty(path: &Path) -> bool {
    statvfs(path).is_ok_and(|room| room.f_bavail.saturating_mul(room.f_frsize) > PLENTY)
}

fn delete(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "a segment that is not needed cannot be deleted");
    }
}

/// Makes all of a file zeros, with room for a segment.
fn zero(path: &Path) -> io::Result<()> {
    let file: File = OpenOptions::new().write(true).open(path)?;
    file.set_len(SEGMENT_BYTES)?;
    match fallocate(&file, FallocateFlags::ZERO_RANGE, 0, SEGMENT_BYTES) {
        Ok(()) => {}
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            file.set_len(0)?;
            reserve(&file, SEGMENT_BYTES)?;
        }
        Err(refused) => return Err(refused.into()),
    }
    file.sync_all()
}

fn lock(spares: &Mutex<Vec<PathBuf>>) -> MutexGuard<'_, Vec<PathBuf>> {
    spares.lock().unwrap_or_else(PoisonError::into_inner)
}
