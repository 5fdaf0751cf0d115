//! One record: a message, or a transaction, which is several messages and what is settled with them.
//!
//! ```text
//! | targets u32 | kind u8 | address u16 | properties u32 | arrived u64 | body u64 |
//! |                      queue u64, seq u64 … | address | properties | body      |
//!
//! | targets u32 | kind u8 | settled u32 | bytes of messages u64 |
//! |     records of messages … | group u64, ordinal u32 …        |
//! ```
//!
//! Numbers are little-endian. The kind of a message is its marks; a transaction has a kind of its own.

use super::GroupNumber;
use vhosts::message::Chunk;
use vhosts::{Message, MessageBuilder, Moment, QueueId, Seq};

const MESSAGE_HEAD_LEN: u64 = 27;
const TARGET_LEN: u64 = 16;
const TRANSACTION_HEAD_LEN: u64 = 17;
const PLACE_LEN: u64 = 12;

/// Kinds of a message: the marks that its properties do not say.
const DIED: u8 = 1;
const HAS_COPIES: u8 = 1 << 1;
const HAS_BCC: u8 = 1 << 2;
/// The kind of a transaction.
const TRANSACTION: u8 = 1 << 7;

/// What is in a record.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) messages: Vec<(Message, Vec<(QueueId, Seq)>)>,
    /// What a transaction settles: the groups and the ordinals.
    pub(super) settles: Vec<(GroupNumber, u32)>,
}

/// How much a record takes.
pub(super) struct Head {
    /// Ordinals.
    pub(super) targets: u32,
    /// Bytes of it all; saturates for a length that no record has.
    len: u64,
}

impl Head {
    /// The record at the beginning of `bytes`; nothing if it does not end there.
    pub(super) fn of_whole_record(bytes: &[u8]) -> Option<(Head, &[u8])> {
        let head = Head::parse(Fields(bytes))?;
        let record = Fields(bytes).bytes(head.len)?;
        Some((head, record))
    }

    fn parse(mut fields: Fields<'_>) -> Option<Head> {
        let (targets, kind) = (fields.u32()?, fields.u8()?);
        if kind == TRANSACTION {
            let (settles, messages_len) = (u64::from(fields.u32()?), fields.u64()?);
            // More do not fit, and no malformed record may take more ordinals than it has bytes for.
            let targets_max = u32::try_from(messages_len / TARGET_LEN).unwrap_or(u32::MAX);
            let len = (TRANSACTION_HEAD_LEN + settles * PLACE_LEN).saturating_add(messages_len);
            return Some(Head { targets: targets.min(targets_max), len });
        }
        let (address_len, properties_len) = (u64::from(fields.u16()?), u64::from(fields.u32()?));
        let (_arrived, body_len) = (fields.u64()?, fields.u64()?);
        let before_body = MESSAGE_HEAD_LEN + u64::from(targets) * TARGET_LEN + address_len + properties_len;
        Some(Head { targets, len: before_body.saturating_add(body_len) })
    }
}

/// What is in a whole record; nothing if anything in it is malformed.
pub(super) fn decode(record: &[u8], builder: &mut MessageBuilder) -> Option<Contents> {
    if record.get(4) == Some(&TRANSACTION) {
        return transaction(Fields(record), builder);
    }
    Some(Contents { messages: vec![message(Fields(record), builder)?], settles: Vec::new() })
}

fn transaction(mut fields: Fields<'_>, builder: &mut MessageBuilder) -> Option<Contents> {
    let (targets, _kind, settles, messages_len) = (fields.u32()?, fields.u8()?, fields.u32()?, fields.u64()?);
    let mut rest = fields.bytes(messages_len)?;
    let mut contents = Contents::default();
    while !rest.is_empty() {
        let (_, record) = Head::of_whole_record(rest)?;
        contents.messages.push(message(Fields(record), builder)?);
        rest = &rest[record.len()..];
    }
    for _ in 0..settles {
        contents.settles.push((fields.u64()?, fields.u32()?));
    }
    let found: usize = contents.messages.iter().map(|(_, targets)| targets.len()).sum();
    (found == targets as usize).then_some(contents)
}

fn message(mut fields: Fields<'_>, builder: &mut MessageBuilder) -> Option<(Message, Vec<(QueueId, Seq)>)> {
    let (target_count, kind) = (fields.u32()?, fields.u8()?);
    let (address_len, properties_len) = (fields.u16()?, fields.u32()?);
    let (arrived, body_len) = (Moment(fields.u64()?), fields.u64()?);
    let mut target_fields = Fields(fields.bytes(u64::from(target_count) * TARGET_LEN)?);
    let mut targets = Vec::new();
    for _ in 0..target_count {
        targets.push((QueueId(target_fields.u64()?), Seq(target_fields.u64()?)));
    }
    let address = fields.bytes(address_len.into()).filter(|address| is_address(address))?;
    let properties = fields.bytes(properties_len.into())?;
    let body = fields.bytes(body_len).filter(|_| kind & TRANSACTION == 0)?;
    builder.address(address);
    builder.header(properties, body_len).ok()?;
    mark(builder, kind);
    builder.push(Chunk::Borrowed(body));
    Some((builder.finish(arrived), targets))
}

fn mark(builder: &mut MessageBuilder, kind: u8) {
    if kind & DIED != 0 {
        builder.mark_died();
    }
    if kind & HAS_COPIES != 0 {
        builder.mark_copies(kind & HAS_BCC != 0);
    }
}

/// Whether these are two short strings and nothing else.
fn is_address(bytes: &[u8]) -> bool {
    let mut fields = Fields(bytes);
    let mut short_string = || fields.u8().and_then(|len| fields.bytes(len.into()));
    short_string().and_then(|_| short_string()).is_some() && fields.0.is_empty()
}

/// Bytes that are taken from the front; nothing if there are too few.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, len: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}
