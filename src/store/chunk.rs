//! A group as a stream of records, cut into chunks.
//!
//! ```text
//! | crc32 u32 | group u64 | index u32 | records u32 | first offset u32 | first ordinal u32 | bytes of records … |
//! |           |                      all that follows is under the checksum                                   |
//! ```
//!
//! `records` begin in the chunk, the first of them `first offset` bytes behind the header, its first target
//! at `first ordinal`. A record that is larger than a chunk goes on in the next ones. So a chunk that is
//! damaged or missing takes only the records with it that it has bytes of: reading goes on at the next
//! record that begins.

use super::StoreError;
use super::log::{GroupNumber, Log};
use super::record::{self, Contents, Head, Targets};
use super::transaction::{self, Place};
use vhosts::{Message, MessageBuilder};

/// Bytes of a chunk at most, its header included.
pub const CHUNK_MAX: usize = 240 * 1024;
/// Bytes of the chunks of a group at most, unless a single record is larger: a message or a transaction.
pub const GROUP_MAX: u64 = 8 * CHUNK_MAX as u64;

const HEADER_LEN: usize = 28;
/// The offset of the first record in a chunk where none begins.
const NO_RECORD: u32 = u32::MAX;

/// Fills chunks and writes those that are full.
pub(super) struct ChunkWriter {
    group: GroupNumber,
    index: u32,
    records: u32,
    first_offset: u32,
    first_ordinal: u32,
    /// Room for the header, then bytes of records.
    buffer: Vec<u8>,
    /// Bytes of the chunks of this group that were written.
    written: u64,
}

impl ChunkWriter {
    pub(super) fn new(group: GroupNumber) -> ChunkWriter {
        let mut writer = ChunkWriter {
            group,
            index: 0,
            records: 0,
            first_offset: NO_RECORD,
            first_ordinal: 0,
            buffer: Vec::with_capacity(CHUNK_MAX),
            written: 0,
        };
        writer.begin_chunk();
        writer
    }

    pub(super) fn group(&self) -> GroupNumber {
        self.group
    }

    /// Whether a record of `len` bytes belongs into the next group.
    pub(super) fn is_group_full(&self, len: u64) -> bool {
        let used = self.written + self.buffer.len() as u64;
        used > HEADER_LEN as u64 && used + len > GROUP_MAX
    }

    /// Goes on with another group; everything was sealed.
    pub(super) fn start_group(&mut self, group: GroupNumber) {
        (self.group, self.index, self.written) = (group, 0, 0);
    }

    /// Adds a record whose first target has the ordinal `ordinal`.
    pub(super) fn record<L: Log>(
        &mut self,
        log: &mut L,
        message: &Message,
        targets: &Targets,
        ordinal: u32,
    ) -> Result<(), StoreError> {
        self.begin_record(log, record::len(message, targets), ordinal)?;
        record::encode(message, targets, |bytes| self.push(log, bytes))
    }

    /// Adds a transaction whose first target has the ordinal `ordinal`.
    pub(super) fn transaction<L: Log>(
        &mut self,
        log: &mut L,
        appends: &[(Message, Targets)],
        settles: &[Place],
        ordinal: u32,
    ) -> Result<(), StoreError> {
        self.begin_record(log, transaction::len(appends, settles), ordinal)?;
        transaction::encode(appends, settles, |bytes| self.push(log, bytes))
    }

    fn begin_record<L: Log>(&mut self, log: &mut L, len: u64, ordinal: u32) -> Result<(), StoreError> {
        if self.buffer.len() as u64 + len > CHUNK_MAX as u64 {
            self.seal(log)?;
        }
        if self.records == 0 {
            self.first_offset = (self.buffer.len() - HEADER_LEN) as u32;
            self.first_ordinal = ordinal;
        }
        self.records += 1;
        Ok(())
    }

