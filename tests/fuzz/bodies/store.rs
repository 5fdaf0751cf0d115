//! Bytes as what a store finds on its disk.

use haremq::store::testing::{Disk, Log, recover};

/// Bytes as blocks of a kind, a length and so many octets: entries of the state, and chunks. Chunks get the
/// head that the store expects, checksum included, so that what follows is looked at.
pub fn store(bytes: &[u8]) {
    let mut log = Disk::default().log();
    let (mut rest, mut index) = (bytes, [0u32; 4]);
    while let [kind, length, behind @ ..] = rest {
        let (block, behind) = behind.split_at(behind.len().min(usize::from(*length) * 8));
        rest = behind;
        if kind % 2 == 0 {
            // The keys of notes have a second number.
            let key_len = if block.first() == Some(&b'n') { 13 } else { 9 };
            let (key, value) = block.split_at(block.len().min(key_len));
            assert!(log.put(key, value).is_ok());
            continue;
        }
        let group = usize::from(kind / 2 % 4);
        let head = [&(group as u64).to_le_bytes()[..], &index[group].to_le_bytes()].concat();
        let covered = [&head, block].concat();
        let chunk = [&crc32fast::hash(&covered).to_le_bytes(), &covered[..]].concat();
        assert!(log.write_chunk(group as u64, index[group], &chunk).is_ok());
        index[group] += 1;
    }
    let _ = recover(log);
}
