//! Messages that are in the store alone.

use crate::rig::{Rig, dead_letters, message, place, spec};
use std::sync::atomic::Ordering;
use vhosts::queue::settings::{Limits, Priorities};
use vhosts::queue::{
    Amount, ConsumerSpec, Effect, Outcome, PAGE_MESSAGES, REREAD_MS, Residency, Settings, Stored,
};
use vhosts::{Message, Moment, Place, Queue, Seq};

const TEN: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

/// In memory are a and b, i and j; between them are three pages.
fn paged(settings: Settings) -> Rig {
    let mut rig = Rig::new(settings);
    rig.publish_all(&TEN);
    rig.page_out(2);
    assert_eq!((rig.queue.paged().messages, rig.queue.resident().messages), (6, 4));
    assert_eq!((rig.queue.ready_len(), rig.queue.ready_bytes()), (10, 10));
    assert!(rig.asked.is_empty(), "without a consumer nothing is read");
    rig
}

fn with_dead_letters() -> Settings {
    Settings { dead_letter: dead_letters(false), ..Settings::default() }
}

/// Room for so many messages.
fn credit(credit: u32) -> ConsumerSpec {
    ConsumerSpec { credit, ..spec() }
}

#[test]
fn paged_messages_are_where_they_were() {
    let mut rig = paged(Settings::default());
    assert_eq!(rig.ready(), TEN);
    assert_eq!(rig.queue.oldest(), Some(Moment(0)));
    rig.publish("k").unwrap();
    rig.consume(spec());
    rig.fetch();
    let words = rig.words();
    assert!(words.iter().map(|word| &word[7..]).eq(TEN.into_iter().chain(["k"])), "{words:?}");
}

#[test]
fn nobody_overtakes_a_page_that_is_on_its_way() {
    let mut rig = paged(Settings::default());
    rig.consume(spec());
    assert_eq!(rig.words(), ["0 gets a", "0 gets b"]);
    assert_eq!(rig.asked.len(), 2, "two pages are read ahead");
    let (first, second) = (rig.asked.remove(0), rig.asked.remove(0));
    rig.fetched(&second, |_| true);
    rig.publish("k").unwrap();
    assert!(rig.words().is_empty());
    rig.fetched(&first, |_| true);
    assert_eq!(rig.words(), ["0 gets c", "0 gets d", "0 gets e", "0 gets f"]);
    assert_eq!(rig.asked.len(), 1);
}

#[test]
fn a_page_is_read_before_the_consumer_needs_it() {
    let mut rig = paged(Settings::default());
    let key = rig.consume(credit(0));
    assert!(rig.asked.is_empty(), "there is a page's worth in memory");
    rig.queue.grant(key, 1);
    rig.deliver();
    assert_eq!((rig.words().len(), rig.asked.len()), (1, 2));
    rig.deliver();
    assert_eq!(rig.asked.len(), 2, "what was asked for is not asked for again");
}

#[test]
fn a_higher_level_in_the_store_stalls_the_lower_ones() {
    let mut rig = Rig::new(Settings { priorities: Priorities { max: 1, default: 1 }, ..Settings::default() });
    rig.publish_all(&TEN);
    rig.page_out(2);
    rig.publish_with("low", Some(0), None).unwrap();
    let key = rig.consume(credit(3));
    assert_eq!(rig.words(), ["0 gets a", "0 gets b"]);
    rig.fetch();
    rig.queue.grant(key, 20);
    rig.deliver();
    rig.fetch();
    let words = rig.words();
    assert_eq!((words.len(), &*words[8]), (9, "0 gets low"));
}

#[test]
fn messages_that_come_back_keep_their_places_before_between_and_behind_pages() {
    let mut rig = Rig::new(Settings::default());
    rig.publish_all(&TEN);
    for _ in TEN {
        rig.get().unwrap();
    }
    // a to d are not here when the others go; then b is before the page of c and d, and h behind it.
    let back = |name| (name, Outcome::Undelivered);
    rig.answer_all(&["a", "c", "d", "e", "g", "i", "j"].map(back));
    rig.page_out(1);
    assert!(rig.queue.paged().messages >= 4);
    rig.answer_all(&["b", "f", "h"].map(back));
    assert_eq!(rig.ready(), TEN);
    rig.consume(spec());
    rig.fetch();
    let words = rig.words();
    assert!(words.iter().map(|word| &word[7..]).eq(TEN), "{words:?}");
}

