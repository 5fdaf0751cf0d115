//! One record on disk: a message, or a [`transaction`].
//!
//! ```text
//! | targets u32 | kind u8 | address u16 | properties u32 | arrived u64 | body u64 | … |
//! |   the head: the number of targets, bytes, and what the bytes do not say       |
//!
//! | … | queue u64, seq u64 … | address | properties | body |
//! ```
//!
//! Numbers are little-endian. Address and properties are the bytes of the message, so that nothing is parsed
//! to write it. The kind of a message is its marks; a transaction has a kind of its own. The checksum is that
//! of the chunk.

use super::transaction::{self, Place};
use smallvec::SmallVec;
use vhosts::message::{Body, Chunk, Marks};
use vhosts::{Message, MessageBuilder, Moment, QueueId, Seq};

/// The queues of a message, with its place in each.
pub type Targets = SmallVec<[(QueueId, Seq); 1]>;

const HEAD_LEN: usize = 27;
/// Bytes of a target.
pub(super) const TARGET_LEN: usize = 16;

/// Kinds of a message: the marks that its properties do not say.
const DIED: u8 = 1;
const HAS_COPIES: u8 = 1 << 1;
const HAS_BCC: u8 = 1 << 2;
/// The kind of a transaction.
pub(super) const TRANSACTION: u8 = 1 << 7;

fn kind(marks: Marks) -> u8 {
    let bit = |is_marked, bit| if is_marked { bit } else { 0 };
    bit(marks.died, DIED) | bit(marks.has_copies, HAS_COPIES) | bit(marks.has_bcc, HAS_BCC)
}

fn mark(builder: &mut MessageBuilder, kind: u8) {
    if kind & DIED != 0 {
        builder.mark_died();
    }
    if kind & HAS_COPIES != 0 {
        builder.mark_copies(kind & HAS_BCC != 0);
    }
}

/// Bytes of a record.
pub(super) fn len(message: &Message, targets: &Targets) -> u64 {
    (HEAD_LEN + targets.len() * TARGET_LEN + message.address().len() + message.raw_properties().len()) as u64
        + message.body_len()
}

/// Hands the bytes of a record to `put`, piece by piece.
pub(super) fn encode<E>(
    message: &Message,
    targets: &Targets,
    mut put: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let (address, properties) = (message.address(), message.raw_properties());
    let mut head = [0; HEAD_LEN];
    head[..4].copy_from_slice(&(targets.len() as u32).to_le_bytes());
    head[4] = kind(message.marks());
    head[5..7].copy_from_slice(&(address.len() as u16).to_le_bytes());
    head[7..11].copy_from_slice(&(properties.len() as u32).to_le_bytes());
    head[11..19].copy_from_slice(&message.arrived().0.to_le_bytes());
    head[19..].copy_from_slice(&message.body_len().to_le_bytes());
    put(&head)?;
    for (queue, seq) in targets {
        let mut target = [0; TARGET_LEN];
        target[..8].copy_from_slice(&queue.0.to_le_bytes());
        target[8..].copy_from_slice(&seq.0.to_le_bytes());
        put(&target)?;
    }
    put(address)?;
    put(properties)?;
    match message.body() {
        Body::Inline(bytes) => put(bytes),
        Body::Chunks(chunks) => chunks.iter().try_for_each(|chunk| put(chunk)),
    }
}

/// What is in a record.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) messages: SmallVec<[(Message, Targets); 1]>,
    /// What a transaction settles.
    pub(super) settles: Vec<Place>,
}

/// The beginning of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Message(MessageHead),
    Transaction(transaction::Head),
}

impl Head {
    /// The head at the beginning of `bytes`; nothing if there are too few.
    pub(super) fn parse(bytes: &[u8]) -> Option<Head> {
        if bytes.get(4)? & TRANSACTION != 0 {
            transaction::Head::parse(bytes).map(Head::Transaction)
        } else {
            MessageHead::parse(bytes).map(Head::Message)
        }
    }

