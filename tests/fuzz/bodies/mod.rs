//! What is done with any bytes at all: one function for each parser of the project. None may panic, whatever
//! it is given.
//!
//! `cargo fuzz` runs them as its targets; `tests/fuzz.rs` runs them with the other tests.

mod session;
mod store;

pub use session::session;
pub use store::store;

use amq_protocol_types::FieldTable;
use exchanges::{Kind, Routable, Router};
use rabbit_compat::session::handshake;
use rabbit_compat::wire::Decoder;
use vhosts::Message;
use vhosts::properties::Properties;

/// Bytes as a peer's, in reads of as many octets as the first says. Never more is kept than a frame.
pub fn decoder(bytes: &[u8]) {
    const FRAME_MAX: u32 = 8192;
    let Some((read_len, bytes)) = bytes.split_first() else { return };
    let mut decoder = Decoder::new(FRAME_MAX);
    for read in bytes.chunks(1 + usize::from(*read_len)) {
        decoder.buffer().extend_from_slice(read);
        loop {
            match decoder.next_frame() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(decoder.buffer().len() <= FRAME_MAX as usize + 8);
    }
}

/// Bytes as the payload of a method frame.
pub fn method(bytes: &[u8]) {
    let _ = rabbit_compat::wire::method::decode(bytes);
}

/// Bytes as a property list; what is one can be read from a message again.
pub fn properties(bytes: &[u8]) {
    if let Ok(parsed) = Properties::parse(bytes) {
        assert_eq!(Message::new("", b"", bytes, b"").map(|message| message.properties() == parsed), Ok(true));
    }
}

/// Bytes as a field table and as a login; what passes can be decoded.
pub fn table(bytes: &[u8]) {
    if vhosts::table::check(bytes).is_ok() {
        let _ = amq_protocol_types::parsing::parse_field_table(bytes);
    }
    for mechanism in ["PLAIN", "AMQPLAIN"] {
        let _ = handshake::credentials(mechanism, bytes);
    }
}

/// Lines as keys of a topic exchange, every other one as a binding key too: its trie finds what a simple
/// matcher finds.
pub fn topic(bytes: &[u8]) {
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').take(16).collect();
    let (mut router, mut bound) = (Router::new(Kind::Topic), Vec::new());
    for pair in lines.chunks(2) {
        if router.bind(pair[0], &FieldTable::default(), bound.len()).is_ok() {
            bound.push(words(pair[0]));
        }
    }
    for key in lines.iter().filter(|key| key.len() <= 64) {
        let mut found = Vec::new();
        router.route(&Key(key, FieldTable::default()), &mut |destination| found.push(*destination));
        found.sort_unstable();
        found.dedup();
        let expected = (0..bound.len()).filter(|at| matches(&bound[*at], &words(key)));
        assert!(expected.eq(found));
    }
}

fn words(key: &[u8]) -> Vec<&[u8]> {
    if key.is_empty() { Vec::new() } else { key.split(|byte| *byte == b'.').collect() }
}

fn matches(pattern: &[&[u8]], key: &[&[u8]]) -> bool {
    let Some((word, pattern)) = pattern.split_first() else { return key.is_empty() };
    match (*word, key.split_first()) {
        (b"#", _) => (0..=key.len()).any(|skipped| matches(pattern, &key[skipped..])),
        (b"*", Some((_, key))) => matches(pattern, key),
        (word, Some((first, key))) => word == *first && matches(pattern, key),
        (_, None) => false,
    }
}

struct Key<'a>(&'a [u8], FieldTable);

impl Routable for Key<'_> {
    fn routing_key(&self) -> &[u8] {
        self.0
    }

    fn headers(&self) -> &FieldTable {
        &self.1
    }
}
