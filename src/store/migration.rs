//! Data of an older format is brought into this one at start.
//!
//! The old data stays as it was until the new is whole and safe; then it is put aside, and is the operator's to
//! delete. A start that finds both was interrupted: it begins again.

use super::committer::Committer;
use super::disk::Disk;
use super::error::{StoreError, failed};
use super::format2::{self, Format2};
use super::{Op, Safety, recovery};
use std::fs::{self, File};
use std::path::Path;
use vhosts::Moment;

/// Operations that are written at the same time.
const BATCH: usize = 1024;

/// Brings what is in `data_dir` in an older format onto `disk`; the disk as it is, if there is nothing.
pub(super) fn migrate(data_dir: &Path, disk: Box<dyn Disk>) -> Result<Box<dyn Disk>, StoreError> {
    let Some(old) = format2::open(data_dir)? else { return Ok(disk) };
    tracing::info!(dir = %data_dir.display(), "migrating the data from format 2 to format 3");
    let (disk, messages) = copy(&old, emptied(disk)?)?;
    drop(old);
    put_aside(data_dir)?;
    tracing::info!(messages, "the data is migrated; the old data is in format-2/, which can be deleted");
    Ok(disk)
}

/// The disk without what an interrupted migration left on it.
fn emptied(mut disk: Box<dyn Disk>) -> Result<Box<dyn Disk>, StoreError> {
    let doing = "begin the migration again";
    let mut keys = Vec::new();
    disk.read_state(&mut |key, _| keys.push((key.to_vec(), None))).map_err(failed(doing))?;
    let segments = disk.segments().map_err(failed(doing))?;
    disk.remove(&segments).map_err(failed(doing))?;
    if !keys.is_empty() {
        disk.write_state(&keys).map_err(failed(doing))?;
    }
    Ok(disk)
}

fn copy(old: &Format2, disk: Box<dyn Disk>) -> Result<(Box<dyn Disk>, u64), StoreError> {
    let (mut committer, _) = recovery::recover(disk)?;
    let definitions = old.definitions()?.into_iter().map(|(key, value)| (key, Some(value)));
    let mut ops: Vec<Op> = definitions.map(|definition| Op::Define(vec![definition])).collect();
    let mut messages = 0;
    let torn = old.messages(&mut |message, targets| {
        messages += 1;
        let noted = targets.iter().filter(|(.., note)| *note != Default::default());
        let notes: Vec<Op> = noted
            .map(|(queue, seq, note)| Op::Note {
                queue: *queue,
                seq: *seq,
                message: message.clone(),
                note: *note,
            })
            .collect();
        let targets = targets.iter().map(|(queue, seq, _)| (*queue, *seq)).collect();
        ops.push(Op::Append { message, targets, safety: Safety::Relaxed });
        ops.extend(notes);
        if ops.len() < BATCH { Ok(()) } else { commit(&mut committer, &mut ops) }
    })?;
    commit(&mut committer, &mut ops)?;
    committer.close().map_err(failed("write the migrated data"))?;
    if torn != format2::Torn::default() {
        tracing::warn!("recovered from format 2 up to what was whole: {torn}");
    }
    Ok((committer.into_disk(), messages))
}

fn commit(committer: &mut Committer, ops: &mut Vec<Op>) -> Result<(), StoreError> {
    if committer.commit(ops, Moment(0)) {
        return Ok(());
    }
    let reason = committer.stalled().map(|reason| reason.to_string()).unwrap_or_default();
    Err(failed("write the migrated data")(std::io::Error::other(reason)))
}

fn put_aside(data_dir: &Path) -> Result<(), StoreError> {
    let renamed = fs::rename(data_dir.join("sled"), data_dir.join("format-2"));
    let synced = renamed.and_then(|()| File::open(data_dir)?.sync_all());
    synced.map_err(failed("put the old data aside"))?;
    // It says nothing any more.
    let _ = fs::remove_file(data_dir.join("watermark"));
    Ok(())
}