#[test]
fn a_head_that_grew_by_what_came_back_is_paged_too() {
    let mut rig = paged(Settings::default());
    let consumer = rig.consume(spec());
    rig.fetch();
    rig.cancel(consumer);
    assert_eq!(rig.queue.unacked_len(), 10);
    rig.publish_all(&["k", "l", "m", "n"]);
    rig.page_out(1);
    rig.answer_all(&TEN.map(|name| (name, Outcome::Undelivered)));
    rig.page_out(1);
    assert!(rig.queue.resident().messages <= 5, "{:?}", rig.queue.resident());
    assert_eq!(rig.ready()[..10], TEN);
    rig.words();
    rig.consume(spec());
    rig.fetch();
    let words = rig.words();
    let all = TEN.into_iter().chain(["k", "l", "m", "n"]);
    assert!(words.iter().map(|word| &word[7..]).eq(all), "{words:?}");
}

#[test]
fn a_purge_settles_pages_without_reading_them() {
    let mut rig = paged(Settings::default());
    let spilled = rig.stored.len();
    rig.consume(credit(0));
    rig.get().unwrap();
    rig.deliver();
    let asked = rig.asked.clone();
    assert_eq!(asked.len(), 2);
    assert_eq!(rig.purge(), 9);
    assert_eq!((rig.queue.ready_len(), rig.queue.ready_bytes(), rig.settled), (0, 0, spilled));
    assert_eq!(rig.queue.counters().settled, 9);
    rig.publish("k").unwrap();
    rig.fetched(&asked[0], |_| true);
    assert_eq!(rig.ready(), ["k"], "an answer that comes too late is ignored");
    assert_eq!(rig.get().as_deref(), Some("k"));
}

#[test]
fn a_transient_message_is_stored_once_when_it_is_paged_out_and_settled_once() {
    let mut rig = paged(Settings::default());
    assert!(rig.stored.iter().all(|message| !message.persistent()));
    let spilled = rig.stored.len();
    assert!(spilled >= 6);
    rig.consume(ConsumerSpec { no_ack: true, ..spec() });
    rig.fetch();
    assert_eq!(rig.words().len(), 10);
    assert_eq!(rig.settled, spilled);
    assert_eq!(rig.queue.counters().settled, 10);
}

#[test]
fn a_spilled_message_is_not_the_one_that_other_queues_have() {
    let mut queue = Queue::new(&Settings::default(), true, Seq(1), Moment(0));
    let mut effects = Vec::new();
    let shared = message("shared", None, None, 0);
    for message in [message("next", None, None, 0), shared.clone()] {
        queue.publish(message, Moment(0), &mut effects).unwrap();
    }
    queue.page_out(Residency { messages: 0, bytes: 0 }, &mut place, &mut effects);
    let [Effect::Spill { seq, message }] = &effects[..] else { panic!("{effects:?}") };
    message.store_slot().store(7, Ordering::Relaxed);
    assert_eq!((*seq, shared.store_slot().load(Ordering::Relaxed)), (Seq(2), 0));
    assert_eq!((message.body_bytes(), message.marks()), (shared.body_bytes(), shared.marks()));
    let got = [(); 2].map(|()| queue.get(false, Moment(0), &mut effects).unwrap().message);
    assert_eq!(got.map(|message| message.store_slot().load(Ordering::Relaxed)), [0, 7]);
}

#[test]
fn basic_get_asks_for_what_is_in_the_store() {
    let mut rig = paged(Settings::default());
    assert_eq!([rig.get(), rig.get(), rig.get()], [Some("a".into()), Some("b".into()), None]);
    assert!(rig.queue.is_next_paged());
    assert_eq!(rig.asked.len(), 1, "no more than it needs");
    rig.fetch();
    assert!(!rig.queue.is_next_paged());
    assert_eq!(rig.get().as_deref(), Some("c"));
}

#[test]
fn an_unreadable_message_is_given_up_and_the_others_go_on() {
    let mut rig = paged(Settings::default());
    rig.consume(spec());
    rig.words();
    let page = rig.asked.remove(0);
    rig.fetched(&page, |name| name != "c");
    assert_eq!(rig.words(), ["0 gets d"]);
    let counters = rig.queue.counters();
    assert_eq!((counters.unreadable, counters.settled, rig.settled), (1, 1, 1));
    rig.fetch();
    assert_eq!((rig.queue.unacked_len(), rig.queue.ready_bytes()), (9, 0));
}

#[test]
fn a_page_that_could_not_be_read_is_asked_for_again_after_a_while() {
    let mut rig = paged(Settings::default());
    rig.consume(spec());
    for page in std::mem::take(&mut rig.asked) {
        rig.queue.fetch_failed(&page, Moment(rig.now));
    }
    rig.deliver();
    rig.until(REREAD_MS - 1);
    assert!(rig.asked.is_empty());
    rig.until(REREAD_MS);
    assert_eq!(rig.asked.len(), 2);
    rig.fetch();
    assert_eq!((rig.words().len(), rig.queue.deadline()), (10, None));
}

