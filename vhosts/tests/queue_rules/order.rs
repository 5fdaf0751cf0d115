//! Who comes first.

use crate::rig::{Rig, dead_letters, spec};
use vhosts::queue::settings::{Delayed, Priorities, Retry, Schedule};
use vhosts::queue::{ConsumerSpec, Outcome, Settings};

fn priorities(max: u8, default: u8) -> Settings {
    Settings { priorities: Priorities { max, default }, ..Settings::default() }
}

#[test]
fn messages_that_come_back_go_to_their_old_places() {
    let mut rig = Rig::new(Settings::default());
    rig.publish_all(&["a", "b", "c", "d", "e"]);
    (0..4).for_each(|_| assert!(rig.get().is_some()));
    rig.answer_all(&[("b", Outcome::Fail), ("d", Outcome::Undelivered), ("a", Outcome::Return)]);
    assert_eq!(rig.ready(), ["a", "b", "d", "e"]);
    rig.answer("c", Outcome::Return);
    assert_eq!(rig.ready(), ["a", "b", "c", "d", "e"]);
}

#[test]
fn a_message_that_comes_back_keeps_its_level() {
    let mut rig = Rig::new(priorities(9, 0));
    rig.publish_with("low", Some(1), None).unwrap();
    rig.publish_with("high", Some(2), None).unwrap();
    assert_eq!(rig.get().unwrap(), "high");
    assert_eq!(rig.get().unwrap(), "low");
    rig.answer_all(&[("low", Outcome::Return), ("high", Outcome::Return)]);
    assert_eq!(rig.ready(), ["high", "low"]);
}

#[test]
fn the_highest_priority_goes_first_and_equals_in_their_order() {
    let mut rig = Rig::new(priorities(5, 4));
    for (name, priority) in [("3", Some(3)), ("none", None), ("9", Some(9)), ("5", Some(5)), ("4", Some(4))] {
        rig.publish_with(name, priority, None).unwrap();
    }
    assert_eq!(rig.ready(), ["9", "5", "none", "4", "3"]);
}

#[test]
fn without_levels_priorities_do_not_matter() {
    let mut rig = Rig::new(Settings::default());
    rig.publish_with("1", Some(1), None).unwrap();
    rig.publish_with("200", Some(200), None).unwrap();
    assert_eq!(rig.ready(), ["1", "200"]);
}

/// One publisher and one consumer that answers each message before it takes the next.
#[test]
fn one_consumer_sees_the_order_of_one_publisher() {
    let mut rig = Rig::new(Settings { dead_letter: dead_letters(false), ..Settings::default() });
    rig.publish_all(&["a", "b"]);
    rig.publish_with("short", None, Some(5)).unwrap();
    rig.publish_all(&["c", "d"]);
    rig.consume(ConsumerSpec { prefetch: 1, ..spec() });
    rig.answer("a", Outcome::Return);
    rig.answer("a", Outcome::Settle);
    rig.answer("b", Outcome::Fail);
    rig.until(5);
    rig.answer("b", Outcome::Reject);
    rig.answer("c", Outcome::Undelivered);
    rig.answer("c", Outcome::Settle);
    let expected = [
        "0 gets a",
        "0 gets a again",
        "0 gets b",
        "0 gets b again",
        "short died: Expired",
        "b died: Rejected",
        "0 gets c",
        "0 gets c",
        "0 gets d",
    ];
    assert_eq!(rig.words(), expected);
}

#[test]
fn a_message_comes_back_from_its_delay_to_its_old_place() {
    let schedule = Schedule::Levels(vec![10].into());
    let retry = Retry { delayed: Delayed::All, schedule, delivery_limit: None };
    let mut rig = Rig::new(Settings { retry, ..Settings::default() });
    rig.publish_all(&["a", "b", "c", "d"]);
    (0..3).for_each(|_| assert!(rig.get().is_some()));
    rig.answer_all(&[("b", Outcome::Return), ("a", Outcome::Fail)]);
    assert_eq!(rig.ready(), ["d"]);
    rig.until(10);
    assert_eq!(rig.ready(), ["a", "b", "d"]);
}
