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
//! A message that is to be another one ([`Message::with_reply_to`], a dead letter) is made anew; a large body
//! is shared with the old one.
//!
//! Invariant: the property list was walked once, so [`Message::properties`] cannot fail.

mod builder;
mod marks;

pub use builder::{Chunk, MessageBuilder};
pub use marks::Marks;

use crate::Moment;
use crate::copies::{self, BCC, CC};
use crate::headers::{self, TableWriter, Value};
use crate::properties::{Edit, Malformed, Properties, push_short};
use crate::queue::History;
use bytes::{BufMut, Bytes, BytesMut};
use marks::Packed;
use std::borrow::Cow;
use std::iter;
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
    marks: Packed,
    properties_len: u32,
    body_len: u64,
    arrived: Moment,
    /// The body when it is not inline.
    chunks: Option<ThinArc<(), Bytes>>,
    store_slot: AtomicU64,
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
        let mut builder = MessageBuilder::default();
        builder.address(&address_of(exchange.as_bytes(), routing_key));
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

    /// Shows all keys that it is routed by: its routing key, then those of `CC`, then those of `BCC`.
    pub fn each_routing_key(&self, visit: &mut impl FnMut(&[u8])) {
        visit(self.routing_key());
        if self.marks().has_copies {
            self.copies(CC).chain(self.copies(BCC)).for_each(visit);
        }
    }

    /// The keys that everybody may see: its routing key, then those of `CC`.
    pub(crate) fn visible_keys(&self) -> impl Iterator<Item = &[u8]> {
        iter::once(self.routing_key()).chain(self.copies(CC))
    }

    fn copies(&self, name: &'static str) -> impl Iterator<Item = &[u8]> {
        let headers = if self.marks().has_copies { self.properties().headers } else { None };
        headers.into_iter().flat_map(move |headers| copies::keys(headers, name))
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

    /// The raw properties as a consumer sees them, to whom it comes with that history: without `BCC`, and
    /// with `x-acquired-count` and `x-delivery-count` where there is something to count.
    #[must_use]
    pub fn delivered_properties(&self, history: History) -> Cow<'_, [u8]> {
        if !self.marks().has_bcc && history.acquired == 0 {
            return Cow::Borrowed(self.raw_properties());
        }
        let counts = [(ACQUIRED_COUNT, history.acquired), (DELIVERY_COUNT, history.failed)];
        let counts = || counts.iter().filter(|(_, count)| *count > 0);
        let hidden = |name: &[u8]| name == BCC.as_bytes() || counts().any(|(count, _)| *count == name);
        let old = self.properties().headers.unwrap_or(headers::EMPTY);
        let mut new = TableWriter::keeping(old, |name| !hidden(name));
        counts().for_each(|(name, count)| new.add(name, Value::Long((*count).into())));
        Cow::Owned(self.edited(&Edit { headers: Some(&new.finish()), ..Edit::default() }))
    }

    /// The same message with another address for replies.
    ///
    /// # Panics
    /// When `reply_to` is longer than 255 bytes.
    #[must_use]
    pub fn with_reply_to(&self, reply_to: &[u8]) -> Message {
        let edit = Edit { reply_to: Some(reply_to), ..Edit::default() };
        self.rewritten(self.address(), &edit, self.marks(), self.arrived())
    }

    /// The same message on its own, with a place in the store of its own. A large body is shared.
    #[must_use]
    pub fn detached(&self) -> Message {
        self.rewritten(self.address(), &Edit::default(), self.marks(), self.arrived())
    }

    /// Another message with the same body, and with properties that differ by `edit`.
    pub(crate) fn rewritten(
        &self,
        address: &[u8],
        edit: &Edit<'_>,
        marks: Marks,
        arrived: Moment,
    ) -> Message {
        let old = &self.0.header.header;
        let properties = self.edited(edit);
        let inline = match self.body() {
            Body::Inline(bytes) => bytes,
            Body::Chunks(_) => &[],
        };
        let facts = Facts {
            address_len: address.len() as u16,
            marks: marks.into(),
            properties_len: properties.len() as u32,
            body_len: old.body_len,
            arrived,
            chunks: old.chunks.clone(),
            store_slot: AtomicU64::new(0),
        };
        Message(ThinArc::from_header_and_slice(facts, &[address, &properties, inline].concat()))
    }

    fn edited(&self, edit: &Edit<'_>) -> Vec<u8> {
        edit.apply(self.raw_properties()).unwrap_or_else(|Malformed| self.raw_properties().to_vec())
    }

    /// Whether it asks to survive a restart (delivery mode 2).
    #[must_use]
    pub fn persistent(&self) -> bool {
        self.marks().persistent
    }

    /// What is known of it without looking into its properties.
    #[must_use]
    pub fn marks(&self) -> Marks {
        self.0.header.header.marks.into()
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
            Some(chunks) => Body::Chunks(&chunks.slice),
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

const ACQUIRED_COUNT: &[u8] = b"x-acquired-count";
const DELIVERY_COUNT: &[u8] = b"x-delivery-count";

/// Exchange and routing key as two short strings.
///
/// # Panics
/// When one of them is longer than 255 bytes.
pub(crate) fn address_of(exchange: &[u8], routing_key: &[u8]) -> Vec<u8> {
    let mut address = Vec::with_capacity(2 + exchange.len() + routing_key.len());
    push_short(&mut address, exchange);
    push_short(&mut address, routing_key);
    address
}

/// A body where it lies.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// In the message's own allocation.
    Inline(&'a [u8]),
    /// In the buffers that it was read into.
    Chunks(&'a [Bytes]),
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

    /// A message with these headers and reply-to "old", marked as the wire does.
    fn with_headers(headers: &[u8], body: &[u8]) -> Message {
        let edit = Edit { headers: Some(headers), reply_to: Some(b"old"), ..Edit::default() };
        let mut builder = MessageBuilder::default();
        builder.address(&address_of(b"ex", b"rk"));
        builder.header(&edit.apply(&[0x10, 0, 2]).unwrap(), body.len() as u64).unwrap();
        let copies = copies::check_copies(headers).unwrap();
        if copies.any() {
            builder.mark_copies(copies.bcc);
        }
        builder.push(Chunk::Shared(Bytes::copy_from_slice(body)));
        builder.finish(Moment(5))
    }

    fn headers_of(fields: &[(&str, Value<'_>)]) -> Vec<u8> {
        let mut table = TableWriter::default();
        fields.iter().for_each(|(name, value)| table.add(name.as_bytes(), *value));
        table.finish()
    }

    const COPIES: [(&str, Value<'_>); 3] = [
        ("BCC", Value::Array(&[Value::Text(b"secret")])),
        ("CC", Value::Array(&[Value::Text(b"a"), Value::Long(1), Value::Text(b"b")])),
        ("h", Value::Long(1)),
    ];

    #[test]
    fn a_message_goes_to_its_key_then_cc_then_bcc() {
        let keys = |message: &Message| {
            let mut keys = Vec::new();
            message.each_routing_key(&mut |key| keys.push(String::from_utf8_lossy(key).into_owned()));
            keys
        };
        assert_eq!(keys(&with_headers(&headers_of(&COPIES), b"")), ["rk", "a", "b", "secret"]);
        assert_eq!(keys(&with_headers(&headers_of(&COPIES[2..]), b"")), ["rk"]);
    }

    #[test]
    fn no_consumer_sees_bcc() {
        // Seen on 4.3.6: {CC: ['b'], BCC: ['c'], h: 1} comes as {CC: ['b'], h: 1}, and {BCC: ['q']} as {}.
        let message = with_headers(&headers_of(&COPIES), b"");
        let seen = message.delivered_properties(History::default());
        assert_eq!(Properties::parse(&seen).unwrap().headers, Some(&headers_of(&COPIES[1..])[..]));
        let message = with_headers(&headers_of(&COPIES[..1]), b"");
        let seen = message.delivered_properties(History::default());
        assert_eq!(Properties::parse(&seen).unwrap().headers, Some(headers::EMPTY));
        assert_eq!(Properties::parse(&seen).unwrap().reply_to, Some(&b"old"[..]));
    }

    #[test]
    fn returns_are_counted_in_headers() {
        // Seen on 4.3.6, quorum queues: a nack adds x-acquired-count 1, a reject x-delivery-count 1 too.
        let sent =
            [("x-acquired-count", Value::Text(b"?")), ("x-delivery-count", Value::Text(b"?")), COPIES[2]];
        let message = with_headers(&headers_of(&sent), b"");
        let seen = |history| message.delivered_properties(history);
        assert!(matches!(seen(History::default()), Cow::Borrowed(raw) if raw == message.raw_properties()));
        let returned = [sent[1], sent[2], ("x-acquired-count", Value::Long(1))];
        let history = History::default().returned();
        assert_eq!(Properties::parse(&seen(history)).unwrap().headers, Some(&headers_of(&returned)[..]));
        let failed = [sent[2], ("x-acquired-count", Value::Long(2)), ("x-delivery-count", Value::Long(1))];
        let history = history.failed();
        assert_eq!(Properties::parse(&seen(history)).unwrap().headers, Some(&headers_of(&failed)[..]));

        let bare = Message::new("", b"", &[0, 0], b"").unwrap();
        let counted = headers_of(&[("x-acquired-count", Value::Long(1))]);
        let seen = bare.delivered_properties(History::default().returned());
        assert_eq!(seen[..], [&[0x20, 0][..], &counted].concat());
    }

    #[test]
    fn another_reply_to_changes_nothing_else() {
        for body in [&b"small"[..], &[7; INLINE_BODY_MAX + 1]] {
            let message = with_headers(&headers_of(&COPIES), body);
            let new = message.with_reply_to(b"new one");
            let changed = Properties { reply_to: Some(b"new one"), ..message.properties() };
            assert_eq!(new.properties(), changed);
            assert_eq!(new.address(), message.address());
            assert_eq!((new.marks(), new.arrived()), (message.marks(), message.arrived()));
            assert_eq!((new.body_len(), new.body_bytes()), (message.body_len(), message.body_bytes()));
            if let (Body::Chunks([new]), Body::Chunks([old])) = (new.body(), message.body()) {
                assert_eq!(new.as_ptr(), old.as_ptr());
            }
        }
    }
}
