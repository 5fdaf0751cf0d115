//! The reader on a data directory that was written by the last version with format 2, whole and damaged. What is
//! in it is said in `tests/fixtures/store/README.md`.

use super::{Format2, Torn, open, state};
use crate::store::{Note, StoreError};
use flate2::read::GzDecoder;
use sled::{Db, IVec};
use std::fmt::Write;
use std::fs::{self, File};
use std::path::Path;
use tempfile::TempDir;
use vhosts::{Message, QueueId, Seq};

/// The data directory, unpacked.
fn data_dir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store/format-2.tar.gz");
    tar::Archive::new(GzDecoder::new(File::open(packed).unwrap())).unpack(dir.path()).unwrap();
    dir
}

/// The data directory after a change of its database.
fn changed(change: impl FnOnce(&Db)) -> TempDir {
    let dir = data_dir();
    let sled = dir.path().join("sled");
    let db = sled::Config::new().path(&sled).segment_size(super::SEGMENT_SIZE).open().unwrap();
    change(&db);
    drop(db);
    // Threads of the database may hold its file for a moment.
    File::open(sled.join("db")).unwrap().lock().unwrap();
    dir
}

/// The chunks of a group, which is one tree.
fn chunks(db: &Db, group: u8) -> sled::Tree {
    db.open_tree([b'g', 0, 0, 0, 0, 0, 0, 0, group, 0, 0, 0, 0]).unwrap()
}

fn opened(dir: &TempDir) -> Format2 {
    open(dir.path()).unwrap().unwrap()
}

type Found = Vec<(Message, Vec<(QueueId, Seq, Note)>)>;

fn messages(format2: &Format2) -> Result<(Found, Torn), StoreError> {
    let mut found = Vec::new();
    let torn = format2.messages(&mut |message, targets| {
        found.push((message, targets));
        Ok(())
    })?;
    Ok((found, torn))
}

/// The targets of all messages, and what was lost.
fn targets(dir: &TempDir) -> (Vec<(u64, u64)>, Torn) {
    let (found, torn) = messages(&opened(dir)).unwrap();
    let targets = found.iter().flat_map(|(_, targets)| targets);
    (targets.map(|(queue, seq, _)| (queue.0, seq.0)).collect(), torn)
}

fn missing(from: &[(u64, u64)], left: &[(u64, u64)]) -> usize {
    assert!(left.iter().all(|target| from.contains(target)));
    from.len() - left.len()
}

fn line((message, targets): &(Message, Vec<(QueueId, Seq, Note)>)) -> String {
    let mut line = String::new();
    for (queue, seq, Note { acquired, failed, due }) in targets {
        write!(line, "{}#{}", queue.0, seq.0).unwrap();
        if *acquired > 0 {
            write!(line, " acquired {acquired} failed {failed}").unwrap();
        }
        due.iter().for_each(|due| write!(line, " due {}", due.0).unwrap());
        line.push_str(", ");
    }
    let (body, len) = (message.body_bytes(), message.body_len());
    let start = body[..body.len().min(32)].escape_ascii();
    let [exchange, key] = [message.exchange(), message.routing_key()].map(<[u8]>::escape_ascii);
    let properties = message.raw_properties().len();
    write!(line, "to '{exchange}' '{key}', {properties} of properties, {len} of body: {start}").unwrap();
    let marks = message.marks();
    let marks = [(marks.died, ", died"), (marks.has_copies, ", CC"), (marks.has_bcc, ", BCC")];
    marks.iter().filter(|(is_marked, _)| *is_marked).for_each(|(_, mark)| line.push_str(mark));
    line
}

#[test]
fn everything_that_was_stored_is_read() {
    let format2 = opened(&data_dir());
    let mut text = String::from("definitions\n");
    for (key, value) in format2.definitions().unwrap() {
        writeln!(text, "{}: {} bytes", key.escape_ascii(), value.len()).unwrap();
        crate::broker::records::read(&key, &value).unwrap();
    }
    let (found, torn) = messages(&format2).unwrap();
    text.push_str("\nmessages: queue#seq, note\n");
    found.iter().for_each(|message| writeln!(text, "{}", line(message)).unwrap());
    assert_eq!((torn, torn.to_string().as_str()), (Torn::default(), ""));
    insta::assert_snapshot!(text);
}

#[test]
fn bodies_come_back_whole() {
    let (found, _) = messages(&opened(&data_dir())).unwrap();
    let large: Vec<_> =
        found.iter().map(|(message, _)| message.body_bytes()).filter(|body| body.len() > 1_000).collect();
    assert_eq!(large.len(), 2);
    assert!(large[0] == vec![b'L'; 100 * 1024], "one chunk");
    assert!(large[1] == (0..=255).collect::<Vec<u8>>().repeat(1_200), "two chunks");
}

#[test]
fn reading_changes_nothing() {
    let dir = data_dir();
    let first = targets(&dir);
    File::open(dir.path().join("sled/db")).unwrap().lock().unwrap();
    assert_eq!(targets(&dir), first);
}

