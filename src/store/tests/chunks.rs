//! Records and chunks: what goes in comes out, and what is damaged is noticed.

use super::super::StoreError;
use super::super::chunk::{CHUNK_MAX, ChunkReader, ChunkWriter, Damage};
use super::super::log::Log;
use super::super::memory_log::Disk;
use super::super::transaction::Place;
use super::{is_same, message, target};
use ::vhosts::{Message, MessageBuilder};
use proptest::prelude::*;

/// Writes messages with 1, 2, 1, 2, … targets, sealing a chunk after each whose flag says so.
fn written(bodies: &[(usize, bool)]) -> (Vec<Message>, Vec<Vec<u8>>) {
    let disk = Disk::default();
    let mut log = disk.log();
    let mut writer = ChunkWriter::new(7);
    let mut ordinal = 0;
    let write = |(at, (len, seal)): (usize, &(usize, bool))| -> Result<Message, StoreError> {
        let targets: Vec<_> = (0..=at as u64 % 2).map(|queue| (queue, at as u64)).collect();
        let message = message(&targets, *len);
        writer.record(&mut log, &message, &targets.iter().copied().map(target).collect(), ordinal)?;
        ordinal += targets.len() as u32;
        if *seal {
            writer.seal(&mut log)?;
        }
        Ok(message)
    };
    let messages = bodies.iter().enumerate().map(write).collect::<Result<_, _>>().unwrap();
    writer.seal(&mut log).unwrap();
    let mut chunks = Vec::new();
    log.read_group(7, &mut |chunk| chunks.push(chunk.to_vec())).unwrap();
    (messages, chunks)
}

/// Ordinals and bodies of what can be read.
fn read(chunks: &[Vec<u8>]) -> (Vec<(u32, Vec<u8>)>, Damage) {
    let mut builder = MessageBuilder::default();
    let mut reader = ChunkReader::new(7, &mut builder);
    let mut found = Vec::new();
    for chunk in chunks {
        reader.chunk(chunk, &mut |record| {
            let mut ordinal = record.ordinal;
            for (read, targets) in record.contents.unwrap().messages {
                let as_written: Vec<_> = targets.iter().map(|(queue, seq)| (queue.0, seq.0)).collect();
                assert!(is_same(&read, &message(&as_written, read.body_len() as usize)));
                found.push((ordinal, read.body_bytes().to_vec()));
                ordinal += targets.len() as u32;
            }
            assert_eq!(ordinal, record.ordinal + record.targets);
        });
    }
    (found, reader.finish())
}

/// Writes a message with one target, a transaction of messages with two each, and a message with one.
fn transaction_between_two(bodies: &[(usize, bool)]) -> (Vec<Message>, Vec<Place>, Vec<Vec<u8>>) {
    let disk = Disk::default();
    let mut log = disk.log();
    let mut writer = ChunkWriter::new(7);
    let targets = |at: usize| -> Vec<_> { (1..3).map(|queue| (queue, at as u64)).collect() };
    let append = |(at, (len, _)): (usize, &(usize, bool))| {
        (message(&targets(at), *len), targets(at).into_iter().map(target).collect())
    };
    let appends: Vec<_> = bodies.iter().enumerate().map(append).collect();
    let places: Vec<_> =
        bodies.iter().map(|(len, _)| Place { group: *len as u64 + 1, ordinal: *len as u32 }).collect();
    let (before, after) = (message(&[(1, 1_000)], 0), message(&[(1, 2_000)], 0));
    let one = |seq| [target((1, seq))].into_iter().collect();
    writer.record(&mut log, &before, &one(1_000), 0).unwrap();
    writer.transaction(&mut log, &appends, &places, 1).unwrap();
    if bodies[0].1 {
        writer.seal(&mut log).unwrap();
    }
    writer.record(&mut log, &after, &one(2_000), 1 + 2 * bodies.len() as u32).unwrap();
    writer.seal(&mut log).unwrap();
    let mut chunks = Vec::new();
    log.read_group(7, &mut |chunk| chunks.push(chunk.to_vec())).unwrap();
    let inner = appends.into_iter().map(|(message, _)| message);
    ([before].into_iter().chain(inner).chain([after]).collect(), places, chunks)
}

