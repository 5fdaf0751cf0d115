//! Records and chunks: what goes in comes out, and what is damaged is noticed.

use super::super::StoreError;
use super::super::chunk::{CHUNK_MAX, ChunkReader, ChunkWriter, Damage};
use super::super::log::Log;
use super::super::memory_log::Disk;
use super::{message, target};
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
            let (message, targets) = record.content.unwrap();
            assert_eq!(targets.len() as u32, record.targets);
            assert_eq!(message.address(), b"\x09amq.topic\x05a.key");
            assert_eq!(message.raw_properties(), [0x10, 0, 2]);
            found.push((record.ordinal, message.body_bytes().to_vec()));
        });
    }
    (found, reader.finish())
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
    fn any_bytes_are_damage(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(read(&[bytes]).1.damaged_chunks, 1);
    }
}