#[test]
fn what_stops_the_receiver_stops_the_reader() {
    let mut shown = 0;
    let stopped = opened(&data_dir()).messages(&mut |_, _| {
        shown += 1;
        if shown < 5 { Ok(()) } else { Err(StoreError::Thread { detail: "full".into() }) }
    });
    assert!(matches!(stopped, Err(StoreError::Thread { .. })));
    assert_eq!(shown, 5);
}

#[test]
fn other_directories_are_refused() {
    assert!(open(tempfile::tempdir().unwrap().path()).unwrap().is_none(), "there is none");
    for other in [1_u32, 3] {
        let dir = changed(|db| drop(db.insert(b"format", &other.to_le_bytes()).unwrap()));
        let refused = open(dir.path()).err();
        assert!(matches!(refused, Some(StoreError::OtherFormat { found, supported: 2 }) if found == other));
    }
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sled")).unwrap();
    assert_eq!(targets(&dir), (Vec::new(), Torn::default()), "killed when it was made");
}

#[test]
fn a_damaged_database_is_an_error_or_read() {
    let whole = messages(&opened(&data_dir())).unwrap().0.len();
    let mut refused = 0;
    for offset in (0..600).step_by(40).map(|kib| kib * 1024) {
        let dir = data_dir();
        let path = dir.path().join("sled/db");
        let mut bytes = fs::read(&path).unwrap();
        bytes[offset..offset + 1024].fill(0xA5);
        fs::write(&path, bytes).unwrap();
        match open(dir.path()).and_then(|format2| messages(&format2.unwrap())) {
            Err(StoreError::Damaged { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
            Ok((found, torn)) => assert!(torn != Torn::default() || found.len() == whole, "at {offset}"),
        }
    }
    assert!(refused > 0);
}

#[test]
fn a_lost_chunk_takes_only_its_own_records() {
    let (whole, _) = targets(&data_dir());
    let damaged = changed(|db| {
        let tree = chunks(db, 2);
        let mut chunk = tree.get(0_u32.to_be_bytes()).unwrap().unwrap().to_vec();
        chunk[100] ^= 1;
        tree.insert(0_u32.to_be_bytes(), chunk).unwrap();
    });
    let (left, torn) = targets(&damaged);
    assert_eq!(torn, Torn { lost_chunks: 1, ..Torn::default() });
    let removed = changed(|db| drop(chunks(db, 2).remove(0_u32.to_be_bytes()).unwrap()));
    assert_eq!(targets(&removed), (left.clone(), torn));
    assert_eq!(missing(&whole, &left), 1, "the message that begins in it");
}

#[test]
fn a_record_that_does_not_end_is_not_read() {
    let (whole, _) = targets(&data_dir());
    let cut = changed(|db| {
        let tree = chunks(db, 2);
        tree.iter().keys().skip(1).for_each(|index| drop(tree.remove(index.unwrap()).unwrap()));
    });
    let (left, torn) = targets(&cut);
    assert_eq!(torn, Torn { lost_records: 1, ..Torn::default() });
    let back: Vec<_> = left.iter().filter(|target| !whole.contains(target)).collect();
    assert_eq!(back, [&(2, 6)], "settled by the last transaction, which is lost");
}

#[test]
fn unreadable_states_bring_messages_back() {
    let (whole, _) = targets(&data_dir());
    let settled = changed(|db| drop(db.insert(state::key(b's', 1), b"\0odd").unwrap()));
    let (more, torn) = targets(&settled);
    assert_eq!(torn, Torn { lost_states: 1, ..Torn::default() });
    assert!(missing(&more, &whole) > 0);
    let key = [&state::key(b'n', 1)[..], &[0; 4]].concat();
    let noted = changed(|db| drop(db.insert(key, IVec::from(&[255; 20])).unwrap()));
    let (found, torn) = messages(&opened(&noted)).unwrap();
    assert_eq!(torn.to_string(), "1 settlement states are unreadable");
    let notes = found.iter().flat_map(|(_, targets)| targets).filter(|(.., note)| *note != Note::default());
    assert_eq!(notes.count(), 1, "that of the other group");
}

#[test]
fn a_group_in_which_all_is_settled_is_not_read() {
    let (whole, _) = targets(&data_dir());
    let dir = changed(|db| drop(db.insert(state::key(b's', 1), state::ALL_SETTLED).unwrap()));
    let (left, torn) = targets(&dir);
    assert_eq!(torn, Torn::default());
    assert!(missing(&whole, &left) > 0);
}

#[test]
fn a_cut_end_is_noticed() {
    let dir = data_dir();
    let number = 1_000_000_u64.to_le_bytes();
    fs::write(dir.path().join("watermark"), [&crc32fast::hash(&number).to_le_bytes()[..], &number].concat())
        .unwrap();
    let (_, torn) = targets(&dir);
    assert!((900_000..1_000_000).contains(&torn.lost_syncs), "{torn}");
    fs::remove_file(dir.path().join("watermark")).unwrap();
    File::open(dir.path().join("sled/db")).unwrap().lock().unwrap();
    assert_eq!(targets(&dir).1, Torn::default());
}
