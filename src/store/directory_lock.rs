//! One process per data directory: a locked file that holds the process id of its holder.

use super::StoreError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

/// Held as long as this lives. The operating system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    pub(super) fn take(dir: &Path) -> Result<DirectoryLock, StoreError> {
        let path = dir.join("lock");
        let failed = |doing| move |source| StoreError::Io { doing, path: dir.join("lock"), source };
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let read = Read::by_ref(&mut file).take(16).read_to_string(&mut pid);
                let pid = read.ok().and_then(|_| pid.trim().parse().ok()).unwrap_or_default();
                return Err(StoreError::Locked { dir: dir.into(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
        }
        file.set_len(0).map_err(failed("write"))?;
        writeln!(file, "{}", std::process::id()).map_err(failed("write"))?;
        Ok(DirectoryLock { _file: file })
    }
}