#[test]
fn the_head_that_is_dropped_is_read_if_it_is_in_the_store() {
    let limits = Limits { max_length: Some(10), ..Limits::default() };
    let mut rig = paged(Settings { limits, ..with_dead_letters() });
    rig.publish_all(&["k", "l", "m"]);
    assert_eq!(rig.words(), ["a died: MaxLength", "b died: MaxLength"]);
    assert_eq!((rig.queue.ready_len(), rig.asked.len()), (11, 1));
    rig.fetch();
    assert_eq!(rig.words(), ["c died: MaxLength"]);
    assert_eq!((rig.queue.ready_len(), rig.asked.len()), (10, 0));
}

#[test]
fn messages_of_a_page_expire_on_time() {
    let mut rig = Rig::new(with_dead_letters());
    for (name, ttl_ms) in
        [("a", 90_000), ("b", 90_000), ("c", 60_000), ("d", 20_000), ("e", 40_000), ("f", 90_000)]
    {
        rig.publish_with(name, None, Some(ttl_ms)).unwrap();
    }
    rig.publish_all(&["g", "h"]);
    rig.page_out(2);
    assert_eq!(rig.queue.paged().messages, 4);
    assert_eq!(rig.queue.deadline(), Some(Moment(20_000)));
    rig.until(19_999);
    assert!(rig.asked.is_empty());
    rig.until(20_000);
    assert_eq!((rig.asked.len(), rig.queue.deadline()), (1, Some(Moment(40_000))), "it is asked for once");
    rig.fetch();
    assert_eq!(rig.words(), ["d died: Expired"]);
    assert_eq!(rig.queue.paged().messages, 3, "c goes on in the store");
    rig.until(40_000);
    rig.fetch();
    rig.until(60_000);
    rig.fetch();
    assert_eq!(rig.words(), ["e died: Expired", "c died: Expired"]);
    assert_eq!(rig.ready(), ["a", "b", "f", "g", "h"]);
    rig.until(90_000);
    rig.fetch();
    assert_eq!(rig.ready(), ["g", "h"]);
}

#[test]
fn what_expires_soon_after_others_stays_in_memory() {
    let mut rig = Rig::new(with_dead_letters());
    rig.publish_all(&["a", "b"]);
    rig.publish_with("c", None, Some(20_000)).unwrap();
    rig.publish_with("d", None, Some(20_001)).unwrap();
    rig.publish_all(&["e", "f", "g", "h"]);
    rig.page_out(2);
    rig.until(20_000);
    rig.fetch();
    rig.until(20_001);
    assert!(rig.asked.is_empty(), "the page is not read again");
    assert_eq!(rig.words(), ["c died: Expired", "d died: Expired"]);
}

#[test]
fn a_page_of_which_all_are_overdue_is_dropped_unread_where_nobody_wants_the_dead() {
    let mut rig = paged(Settings { message_ttl_ms: Some(50), ..Settings::default() });
    rig.until(50);
    assert!(rig.asked.is_empty() && rig.words().is_empty());
    let counters = rig.queue.counters();
    assert_eq!((rig.queue.ready_len(), counters.dropped.expired, counters.settled), (0, 10, 10));
    assert_eq!((rig.settled, rig.queue.deadline()), (rig.stored.len(), None));
    rig.publish("k").unwrap();
    assert_eq!(rig.get().as_deref(), Some("k"));
}

#[test]
fn a_page_that_can_not_be_read_when_it_is_due_is_tried_again() {
    let mut rig = paged(Settings { message_ttl_ms: Some(50), ..with_dead_letters() });
    rig.until(50);
    let asked = std::mem::take(&mut rig.asked);
    assert_eq!(asked.len(), 3);
    asked.iter().for_each(|page| rig.queue.fetch_failed(page, Moment(50)));
    rig.until(50 + REREAD_MS - 1);
    assert!(rig.asked.is_empty());
    rig.until(50 + REREAD_MS);
    rig.fetch();
    assert_eq!((rig.words().len(), rig.queue.ready_len()), (10, 0));
    assert_eq!(rig.queue.deadline(), None);
}

/// Otherwise whoever reads it would read it again and again.
#[test]
fn the_next_message_is_not_paged_out_again_whatever_its_size() {
    let keep = Residency { messages: 4, bytes: 0 };
    let mut rig = Rig::new(Settings::default());
    rig.publish_all(&TEN);
    for name in TEN {
        rig.page_out_but(keep);
        if let Some(page) = rig.queue.next_page() {
            rig.fetched(&page, |_| true);
            rig.page_out_but(keep);
        }
        assert_eq!(rig.get().as_deref(), Some(name));
    }
}

