//! One record of the log.
//!
//! ```text
//! | crc32 u32 | kind u8 | marks u8 | address u16 | properties u32 | targets u32 | body u64 | arrived u64 | … |
//! |   the head, 32 bytes: lengths in bytes, and what the bytes do not say                                 |
//!
//! | … | targets | address | properties | body | zeros up to the next unit |
//! ```
//!
//! A record begins at a multiple of [`UNIT`] bytes, its number in the segment is its *unit*. The checksum
//! covers all from the kind to the end of the body, where the record belongs, and the salt of the store: one that
//! was written to another place is none, and neither is what a client put into a body. Numbers are little-endian. Address and properties are the bytes of the message, so
//! that nothing is parsed to write it. Kinds without a message have their contents as the body.
//!
//! Targets are the queues of a message and its number in each, as steps ([`varint`]). A record has at least as
//! many units as targets: each target has a bit in the settled set of the segment, that of the unit that many
//! behind the first.

use super::disk::SegmentNumber;
use smallvec::SmallVec;
use vhosts::message::{Body, Chunk, Marks};
use vhosts::varint;
use vhosts::{Message, MessageBuilder, Moment, QueueId, Seq};

/// The queues of a message, with its number in each.
pub type Targets = SmallVec<[(QueueId, Seq); 1]>;

/// Records begin at multiples of so many bytes.
pub(super) const UNIT: usize = 16;
/// Bytes of the head.
pub(super) const HEAD_LEN: usize = 32;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A message that a restart brings back.
    Message,
    /// A message that is here only to be out of memory.
    Spilled,
    /// Changes of definitions.
    Definitions,
    /// Says that the records behind it are there as a whole or not at all, and what they take the place of.
    Atomic,
}

const KINDS: [Kind; 4] = [Kind::Message, Kind::Spilled, Kind::Definitions, Kind::Atomic];

impl Kind {
    fn code(self) -> u8 {
        1 + KINDS.iter().position(|kind| *kind == self).unwrap_or_default() as u8
    }

    fn parse(code: u8) -> Option<Kind> {
        KINDS.get(usize::from(code).checked_sub(1)?).copied()
    }
}

/// Marks of a message that its properties do not say.
const DIED: u8 = 1;
const HAS_COPIES: u8 = 1 << 1;
const HAS_BCC: u8 = 1 << 2;
/// It counts only behind its atomic record.
const GROUPED: u8 = 1 << 7;

fn marks(marks: Marks) -> u8 {
    let bit = |is_marked, bit| if is_marked { bit } else { 0 };
    bit(marks.died, DIED) | bit(marks.has_copies, HAS_COPIES) | bit(marks.has_bcc, HAS_BCC)
}

/// The head of a record without its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    marks: u8,
    address_len: u16,
    properties_len: u32,
    targets_len: u32,
    pub(super) body_len: u64,
    arrived: Moment,
}

impl Head {
    /// The head at the beginning of `bytes`; nothing if it is none.
    pub(super) fn parse(bytes: &[u8]) -> Option<Head> {
        let (words, _) = bytes.get(..HEAD_LEN)?.as_chunks::<8>();
        let [first, second, body_len, arrived] = [0, 1, 2, 3].map(|at| u64::from_le_bytes(words[at]));
        Some(Head {
            kind: Kind::parse((first >> 32) as u8)?,
            marks: (first >> 40) as u8,
            address_len: (first >> 48) as u16,
            properties_len: second as u32,
            targets_len: (second >> 32) as u32,
            body_len,
            arrived: Moment(arrived),
        })
    }

    /// Whether it counts only as a part of an atomic group.
    pub(super) fn is_grouped(&self) -> bool {
        self.marks & GROUPED != 0
    }

    /// Bytes of the whole record without the zeros at its end; saturates for a length that no record has.
    pub(super) fn len(&self) -> u64 {
        let before_body = HEAD_LEN as u64
            + u64::from(self.address_len)
            + u64::from(self.properties_len)
            + u64::from(self.targets_len);
        before_body.saturating_add(self.body_len)
    }

