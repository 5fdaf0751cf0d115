//! A message from the frames of its publisher.

use super::{Facts, INLINE_BODY_MAX, Marks, Message};
use crate::Moment;
use crate::properties::{Malformed, Properties};
use bytes::{Bytes, BytesMut};
use std::sync::atomic::AtomicU64;
use triomphe::ThinArc;

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
            ..Marks::default()
        };
        self.bytes.extend_from_slice(properties);
        self.properties_len = properties.len() as u32;
        self.body_len = body_len;
        self.missing = body_len;
        Ok(parsed)
    }

    /// Marks the message as one that goes to the keys of its `CC` and `BCC` headers too, and whether there is
    /// a `BCC`; behind [`header`](Self::header).
    pub fn mark_copies(&mut self, has_bcc: bool) {
        (self.marks.has_copies, self.marks.has_bcc) = (true, has_bcc);
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
        let chunks =
            (!self.chunks.is_empty()).then(|| ThinArc::from_header_and_iter((), self.chunks.drain(..)));
        let facts = Facts {
            address_len: self.address_len,
            marks: self.marks.into(),
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
    use super::super::Body;
    use super::*;

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
