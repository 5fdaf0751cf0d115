//! Bytes on their way to a peer.
//!
//! Small frames are written one behind the other; a large body is queued as it is and never copied. What is
//! queued leaves in order, many pieces in one vectored write.

use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;

/// What waits to be written.
#[derive(Debug, Default)]
pub struct Output {
    /// Sealed pieces, before everything in `open`.
    sealed: VecDeque<Bytes>,
    sealed_len: usize,
    /// Where frames are appended.
    open: BytesMut,
}

/// Room that is kept for the next frames when everything was written.
const KEPT: usize = 256 * 1024;

impl Output {
    /// Octets that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sealed_len + self.open.len()
    }

    /// Whether everything was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where a frame is appended.
    pub fn open(&mut self) -> &mut BytesMut {
        &mut self.open
    }

    /// Queues a piece without copying it.
    pub fn share(&mut self, piece: Bytes) {
        if !self.open.is_empty() {
            let before = self.open.split().freeze();
            self.seal(before);
        }
        self.seal(piece);
    }

    /// The pieces in order, as many as `slices` holds. Says how many it filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pieces = self.sealed.iter().map(Bytes::as_ref).chain(Some(self.open.as_ref()));
        let mut filled = 0;
        for (slot, piece) in slices.iter_mut().zip(pieces.filter(|piece| !piece.is_empty())) {
            *slot = IoSlice::new(piece);
            filled += 1;
        }
        filled
    }

    /// Forgets the first `written` octets.
    pub fn advance(&mut self, mut written: usize) {
        while let Some(piece) = self.sealed.front_mut() {
            let step = written.min(piece.len());
            piece.advance(step);
            self.sealed_len -= step;
            written -= step;
            if !piece.is_empty() {
                return;
            }
            self.sealed.pop_front();
        }
        if written == self.open.len() && self.open.capacity() <= KEPT {
            self.open.clear();
        } else {
            self.open.advance(written);
        }
    }

    /// Gives back the memory of an empty output; for connections that have become idle.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            *self = Output::default();
        }
    }

    fn seal(&mut self, piece: Bytes) {
        self.sealed_len += piece.len();
        self.sealed.push_back(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_leave_in_order_however_they_are_written() {
        for step in 1..9 {
            let mut output = Output::default();
            output.open().extend_from_slice(b"ab");
            output.share(Bytes::from_static(b"cdef"));
            output.share(Bytes::from_static(b"g"));
            output.open().extend_from_slice(b"hi");
            let mut written = Vec::new();
            while !output.is_empty() {
                let mut slices = [IoSlice::new(&[]); 2];
                let filled = output.slices(&mut slices);
                let bytes: Vec<u8> =
                    slices[..filled].iter().flat_map(|slice| slice.to_vec()).take(step).collect();
                output.advance(bytes.len());
                written.extend(bytes);
            }
            assert_eq!(written, b"abcdefghi");
        }
    }
}
