//! A small file that holds two numbers, written often and never synced: what it says may be old after a loss
//! of power, but was true once.
//!
//! Two slots take turns, so that a torn write leaves the other.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A checksum, how many were written before, and the two numbers.
const SLOT_LEN: usize = 4 + 3 * 8;

#[derive(Debug)]
pub(super) struct Newest {
    file: File,
    written: u64,
    value: [u64; 2],
}

impl Newest {
    /// Opens or makes the file; without a whole slot it holds zeros.
    pub(super) fn open(path: &Path) -> io::Result<Newest> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::with_capacity(2 * SLOT_LEN);
        Read::by_ref(&mut file).take(2 * SLOT_LEN as u64).read_to_end(&mut bytes)?;
        let [written, one, other] = bytes.as_chunks().0.iter().filter_map(parse).max().unwrap_or_default();
        Ok(Newest { file, written, value: [one, other] })
    }

    pub(super) fn value(&self) -> [u64; 2] {
        self.value
    }

    pub(super) fn write(&mut self, value: [u64; 2]) -> io::Result<()> {
        let written = self.written + 1;
        let mut slot = [0; SLOT_LEN];
        for (bytes, number) in slot[4..].chunks_exact_mut(8).zip([written, value[0], value[1]]) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        let checksum = crc32fast::hash(&slot[4..]);
        slot[..4].copy_from_slice(&checksum.to_le_bytes());
        self.file.write_all_at(&slot, written % 2 * SLOT_LEN as u64)?;
        (self.written, self.value) = (written, value);
        Ok(())
    }
}

fn parse(slot: &[u8; SLOT_LEN]) -> Option<[u64; 3]> {
    let (checksum, numbers) = slot.split_first_chunk()?;
    let is_whole = crc32fast::hash(numbers) == u32::from_le_bytes(*checksum);
    let (numbers, _) = numbers.as_chunks();
    <[[u8; 8]; 3]>::try_from(numbers).ok().filter(|_| is_whole).map(|numbers| numbers.map(u64::from_le_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_slot_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let value = |path: &Path| Newest::open(path).unwrap().value();
        let mut newest = Newest::open(&path).unwrap();
        assert_eq!(newest.value(), [0, 0]);
        [[5, 1], [5, 2], [4, 9]].iter().for_each(|value| newest.write(*value).unwrap());
        assert_eq!((value(&path), newest.value()), ([4, 9], [4, 9]));
        let mut bytes = std::fs::read(&path).unwrap();
        // The third is in the second slot.
        bytes[SLOT_LEN + 5] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(value(&path), [5, 2]);
        std::fs::write(&path, &bytes[..SLOT_LEN - 1]).unwrap();
        assert_eq!(value(&path), [0, 0]);
    }
}
