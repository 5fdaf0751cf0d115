//! Words that have no place here, and where they have none.

use super::files::{Fault, File, assert_tidy, project};

struct Word {
    text: &'static str,
    /// Why not, and what instead.
    instead: &'static str,
    place: fn(&File, usize) -> bool,
}

const fn word(text: &'static str, instead: &'static str, place: fn(&File, usize) -> bool) -> Word {
    Word { text, instead, place }
}

const UNFINISHED: &str = "finish it, or leave it out";
const SLEEPS: &str = "a test waits for an event, or runs in virtual time";
const ONE_MACHINE: &str = "a path of one machine: make it relative, or an option";
const REGISTRY: &str = "a registry is named by the configuration of cargo, pip or npm, not by us";

const WORDS: &[Word] = &[
    word("todo!", UNFINISHED, anywhere),
    word("unimplemented!", UNFINISHED, anywhere),
    word("FIXME", UNFINISHED, anywhere),
    word("TODO", UNFINISHED, anywhere),
    word("XXX", UNFINISHED, anywhere),
    word("HACK", "say in a sentence why it must be so", anywhere),
    word("dbg!", "remove it", anywhere),
    word("thread::sleep", SLEEPS, in_tests),
    word("time::sleep", SLEEPS, in_tests),
    word("time.sleep", SLEEPS, in_tests),
    word("/work/", ONE_MACHINE, anywhere),
    word("/home/", ONE_MACHINE, anywhere),
    word("/root/", ONE_MACHINE, anywhere),
    word("/Users/", ONE_MACHINE, anywhere),
    word("shared/", "the project stands alone", outside_the_load_scripts),
    word("issue #", "say what it was about", anywhere),
    word("crates.io", REGISTRY, anywhere),
    word("pypi.org", REGISTRY, anywhere),
    word("pythonhosted.org", REGISTRY, anywhere),
    word("npmjs.", REGISTRY, anywhere),
];

/// Files that are not searched: written by tools or lawyers, and this one.
const UNSEARCHED: [&str; 4] = ["Cargo.lock", "package-lock.json", "LICENSE", "tests/tidy/words.rs"];

fn anywhere(_: &File, _: usize) -> bool {
    true
}

/// The load tool may lie beside the project; the script that finds it looks there.
fn outside_the_load_scripts(file: &File, _: usize) -> bool {
    file.path != "scripts/load.sh"
}

/// In a folder of tests, or below the line that begins a module of tests.
fn in_tests(file: &File, line: usize) -> bool {
    let in_folder = file.path.starts_with("tests/") || file.path.contains("/tests/");
    in_folder || file.lines().any(|(number, text)| number < line && text.trim() == "#[cfg(test)]")
}

fn faults(file: &File) -> Vec<Fault> {
    if UNSEARCHED.iter().any(|unsearched| file.path.ends_with(unsearched)) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (number, line) in file.lines() {
        for Word { text, instead, place } in WORDS {
            if line.contains(text) && place(file, number) {
                faults.push(file.fault(number, format!("«{text}»: {instead}")));
            }
        }
    }
    faults
}

#[test]
fn no_banned_words() {
    assert_tidy(project().iter().flat_map(faults).collect());
}

#[test]
fn banned_words_are_found_in_their_places() {
    let sleeps = "fn wait() {\n    thread::sleep(second);\n}\n";
    assert_eq!(faults(&File::new("src/x.rs", sleeps)), []);
    assert_eq!(faults(&File::new("tests/x.rs", sleeps))[0].line, 2);
    let with_tests = format!("{sleeps}#[cfg(test)]\nmod tests {{ {sleeps} }}");
    assert_eq!(faults(&File::new("src/x.rs", &with_tests)).len(), 1);
    assert_eq!(faults(&File::new("src/x.rs", "todo!()\nok\n// FIXME")).len(), 2);
    assert_eq!(faults(&File::new("scripts/load.sh", "../shared/tools")), []);
}
