//! Delivery limit and delayed retry.

use crate::rig::{Rig, dead_letters, message};
use vhosts::queue::settings::{Delayed, Retry, Schedule};
use vhosts::queue::{History, Outcome, Settings};
use vhosts::{Moment, Queue, Seq};

fn limit(limit: u32) -> Settings {
    let retry = Retry { delivery_limit: Some(limit), ..Retry::default() };
    Settings { retry, dead_letter: dead_letters(false), ..Settings::default() }
}

fn delayed(delayed: Delayed, schedule: Schedule) -> Settings {
    Settings { retry: Retry { delayed, schedule, delivery_limit: None }, ..Settings::default() }
}

/// How long a message waits, time after time, when that is answered to it.
fn waits(settings: Settings, outcomes: &[Outcome]) -> Vec<u64> {
    let mut rig = Rig::new(settings);
    rig.publish("a").unwrap();
    let mut waits = Vec::new();
    for outcome in outcomes {
        assert!(rig.get().is_some());
        rig.answer("a", *outcome);
        let due = rig.delayed().first().map_or(rig.now, |(_, due)| *due);
        waits.push(due - rig.now);
        rig.until(due);
    }
    waits
}

#[test]
fn a_message_dies_when_it_failed_more_often_than_the_limit() {
    let mut rig = Rig::new(limit(1));
    rig.publish("a").unwrap();
    for outcome in [Outcome::Return, Outcome::Fail, Outcome::Return, Outcome::Undelivered, Outcome::Fail] {
        assert!(rig.words().is_empty());
        assert!(rig.get().is_some());
        rig.answer("a", outcome);
    }
    assert_eq!(rig.words(), ["a died: DeliveryLimit"]);
}

#[test]
fn without_an_exchange_for_it_the_message_is_gone() {
    let mut rig = Rig::new(Settings { dead_letter: None, ..limit(0) });
    rig.publish("a").unwrap();
    rig.get().unwrap();
    rig.answer("a", Outcome::Fail);
    assert_eq!(rig.words(), ["a failed 1 times"]);
    assert_eq!(rig.queue.counters().dropped.delivery_limit, 1);
}

/// The limit may have been higher when it failed.
#[test]
fn a_message_that_failed_too_often_before_a_restart_dies_when_it_is_given_back() {
    let mut rig = Rig::new(limit(2));
    let history = History { acquired: 5, failed: 5, uncertain: false };
    rig.queue.recover(Seq(1), message("a", None, None, 0), history, None);
    rig.get().unwrap();
    rig.answer("a", Outcome::Return);
    assert_eq!(rig.words(), ["a died: DeliveryLimit"]);
}

#[test]
fn linear_waits_grow_with_each_failure() {
    let schedule = || Schedule::Linear { min_ms: 10, max_ms: 25 };
    let failures = waits(delayed(Delayed::All, schedule()), &[Outcome::Fail; 4]);
    assert_eq!(failures, [10, 20, 25, 25]);
    let returns = waits(delayed(Delayed::All, schedule()), &[Outcome::Return; 3]);
    assert_eq!(returns, [10, 10, 10]);
}

#[test]
fn exponential_waits_grow_with_each_return() {
    let schedule = Schedule::Exponential { min_ms: 10, multiplier: 1.5, max_ms: 30 };
    assert_eq!(waits(delayed(Delayed::All, schedule), &[Outcome::Return; 5]), [10, 15, 22, 30, 30]);
}

#[test]
fn the_last_level_goes_on() {
    let schedule = Schedule::Levels(vec![5, 0, 60].into());
    let outcomes = [Outcome::Return, Outcome::Fail, Outcome::Return, Outcome::Fail];
    assert_eq!(waits(delayed(Delayed::All, schedule), &outcomes), [5, 0, 60, 60]);
}

#[test]
fn only_the_chosen_ones_wait() {
    let outcomes = [Outcome::Return, Outcome::Fail, Outcome::Undelivered];
    let schedule = || Schedule::Levels(vec![10].into());
    assert_eq!(waits(delayed(Delayed::Disabled, schedule()), &outcomes), [0, 0, 0]);
    assert_eq!(waits(delayed(Delayed::All, schedule()), &outcomes), [10, 10, 0]);
    assert_eq!(waits(delayed(Delayed::Failed, schedule()), &outcomes), [0, 10, 0]);
    assert_eq!(waits(delayed(Delayed::Returned, schedule()), &outcomes), [10, 0, 0]);
}

#[test]
fn a_wait_of_0_lets_no_other_message_pass() {
    let mut rig = Rig::new(delayed(Delayed::All, Schedule::Linear { min_ms: 0, max_ms: 100 }));
    rig.publish_all(&["a", "b"]);
    rig.get().unwrap();
    rig.answer("a", Outcome::Return);
    assert_eq!(rig.ready(), ["a", "b"]);
}

#[test]
fn a_purge_removes_those_that_wait_too() {
    let mut rig = Rig::new(delayed(Delayed::All, Schedule::Levels(vec![10].into())));
    rig.publish_all(&["a", "b"]);
    rig.get().unwrap();
    rig.answer("a", Outcome::Return);
    assert_eq!(rig.queue.purge(&mut Vec::new()), 2);
    rig.until(100);
    assert_eq!(rig.queue.ready_len() + rig.queue.delayed_len(), 0);
}

#[test]
fn others_do_not_wait_for_too_many_that_become_ready_at_once() {
    const MESSAGES: usize = 10_000;
    let settings = delayed(Delayed::All, Schedule::Linear { min_ms: 10, max_ms: 10 });
    let mut queue = Queue::new(&settings, false, Seq(1), Moment(0));
    let mut effects = Vec::new();
    for number in 0..MESSAGES {
        queue.publish(message(&number.to_string(), None, None, 0), Moment(0), &mut effects).unwrap();
        let id = queue.get(false, Moment(0), &mut effects).and_then(|delivery| delivery.id).unwrap();
        queue.answer(id, Outcome::Return, Moment(0), &mut effects);
    }
    let mut looks = 0;
    while queue.deadline().is_some_and(|at| at <= Moment(10)) {
        queue.tick(Moment(10), &mut effects);
        looks += 1;
    }
    assert!(looks > 1, "{looks} looks");
    assert_eq!((queue.ready_len(), queue.delayed_len()), (MESSAGES, 0));
}
