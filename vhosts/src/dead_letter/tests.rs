use super::*;
use crate::copies::check_copies;
use crate::headers::{fields, find, items, long, nested, text};
use crate::message::{Body, INLINE_BODY_MAX};
use crate::properties::Properties;
use crate::{MessageBuilder, message::Chunk, table};
use proptest::prelude::*;

const REASONS: [Reason; 4] = [Reason::Rejected, Reason::Expired, Reason::MaxLength, Reason::DeliveryLimit];

/// Delivery mode 2, an expiration or none, and these headers.
fn published(key: &str, expiration: &str, headers: &[(&str, Value<'_>)], body: &[u8]) -> Message {
    let mut list = vec![0x10, 0, 2];
    if !expiration.is_empty() {
        list[0] |= 1;
        list.push(expiration.len() as u8);
        list.extend_from_slice(expiration.as_bytes());
    }
    let mut builder = MessageBuilder::default();
    builder.address(&address_of(b"", key.as_bytes()));
    if headers.is_empty() {
        builder.header(&list, body.len() as u64).unwrap();
    } else {
        let mut table = TableWriter::default();
        headers.iter().for_each(|(name, value)| table.add(name.as_bytes(), *value));
        let table = table.finish();
        let edit = Edit { headers: Some(&table), ..Edit::default() };
        builder.header(&edit.apply(&list).unwrap(), body.len() as u64).unwrap();
        let copies = check_copies(&table).unwrap();
        if copies.any() {
            builder.mark_copies(copies.bcc);
        }
    }
    builder.push(Chunk::Shared(body.to_vec().into()));
    builder.finish(Moment(0))
}

fn to(exchange: &str, routing_key: Option<&str>) -> DeadLetterTo {
    let routing_key = routing_key.map(|key| key.as_bytes().into());
    DeadLetterTo { exchange: exchange.into(), routing_key, at_least_once: false }
}

/// What is published when the message dies in `queue`, seven seconds after the epoch.
fn died(message: &Message, queue: &str, reason: Reason, routing_key: Option<&str>) -> Message {
    let to = to("", routing_key);
    letter(message, &Death { queue, reason, to: &to, now: Moment(7_999) })
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The time of the last death.
fn time(message: &Message) -> &[u8] {
    let death = find(message.properties().headers.unwrap(), DEATHS).and_then(|array| items(array).next());
    find(death.and_then(nested).unwrap(), "time").unwrap()
}

fn header(message: &Message, name: &str) -> Option<String> {
    Some(shown(find(message.properties().headers?, name).and_then(text)?))
}

/// `x-death`, as "count reason queue exchange [keys] expiration".
fn history(message: &Message) -> Vec<String> {
    let headers = message.properties().headers.unwrap();
    let entry = |entry: &[u8]| {
        let part = |name| find(entry, name).and_then(text).map_or(String::new(), shown);
        let keys: Vec<_> =
            find(entry, "routing-keys").into_iter().flat_map(items).filter_map(text).map(shown).collect();
        let count = find(entry, "count").and_then(long).unwrap();
        let (reason, queue, exchange) = (part("reason"), part("queue"), part("exchange"));
        format!("{count} {reason} {queue} '{exchange}' {keys:?} {}", part("original-expiration"))
    };
    items(find(headers, "x-death").unwrap()).map(|item| entry(nested(item).unwrap())).collect()
}

fn keys_of(message: &Message) -> Vec<String> {
    let mut keys = Vec::new();
    message.each_routing_key(&mut |key| keys.push(shown(key)));
    keys
}

#[test]
fn a_letter_tells_of_its_death() {
    // Seen on 4.3.6: {"h", "x-death": [{"count", "reason", "queue", "time", "exchange", "routing-keys"}], …}
    let message = published("q", "", &[("h", Value::Long(1))], b"m");
    let letter = died(&message, "q", Reason::Rejected, Some("dlq"));
    let names: Vec<_> = fields(letter.properties().headers.unwrap()).map(|field| shown(field.name)).collect();
    let expected = [&["h", DEATHS][..], &FIRST, &LAST].concat();
    assert_eq!(names, expected);
    assert_eq!(history(&letter), ["1 rejected q '' [\"q\"] "]);
    for of in ["first", "last"] {
        assert_eq!(header(&letter, &format!("x-{of}-death-exchange")).unwrap(), "");
        assert_eq!(header(&letter, &format!("x-{of}-death-queue")).unwrap(), "q");
        assert_eq!(header(&letter, &format!("x-{of}-death-reason")).unwrap(), "rejected");
    }
    assert_eq!(time(&letter), [b'T', 0, 0, 0, 0, 0, 0, 0, 7]);
    assert_eq!((letter.routing_key(), letter.arrived()), (&b"dlq"[..], Moment(7_999)));
    assert!(letter.marks().died && letter.persistent());
    assert_eq!(&letter.body_bytes()[..], b"m");
}

#[test]
fn the_last_death_is_told_first_and_the_first_remains() {
    // Seen on 4.3.6, "x-death after three hops": maxlen c, expired b, rejected a with original-expiration.
    let message = published("a", "60000", &[], b"");
    let letter = died(&message, "a", Reason::Rejected, Some("b"));
    assert_eq!(letter.properties().expiration, None);
    assert!(message.marks().expires && !letter.marks().expires);
    let letter = died(&letter, "b", Reason::Expired, Some("c"));
    let letter = died(&letter, "c", Reason::MaxLength, Some("d"));
    let told = ["1 maxlen c '' [\"c\"] ", "1 expired b '' [\"b\"] ", "1 rejected a '' [\"a\"] 60000"];
    assert_eq!(history(&letter), told);
    assert_eq!(header(&letter, "x-first-death-queue").unwrap(), "a");
    assert_eq!(header(&letter, "x-first-death-reason").unwrap(), "rejected");
    assert_eq!(header(&letter, "x-last-death-queue").unwrap(), "c");
    assert_eq!(header(&letter, "x-last-death-reason").unwrap(), "maxlen");
}

#[test]
fn the_same_death_is_counted_and_comes_to_the_front() {
    // Seen on 4.3.6, "cycle with a reject goes on, counts": expired b 2, rejected a 2.
    let mut letter = published("a", "", &[], b"");
    for _ in 0..2 {
        letter = died(&letter, "a", Reason::Rejected, Some("b"));
        letter = died(&letter, "b", Reason::Expired, Some("a"));
    }
    assert_eq!(history(&letter), ["2 expired b '' [\"b\"] ", "2 rejected a '' [\"a\"] "]);
    let (to, now) = (to("", Some("b")), Moment(99_000));
    let letter = super::letter(&letter, &Death { queue: "a", reason: Reason::Rejected, to: &to, now });
    assert_eq!(time(&letter), [b'T', 0, 0, 0, 0, 0, 0, 0, 7], "the time is that of the first");
    assert_eq!(history(&letter), ["3 rejected a '' [\"a\"] ", "2 expired b '' [\"b\"] "]);
}

#[test]
fn what_a_client_wrote_is_not_believed() {
    // Seen on 4.3.6: a client's x-death [{count: 5, …}] and x-first-death-queue 'zz' are replaced.
    let mut entry = TableWriter::default();
    entry.add(b"count", Value::Long(5));
    entry.add(b"reason", Value::Text(b"rejected"));
    entry.add(b"queue", Value::Text(b"q"));
    let entry = entry.finish();
    let sent =
        [("x-death", Value::Array(&[Value::Table(&entry)])), ("x-first-death-queue", Value::Text(b"zz"))];
    let letter = died(&published("q", "", &sent, b""), "q", Reason::Rejected, Some("dlq"));
    assert_eq!(history(&letter), ["1 rejected q '' [\"q\"] "]);
    assert_eq!(header(&letter, "x-first-death-queue").unwrap(), "q");
}

#[test]
fn copies_follow_the_letter_unless_it_has_a_key_of_its_own() {
    // Seen on 4.3.6, with and without a dead letter routing key: CC stays to be seen, x-death names it and
    // not BCC; without, the letter goes to all three keys.
    let sent = [("CC", Value::Array(&[Value::Text(b"cc")])), ("BCC", Value::Array(&[Value::Text(b"bcc")]))];
    let message = published("q", "", &sent, b"");
    let own = died(&message, "q", Reason::Rejected, None);
    assert_eq!(history(&own), ["1 rejected q '' [\"q\", \"cc\"] "]);
    assert_eq!(keys_of(&own), ["q", "cc", "bcc"]);
    let seen = own.delivered_properties(crate::queue::History::default()).into_owned();
    assert_eq!(find(Properties::parse(&seen).unwrap().headers.unwrap(), BCC), None);

    let rerouted = died(&message, "q", Reason::Rejected, Some("dlq"));
    assert_eq!(history(&rerouted), history(&own));
    assert_eq!(keys_of(&rerouted), ["dlq"]);
    let headers = rerouted.properties().headers.unwrap();
    assert!(find(headers, "CC").is_some() && find(headers, BCC).is_none());
    // From now on its only key is the one that it got.
    let again = died(&rerouted, "dlq", Reason::Expired, None);
    assert_eq!(keys_of(&again), ["dlq"]);
    assert_eq!(history(&again)[0], "1 expired dlq '' [\"dlq\"] ");
}

#[test]
fn a_cycle_has_no_refusal_in_it() {
    // Seen on 4.3.6: a queue that expires into itself drops, one that is rejected into itself does not.
    let message = published("q", "", &[], b"");
    assert!(!is_cycle(&message, "q"));
    assert!(is_cycle(&died(&message, "q", Reason::Expired, Some("q")), "q"));
    assert!(!is_cycle(&died(&message, "q", Reason::Rejected, Some("q")), "q"));

    let refused_first = died(&died(&message, "a", Reason::Rejected, None), "b", Reason::Expired, None);
    assert!(!is_cycle(&refused_first, "a"));
    assert!(is_cycle(&refused_first, "b"));
    assert!(!is_cycle(&refused_first, "c"));
    let refused_later = died(&died(&message, "a", Reason::Expired, None), "b", Reason::Rejected, None);
    assert!(!is_cycle(&refused_later, "a"));
}

#[test]
fn so_many_deaths_are_remembered_and_no_more() {
    let mut letter = published("k", "", &[], b"");
    for number in 0..DEATHS_MAX + 3 {
        assert_eq!(is_cycle(&letter, "elsewhere"), number >= DEATHS_MAX);
        letter = died(&letter, &format!("q{number}"), Reason::Expired, None);
    }
    let told = history(&letter);
    assert_eq!(told.len(), DEATHS_MAX);
    assert_eq!(told[0], format!("1 expired q{} '' [\"k\"] ", DEATHS_MAX + 2));
    assert_eq!(told[DEATHS_MAX - 1], "1 expired q3 '' [\"k\"] ");
    assert_eq!(header(&letter, "x-first-death-queue").unwrap(), "q0");
    assert!(!is_cycle(&died(&letter, "q", Reason::Rejected, None), "elsewhere"));
}

#[test]
fn keys_are_told_while_there_is_room() {
    let copies = vec![Value::Text(&[b'k'; 95]); 100];
    let letter =
        died(&published("12345", "", &[("CC", Value::Array(&copies))], b""), "q", Reason::Expired, None);
    // 10 bytes for its own, 100 for each other.
    assert_eq!(history(&letter)[0].matches("kk\"").count(), (KEYS_BYTES_MAX - 10) / 100);
}

#[test]
fn large_bodies_are_shared() {
    let message = published("q", "", &[], &[7; INLINE_BODY_MAX + 1]);
    let letter = died(&message, "q", Reason::Expired, None);
    let (Body::Chunks([old]), Body::Chunks([new])) = (message.body(), letter.body()) else { panic!() };
    assert_eq!((old.as_ptr(), old.len()), (new.as_ptr(), new.len()));
}

#[test]
fn names_that_no_frame_can_carry_are_cut_off() {
    let long = "x".repeat(300);
    let death = Death { queue: "q", reason: Reason::Expired, to: &to(&long, Some(&long)), now: Moment(0) };
    let letter = letter(&published("q", "", &[], b""), &death);
    assert_eq!((letter.exchange().len(), letter.routing_key().len()), (255, 255));
}

proptest! {
    #[test]
    fn letters_of_letters_count_every_death(deaths in prop::collection::vec((0..3usize, 0..4usize), 1..40)) {
        let mut letter = published("k", "1", &[("h", Value::Text(b"kept"))], b"body");
        // The naive list: what died where, newest first, and how often.
        let mut told: Vec<(usize, usize, u32)> = Vec::new();
        for (queue, reason) in deaths {
            letter = died(&letter, &format!("q{queue}"), REASONS[reason], None);
            let before = told.iter().position(|entry| (entry.0, entry.1) == (queue, reason));
            let count = before.map_or(0, |place| told.remove(place).2);
            told.insert(0, (queue, reason, count + 1));

            for target in 0..4 {
                let place = told.iter().position(|entry| entry.0 == target);
                let round = place.is_some_and(|place| told[..=place].iter().all(|entry| entry.1 != 0));
                prop_assert_eq!(is_cycle(&letter, &format!("q{target}")), round);
            }
        }
        let entries = history(&letter);
        prop_assert_eq!(entries.len(), told.len());
        for (entry, (queue, reason, count)) in entries.iter().zip(told) {
            let start = format!("{count} {} q{queue} ", REASONS[reason].as_str());
            prop_assert!(entry.starts_with(&start), "{} {}", entry, start);
        }
        prop_assert_eq!(entries.iter().filter(|entry| entry.ends_with(" 1")).count(), 1);
        prop_assert_eq!(header(&letter, "h").unwrap(), "kept");
        prop_assert_eq!(table::check(letter.properties().headers.unwrap()), Ok(()));
        prop_assert_eq!(&letter.body_bytes()[..], b"body");
    }

    #[test]
    fn any_headers_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..60), prefix in any::<bool>()) {
        let mut headers = (bytes.len() as u32 + 9 * u32::from(prefix)).to_be_bytes().to_vec();
        if prefix {
            headers.extend_from_slice(b"\x07x-deathA");
        }
        headers.extend_from_slice(&bytes);
        headers.truncate(4 + bytes.len());
        let len = (headers.len() - 4) as u32;
        headers[..4].copy_from_slice(&len.to_be_bytes());
        let edit = Edit { headers: Some(&headers), ..Edit::default() };
        let mut builder = MessageBuilder::default();
        builder.address(b"\0\0");
        builder.header(&edit.apply(&[0, 0]).unwrap(), 0).unwrap();
        builder.mark_copies(true);
        builder.mark_died();
        let message = builder.finish(Moment(0));
        _ = (check_copies(&headers), is_cycle(&message, "q"), keys_of(&message));
        let letter = died(&message, "q", Reason::Expired, None);
        prop_assert!(is_cycle(&letter, "q"));
        prop_assert!(letter.properties().headers.is_some());
    }
}
