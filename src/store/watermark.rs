//! A small file beside the database that says how many syncs succeeded, so that a database whose end was cut
//! off does not pass for a whole one.
//!
//! The number is written after each sync and never synced itself: the file may fall behind the database,
//! which only makes it notice less, but can never be ahead of it. Two slots take turns, so that a torn write
//! leaves the other.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

const SLOT_LEN: usize = 12;

#[derive(Debug)]
pub(super) struct Watermark(File);

impl Watermark {
    /// Opens or makes the file, and returns the number that it holds, 0 if none.
    pub(super) fn open(path: &Path) -> io::Result<(Watermark, u64)> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::with_capacity(2 * SLOT_LEN);
        Read::by_ref(&mut file).take(2 * SLOT_LEN as u64).read_to_end(&mut bytes)?;
        let number = bytes.as_chunks().0.iter().filter_map(parse).max().unwrap_or_default();
        Ok((Watermark(file), number))
    }

    pub(super) fn write(&mut self, number: u64) -> io::Result<()> {
        let mut slot = [0; SLOT_LEN];
        slot[4..].copy_from_slice(&number.to_le_bytes());
        let checksum = crc32fast::hash(&slot[4..]);
        slot[..4].copy_from_slice(&checksum.to_le_bytes());
        self.0.seek(SeekFrom::Start(number % 2 * SLOT_LEN as u64))?;
        self.0.write_all(&slot)
    }
}

fn parse(slot: &[u8; SLOT_LEN]) -> Option<u64> {
    let (checksum, number) = slot.split_first_chunk()?;
    let number = number.first_chunk()?;
    (crc32fast::hash(number) == u32::from_le_bytes(*checksum)).then_some(u64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_number_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watermark");
        let (mut watermark, number) = Watermark::open(&path).unwrap();
        assert_eq!(number, 0);
        (1..=8).for_each(|number| watermark.write(number).unwrap());
        assert_eq!(Watermark::open(&path).unwrap().1, 8);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[5] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(Watermark::open(&path).unwrap().1, 7);
        std::fs::write(&path, b"shor").unwrap();
        assert_eq!(Watermark::open(&path).unwrap().1, 0);
    }
}