    /// Units of the whole record; saturates.
    pub(super) fn units(&self) -> u32 {
        u32::try_from(self.len().div_ceil(UNIT as u64)).unwrap_or(u32::MAX)
    }

    fn write(&self, head: &mut [u8]) {
        head[4] = self.kind.code();
        head[5] = self.marks;
        head[6..8].copy_from_slice(&self.address_len.to_le_bytes());
        head[8..12].copy_from_slice(&self.properties_len.to_le_bytes());
        head[12..16].copy_from_slice(&self.targets_len.to_le_bytes());
        head[16..24].copy_from_slice(&self.body_len.to_le_bytes());
        head[24..32].copy_from_slice(&self.arrived.0.to_le_bytes());
    }
}

/// A number of the store that nobody else knows: without it, a client could publish bodies that pass for records
/// where a crash leaves only a part of its message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Salt(pub(super) u32);

impl Salt {
    /// Where a record is, in a store with this salt.
    pub(super) fn at(self, segment: SegmentNumber, unit: u32) -> At {
        At { salt: self, segment, unit }
    }
}

/// Where a record is.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    salt: Salt,
    pub(super) segment: SegmentNumber,
    pub(super) unit: u32,
}

impl At {
    fn seed(self) -> u32 {
        (self.segment as u32 ^ (self.segment >> 32) as u32).rotate_left(16) ^ self.unit ^ self.salt.0
    }

    fn checksum(self, covered: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.seed());
        hasher.update(covered);
        hasher.finalize()
    }
}

/// Bytes that a message takes at most beside its targets.
pub(super) fn message_len(message: &Message, targets: usize) -> u64 {
    let fixed = HEAD_LEN + UNIT + message.address().len() + message.raw_properties().len();
    fixed as u64 + message.body_len() + TARGET_MAX * targets as u64
}

/// Bytes of a target at most: two numbers of ten octets, or a unit.
pub(super) const TARGET_MAX: u64 = 20;

/// Appends the record of a message to `out`, whose end is the place `at`; says how many units it takes.
pub(super) fn push_message(
    out: &mut Vec<u8>,
    at: At,
    kind: Kind,
    message: &Message,
    targets: &[(QueueId, Seq)],
    grouped: bool,
) -> u32 {
    let start = out.len();
    let (address, properties) = (message.address(), message.raw_properties());
    out.resize(start + HEAD_LEN, 0);
    push_targets(out, targets, (address.len() + properties.len()) as u64 + message.body_len());
    let targets_len = (out.len() - start - HEAD_LEN) as u32;
    out.extend_from_slice(address);
    out.extend_from_slice(properties);
    match message.body() {
        Body::Inline(bytes) => out.extend_from_slice(bytes),
        Body::Chunks(chunks) => chunks.iter().for_each(|chunk| out.extend_from_slice(chunk)),
    }
    let head = Head {
        kind,
        marks: marks(message.marks()) | if grouped { GROUPED } else { 0 },
        address_len: address.len() as u16,
        properties_len: properties.len() as u32,
        targets_len,
        body_len: message.body_len(),
        arrived: message.arrived(),
    };
    finish(out, start, at, &head)
}

/// Appends a record of another kind.
pub(super) fn push_contents(out: &mut Vec<u8>, at: At, kind: Kind, contents: &[u8], grouped: bool) -> u32 {
    let start = out.len();
    out.resize(start + HEAD_LEN, 0);
    out.extend_from_slice(contents);
    let body_len = contents.len() as u64;
    let head = Head {
        kind,
        marks: if grouped { GROUPED } else { 0 },
        address_len: 0,
        properties_len: 0,
        targets_len: 0,
        body_len,
        arrived: Moment(0),
    };
    finish(out, start, at, &head)
}