    /// Writes the chunk as it is, unless it is empty.
    pub(super) fn seal<L: Log>(&mut self, log: &mut L) -> Result<(), StoreError> {
        if self.buffer.len() == HEADER_LEN {
            return Ok(());
        }
        self.fill_header();
        log.write_chunk(self.group, self.index, &self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.index += 1;
        self.begin_chunk();
        Ok(())
    }

    fn push<L: Log>(&mut self, log: &mut L, mut bytes: &[u8]) -> Result<(), StoreError> {
        while bytes.len() > CHUNK_MAX - self.buffer.len() {
            let (fits, rest) = bytes.split_at(CHUNK_MAX - self.buffer.len());
            self.buffer.extend_from_slice(fits);
            self.seal(log)?;
            bytes = rest;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn begin_chunk(&mut self) {
        self.buffer.clear();
        self.buffer.resize(HEADER_LEN, 0);
        (self.records, self.first_offset, self.first_ordinal) = (0, NO_RECORD, 0);
    }

    fn fill_header(&mut self) {
        self.buffer[4..12].copy_from_slice(&self.group.to_le_bytes());
        self.buffer[12..16].copy_from_slice(&self.index.to_le_bytes());
        self.buffer[16..20].copy_from_slice(&self.records.to_le_bytes());
        self.buffer[20..24].copy_from_slice(&self.first_offset.to_le_bytes());
        self.buffer[24..28].copy_from_slice(&self.first_ordinal.to_le_bytes());
        let checksum = crc32fast::hash(&self.buffer[4..]);
        self.buffer[..4].copy_from_slice(&checksum.to_le_bytes());
    }
}

struct Header {
    group: GroupNumber,
    index: u32,
    records: u32,
    first_offset: u32,
    first_ordinal: u32,
}

/// The header and the bytes of records; nothing if the checksum is another.
fn parse(chunk: &[u8]) -> Option<(Header, &[u8])> {
    let (checksum, covered) = chunk.split_first_chunk()?;
    if crc32fast::hash(covered) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (group, rest) = covered.split_first_chunk()?;
    let (numbers, payload) = rest.split_first_chunk::<16>()?;
    let (numbers, _) = numbers.as_chunks();
    let header = Header {
        group: u64::from_le_bytes(*group),
        index: u32::from_le_bytes(numbers[0]),
        records: u32::from_le_bytes(numbers[1]),
        first_offset: u32::from_le_bytes(numbers[2]),
        first_ordinal: u32::from_le_bytes(numbers[3]),
    };
    Some((header, payload))
}

/// What could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Chunks whose checksum or whose place is wrong.
    pub damaged_chunks: u64,
    /// Chunks that are not there though a later one is.
    pub missing_chunks: u64,
    /// Records in sound chunks that are malformed.
    pub damaged_records: u64,
    /// Records that begin but do not end, because the write was not finished or a chunk is lost.
    pub unfinished_records: u64,
}

impl Damage {
    pub(super) fn add(&mut self, other: Damage) {
        self.damaged_chunks += other.damaged_chunks;
        self.missing_chunks += other.missing_chunks;
        self.damaged_records += other.damaged_records;
        self.unfinished_records += other.unfinished_records;
    }
}

/// A record as it was read; without contents if it was malformed.
pub(super) struct ReadRecord {
    pub(super) ordinal: u32,
    pub(super) contents: Option<Contents>,
    /// How many targets it has.
    pub(super) targets: u32,
}

/// Puts the records of one group together again.
pub(super) struct ChunkReader<'a> {
    group: GroupNumber,
    next_index: u32,
    /// The ordinal of the next record, or nothing if chunks were lost since.
    ordinal: Option<u32>,
    /// The beginning of a record that goes on in the next chunk.
    unfinished: Vec<u8>,
    builder: &'a mut MessageBuilder,
    damage: Damage,
}

impl<'a> ChunkReader<'a> {
    pub(super) fn new(group: GroupNumber, builder: &'a mut MessageBuilder) -> ChunkReader<'a> {
        let (unfinished, damage) = (Vec::new(), Damage::default());
        ChunkReader { group, next_index: 0, ordinal: Some(0), unfinished, builder, damage }
    }

    /// Reads the next chunk, and shows the records that end in it.
    pub(super) fn chunk(&mut self, bytes: &[u8], each: &mut dyn FnMut(ReadRecord)) {
        let Some((header, payload)) = parse(bytes).filter(|(header, _)| self.is_next(header)) else {
            self.damage.damaged_chunks += 1;
            self.next_index += 1;
            return self.lose_place();
        };
        if header.index != self.next_index {
            self.damage.missing_chunks += u64::from(header.index - self.next_index);
            self.lose_place();
        }
        self.next_index = header.index + 1;
        let begun = match self.ordinal {
            Some(_) if self.unfinished.is_empty() => self.records(payload, each),
            Some(_) => {
                self.unfinished.extend_from_slice(payload);
                self.joined_records(each)
            }
            None if header.first_offset == NO_RECORD => 0,
            None => {
                self.ordinal = Some(header.first_ordinal);
                self.records(payload.get(header.first_offset as usize..).unwrap_or_default(), each)
            }
        };
        if begun != header.records {
            self.damage.damaged_chunks += 1;
        }
    }

    /// What could not be read of the group.
    pub(super) fn finish(mut self) -> Damage {
        self.damage.unfinished_records += u64::from(!self.unfinished.is_empty());
        self.damage
    }

    fn is_next(&self, header: &Header) -> bool {
        header.group == self.group && header.index >= self.next_index
    }

    fn lose_place(&mut self) {
        self.damage.unfinished_records += u64::from(!self.unfinished.is_empty());
        self.unfinished.clear();
        self.ordinal = None;
    }

    /// Goes on with the record that began in an earlier chunk, and says how many others began.
    fn joined_records(&mut self, each: &mut dyn FnMut(ReadRecord)) -> u32 {
        if whole_record(&self.unfinished).is_none() {
            return 0;
        }
        let joined = std::mem::take(&mut self.unfinished);
        self.records(&joined, each) - 1
    }

    /// Shows the whole records at the beginning of `bytes`, keeps the rest, and says how many began.
    fn records(&mut self, mut bytes: &[u8], each: &mut dyn FnMut(ReadRecord)) -> u32 {
        let mut begun = 0;
        while !bytes.is_empty() {
            begun += 1;
            let Some((head, record, rest)) = whole_record(bytes) else {
                self.unfinished.extend_from_slice(bytes);
                break;
            };
            let ordinal = self.ordinal.unwrap_or_default();
            let contents = head.decode(record, self.builder);
            self.damage.damaged_records += u64::from(contents.is_none());
            each(ReadRecord { ordinal, contents, targets: head.targets() });
            self.ordinal = Some(ordinal.saturating_add(head.targets()));
            bytes = rest;
        }
        begun
    }
}

/// The record at the beginning of `bytes`, and what follows it; nothing if it does not end there.
fn whole_record(bytes: &[u8]) -> Option<(Head, &[u8], &[u8])> {
    let head = Head::parse(bytes)?;
    let (record, rest) = bytes.split_at_checked(usize::try_from(head.record_len()).ok()?)?;
    Some((head, record, rest))
}