/// What transactions settle.
fn settled(chunks: &[Vec<u8>]) -> Vec<Place> {
    let mut builder = MessageBuilder::default();
    let mut reader = ChunkReader::new(7, &mut builder);
    let mut places = Vec::new();
    for chunk in chunks {
        reader.chunk(chunk, &mut |record| places.extend(record.contents.unwrap().settles));
    }
    places
}

fn expected(messages: &[Message]) -> Vec<(u32, Vec<u8>)> {
    let ordinal = |at: usize| (at + at / 2) as u32;
    messages.iter().enumerate().map(|(at, message)| (ordinal(at), message.body_bytes().to_vec())).collect()
}

fn bodies() -> impl Strategy<Value = Vec<(usize, bool)>> {
    let len = prop_oneof![6 => 0_usize..300, 2 => 7_000_usize..9_000, 1 => 0..3 * CHUNK_MAX];
    prop::collection::vec((len, any::<bool>()), 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_written_is_read(bodies in bodies()) {
        let (messages, chunks) = written(&bodies);
        prop_assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_MAX));
        let (found, damage) = read(&chunks);
        prop_assert_eq!(damage, Damage::default());
        prop_assert!(found == expected(&messages));
    }

    #[test]
    fn a_damaged_chunk_takes_only_its_records(
        bodies in bodies(), at in any::<prop::sample::Index>(), bit in any::<u32>(), cut in any::<bool>(),
    ) {
        let (messages, mut chunks) = written(&bodies);
        let at = at.index(chunks.len());
        let place = bit as usize / 8 % chunks[at].len();
        if cut { chunks[at].truncate(place) } else { chunks[at][place] ^= 1 << (bit % 8) }
        let (found, damage) = read(&chunks);
        prop_assert_eq!(damage.damaged_chunks, 1);
        let all = expected(&messages);
        prop_assert!(found.len() < all.len() && found.iter().all(|record| all.contains(record)));
        let (spared, _) = read(&chunks[..at]);
        prop_assert_eq!(&found[..spared.len()], &spared);
    }

    #[test]
    fn a_missing_chunk_takes_only_its_records(bodies in bodies(), at in any::<prop::sample::Index>()) {
        let (messages, mut chunks) = written(&bodies);
        let at = at.index(chunks.len());
        let is_last = at == chunks.len() - 1;
        chunks.remove(at);
        let (found, damage) = read(&chunks);
        prop_assert_eq!(damage.missing_chunks, u64::from(!is_last));
        let all = expected(&messages);
        prop_assert!(found.len() < all.len() && found.iter().all(|record| all.contains(record)));
    }

    #[test]
    fn a_damaged_chunk_takes_all_of_a_transaction(
        bodies in bodies(), at in any::<prop::sample::Index>(), bit in any::<u32>(),
    ) {
        let (messages, places, mut chunks) = transaction_between_two(&bodies);
        let (all, damage) = read(&chunks);
        prop_assert_eq!((damage, settled(&chunks)), (Damage::default(), places.clone()));
        let ordinals = (0..1).chain((1..).step_by(2).take(bodies.len() + 1));
        let expected: Vec<_> = ordinals.zip(messages.iter().map(|message| message.body_bytes().to_vec())).collect();
        prop_assert!(all == expected);
        let at = at.index(chunks.len());
        let place = bit as usize / 8 % chunks[at].len();
        chunks[at][place] ^= 1 << (bit % 8);
        let (found, _) = read(&chunks);
        let is_whole = found.iter().filter(|(ordinal, _)| (1..=2 * bodies.len() as u32).contains(ordinal));
        let count = is_whole.count();
        prop_assert!(count == 0 || count == bodies.len(), "{} of {}", count, bodies.len());
        prop_assert_eq!(settled(&chunks), if count == 0 { Vec::new() } else { places });
        prop_assert!(found.iter().all(|record| all.contains(record)));
    }

    #[test]
    fn any_bytes_are_damage(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(read(&[bytes]).1.damaged_chunks, 1);
    }
}
