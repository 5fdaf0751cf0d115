//! Time-to-live.

use crate::rig::{Rig, dead_letters, message, spec};
use vhosts::queue::settings::{Delayed, Retry, Schedule};
use vhosts::queue::{Effect, Outcome, Settings};
use vhosts::{Moment, Queue, Seq};

fn with_dead_letters() -> Settings {
    Settings { dead_letter: dead_letters(false), ..Settings::default() }
}

#[test]
fn a_message_expires_on_time_behind_a_longer_lived_one() {
    let mut rig = Rig::new(with_dead_letters());
    rig.publish_with("long", None, Some(1_000)).unwrap();
    rig.publish_with("short", None, Some(10)).unwrap();
    rig.until(9);
    assert_eq!(rig.ready(), ["long", "short"]);
    rig.until(10);
    assert_eq!(rig.ready(), ["long"]);
    assert_eq!(rig.words(), ["short died: Expired"]);
}

#[test]
fn a_time_of_0_is_enough_for_a_consumer_that_waits_and_for_nobody_else() {
    let mut rig = Rig::new(Settings { message_ttl_ms: Some(0), ..with_dead_letters() });
    rig.publish("alone").unwrap();
    let consumer = rig.consume(spec());
    rig.publish("expected").unwrap();
    rig.cancel(consumer);
    rig.publish("late").unwrap();
    assert_eq!(rig.words(), ["alone died: Expired", "0 gets expected", "late died: Expired"]);
}

#[test]
fn the_shorter_time_counts() {
    let mut rig = Rig::new(Settings { message_ttl_ms: Some(50), ..with_dead_letters() });
    rig.publish_with("own", None, Some(20)).unwrap();
    rig.publish_with("queue", None, Some(90)).unwrap();
    rig.until(20);
    assert_eq!(rig.ready(), ["queue"]);
    rig.until(50);
    assert!(rig.ready().is_empty());
}

#[test]
fn a_message_that_comes_back_keeps_its_deadline() {
    let mut rig = Rig::new(Settings { message_ttl_ms: Some(50), ..with_dead_letters() });
    rig.publish_all(&["early", "late"]);
    rig.get().unwrap();
    rig.get().unwrap();
    rig.until(49);
    rig.answer("early", Outcome::Return);
    assert_eq!(rig.ready(), ["early"]);
    rig.until(60);
    assert_eq!(rig.words(), ["early died: Expired"], "one that is unacked does not expire");
    rig.answer("late", Outcome::Return);
    assert_eq!(rig.words(), ["late died: Expired"]);
}

#[test]
fn a_message_that_waits_for_its_retry_expires_on_time() {
    let schedule = Schedule::Levels(vec![100].into());
    let retry = Retry { delayed: Delayed::All, schedule, delivery_limit: None };
    let mut rig = Rig::new(Settings { retry, message_ttl_ms: Some(50), ..with_dead_letters() });
    rig.publish("a").unwrap();
    rig.get().unwrap();
    rig.answer("a", Outcome::Return);
    rig.until(49);
    assert_eq!(rig.queue.delayed_len(), 1);
    rig.until(50);
    assert_eq!(rig.words(), ["a died: Expired"]);
}

#[test]
fn a_queue_is_unused_when_nobody_consumes_gets_or_declares() {
    let mut rig = Rig::new(Settings { expires_ms: Some(100), ..Settings::default() });
    assert_eq!(rig.queue.unused_at().unwrap().0, 100);
    rig.until(50);
    assert_eq!(rig.get(), None);
    assert_eq!(rig.queue.unused_at().unwrap().0, 150);
    rig.until(60);
    rig.queue.touch(Moment(60));
    assert_eq!(rig.queue.unused_at().unwrap().0, 160);
    let consumer = rig.consume(spec());
    rig.until(1_000);
    assert_eq!(rig.queue.unused_at(), None);
    rig.publish("unanswered").unwrap();
    rig.cancel(consumer);
    assert_eq!(rig.queue.deadline().unwrap().0, 1_100);
}

#[test]
fn nobody_gets_a_message_that_is_overdue_among_too_many_to_expire_at_once() {
    const MESSAGES: usize = 10_000;
    let mut queue = Queue::new(&with_dead_letters(), false, Seq(1), Moment(0));
    let mut effects = Vec::new();
    for number in 0..MESSAGES {
        let message = message(&number.to_string(), None, Some(10), 0);
        queue.publish(message, Moment(0), &mut effects).unwrap();
    }
    let last = message("last", None, None, 0);
    queue.publish(last, Moment(0), &mut effects).unwrap();
    queue.consume(spec()).unwrap();
    queue.deliver(Moment(20), &mut effects);
    let delivered = effects.iter().filter(|effect| matches!(effect, Effect::Deliver { .. })).count();
    assert_eq!((delivered, queue.ready_len(), queue.letters_len()), (1, 0, MESSAGES));
    // Without a consumer it takes several looks, each of which says that there is more.
    let mut queue = Queue::new(&with_dead_letters(), false, Seq(1), Moment(0));
    for number in 0..MESSAGES {
        let message = message(&number.to_string(), None, Some(10), 0);
        queue.publish(message, Moment(0), &mut effects).unwrap();
    }
    let mut looks = 0;
    while queue.deadline().is_some_and(|at| at <= Moment(20)) {
        queue.tick(Moment(20), &mut effects);
        looks += 1;
    }
    assert!(looks > 1 && queue.ready_len() == 0, "{looks} looks");
}
