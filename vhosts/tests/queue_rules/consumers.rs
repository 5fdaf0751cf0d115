//! Who is served, and for how long.

use crate::rig::{Rig, spec};
use vhosts::queue::{ConsumerSpec, Outcome, Settings};

fn single_active() -> Rig {
    Rig::new(Settings { single_active_consumer: true, ..Settings::default() })
}

fn timeout(consumer_timeout_ms: u64) -> Settings {
    Settings { consumer_timeout_ms: Some(consumer_timeout_ms), ..Settings::default() }
}

#[test]
fn consumers_are_served_in_turn() {
    let mut rig = Rig::new(Settings::default());
    (0..3).for_each(|_| assert!(rig.queue.consume(ConsumerSpec { prefetch: 2, ..spec() }).is_ok()));
    rig.publish_all(&["a", "b", "c", "d"]);
    assert_eq!(rig.words(), ["0 gets a", "1 gets b", "2 gets c", "0 gets d"]);
}

#[test]
fn a_lower_priority_is_served_when_no_higher_one_can_take_more() {
    let mut rig = Rig::new(Settings::default());
    rig.consume(spec());
    rig.consume(ConsumerSpec { priority: 10, prefetch: 1, ..spec() });
    rig.publish_all(&["a", "b"]);
    rig.answer("a", Outcome::Settle);
    rig.publish("c").unwrap();
    assert_eq!(rig.words(), ["1 gets a", "0 gets b", "1 gets c"]);
}

#[test]
fn an_exclusive_consumer_is_alone() {
    let mut rig = Rig::new(Settings::default());
    let exclusive = ConsumerSpec { exclusive: true, ..spec() };
    let key = rig.consume(exclusive);
    assert!(rig.queue.consume(spec()).is_err());
    rig.cancel(key);
    rig.consume(spec());
    assert!(rig.queue.consume(exclusive).is_err());
}

#[test]
fn the_next_consumer_becomes_active_in_the_order_of_arrival() {
    let mut rig = single_active();
    let first = rig.consume(spec());
    let [second, third] = [rig.consume(spec()), rig.consume(spec())];
    rig.cancel(second);
    rig.publish_all(&["a", "b"]);
    rig.cancel(first);
    assert!(rig.queue.is_active(third));
    rig.publish("c").unwrap();
    assert_eq!(rig.words(), ["0 gets a", "0 gets b", "2 gets c"]);
}

#[test]
fn the_one_with_the_highest_priority_becomes_active() {
    let mut rig = single_active();
    let first = rig.consume(ConsumerSpec { priority: 9, ..spec() });
    let [low, high] = [1, 2].map(|priority| rig.consume(ConsumerSpec { priority, ..spec() }));
    rig.cancel(first);
    assert!(rig.queue.is_active(high) && !rig.queue.is_active(low));
}

#[test]
fn a_higher_one_waits_until_the_active_one_has_answered() {
    let mut rig = single_active();
    rig.consume(spec());
    rig.publish_all(&["a", "b"]);
    rig.consume(ConsumerSpec { priority: 1, ..spec() });
    rig.publish("c").unwrap();
    rig.answer("a", Outcome::Settle);
    assert_eq!(rig.words(), ["0 gets a", "0 gets b"]);
    rig.answer("b", Outcome::Return);
    assert_eq!(rig.words(), ["1 gets b again", "1 gets c"]);
}

#[test]
fn the_active_one_goes_on_when_the_higher_one_does_not_stay() {
    let mut rig = single_active();
    let active = rig.consume(spec());
    rig.publish("a").unwrap();
    let higher = rig.consume(ConsumerSpec { priority: 1, ..spec() });
    assert!(!rig.queue.is_active(active));
    rig.cancel(higher);
    assert!(rig.queue.is_active(active));
    rig.publish("b").unwrap();
    assert_eq!(rig.words(), ["0 gets a", "0 gets b"]);
}

#[test]
fn a_consumer_that_does_not_answer_in_time_is_removed() {
    let mut rig = Rig::new(timeout(50));
    rig.consume(ConsumerSpec { prefetch: 2, ..spec() });
    rig.publish("a").unwrap();
    rig.until(20);
    rig.publish("b").unwrap();
    rig.until(50);
    assert_eq!(rig.words(), ["0 gets a", "0 gets b", "0 had 50 ms"]);
    assert_eq!(rig.queue.consumers_len(), 0);
    assert_eq!(rig.ready(), ["a"], "what else it has stays with it");
    rig.answer("b", Outcome::Settle);
    assert_eq!(rig.queue.counters().acked, 1);
}

#[test]
fn a_consumer_may_have_a_time_of_its_own() {
    let mut rig = Rig::new(timeout(50));
    rig.consume(ConsumerSpec { timeout_ms: Some(80), ..spec() });
    rig.publish("a").unwrap();
    rig.until(79);
    assert_eq!(rig.words(), ["0 gets a"]);
    rig.until(80);
    assert_eq!(rig.words(), ["0 had 80 ms"]);
}

/// Nor is it a failure.
#[test]
fn a_message_of_a_consumer_that_went_comes_back_after_its_time() {
    let mut rig = Rig::new(timeout(50));
    let consumer = rig.consume(spec());
    rig.publish("a").unwrap();
    rig.until(10);
    rig.cancel(consumer);
    rig.until(50);
    assert_eq!(rig.words(), ["0 gets a"]);
    assert_eq!(rig.ready(), ["a"]);
    assert_eq!(rig.queue.browse(vhosts::queue::Browse::Ready, 0, 1)[0].history.failed, 0);
}

#[test]
fn a_timeout_after_the_last_consumer_went_is_no_use_of_the_queue() {
    let mut rig = Rig::new(Settings { expires_ms: Some(100), ..timeout(50) });
    let consumer = rig.consume(spec());
    rig.publish("a").unwrap();
    rig.until(10);
    rig.cancel(consumer);
    rig.until(60);
    assert_eq!(rig.ready(), ["a"]);
    assert_eq!(rig.queue.unused_at().unwrap().0, 110);
}