/// A queue asks for nothing while it leaves the store alone, but who reads a page by himself gets on.
#[test]
fn a_page_that_somebody_reads_soon_after_a_failure_is_delivered_from() {
    let mut rig = paged(Settings::default());
    assert_eq!([rig.get(), rig.get()].map(Option::unwrap), ["a", "b"]);
    assert_eq!(rig.get(), None);
    for page in std::mem::take(&mut rig.asked) {
        rig.queue.fetch_failed(&page, Moment(rig.now));
    }
    assert_eq!(rig.get(), None);
    assert!(rig.asked.is_empty(), "the store is left alone");
    let page = rig.queue.next_page().unwrap();
    rig.fetched(&page, |_| true);
    assert!(rig.queue.next_page().is_none(), "it is in memory now, and not a page as before");
    assert_eq!(rig.get().as_deref(), Some("c"));
}

#[test]
fn paging_is_tried_again_when_some_more_came() {
    let keep = Residency { messages: 80, bytes: 1 << 20 };
    let mut queue = Queue::new(&Settings::default(), true, Seq(1), Moment(0));
    let mut effects = Vec::new();
    let mut publish = |queue: &mut Queue, count: u32| {
        for _ in 0..count {
            queue.publish(message("a", None, None, 0), Moment(0), &mut effects).unwrap();
        }
    };
    publish(&mut queue, 80);
    assert!(!queue.wants_paging(keep));
    publish(&mut queue, 1);
    assert!(queue.wants_paging(keep));
    // Nothing is written yet.
    queue.page_out(keep, &mut |_| None, &mut Vec::new());
    publish(&mut queue, 9);
    assert!(!queue.wants_paging(keep));
    publish(&mut queue, 1);
    assert!(queue.wants_paging(keep));
}

#[test]
fn what_was_stored_before_a_restart_is_read_when_it_is_needed() {
    let mut queue = Queue::new(&Settings::default(), true, Seq(1), Moment(0));
    let mut effects = Vec::new();
    for seq in 1..=PAGE_MESSAGES as u64 + 10 {
        let place = Place { segment: 1, unit: 2 * seq as u32, units: 2, shared: false };
        queue.recover_stored(Stored { seq: Seq(seq), place, body_len: 3, ..Stored::default() });
    }
    queue.recovered();
    assert_eq!(queue.paged(), Amount { messages: 4106, bytes: 3 * 4106 });
    let seq = queue.publish(message("new", None, None, 0), Moment(0), &mut effects).unwrap();
    assert_eq!(seq, Seq(4107));
    queue.consume(ConsumerSpec { no_ack: true, credit: 10_000, ..ConsumerSpec::default() }).unwrap();
    queue.deliver(Moment(0), &mut effects);
    let mut delivered = 0;
    while !effects.is_empty() {
        for effect in std::mem::take(&mut effects) {
            match effect {
                Effect::Fetch { page } => {
                    let read = page.entries().map(|_| Some(message("old", None, None, 0))).collect();
                    queue.fetched(&page, read, Moment(0), &mut effects);
                }
                Effect::Deliver { .. } => delivered += 1,
                Effect::Settled { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!((delivered, queue.ready_len(), queue.ready_bytes()), (4107, 0, 0));
}

/// Some are durable, some not, of other sizes each.
#[test]
fn a_million_paged_messages_cost_little_memory() {
    const MESSAGES: u64 = 1_000_000;
    let keep = Residency { messages: 16_384, bytes: 64 << 20 };
    let mut queue = Queue::new(&Settings::default(), true, Seq(1), Moment(0));
    let (mut effects, mut written) = (Vec::new(), 0_u64);
    let store = |message: &Message, written: &mut u64| {
        *written += 3 + *written % 5;
        message.store_slot().store(*written, Ordering::Relaxed);
    };
    for number in 0..MESSAGES {
        let message = Message::new("", b"q", &[0x10, 0, 1 + (number % 2) as u8], b"body").unwrap();
        if message.persistent() {
            store(&message, &mut written);
        }
        queue.publish(message, Moment(0), &mut effects).unwrap();
        if queue.wants_paging(keep) {
            queue.page_out(keep, &mut place, &mut effects);
        }
        for effect in effects.drain(..) {
            let Effect::Spill { message, .. } = effect else { panic!("{effect:?}") };
            store(&message, &mut written);
        }
    }
    assert_eq!(queue.ready_len() as u64, MESSAGES);
    assert!(queue.resident().messages <= keep.messages + 1024, "{:?}", queue.resident());
    let mut pages = Vec::new();
    queue.purge(&mut effects);
    for effect in effects {
        if let Effect::SettledPaged { page, .. } = effect {
            pages.push(page);
        }
    }
    let cost: usize = pages.iter().map(|page| page.cost()).sum();
    let messages: usize = pages.iter().map(|page| page.len()).sum();
    assert!(messages as u64 > MESSAGES - 20_000);
    assert!(cost / messages < 16, "{cost} bytes for {messages} messages in {} pages", pages.len());
}
