//! A message: immutable, shared by every queue that it went to, in one allocation.
//!
//! The bytes are kept in the order in which they leave again, so that a delivery is a copy of slices:
//!
//! ```text
//! | exchange shortstr | routing key shortstr | property flags and list | body, when small |
//! ```
//!
//! A body over [`INLINE_BODY_MAX`] stays in the buffers that it was read into and is never copied. A small
//! one is copied once, on purpose: a 16-byte body that kept its read buffer alive would cost a thousand
//! times its size while it waits in a queue, and counting its references costs more than copying it.
//!
//! Invariant: the property list was walked once, so [`Message::properties`] cannot fail.

use crate::Moment;
use crate::properties::{Malformed, Properties};
use bytes::{BufMut, Bytes, BytesMut};
use std::sync::atomic::AtomicU64;
use triomphe::ThinArc;

/// Bodies up to this many bytes are stored inside the message's own allocation.
pub const INLINE_BODY_MAX: usize = 32 * 1024;

/// A published message. Cloning it copies a pointer.
#[derive(Clone, Debug)]
pub struct Message(ThinArc<Facts, u8>);

#[derive(Debug)]
struct Facts {
    /// Bytes of exchange and routing key together, with their length octets.
    address_len: u16,
    marks: Marks,
    properties_len: u32,
    body_len: u64,
    arrived: Moment,
    /// The body when it is not inline.
    chunks: Option<Box<[Bytes]>>,
    store_slot: AtomicU64,
}

/// What is known of a message without looking into its properties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Asks to survive a restart (delivery mode 2).
    pub persistent: bool,
    /// Has an `expiration`.
    pub expires: bool,
    /// Has a `priority`, and which.
    pub priority: Option<u8>,
    /// Has a `BCC` header, which nobody may see.
    pub has_bcc: bool,
    /// Was dead-lettered: its `x-death` header was written by this broker, not by a client.
    pub died: bool,
}

impl Message {
    /// A message from its parts, for tests and tools; the wire uses a [`MessageBuilder`].
    ///
    /// # Errors
    /// [`Malformed`] when `properties` is not a property list.
    ///
    /// # Panics
    /// When `exchange` or `routing_key` is longer than 255 bytes.
    pub fn new(
        exchange: &str,
        routing_key: &[u8],
        properties: &[u8],
        body: &[u8],
    ) -> Result<Message, Malformed> {
        let mut address = Vec::with_capacity(2 + exchange.len() + routing_key.len());
        for part in [exchange.as_bytes(), routing_key] {
            assert!(part.len() <= 255, "a short string has at most 255 bytes");
            address.push(part.len() as u8);
            address.extend_from_slice(part);
        }
        let mut builder = MessageBuilder::default();
        builder.address(&address);
        builder.header(properties, body.len() as u64)?;
        builder.push(Chunk::Borrowed(body));
        Ok(builder.finish(Moment(0)))
    }

    /// Exchange and routing key as two short strings, as `basic.publish` had them and `basic.deliver`,
    /// `basic.get-ok` and `basic.return` want them.
    #[must_use]
    pub fn address(&self) -> &[u8] {
        &self.0.slice[..self.0.header.header.address_len.into()]
    }

    /// The name of the exchange that it was published to.
    #[must_use]
    pub fn exchange(&self) -> &[u8] {
        let address = self.address();
        &address[1..=address[0].into()]
    }

    /// The routing key that it was published with.
    #[must_use]
    pub fn routing_key(&self) -> &[u8] {
        let address = self.address();
        &address[usize::from(address[0]) + 2..]
    }

    /// Property flags and list, as in a content header behind the body size.
    #[must_use]
    pub fn raw_properties(&self) -> &[u8] {
        let facts = &self.0.header.header;
        &self.0.slice[facts.address_len.into()..][..facts.properties_len as usize]
    }