/// Appends a whole record of a message again, with other targets and at another place, as a part of a group.
pub(super) fn push_moved(
    out: &mut Vec<u8>,
    at: At,
    record: &[u8],
    targets: &[(QueueId, Seq)],
) -> Option<u32> {
    let head = Head::parse(record)?;
    let rest = record.get(HEAD_LEN + head.targets_len as usize..head.len() as usize)?;
    let start = out.len();
    out.resize(start + HEAD_LEN, 0);
    push_targets(out, targets, rest.len() as u64);
    let targets_len = (out.len() - start - HEAD_LEN) as u32;
    out.extend_from_slice(rest);
    Some(finish(out, start, at, &Head { targets_len, marks: head.marks | GROUPED, ..head }))
}

fn finish(out: &mut Vec<u8>, start: usize, at: At, head: &Head) -> u32 {
    head.write(&mut out[start..start + HEAD_LEN]);
    let checksum = at.checksum(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
    let units = (out.len() - start).div_ceil(UNIT);
    out.resize(start + units * UNIT, 0);
    units as u32
}

/// A whole record that is what was written at that place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) head: Head,
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record at the beginning of `bytes`; nothing if it does not end there, or is not what was written.
    pub(super) fn parse(bytes: &'a [u8], at: At) -> Option<Record<'a>> {
        let head = Head::parse(bytes)?;
        let bytes = bytes.get(..usize::try_from(head.len()).ok()?)?;
        let checksum = u32::from_le_bytes(*bytes.first_chunk()?);
        (at.checksum(&bytes[4..]) == checksum).then_some(Record { head, bytes })
    }

    /// What a record that is no message holds.
    pub(super) fn contents(&self) -> &'a [u8] {
        &self.bytes[self.bytes.len() - self.head.body_len as usize..]
    }

    /// The queues of a message; nothing if they are malformed.
    pub(super) fn targets(&self) -> Option<Targets> {
        take_targets(&mut self.bytes.get(HEAD_LEN..HEAD_LEN + self.head.targets_len as usize)?)
    }

    /// The message; nothing if its address or its properties are malformed.
    pub(super) fn message(&self, builder: &mut MessageBuilder) -> Option<Message> {
        let rest = self.bytes.get(HEAD_LEN + self.head.targets_len as usize..)?;
        let (address, rest) = rest.split_at_checked(self.head.address_len.into())?;
        let (properties, body) = rest.split_at_checked(self.head.properties_len as usize)?;
        if !is_address(address) {
            return None;
        }
        builder.address(address);
        builder.header(properties, self.head.body_len).ok()?;
        if self.head.marks & DIED != 0 {
            builder.mark_died();
        }
        if self.head.marks & HAS_COPIES != 0 {
            builder.mark_copies(self.head.marks & HAS_BCC != 0);
        }
        builder.push(Chunk::Borrowed(body));
        Some(builder.finish(self.head.arrived))
    }
}

/// Appends how many targets there are, then each as a step from the one before; zeros, if without them the
/// record had fewer units than targets.
fn push_targets(out: &mut Vec<u8>, targets: &[(QueueId, Seq)], rest_len: u64) {
    let start = out.len();
    varint::push(out, targets.len() as u64);
    let mut before = (0, 0);
    for (queue, seq) in targets {
        varint::push_step(out, before.0, queue.0);
        varint::push_step(out, before.1, seq.0);
        before = (queue.0, seq.0);
    }
    let wanted = (UNIT * targets.len()).saturating_sub(rest_len as usize);
    if out.len() - start < wanted {
        out.resize(start + wanted, 0);
    }
}

fn take_targets(bytes: &mut &[u8]) -> Option<Targets> {
    let count = varint::take(bytes)?;
    let mut targets = Targets::new();
    let mut before = (0, 0);
    for _ in 0..count {
        before = (varint::take_step(bytes, before.0)?, varint::take_step(bytes, before.1)?);
        targets.push((QueueId(before.0), Seq(before.1)));
    }
    Some(targets)
}

/// Whether these are two short strings and nothing else.
fn is_address(bytes: &[u8]) -> bool {
    let short_string = |bytes: &[u8]| -> Option<usize> { Some(1 + usize::from(*bytes.first()?)) };
    let exchange = short_string(bytes);
    let key = exchange.and_then(|len| short_string(bytes.get(len..)?));
    exchange.zip(key).is_some_and(|(exchange, key)| exchange + key == bytes.len())
}
