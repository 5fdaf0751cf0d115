//! Receive buffers, lent to a connection while it reads and takes frames.
//!
//! A busy connection wants a large buffer, an idle one none. Reading, taking frames and giving the buffer
//! back happen without a wait in between, so one buffer for each thread serves all its connections; what is
//! left of a cut frame moves to a buffer of its own.

use bytes::BytesMut;
use std::cell::RefCell;
use vhosts::message::INLINE_BODY_MAX;

/// Octets of a lent buffer: what one read can bring.
const LENT: usize = 256 * 1024;
/// A cut frame up to this size is moved; a larger one, which no body is, keeps the lent buffer.
const MOVED_MAX: usize = INLINE_BODY_MAX + 64;

thread_local! {
    static SPARE: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// Makes room to read into `buffer`.
pub fn lend(buffer: &mut BytesMut) {
    if buffer.len() > MOVED_MAX {
        // In the middle of a large frame: its own buffer goes on.
        return buffer.reserve(LENT / 2);
    }
    let mut lent = SPARE.take();
    lent.clear();
    lent.reserve(LENT);
    lent.extend_from_slice(buffer);
    *buffer = lent;
}

/// Takes the lent room back, if little of it is in use.
pub fn give_back(buffer: &mut BytesMut) {
    if buffer.len() > MOVED_MAX || buffer.capacity() == 0 {
        return;
    }
    let rest = BytesMut::from(&buffer[..]);
    SPARE.set(std::mem::replace(buffer, rest));
}
