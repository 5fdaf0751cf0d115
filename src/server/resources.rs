//! Watching what may run out: room on the disk, and whether the store can write.

use crate::broker::{Broker, DiskSpace};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// Between two looks at a disk with enough room, and at one that is short.
const LOOK_EVERY_MS: u64 = 1000;
/// Between two looks at a disk that will be full at once.
const LOOK_EVERY_MIN_MS: u64 = 100;
/// How fast a disk is expected to fill (RabbitMQ expects the same).
const BYTES_PER_MS: u64 = 250_000;

/// Watches the file system of the data directory.
pub struct DiskMonitor {
    broker: Arc<Broker>,
    dir: PathBuf,
    limit: u64,
    /// The last look did not succeed.
    is_blind: bool,
}

impl DiskMonitor {
    /// Looks for the first time, so that no client is earlier. Fewer free bytes than `limit` are too few.
    pub async fn start(broker: Arc<Broker>, dir: PathBuf, limit: u64) -> DiskMonitor {
        let mut monitor = DiskMonitor { broker, dir, limit, is_blind: false };
        monitor.look().await;
        monitor
    }

    /// Goes on looking for as long as the process lives.
    pub async fn run(mut self) {
        let mut wait_ms = LOOK_EVERY_MIN_MS;
        loop {
            sleep(Duration::from_millis(wait_ms)).await;
            wait_ms = self.look().await;
        }
    }

    /// Looks once, and says when to look again.
    async fn look(&mut self) -> u64 {
        match free_bytes(&self.dir).await {
            Ok(free) => {
                self.is_blind = false;
                self.broker.disk_has(DiskSpace { free, limit: self.limit });
                next_look_ms(free, self.limit)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_blind, true) {
                    tracing::warn!("cannot see how much disk space is free, goes on trying: {error}");
                }
                LOOK_EVERY_MS
            }
        }
    }
}

/// Tells the broker when its store stands still, for as long as the process lives.
pub async fn watch_store(broker: Arc<Broker>) {
    let mut progress = broker.store.progress();
    let mut known = None;
    // An error means that the commit thread is gone; then the process ends.
    while let Ok(now) = progress.wait_for(|now| now.stalled != known).await {
        known.clone_from(&now.stalled);
        drop(now);
        broker.store_stands_still(known.clone());
    }
}

/// How long until the next look: the disk may not fill up unseen in between.
fn next_look_ms(free: u64, limit: u64) -> u64 {
    if free < limit {
        return LOOK_EVERY_MS;
    }
    ((free - limit) / BYTES_PER_MS * 2).clamp(LOOK_EVERY_MIN_MS, LOOK_EVERY_MS)
}

/// Bytes that we may still write to the file system of `dir`. A file system may take long to answer, so this
/// asks on a thread that may wait.
async fn free_bytes(dir: &Path) -> io::Result<u64> {
    let dir = dir.to_owned();
    let found = spawn_blocking(move || rustix::fs::statvfs(&dir)).await??;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_fills_up_is_looked_at_more_often() {
        let limit = 50_000_000;
        assert_eq!(next_look_ms(0, limit), 1000);
        assert_eq!(next_look_ms(limit, limit), 100);
        assert_eq!(next_look_ms(limit + 25_000_000, limit), 200);
        assert_eq!(next_look_ms(limit + 1_000_000_000, limit), 1000);
        assert_eq!(next_look_ms(u64::MAX, 0), 1000);
    }

    #[tokio::test]
    async fn a_disk_has_some_room_and_a_directory_that_is_gone_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(free_bytes(dir.path()).await.is_ok_and(|free| free > 0));
        assert!(free_bytes(&dir.path().join("gone")).await.is_err());
    }
}