    /// The properties that the broker acts on.
    #[must_use]
    pub fn properties(&self) -> Properties<'_> {
        Properties::parse(self.raw_properties()).unwrap_or_default()
    }

    /// Whether it asks to survive a restart (delivery mode 2).
    #[must_use]
    pub fn persistent(&self) -> bool {
        self.marks().persistent
    }

    /// What is known of it without looking into its properties.
    #[must_use]
    pub fn marks(&self) -> Marks {
        self.0.header.header.marks
    }

    /// When it was published, or dead-lettered.
    #[must_use]
    pub fn arrived(&self) -> Moment {
        self.0.header.header.arrived
    }

    /// Bytes of the body.
    #[must_use]
    pub fn body_len(&self) -> u64 {
        self.0.header.header.body_len
    }

    /// The body in one or more pieces; an empty body may be one empty piece.
    #[must_use]
    pub fn body(&self) -> Body<'_> {
        let facts = &self.0.header.header;
        match &facts.chunks {
            Some(chunks) => Body::Chunks(chunks),
            None => Body::Inline(&self.0.slice[facts.address_len as usize + facts.properties_len as usize..]),
        }
    }

    /// The body in one piece, copied if it is in several.
    #[must_use]
    pub fn body_bytes(&self) -> Bytes {
        match self.body() {
            Body::Inline(bytes) => Bytes::copy_from_slice(bytes),
            Body::Chunks([only]) => only.clone(),
            Body::Chunks(chunks) => {
                let mut whole = BytesMut::with_capacity(self.body_len() as usize);
                chunks.iter().for_each(|chunk| whole.put_slice(chunk));
                whole.freeze()
            }
        }
    }

    /// A number that belongs to the store: where it put the message. 0 until then.
    #[must_use]
    pub fn store_slot(&self) -> &AtomicU64 {
        &self.0.header.header.store_slot
    }
}

/// A body where it lies.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// In the message's own allocation.
    Inline(&'a [u8]),
    /// In the buffers that it was read into.
    Chunks(&'a [Bytes]),
}

/// A piece of a body as it arrives.
#[derive(Debug)]
pub enum Chunk<'a> {
    /// Will be copied.
    Borrowed(&'a [u8]),
    /// Will be kept without copying, if the whole body is over [`INLINE_BODY_MAX`].
    Shared(Bytes),
}

impl Chunk<'_> {
    /// Bytes of this piece.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn as_slice(&self) -> &[u8] {
        match self {
            Chunk::Borrowed(bytes) => bytes,
            Chunk::Shared(bytes) => bytes,
        }
    }
}

/// Puts a message together from frames. Made once and used again for every message of a channel.
#[derive(Debug, Default)]
pub struct MessageBuilder {
    /// Address, properties and an inline body.
    bytes: Vec<u8>,
    address_len: u16,
    properties_len: u32,
    marks: Marks,
    body_len: u64,
    /// What is still to come of the body.
    missing: u64,
    chunks: Vec<Bytes>,
    /// Borrowed pieces of a large body, until a shared one or the end.
    copied: BytesMut,
}

impl MessageBuilder {
    /// Begins a message, forgetting an unfinished one. `address` is exchange and routing key as short strings.
    pub fn address(&mut self, address: &[u8]) {
        self.bytes.clear();
        self.chunks.clear();
        self.copied.clear();
        self.bytes.extend_from_slice(address);
        self.address_len = address.len() as u16;
        (self.properties_len, self.body_len, self.missing) = (0, 0, 0);
    }

