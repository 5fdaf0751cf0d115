//! Conversations with a session, as texts that a person can read: `tests/transcripts/*.snap`.
//!
//! To add one, write its title and the lines that begin with `C:` into one of these files and run the test;
//! it shows the whole, and `cargo insta accept` keeps it. The notation is explained in `support/conversation.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod support;

use std::path::Path;

/// Replays the transcripts in a file, and expects each line to come again.
fn check(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let file = std::fs::read_to_string(folder.join(format!("{name}.snap"))).unwrap();
    // Before the transcripts are lines for insta.
    let (_, script) = file.split_once("\n---\n").unwrap();
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path("transcripts");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, support::conversation::replay(script)));
}

macro_rules! transcripts {
    ($($name:ident)*) => {
        $(#[test] fn $name() { check(stringify!($name)); })*

        #[test]
        fn every_file_is_checked() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
            let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            let mut names: Vec<_> = files
                .filter(|path| path.extension().is_some_and(|extension| extension == "snap"))
                .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
                .collect();
            names.sort();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

transcripts! {
    arguments blocked channels consuming content declaring frames getting handshake heartbeats publishing refusals replies
    transactions
}
