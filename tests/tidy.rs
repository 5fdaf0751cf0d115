//! The house rules that no compiler knows: sizes, words, walls between the rooms, the map, reasons and
//! licences of dependencies, links, examples.
//!
//! A fault names the file, the line and what to do. The rules themselves are in CONTRIBUTING.md; an
//! exception is an entry in a list here, with its reason.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod tidy {
    mod examples;
    mod files;
    mod licences;
    mod links;
    mod manifests;
    mod map;
    mod rooms;
    mod sizes;
    mod words;
}