    /// Adds the content header, once, behind the address: property flags and list, and the size of the body.
    ///
    /// # Errors
    /// [`Malformed`] when `properties` is not a property list.
    pub fn header<'a>(&mut self, properties: &'a [u8], body_len: u64) -> Result<Properties<'a>, Malformed> {
        let parsed = Properties::parse(properties)?;
        self.marks = Marks {
            persistent: parsed.persistent(),
            expires: parsed.expiration.is_some(),
            priority: parsed.priority,
            has_bcc: false,
            died: false,
        };
        self.bytes.extend_from_slice(properties);
        self.properties_len = properties.len() as u32;
        self.body_len = body_len;
        self.missing = body_len;
        Ok(parsed)
    }

    /// Marks the message as one that has a `BCC` header; behind [`header`](Self::header).
    pub fn mark_bcc(&mut self) {
        self.marks.has_bcc = true;
    }

    /// Marks the message as one that was dead-lettered; behind [`header`](Self::header).
    pub fn mark_died(&mut self) {
        self.marks.died = true;
    }

    /// Bytes of the body that have not come yet.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Adds a piece of the body.
    ///
    /// # Panics
    /// When it is longer than [`missing`](Self::missing).
    pub fn push(&mut self, chunk: Chunk<'_>) {
        let len = chunk.len() as u64;
        assert!(len <= self.missing, "a body longer than announced");
        self.missing -= len;
        if self.body_len <= INLINE_BODY_MAX as u64 {
            return self.bytes.extend_from_slice(chunk.as_slice());
        }
        match chunk {
            Chunk::Borrowed(bytes) => self.copied.extend_from_slice(bytes),
            Chunk::Shared(bytes) => {
                self.seal_copied();
                self.chunks.push(bytes);
            }
        }
    }

    /// The message, published at that time.
    ///
    /// # Panics
    /// When a part of the body is [`missing`](Self::missing).
    pub fn finish(&mut self, arrived: Moment) -> Message {
        assert!(self.missing == 0, "a body shorter than announced");
        self.seal_copied();
        let chunks = (!self.chunks.is_empty()).then(|| self.chunks.drain(..).collect());
        let facts = Facts {
            address_len: self.address_len,
            marks: self.marks,
            properties_len: self.properties_len,
            body_len: self.body_len,
            arrived,
            chunks,
            store_slot: AtomicU64::new(0),
        };
        Message(ThinArc::from_header_and_slice(facts, &self.bytes))
    }

    fn seal_copied(&mut self) {
        if !self.copied.is_empty() {
            self.chunks.push(self.copied.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_as_they_went_in() {
        let message = Message::new("ex", b"a.b", &[0x10, 0, 2], b"hello").unwrap();
        assert_eq!(message.exchange(), b"ex");
        assert_eq!(message.routing_key(), b"a.b");
        assert_eq!(message.address(), b"\x02ex\x03a.b");
        assert_eq!(message.raw_properties(), [0x10, 0, 2]);
        assert!(message.persistent());
        assert_eq!(&message.body_bytes()[..], b"hello");
    }

    #[test]
    fn large_bodies_keep_their_buffers() {
        let buffer = Bytes::from(vec![7; INLINE_BODY_MAX]);
        let mut builder = MessageBuilder::default();
        builder.address(b"\0\0");
        builder.header(&[0, 0], INLINE_BODY_MAX as u64 + 3).unwrap();
        builder.push(Chunk::Borrowed(b"a"));
        builder.push(Chunk::Borrowed(b"bc"));
        builder.push(Chunk::Shared(buffer.clone()));
        let message = builder.finish(Moment(0));
        let Body::Chunks([copied, shared]) = message.body() else { panic!("{:?}", message.body()) };
        assert_eq!(&copied[..], b"abc");
        assert_eq!(shared.as_ptr(), buffer.as_ptr());
        assert_eq!(message.body_bytes().len(), INLINE_BODY_MAX + 3);
    }

    #[test]
    fn a_builder_forgets_what_was_unfinished() {
        let mut builder = MessageBuilder::default();
        builder.address(b"\0\0");
        builder.header(&[0, 0], 5).unwrap();
        builder.push(Chunk::Borrowed(b"ab"));
        builder.address(b"\0\x01k");
        builder.header(&[0, 0], 0).unwrap();
        let message = builder.finish(Moment(0));
        assert_eq!(message.body_len(), 0);
        assert_eq!(message.routing_key(), b"k");
    }
}
