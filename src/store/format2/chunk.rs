//! A group as a stream of records, cut into chunks.
//!
//! ```text
//! | crc32 u32 | group u64 | index u32 | records u32 | first offset u32 | first ordinal u32 | bytes of records … |
//! |           |                      all that follows is under the checksum                                   |
//! ```
//!
//! A record may go on in the next chunks. Behind a chunk that is damaged or missing, reading goes on at the
//! next record that begins in a chunk: at its `first offset`, its first target at its `first ordinal`.
//! Targets are numbered through the group; this ordinal names one in the settled set and in the notes.

use super::record::{self, Fields, Head};
use super::{EachRecord, GroupNumber, StoreError, Torn};
use vhosts::MessageBuilder;

/// The first offset of a chunk in which no record begins.
const NO_RECORD: u32 = u32::MAX;

/// Puts the records of one group together again.
pub(super) struct GroupReader<'a> {
    group: GroupNumber,
    next_index: u32,
    /// The ordinal of the next record, or nothing if chunks were lost since.
    ordinal: Option<u32>,
    /// The beginning of a record that goes on in the next chunk.
    unread: Vec<u8>,
    builder: MessageBuilder,
    torn: &'a mut Torn,
}

impl GroupReader<'_> {
    pub(super) fn new(group: GroupNumber, torn: &mut Torn) -> GroupReader<'_> {
        let (unread, builder) = (Vec::new(), MessageBuilder::default());
        GroupReader { group, next_index: 0, ordinal: Some(0), unread, builder, torn }
    }

    /// Reads the next chunk, and shows the records that end in it.
    pub(super) fn chunk(&mut self, bytes: &[u8], each: EachRecord<'_>) -> Result<(), StoreError> {
        let is_next = |chunk: &Chunk<'_>| chunk.group == self.group && chunk.index >= self.next_index;
        let Some(chunk) = Chunk::parse(bytes).filter(is_next) else {
            self.torn.lost_chunks += 1;
            self.next_index += 1;
            self.lose_place();
            return Ok(());
        };
        if chunk.index != self.next_index {
            self.torn.lost_chunks += u64::from(chunk.index - self.next_index);
            self.lose_place();
        }
        self.next_index = chunk.index.saturating_add(1);
        let (ordinal, offset) = match self.ordinal {
            Some(ordinal) => (ordinal, 0),
            None if chunk.first_offset == NO_RECORD => return Ok(()),
            None => (chunk.first_ordinal, chunk.first_offset as usize),
        };
        self.unread.extend_from_slice(chunk.records.get(offset..).unwrap_or_default());
        self.records(ordinal, each)
    }

    /// Nothing more comes.
    pub(super) fn finish(mut self) {
        self.lose_place();
    }

    fn lose_place(&mut self) {
        self.torn.lost_records += u64::from(!self.unread.is_empty());
        self.unread.clear();
        self.ordinal = None;
    }

    fn records(&mut self, mut ordinal: u32, each: EachRecord<'_>) -> Result<(), StoreError> {
        let mut read = 0;
        while let Some((head, record)) = Head::of_whole_record(&self.unread[read..]) {
            match record::decode(record, &mut self.builder) {
                Some(contents) => each(ordinal, contents)?,
                None => self.torn.lost_records += 1,
            }
            ordinal = ordinal.saturating_add(head.targets);
            read += record.len();
        }
        self.unread.drain(..read);
        self.ordinal = Some(ordinal);
        Ok(())
    }
}

struct Chunk<'a> {
    group: GroupNumber,
    index: u32,
    first_offset: u32,
    first_ordinal: u32,
    records: &'a [u8],
}

impl Chunk<'_> {
    /// Nothing if the checksum is another.
    fn parse(bytes: &[u8]) -> Option<Chunk<'_>> {
        let (checksum, covered) = bytes.split_first_chunk()?;
        if crc32fast::hash(covered) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let mut fields = Fields(covered);
        let (group, index, _how_many_begin) = (fields.u64()?, fields.u32()?, fields.u32()?);
        let (first_offset, first_ordinal) = (fields.u32()?, fields.u32()?);
        Some(Chunk { group, index, first_offset, first_ordinal, records: fields.0 })
    }
}
