//! Cutting frames from what a peer sends (AMQP 0-9-1, section 4.2.3).
//!
//! ```text
//!  0      1         3             7                  size+7      size+8
//! | type | channel |    size     |     payload      | frame-end |
//!                                                     0xCE
//! ```
//!
//! The decoder owns the receive buffer. Small payloads are borrowed from it; a large body is cut out of it
//! as shared [`Bytes`](bytes::Bytes), without copying, and handed out piece by piece as it arrives, so that
//! no part of it is moved to make room for the rest. Size and type are checked as soon as the seven bytes of
//! the head are there, so no peer can make the buffer grow beyond one frame.

use bytes::{Buf, BytesMut};
use vhosts::message::{Chunk, INLINE_BODY_MAX};

/// Octets of a frame beside its payload.
pub const OVERHEAD: usize = 8;
/// The octet that ends each frame.
pub const END: u8 = 0xCE;
/// The smallest frame that every peer must take; RabbitMQ up to 4.0 and many clients use it.
pub const MIN_FRAME_MAX: u32 = 4096;

/// Frame type octets.
pub mod kind {
    /// A method.
    pub const METHOD: u8 = 1;
    /// A content header.
    pub const HEADER: u8 = 2;
    /// A piece of a content body.
    pub const BODY: u8 = 3;
    /// A sign of life.
    pub const HEARTBEAT: u8 = 8;
}

/// A frame as it came.
#[derive(Debug)]
pub enum Frame<'a> {
    /// Class id, method id and arguments.
    Method(u16, &'a [u8]),
    /// Class id, weight, body size, property flags and list.
    Header(u16, &'a [u8]),
    /// A piece of a body.
    Body {
        /// The channel.
        channel: u16,
        /// The octets.
        chunk: Chunk<'a>,
        /// Octets of the same frame that are to come.
        left: usize,
    },
    /// A sign of life.
    Heartbeat(u16, &'a [u8]),
}

/// Bytes that are not a frame. The connection can not go on: where the next frame begins is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Larger than agreed.
    TooLarge {
        /// Type octet.
        kind: u8,
        /// Announced payload octets.
        size: usize,
        /// Payload octets that fit a frame of the agreed size.
        max: usize,
    },
    /// Another octet where the frame-end should be.
    BadEnd {
        /// Type octet.
        kind: u8,
        /// The payload, as far as it is shown.
        payload: Vec<u8>,
        /// What was there.
        end: u8,
    },
    /// No such frame type, or a method frame without a method.
    Unknown {
        /// Type octet.
        kind: u8,
        /// The payload, as far as it is shown.
        payload: Vec<u8>,
    },
}

/// A large body frame is handed out in pieces of at least this, but for its last.
const PIECE_MIN: usize = 4096;
/// Payload octets that an error keeps, to be shown.
const SHOWN: usize = 17;

/// Cuts frames from a byte stream.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// Octets at the front of the buffer that were handed out already.
    used: usize,
    frame_max: usize,
    /// The channel of a body frame that was handed out in part, and what is to come of it.
    partial: Option<(u16, usize)>,
}

impl Decoder {
    /// A decoder for frames up to `frame_max` octets.
    #[must_use]
    pub fn new(frame_max: u32) -> Decoder {
        Decoder { buffer: BytesMut::new(), used: 0, frame_max: frame_max as usize, partial: None }
    }

    /// Changes the limit, after both sides agreed on one.
    pub fn limit(&mut self, frame_max: u32) {
        self.frame_max = frame_max as usize;
    }

    /// Where received bytes are appended.
    pub fn buffer(&mut self) -> &mut BytesMut {
        self.release();
        &mut self.buffer
    }

    /// The eight octets that a connection begins with, once they are there.
    pub fn protocol_header(&mut self) -> Option<[u8; 8]> {
        let header = *self.buffer.first_chunk()?;
        self.buffer.advance(8);
        Some(header)
    }

    /// The next frame, whole unless it is a large body.
    ///
    /// # Errors
    /// What is in the buffer is not a frame that was agreed on.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        if let Some((channel, left)) = self.partial {
            if left > 0 {
                return Ok(self.piece(channel, left));
            }
            match self.buffer.get(self.used) {
                None => return Ok(None),
                Some(&END) => self.used += 1,
                Some(&end) => return Err(FrameError::BadEnd { kind: kind::BODY, payload: Vec::new(), end }),
            }
            self.partial = None;
        }
        let waiting = &self.buffer[self.used..];
        let Some(&[kind, c1, c0, s3, s2, s1, s0]) = waiting.first_chunk() else { return Ok(None) };
        let channel = u16::from_be_bytes([c1, c0]);
        let size = u32::from_be_bytes([s3, s2, s1, s0]) as usize;
        // As RabbitMQ does, the limit is held against the payload, not against the whole frame.
        if size > self.frame_max {
            return Err(FrameError::TooLarge { kind, size, max: self.frame_max - OVERHEAD });
        }
        if kind == kind::BODY && size > INLINE_BODY_MAX {
            self.used += 7;
            return Ok(self.piece(channel, size));
        }
        let Some(&end) = waiting.get(7 + size) else { return Ok(None) };
        let payload = &waiting[7..7 + size];
        let shown = || payload[..size.min(SHOWN)].to_vec();
        if end != END {
            return Err(FrameError::BadEnd { kind, payload: shown(), end });
        }
        if !matches!(kind, kind::METHOD | kind::HEADER | kind::BODY | kind::HEARTBEAT)
            || (kind == kind::METHOD && size < 4)
        {
            return Err(FrameError::Unknown { kind, payload: shown() });
        }
        Ok(Some(self.take(kind, channel, size)))
    }

    fn take(&mut self, kind: u8, channel: u16, size: usize) -> Frame<'_> {
        let start = self.used + 7;
        self.used = start + size + 1;
        let payload = &self.buffer[start..start + size];
        match kind {
            kind::METHOD => Frame::Method(channel, payload),
            kind::HEADER => Frame::Header(channel, payload),
            kind::BODY => Frame::Body { channel, chunk: Chunk::Borrowed(payload), left: 0 },
            _ => Frame::Heartbeat(channel, payload),
        }
    }

    /// What is there of a body frame with `left` octets to come.
    fn piece(&mut self, channel: u16, left: usize) -> Option<Frame<'_>> {
        self.partial = Some((channel, left));
        self.release();
        let size = left.min(self.buffer.len());
        if size < left.min(PIECE_MIN) {
            return None;
        }
        let left = left - size;
        self.partial = Some((channel, left));
        Some(Frame::Body { channel, chunk: Chunk::Shared(self.buffer.split_to(size).freeze()), left })
    }

    fn release(&mut self) {
        self.buffer.advance(self.used);
        self.used = 0;
    }
}
