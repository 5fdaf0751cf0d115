//! `haremq store import`

use super::{Exit, Problem, progress};
use crate::store::{Op, Progress, Recovery, Store, StoreError, View};
use crate::transfer::Import;
use indicatif::ProgressBar;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Bytes of a line.
const LINE_MAX: u64 = 1 << 30;
/// Operations that are written at the same time at most,
const BATCH: usize = 1024;
/// and bytes of their lines.
const BATCH_BYTES: usize = 8 << 20;

pub(super) fn run(dir: &Path, file: Option<&Path>) -> Result<Exit, Problem> {
    let Some(path) = file else {
        let input = io::stdin().lock();
        return import(dir, input, progress::of_bytes_unknown("importing"));
    };
    let open = || {
        let named = |error| Problem::Other(format!("{}: {error}", path.display()));
        let file = File::open(path).map_err(named)?;
        let len = file.metadata().map_err(named)?.len();
        Ok::<_, Problem>((BufReader::new(file), len))
    };
    // Once without writing anything, so that what is refused is refused as a whole.
    let (input, len) = open()?;
    let mut looking = Import::new(&what_is_there(dir)?).map_err(|error| Problem::Other(error.to_string()))?;
    let bar = progress::of_bytes("reading", len);
    let read = each_line(input, &bar, |number, line| {
        looking.line(line, &mut Vec::new()).map_err(|error| refused(number, &error, "nothing was imported"))
    });
    bar.finish_and_clear();
    read?;
    import(dir, open()?.0, progress::of_bytes("importing", len))
}

/// What the directory has, which need not be there.
fn what_is_there(dir: &Path) -> Result<Recovery, Problem> {
    match View::of_directory(dir) {
        Ok(view) => Ok(view.into_recovery()),
        Err(StoreError::Missing { .. }) => Ok(Recovery::default()),
        Err(error) => Err(error.into()),
    }
}

fn import(dir: &Path, input: impl BufRead, bar: ProgressBar) -> Result<Exit, Problem> {
    let (store, recovery) = Store::open(dir)?;
    let import = Import::new(&recovery).map_err(|error| Problem::Other(error.to_string()))?;
    drop(recovery);
    let mut writer = Writer::new(import, store)?;
    let read = each_line(input, &bar, |number, line| writer.line(number, line));
    let read = read.and_then(|()| writer.write(0));
    bar.finish_and_clear();
    let closed = writer.store.close();
    read?;
    closed.map_err(|error| Problem::Other(error.to_string()))?;
    let done = writer.import.imported();
    eprintln!("imported: definitions that were not there: {}, messages: {}", done.definitions, done.messages);
    if done.lost > 0 {
        eprintln!("haremq: messages that were lost before the export: {}", done.lost);
    }
    Ok(Exit::Stopped)
}

fn refused(number: u64, why: &dyn std::fmt::Display, what: &str) -> Problem {
    Problem::Other(format!("line {number}: {why}; {what}"))
}

/// Writes what lines ask for, in batches.
struct Writer {
    import: Import,
    store: Store,
    progress: watch::Receiver<Progress>,
    runtime: Runtime,
    ops: Vec<Op>,
    bytes: usize,
    /// Up to this line everything is in the store.
    written: u64,
}

impl Writer {
    fn new(import: Import, store: Store) -> Result<Writer, Problem> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let progress = store.progress();
        Ok(Writer { import, store, progress, runtime, ops: Vec::new(), bytes: 0, written: 0 })
    }

    fn line(&mut self, number: u64, line: &[u8]) -> Result<(), Problem> {
        if let Err(error) = self.import.line(line, &mut self.ops) {
            self.write(number - 1)?;
            return Err(refused(number, &error, "the lines before it were imported"));
        }
        self.bytes += line.len();
        if self.ops.len() < BATCH && self.bytes < BATCH_BYTES { Ok(()) } else { self.write(number) }
    }

    /// Writes what waits, which ends with that line.
    fn write(&mut self, number: u64) -> Result<(), Problem> {
        self.bytes = 0;
        if self.ops.is_empty() {
            return Ok(());
        }
        let lsn = self.store.submit(&mut self.ops);
        let is_over = |progress: &Progress| {
            progress.durable >= lsn || progress.stalled.is_some() || progress.failed.is_some()
        };
        let _ = self.runtime.block_on(self.progress.wait_for(is_over)).map(drop);
        let progress = self.progress.borrow().clone();
        if progress.durable >= lsn {
            self.written = number;
            return Ok(());
        }
        let failed = progress.failed.map(|error| error.to_string());
        let why = failed.or(progress.stalled.map(|why| why.to_string())).unwrap_or_default();
        Err(Problem::Other(format!("{why}; imported up to line {}", self.written)))
    }
}

/// Shows the lines of an input with their numbers; empty ones are passed by.
fn each_line(
    mut input: impl BufRead,
    bar: &ProgressBar,
    mut each: impl FnMut(u64, &[u8]) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = Read::by_ref(&mut input).take(LINE_MAX).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        if read as u64 == LINE_MAX && !line.ends_with(b"\n") {
            return Err(refused(number, &"it is longer than 1 GiB", "it was not read"));
        }
        if !line.trim_ascii().is_empty() {
            each(number, line.trim_ascii_end())?;
        }
        bar.inc(read as u64);
    }
    Ok(())
}
