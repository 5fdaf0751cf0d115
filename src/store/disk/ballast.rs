//! Room that is kept for the moment when there is no other: the state can be opened and written with it, so that a
//! full disk can be started from and what is acknowledged can be removed.

use super::real::reserve;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Enough for the database of the state to be opened and written some times.
const BYTES: u64 = 8 * 1024 * 1024;

/// A file that is nothing but its size.
#[derive(Debug)]
pub(super) struct Ballast(PathBuf);

impl Ballast {
    pub(super) fn of(data_dir: &Path) -> Ballast {
        Ballast(data_dir.join("ballast"))
    }

    /// Takes the room, if it is not taken and there is enough.
    pub(super) fn load(&self) {
        let is_loaded = fs::metadata(&self.0).is_ok_and(|ballast| ballast.len() == BYTES);
        if !is_loaded && File::create(&self.0).and_then(|file| reserve(&file, BYTES)).is_err() {
            self.drop();
        }
    }

    /// Gives the room back. False if there was none.
    pub(super) fn drop(&self) -> bool {
        fs::remove_file(&self.0).is_ok()
    }
}
