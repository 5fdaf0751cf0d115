//! One life of the sled database: from when it was opened to its first error.

use super::super::Assignment;
use super::super::newest::Newest;
use super::super::real::sync_directory;
use super::seal::Seal;
use crate::store::thread::panic_text;
use sled::{Batch, Db, Mode};
use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

const SEGMENT_SIZE: usize = 1024 * 1024;
const CACHE_CAPACITY: u64 = 16 * 1024 * 1024;
/// Under this key is the [`Seal`].
const SEAL: &[u8] = b"";
/// How long another database of this process may take to let go of its file.
const PATIENCE: Duration = Duration::from_secs(5);
/// So many writes apart it is looked whether sled does what it should not.
const CHECK_EVERY: u64 = 1024;

const _: () = assert!(19 * (super::KEY_MAX + super::VALUE_MAX) < SEGMENT_SIZE / 4);
const _: () = assert!(319 * (super::KEY_MAX + 16) < SEGMENT_SIZE / 4);

#[derive(Debug)]
pub(super) struct Database {
    db: Db,
    /// The file in which sled keeps everything, for syncing.
    file: File,
    dir: PathBuf,
    seal: Seal,
    /// The number of the last write.
    last: Newest,
}

/// Why sled did not do it.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The system did not let it.
    Io(io::Error),
    /// It cannot be read, or is not what was written.
    Damaged(String),
}

impl Refusal {
    pub(super) fn into_error(self) -> io::Error {
        match self {
            Refusal::Io(refused) => refused,
            Refusal::Damaged(detail) => io::Error::new(ErrorKind::InvalidData, detail),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(refused: io::Error) -> Refusal {
        match refused.kind() {
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => Refusal::Damaged(refused.to_string()),
            _ => Refusal::Io(refused),
        }
    }
}

impl From<sled::Error> for Refusal {
    fn from(refused: sled::Error) -> Refusal {
        match refused {
            sled::Error::Io(refused) => refused.into(),
            damage => Refusal::Damaged(damage.to_string()),
        }
    }
}

impl Database {
    pub(super) fn open(dir: &Path) -> Result<Database, Refusal> {
        guarded(|| {
            fs::create_dir_all(dir)?;
            wait_for_lock(&dir.join("db"));
            remove_unfinished_snapshots(dir)?;
            let config = sled::Config::new().path(dir).mode(Mode::HighThroughput).segment_size(SEGMENT_SIZE);
            let db = config.cache_capacity(CACHE_CAPACITY).flush_every_ms(None).open()?;
            let file = File::open(dir.join("db"))?;
            // Opening wrote too, and reuses the room of what it found to be over.
            file.sync_all()?;
            File::open(dir.join("conf"))?.sync_all()?;
            let last = Newest::open(&dir.join("last-write"))?;
            sync_directory(dir)?;
            let mut database = Database { db, file, dir: dir.into(), seal: Seal::default(), last };
            database.verify()?;
            Ok(database)
        })
    }

    pub(super) fn read(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Refusal> {
        guarded(|| {
            for entry in &*self.db {
                let (key, value) = entry?;
                if key != SEAL {
                    each(&key, &value);
                }
                // The page cache evicts after so many accesses, not bytes, and going through is too few.
                self.db.contains_key(key)?;
            }
            Ok(())
        })
    }

    /// Makes all the changes or none; after an error, nothing more can be written.
    pub(super) fn write(&mut self, changes: &[Assignment]) -> Result<(), Refusal> {
        guarded(|| {
            let (batch, seal) = self.batch(changes)?;
            self.db.apply_batch(batch)?;
            self.db.flush()?;
            self.file.sync_data()?;
            self.seal = seal;
            self.last.write([seal.writes, 0])?;
            self.check_blobs();
            Ok(())
        })
    }

    /// Bytes of its file.
    pub(super) fn bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }

    /// Whether everything is there that was written.
    fn verify(&mut self) -> Result<(), Refusal> {
        let mut found = Seal::default();
        self.read(&mut |key, value| found.add(key, value))?;
        let seal = self.db.get(SEAL)?.map_or(Some(Seal::default()), |bytes| Seal::parse(&bytes));
        let [last, _] = self.last.value();
        match seal {
            Some(seal) if seal.covers(&found) && seal.writes >= last => self.seal = seal,
            Some(seal) if seal.covers(&found) => {
                return Err(Refusal::Damaged(format!("the last {} writes are missing", last - seal.writes)));
            }
            _ => return Err(Refusal::Damaged("some of its entries are missing or old".into())),
        }
        Ok(())
    }

    /// The changes, and the seal of what they lead to.
    fn batch(&self, changes: &[Assignment]) -> Result<(Batch, Seal), Refusal> {
        // Of several changes of one key the last one counts.
        let changes: BTreeMap<_, _> = changes.iter().map(|(key, value)| (key, value)).collect();
        let (mut batch, mut seal) = (Batch::default(), self.seal);
        seal.writes += 1;
        for (key, value) in changes {
            if let Some(old) = self.db.get(key)? {
                seal.remove(key, &old);
            }
            match value {
                Some(value) => {
                    seal.add(key, value);
                    batch.insert(key.as_slice(), value.as_slice());
                }
                None => batch.remove(key.as_slice()),
            }
        }
        batch.insert(SEAL, &seal.to_bytes());
        Ok((batch, seal))
    }

    /// Nothing may be in blob files: they are not synced.
    fn check_blobs(&self) {
        let is_turn = self.seal.writes.is_multiple_of(CHECK_EVERY);
        let has_blobs = || fs::read_dir(self.dir.join("blobs")).is_ok_and(|mut files| files.next().is_some());
        if is_turn && has_blobs() {
            tracing::error!(dir = %self.dir.display(), "sled spilled a page into blobs/, which no sync covers");
        }
    }
}

/// sled panics at damage.
fn guarded<T>(work: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Refusal::Damaged(panic_text(panic.as_ref()))))
}

/// sled takes a snapshot of its page table that it did not finish, for want of room or because it was killed,
/// for a damaged one. The one before is still there.
fn remove_unfinished_snapshots(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "generating") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Waits until sled has let go of its file: its threads hold it for a moment after the database was dropped, so
/// one that is opened again at once would find it locked. Since this process has the directory, nobody else
/// does; whatever is wrong with the file, sled will say.
fn wait_for_lock(file: &Path) {
    let begun = Instant::now();
    while let Ok(file) = File::open(file)
        && let Err(TryLockError::WouldBlock) = file.try_lock()
        && begun.elapsed() < PATIENCE
    {
        thread::sleep(Duration::from_millis(1));
    }
}