    pub(super) fn targets(&self) -> u32 {
        match self {
            Head::Message(head) => head.targets,
            Head::Transaction(head) => head.targets,
        }
    }

    /// Bytes of the whole record; saturates for a length that no record has.
    pub(super) fn record_len(&self) -> u64 {
        match self {
            Head::Message(head) => head.record_len(),
            Head::Transaction(head) => head.record_len(),
        }
    }

    /// What is in a whole record; nothing if it is malformed.
    pub(super) fn decode(&self, record: &[u8], builder: &mut MessageBuilder) -> Option<Contents> {
        match self {
            Head::Message(head) => {
                let messages = SmallVec::from_buf([head.decode(record, builder)?]);
                Some(Contents { messages, settles: Vec::new() })
            }
            Head::Transaction(head) => head.decode(record, builder),
        }
    }
}

/// The beginning of the record of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MessageHead {
    targets: u32,
    kind: u8,
    address_len: u16,
    properties_len: u32,
    arrived: Moment,
    body_len: u64,
}

impl MessageHead {
    /// The head at the beginning of `bytes`; nothing if there are too few.
    pub(super) fn parse(bytes: &[u8]) -> Option<MessageHead> {
        let (targets, rest) = bytes.split_first_chunk()?;
        let (kind, rest) = rest.split_first()?;
        let (address_len, rest) = rest.split_first_chunk()?;
        let (properties_len, rest) = rest.split_first_chunk()?;
        let (arrived, rest) = rest.split_first_chunk()?;
        let (body_len, _) = rest.split_first_chunk()?;
        Some(MessageHead {
            targets: u32::from_le_bytes(*targets),
            kind: *kind,
            arrived: Moment(u64::from_le_bytes(*arrived)),
            address_len: u16::from_le_bytes(*address_len),
            properties_len: u32::from_le_bytes(*properties_len),
            body_len: u64::from_le_bytes(*body_len),
        })
    }

    /// Bytes of the whole record; saturates for a length that no record has.
    pub(super) fn record_len(&self) -> u64 {
        let before_body = HEAD_LEN as u64
            + u64::from(self.targets) * TARGET_LEN as u64
            + u64::from(self.address_len)
            + u64::from(self.properties_len);
        before_body.saturating_add(self.body_len)
    }

    /// The message of a whole record; nothing if its address or its properties are malformed.
    pub(super) fn decode(&self, record: &[u8], builder: &mut MessageBuilder) -> Option<(Message, Targets)> {
        let (targets, rest) = record.get(HEAD_LEN..)?.split_at_checked(self.targets as usize * TARGET_LEN)?;
        let (address, rest) = rest.split_at_checked(self.address_len.into())?;
        let (properties, body) = rest.split_at_checked(self.properties_len as usize)?;
        if !is_address(address) || body.len() as u64 != self.body_len {
            return None;
        }
        builder.address(address);
        builder.header(properties, self.body_len).ok()?;
        mark(builder, self.kind);
        builder.push(Chunk::Borrowed(body));
        Some((builder.finish(self.arrived), targets.as_chunks().0.iter().map(target).collect()))
    }
}

fn target(bytes: &[u8; TARGET_LEN]) -> (QueueId, Seq) {
    let (words, _) = bytes.as_chunks();
    (QueueId(u64::from_le_bytes(words[0])), Seq(u64::from_le_bytes(words[1])))
}

/// Whether these are two short strings and nothing else.
fn is_address(bytes: &[u8]) -> bool {
    let short_string = |bytes: &[u8]| -> Option<usize> { Some(1 + usize::from(*bytes.first()?)) };
    let exchange = short_string(bytes);
    let key = exchange.and_then(|len| short_string(bytes.get(len..)?));
    exchange.zip(key).is_some_and(|(exchange, key)| exchange + key == bytes.len())
}
