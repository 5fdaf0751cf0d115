//! Frames that carry a message to a client: `basic.deliver`, `basic.get-ok` and `basic.return`, each with
//! content header and body (AMQP 0-9-1, section 4.2.6).
//!
//! The message has its address and properties in wire form, so this is copying of slices. The body is split
//! at what the peer takes in one frame.

use super::frame::{END, OVERHEAD, kind};
use super::method;
use super::output::Output;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use vhosts::Message;
use vhosts::message::Body;
use vhosts::queue::{Delivery, History};

/// Appends `basic.deliver` and its content.
pub fn deliver(
    out: &mut Output,
    channel: u16,
    consumer_tag: &str,
    delivery_tag: u64,
    delivery: &Delivery,
    frame_max: u32,
) {
    let message = &delivery.message;
    // The common delivery is small: one reservation, and the size is known without going back.
    let size = 4 + 1 + consumer_tag.len() + 9 + message.address().len();
    let open = out.open();
    open.reserve(size + message.raw_properties().len() + 64);
    open.put_u8(kind::METHOD);
    open.put_u16(channel);
    open.put_u32(size as u32);
    open.put_u32(60 << 16 | 60);
    open.put_u8(consumer_tag.len() as u8);
    open.put_slice(consumer_tag.as_bytes());
    open.put_u64(delivery_tag);
    open.put_u8(delivery.history.is_redelivered().into());
    open.put_slice(message.address());
    open.put_u8(END);
    content(out, channel, &delivery.message, delivery.history, frame_max);
}

/// Appends `basic.get-ok` and its content.
pub fn get_ok(
    out: &mut Output,
    channel: u16,
    delivery_tag: u64,
    delivery: &Delivery,
    message_count: u32,
    frame_max: u32,
) {
    method::frame(out.open(), channel, |payload| {
        payload.put_u32(60 << 16 | 71);
        payload.put_u64(delivery_tag);
        payload.put_u8(delivery.history.is_redelivered().into());
        payload.put_slice(delivery.message.address());
        payload.put_u32(message_count);
    });
    content(out, channel, &delivery.message, delivery.history, frame_max);
}

/// Appends `basic.return` with the one reason that is sent, and its content.
pub fn return_unroutable(out: &mut Output, channel: u16, message: &Message, frame_max: u32) {
    const NO_ROUTE: &[u8] = b"NO_ROUTE";
    method::frame(out.open(), channel, |payload| {
        payload.put_u32(60 << 16 | 50);
        payload.put_u16(312);
        payload.put_u8(NO_ROUTE.len() as u8);
        payload.put_slice(NO_ROUTE);
        payload.put_slice(message.address());
    });
    content(out, channel, message, History::default(), frame_max);
}

/// The content, with the properties that a client is shown.
fn content(out: &mut Output, channel: u16, message: &Message, history: History, frame_max: u32) {
    let properties = message.delivered_properties(history);
    let open = out.open();
    frame_head(open, kind::HEADER, channel, 12 + properties.len());
    open.put_u32(60 << 16);
    open.put_u64(message.body_len());
    open.put_slice(&properties);
    open.put_u8(END);
    let room = frame_max as usize - OVERHEAD;
    match message.body() {
        Body::Inline(body) => body.chunks(room).for_each(|piece| {
            let open = out.open();
            frame_head(open, kind::BODY, channel, piece.len());
            open.put_slice(piece);
            open.put_u8(END);
        }),
        Body::Chunks(chunks) => shared_body(out, channel, chunks, message.body_len() as usize, room),
    }
}

/// Frames of `room` octets over pieces of any length.
fn shared_body(out: &mut Output, channel: u16, chunks: &[Bytes], body_len: usize, room: usize) {
    let mut chunks = chunks.iter().cloned();
    let mut piece = Bytes::new();
    let mut left = body_len;
    while left > 0 {
        let size = left.min(room);
        frame_head(out.open(), kind::BODY, channel, size);
        let mut missing = size;
        while missing > 0 {
            if piece.is_empty() {
                let Some(next) = chunks.next() else { return };
                piece = next;
            }
            let step = missing.min(piece.len());
            out.share(piece.slice(..step));
            piece.advance(step);
            missing -= step;
        }
        out.open().put_u8(END);
        left -= size;
    }
}

fn frame_head(out: &mut BytesMut, kind: u8, channel: u16, size: usize) {
    out.put_u8(kind);
    out.put_u16(channel);
    out.put_u32(size as u32);
}
