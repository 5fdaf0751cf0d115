//! The bodies of the fuzz targets, run on damaged conversations: `fuzz/` holds them for `cargo fuzz` too.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

#[path = "fuzz/bodies/mod.rs"]
mod bodies;
#[allow(dead_code, reason = "it reads and writes; here it only writes")]
#[path = "../rabbit-compat/tests/support/notation.rs"]
mod notation;

use proptest::prelude::*;
use std::sync::LazyLock;

/// What the clients of the transcripts send, a conversation each.
static CONVERSATIONS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/rabbit-compat/tests/transcripts");
    let texts =
        std::fs::read_dir(folder).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let conversation = |text: &str| {
        text.lines().filter_map(|line| line.strip_prefix("C: ")).flat_map(notation::encode).collect()
    };
    let mut all: Vec<Vec<u8>> =
        texts.flat_map(|text| text.split("\n== ").skip(1).map(conversation).collect::<Vec<_>>()).collect();
    all.sort();
    assert!(all.len() > 100);
    all
});

fn conversation() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<prop::sample::Index>(), 1..4)
        .prop_map(|picked| picked.iter().flat_map(|at| at.get(&CONVERSATIONS).clone()).collect())
}

/// Frames without their first seven octets: payloads, and what follows.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    (conversation(), 0..20usize).prop_map(|(bytes, start)| bytes[start.min(bytes.len())..].to_vec())
}

fn topics() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec("[a-c*#]?(\\.[a-c*#]?){0,5}", 0..16).prop_map(|lines| lines.join("\n").into_bytes())
}

/// Small numbers make lengths that fit.
fn numbers() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![3 => Just(0), 2 => 0..20u8, 1 => any::<u8>()], 0..600)
}

/// With a few octets changed, and one more in front.
fn damaged(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (any::<u8>(), bytes, damage).prop_map(|(first, mut bytes, damage)| {
        bytes.insert(0, first);
        for (at, octet) in damage {
            let at = at.index(bytes.len());
            bytes[at] = octet;
        }
        bytes
    })
}

proptest! {
    #[test]
    fn decoder(bytes in damaged(conversation())) {
        bodies::decoder(&bytes);
    }

    #[test]
    fn method(bytes in damaged(payload())) {
        bodies::method(&bytes[1..]);
    }

    #[test]
    fn properties(bytes in prop_oneof![damaged(payload()), damaged(numbers())]) {
        bodies::properties(&bytes);
    }

    #[test]
    fn table(bytes in prop_oneof![damaged(payload()), damaged(numbers())]) {
        bodies::table(&bytes);
    }

    #[test]
    fn session(bytes in damaged(conversation())) {
        bodies::session(&bytes);
    }

    #[test]
    fn topic(bytes in prop_oneof![topics(), damaged(topics())]) {
        bodies::topic(&bytes);
    }

    #[test]
    fn store(bytes in numbers()) {
        bodies::store(&bytes);
    }
}
