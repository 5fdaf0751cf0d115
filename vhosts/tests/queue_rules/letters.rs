//! Dead letters.

use crate::rig::{Rig, dead_letters};
use vhosts::queue::{Carried, Outcome, RETRY_MS, Settings};

fn with_a_letter(at_least_once: bool) -> Rig {
    let mut rig = Rig::new(Settings { dead_letter: dead_letters(at_least_once), ..Settings::default() });
    rig.publish("a").unwrap();
    rig.get().unwrap();
    rig.answer("a", Outcome::Reject);
    assert_eq!(rig.words(), ["a died: Rejected"]);
    rig
}

#[test]
fn a_letter_stays_until_a_queue_took_it() {
    let mut rig = with_a_letter(true);
    for attempt in 1..=3 {
        rig.carried("a", Carried::Stranded);
        rig.until(attempt * RETRY_MS - 1);
        assert!(rig.words().is_empty());
        rig.until(attempt * RETRY_MS);
        assert_eq!(rig.words(), ["a died: Rejected"]);
        assert_eq!(rig.queue.letters_len(), 1);
    }
    rig.carried("a", Carried::Arrived);
    assert_eq!(rig.queue.letters_len(), 0);
    assert_eq!(rig.queue.counters().dead_lettered.rejected, 1);
    assert_eq!(rig.queue.deadline(), None);
}

#[test]
fn a_letter_that_finds_no_queue_is_dropped_where_nobody_insists() {
    let mut rig = with_a_letter(false);
    rig.carried("a", Carried::Stranded);
    assert_eq!(rig.queue.letters_len(), 0);
    assert_eq!(rig.queue.counters().dropped.rejected, 1);
    assert_eq!(rig.queue.counters().settled, 1);
}

#[test]
fn letters_are_not_purged() {
    let mut rig = with_a_letter(true);
    assert_eq!(rig.queue.purge(&mut Vec::new()), 0);
    assert_eq!(rig.queue.letters_len(), 1);
}
