//! Queue length limits.

use crate::rig::{Rig, dead_letters, spec};
use vhosts::queue::settings::{Limits, Overflow, Priorities};
use vhosts::queue::{Browse, ConsumerSpec, Full, Outcome, Settings};

fn limit(max_length: u64, overflow: Overflow) -> Settings {
    let limits = Limits { max_length: Some(max_length), max_length_bytes: None, overflow };
    Settings { limits, dead_letter: dead_letters(false), ..Settings::default() }
}

#[test]
fn the_oldest_message_is_dropped() {
    let mut rig = Rig::new(limit(2, Overflow::DropHead));
    rig.publish_all(&["a", "b", "c"]);
    assert_eq!(rig.ready(), ["b", "c"]);
    assert_eq!(rig.words(), ["a died: MaxLength"]);
}

#[test]
fn the_oldest_message_of_the_lowest_level_is_dropped() {
    let priorities = Priorities { max: 9, default: 0 };
    let mut rig = Rig::new(Settings { priorities, ..limit(3, Overflow::DropHead) });
    for (name, priority) in [("high", 9), ("low 1", 2), ("low 2", 2), ("middle", 5)] {
        rig.publish_with(name, Some(priority), None).unwrap();
    }
    assert_eq!(rig.ready(), ["high", "middle", "low 2"]);
    rig.publish_with("lowest", Some(1), None).unwrap();
    assert_eq!(rig.words(), ["low 1 died: MaxLength", "lowest died: MaxLength"]);
}

#[test]
fn only_the_bodies_of_ready_messages_count() {
    let limits = Limits { max_length_bytes: Some(5), ..Limits::default() };
    let mut rig = Rig::new(Settings { limits, ..Settings::default() });
    rig.publish_all(&["aaa", "bb"]);
    rig.get().unwrap();
    rig.publish("ccc").unwrap();
    assert_eq!(rig.ready(), ["bb", "ccc"]);
    rig.answer("aaa", Outcome::Return);
    assert_eq!(rig.ready(), ["bb", "ccc"], "what comes back is too much like anything else");
}

#[test]
fn a_full_queue_refuses() {
    let mut rig = Rig::new(limit(1, Overflow::RejectPublish));
    rig.publish("a").unwrap();
    assert_eq!(rig.publish("b"), Err(Full));
    assert!(rig.words().is_empty());
    rig.get().unwrap();
    assert_eq!(rig.publish("c"), Ok(()));
}

#[test]
fn a_full_queue_lets_a_message_pass_to_a_waiting_consumer() {
    let mut rig = Rig::new(limit(0, Overflow::RejectPublish));
    assert_eq!(rig.publish("a"), Err(Full));
    rig.consume(ConsumerSpec { prefetch: 1, ..spec() });
    assert_eq!(rig.publish("b"), Ok(()));
    assert_eq!(rig.publish("c"), Err(Full), "the consumer has enough");
    assert_eq!(rig.words(), ["0 gets b"]);
}

#[test]
fn a_refused_message_is_a_letter_with_a_number_of_its_own() {
    let mut rig = Rig::new(limit(1, Overflow::RejectPublishDlx));
    rig.publish("a").unwrap();
    assert_eq!(rig.publish("b"), Err(Full));
    assert_eq!(rig.words(), ["b died: MaxLength"]);
    rig.get().unwrap();
    rig.publish("c").unwrap();
    let seq = |which| rig.queue.browse(which, 0, 1)[0].seq.0;
    assert_eq!([seq(Browse::Unacked), seq(Browse::DeadLettered), seq(Browse::Ready)], [1, 2, 3]);
}

#[test]
fn there_is_room_for_several_only_without_the_help_of_a_consumer() {
    let mut rig = Rig::new(limit(1, Overflow::RejectPublish));
    assert!(!rig.queue.is_full_for(1, 0) && rig.queue.is_full_for(2, 0));
    // It takes one at once, but nobody knows how many.
    rig.consume(ConsumerSpec { credit: 1, ..spec() });
    assert!(!rig.queue.is_full_for(1, 0) && rig.queue.is_full_for(2, 0));
    rig.publish_all(&["taken", "ready"]);
    assert!(rig.queue.is_full_for(1, 0));
}
