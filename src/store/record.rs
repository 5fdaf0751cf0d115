//! One message on disk.
//!
//! ```text
//! | targets u32 | address u16 | properties u32 | body u64 | queue u64, seq u64 … | address | properties | body |
//! |      the head: the number of targets, and bytes      |
//! ```
//!
//! Numbers are little-endian. Address and properties are the bytes of the message, so that nothing is parsed
//! to write it. The checksum is that of the chunk.

use smallvec::SmallVec;
use vhosts::message::{Body, Chunk};
use vhosts::{Message, MessageBuilder, QueueId, Seq};

/// The queues of a message, with its place in each.
pub type Targets = SmallVec<[(QueueId, Seq); 1]>;

const HEAD_LEN: usize = 18;
const TARGET_LEN: usize = 16;

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
    head[4..6].copy_from_slice(&(address.len() as u16).to_le_bytes());
    head[6..10].copy_from_slice(&(properties.len() as u32).to_le_bytes());
    head[10..].copy_from_slice(&message.body_len().to_le_bytes());
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

/// The beginning of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) targets: u32,
    address_len: u16,
    properties_len: u32,
    body_len: u64,
}

impl Head {
    /// The head at the beginning of `bytes`; nothing if there are too few.
    pub(super) fn parse(bytes: &[u8]) -> Option<Head> {
        let (targets, rest) = bytes.split_first_chunk()?;
        let (address_len, rest) = rest.split_first_chunk()?;
        let (properties_len, rest) = rest.split_first_chunk()?;
        let (body_len, _) = rest.split_first_chunk()?;
        Some(Head {
            targets: u32::from_le_bytes(*targets),
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
        builder.push(Chunk::Borrowed(body));
        Some((builder.finish(vhosts::Moment(0)), targets.as_chunks().0.iter().map(target).collect()))
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
