//! What is refused, what is meant and what is the same, by table.

use super::*;
use crate::queue::settings::{Delayed, Limits, Overflow, Priorities, Schedule};
use amq_protocol_types::{DecimalValue, FieldArray};
use proptest::prelude::*;

type Given<'a> = &'a [(&'a str, AMQPValue)];

fn table(given: Given<'_>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in given {
        table.insert((*name).into(), value.clone());
    }
    table
}

fn queue(given: Given<'_>) -> QueueDefinition {
    let (id, name, arguments) = (QueueId(1), "q".into(), table(given));
    QueueDefinition { id, name, durable: true, auto_delete: false, owner: None, arguments }
}

fn quorum(given: Given<'_>) -> QueueDefinition {
    queue(&[given, &[("x-queue-type", text("quorum"))]].concat())
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn int(value: i32) -> AMQPValue {
    AMQPValue::LongInt(value)
}

fn long(value: i64) -> AMQPValue {
    AMQPValue::LongLongInt(value)
}

fn array(values: Vec<AMQPValue>) -> AMQPValue {
    AMQPValue::FieldArray(FieldArray::from(values))
}

/// The argument that is refused, and why.
fn fault(queue: &QueueDefinition) -> Option<(&'static str, Flaw)> {
    match queue.validate() {
        Ok(()) => None,
        Err(Refusal::InvalidArgument { argument, flaw, .. }) => Some((argument, flaw)),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn values_on_both_types() {
    use Flaw::*;
    let not_an_integer = |value: AMQPValue| Some(NotAnInteger(value));
    let unacceptable = |value: AMQPValue| Some(UnacceptableType(value));
    let rows: Vec<(&str, AMQPValue, Option<Flaw>)> = vec![
        ("x-mine", AMQPValue::Void, None),
        ("x-ha-policy", text("all"), None),
        ("x-expires", int(0), Some(Zero)),
        ("x-expires", int(-1), Some(Negative(-1))),
        ("x-expires", text("x"), not_an_integer(text("x"))),
        ("x-message-ttl", int(0), None),
        ("x-message-ttl", int(-1), Some(Negative(-1))),
        ("x-message-ttl", AMQPValue::Double(1.5), not_an_integer(AMQPValue::Double(1.5))),
        ("x-message-ttl", text("1000"), not_an_integer(text("1000"))),
        ("x-message-ttl", AMQPValue::Void, not_an_integer(AMQPValue::Void)),
        ("x-message-ttl", long(315_360_000_000), None),
        ("x-message-ttl", long(315_360_000_001), Some(TooLarge(315_360_000_001))),
        ("x-dead-letter-exchange", text("bad "), None),
        ("x-dead-letter-exchange", text(&"x".repeat(256)), Some(NotAShortString)),
        ("x-dead-letter-exchange", AMQPValue::LongString([0xff][..].into()), Some(NotAShortString)),
        ("x-dead-letter-routing-key", text("k"), Some(RoutingKeyWithoutExchange)),
        ("x-dead-letter-routing-key", int(5), unacceptable(int(5))),
        ("x-dead-letter-strategy", text("nope"), Some(DeadLetterStrategy)),
        ("x-dead-letter-strategy", text("at-least-once"), None),
        ("x-max-length", int(-1), Some(Negative(-1))),
        ("x-max-length-bytes", text("x"), not_an_integer(text("x"))),
        ("x-max-priority", int(255), None),
        ("x-max-priority", int(256), Some(MaxExceeded(256))),
        ("x-overflow", text("nope"), Some(Overflow)),
        ("x-overflow", int(5), unacceptable(int(5))),
        ("x-overflow", text("reject-publish-dlx"), None),
        ("x-sync-mode", text("relaxed"), None),
        ("x-sync-mode", text("fast"), Some(SyncMode)),
        ("x-single-active-consumer", int(1), unacceptable(int(1))),
        ("x-single-active-consumer", text("true"), unacceptable(text("true"))),
        ("x-consumer-timeout", int(-1), Some(Negative(-1))),
        ("x-consumer-timeout", long(i64::MAX), None),
        ("x-queue-leader-locator", text("balanced"), None),
        ("x-queue-leader-locator", text("nope"), Some(QueueLocator)),
        ("x-delivery-limit", int(-1), None),
        ("x-delivery-limit", text("x"), None),
        ("x-delayed-retry-type", text("nope"), Some(DelayedRetryType)),
        ("x-delayed-retry-type", text("disabled"), None),
        ("x-delayed-retry-type", text("all"), Some(Requires("x-delayed-retry-min"))),
        ("x-delayed-retry-min", int(-1), Some(Negative(-1))),
        ("x-delayed-retry-max", text("1s"), not_an_integer(text("1s"))),
    ];
    for (name, value, flaw) in rows {
        for queue in [queue(&[(name, value.clone())]), quorum(&[(name, value.clone())])] {
            let expected = flaw.clone().map(|flaw| (name, flaw));
            assert_eq!(fault(&queue), expected, "{name} {value:?} on {:?}", queue.queue_type());
        }
    }
}

#[test]
fn arguments_of_one_type() {
    let rows = [
        ("x-max-in-memory-length", int(5), QueueType::Quorum),
        ("x-max-in-memory-bytes", int(5), QueueType::Quorum),
        ("x-consumer-disconnected-timeout", int(5), QueueType::Quorum),
        ("x-quorum-initial-group-size", int(1), QueueType::Quorum),
        ("x-queue-mode", text("nope"), QueueType::Classic),
        ("x-queue-version", int(2), QueueType::Classic),
        ("x-queue-master-locator", text("min-masters"), QueueType::Classic),
    ];
    for (name, value, queue_type) in rows {
        for queue in [queue(&[(name, value.clone())]), quorum(&[(name, value.clone())])] {
            let other = queue.queue_type();
            let expected = (other != queue_type).then_some((name, Flaw::OfAnotherQueueType(other)));
            assert_eq!(fault(&queue), expected);
        }
    }
    for name in ["x-max-age", "x-stream-max-segment-size-bytes", "x-stream-filter-size-bytes"] {
        let flaw = Flaw::OfAnotherQueueType(QueueType::Quorum);
        assert_eq!(fault(&quorum(&[(name, int(5))])), Some((name, flaw)));
    }
    let zero = ("x-quorum-initial-group-size", int(0));
    assert_eq!(fault(&quorum(std::slice::from_ref(&zero))), Some((zero.0, Flaw::Zero)));
    let version = |value| fault(&queue(&[("x-queue-version", value)])).unwrap().1;
    assert_eq!(version(int(1)), Flaw::UnsupportedQueueVersion(1));
    assert_eq!(version(int(-1)), Flaw::Negative(-1));
    assert_eq!(version(text("2")), Flaw::NotAnInteger(text("2")));
}

#[test]
fn queue_types() {
    let of = |value: AMQPValue| QueueType::of(&table(&[("x-queue-type", value)]));
    assert_eq!(QueueType::of(&table(&[])), Ok(QueueType::Classic));
    assert_eq!(of(text("")), Ok(QueueType::Classic));
    assert_eq!(of(text("quorum")), Ok(QueueType::Quorum));
    assert_eq!(of(text("stream")), Err(Flaw::UnsupportedQueueType("stream".into())));
    assert_eq!(of(int(5)), Err(Flaw::UnacceptableType(int(5))));
    let server_named = |given: Given<'_>| QueueDefinition::check_server_named(&table(given));
    assert_eq!(server_named(&[]), Ok(()));
    let refused = server_named(&[("x-queue-type", text("quorum"))]);
    assert_eq!(refused, Err(Refusal::ServerNamed(QueueType::Quorum)));
}

#[test]
fn properties_of_quorum_queues() {
    let given = quorum(&[]);
    let owner = Some(ConnectionId(1));
    let rows = [
        (QueueDefinition { durable: false, ..given.clone() }, "non-durable"),
        (QueueDefinition { durable: false, owner, ..given.clone() }, "exclusive-owner"),
        (QueueDefinition { durable: false, owner, auto_delete: true, ..given.clone() }, "auto-delete"),
    ];
    for (queue, property) in rows {
        assert_eq!(queue.validate(), Err(Refusal::InvalidProperty { queue: "q".into(), property }));
        let classic = QueueDefinition { arguments: table(&[]), ..queue };
        assert_eq!(classic.validate(), Ok(()));
    }
    assert_eq!(given.validate(), Ok(()));
}

#[test]
fn the_first_fault_is_told() {
    let not_a_string = queue(&[("x-dead-letter-exchange", int(5)), ("x-queue-type", text("nope"))]);
    assert!(matches!(not_a_string.validate(), Err(Refusal::NotAString { .. })));
    let [ttl, expires, foreign] =
        [("x-message-ttl", int(-1)), ("x-expires", int(0)), ("x-initial-cluster-size", int(0))];
    let nope = ("x-queue-type", text("nope"));
    let first = |given: Given<'_>| fault(&queue(given)).unwrap().0;
    assert_eq!(first(&[ttl.clone(), expires.clone(), nope]), "x-queue-type");
    assert_eq!(first(&[ttl.clone(), expires, foreign.clone()]), "x-expires");
    assert_eq!(first(&[ttl, foreign.clone()]), "x-message-ttl");
    assert_eq!(first(&[("x-max-age", text("1D")), foreign]), "x-initial-cluster-size");
}

#[test]
fn what_is_said_is_meant() {
    let given = [
        ("x-expires", int(1)),
        ("x-message-ttl", AMQPValue::ShortShortUInt(2)),
        ("x-dead-letter-exchange", text("x")),
        ("x-dead-letter-routing-key", text("k")),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-max-length", long(3)),
        ("x-max-length-bytes", int(4)),
        ("x-overflow", text("reject-publish")),
        ("x-single-active-consumer", AMQPValue::Boolean(true)),
        ("x-consumer-timeout", int(5)),
        ("x-delivery-limit", int(6)),
    ];
    let settings = queue(&given).settings();
    assert_eq!((settings.expires_ms, settings.message_ttl_ms), (Some(1), Some(2)));
    let to = settings.dead_letter.unwrap();
    assert_eq!((&*to.exchange, to.routing_key.as_deref(), to.at_least_once), ("x", Some(&b"k"[..]), true));
    let limits = Limits { max_length: Some(3), max_length_bytes: Some(4), overflow: Overflow::RejectPublish };
    assert_eq!(settings.limits, limits);
    assert!(settings.single_active_consumer);
    assert_eq!((settings.consumer_timeout_ms, settings.retry.delivery_limit), (Some(5), Some(6)));
    assert_eq!(queue(&[]).settings(), Settings::default());
    assert_eq!(queue(&[("x-consumer-timeout", int(0))]).settings(), Settings::default());
    assert_eq!(queue(&[("x-message-ttl", text("x"))]).settings(), Settings::default());
}

#[test]
fn priorities_and_delivery_limits_by_type() {
    let priorities = |queue: QueueDefinition| {
        let Priorities { max, default } = queue.settings().priorities;
        (max, default)
    };
    assert_eq!(priorities(queue(&[("x-max-priority", int(255))])), (255, 0));
    assert_eq!(priorities(quorum(&[])), (31, 4));
    assert_eq!(priorities(quorum(&[("x-max-priority", int(200))])), (31, 4));
    assert_eq!(priorities(quorum(&[("x-max-priority", int(2))])), (2, 2));

    let limit = |queue: QueueDefinition| queue.settings().retry.delivery_limit;
    let exchange = ("x-dead-letter-exchange", text("x"));
    assert_eq!(limit(queue(std::slice::from_ref(&exchange))), None);
    assert_eq!(limit(quorum(&[])), None);
    assert_eq!(limit(quorum(std::slice::from_ref(&exchange))), Some(20));
    assert_eq!(limit(quorum(&[exchange.clone(), ("x-delivery-limit", int(-1))])), None);
    assert_eq!(limit(quorum(&[exchange, ("x-delivery-limit", text("x"))])), Some(20));
    assert_eq!(limit(queue(&[("x-delivery-limit", long(i64::MAX))])), Some(u32::MAX));
}

#[test]
fn delayed_retry() {
    let retry = |given: Given<'_>| {
        let queue = queue(&[given, &[("x-delayed-retry-type", text("failed"))]].concat());
        fault(&queue).map_or_else(
            || {
                assert_eq!(queue.settings().retry.delayed, Delayed::Failed);
                Ok(queue.settings().retry.schedule)
            },
            |(_, flaw)| Err(flaw),
        )
    };
    let (min, max) = (|| ("x-delayed-retry-min", int(10)), |ms| ("x-delayed-retry-max", int(ms)));
    let by = |value| ("x-delayed-retry-multiplier", value);
    let levels = |value| ("x-delayed-retry-levels", value);
    let exponential = |multiplier, max_ms| Ok(Schedule::Exponential { min_ms: 10, multiplier, max_ms });

    assert_eq!(retry(&[min()]), Ok(Schedule::Linear { min_ms: 10, max_ms: 10 }));
    assert_eq!(retry(&[min(), max(30)]), Ok(Schedule::Linear { min_ms: 10, max_ms: 30 }));
    assert_eq!(retry(&[min(), max(9)]), Err(Flaw::DelayedRetryMaxBelowMin { max: 9, min: 10 }));
    assert_eq!(retry(&[max(9)]), Err(Flaw::Requires("x-delayed-retry-min")));

    let decimal = AMQPValue::DecimalValue(DecimalValue { scale: 1, value: 15 });
    for value in [AMQPValue::Float(1.5), AMQPValue::Double(1.5), decimal, text("1.5")] {
        assert_eq!(retry(&[min(), max(30), by(value)]), exponential(1.5, 30));
    }
    assert_eq!(retry(&[min(), by(int(1000))]), exponential(1000.0, DURATION_MAX_MS));
    for value in [int(0), long(i64::MAX), text("1e2"), text("nan"), text(""), AMQPValue::Double(f64::NAN)] {
        assert_eq!(retry(&[min(), by(value)]), Err(Flaw::DelayedRetryMultiplier));
    }

    let times = |times: &[u64]| Ok(Schedule::Levels(times.into()));
    assert_eq!(
        retry(&[levels(text("7ms 1s  2m 3h 4d"))]),
        times(&[7, 1000, 120_000, 10_800_000, 345_600_000])
    );
    assert_eq!(retry(&[levels(array(vec![text("5s"), int(6)]))]), times(&[5000, 6]));
    assert_eq!(retry(&[levels(text(&"0s ".repeat(32)))]), times(&[0; 32]));
    let wrong = ["", "5", "s", "5 s", "-5s", "5w", "3651d", "99999999999999999999s", &"1s ".repeat(33)];
    for value in wrong.map(text).into_iter().chain([int(5), array(vec![]), array(vec![int(-1)])]) {
        assert_eq!(retry(&[levels(value)]), Err(Flaw::DelayedRetryLevels));
    }
    for (other, name) in [
        (min(), "x-delayed-retry-min"),
        (max(9), "x-delayed-retry-max"),
        (by(int(2)), "x-delayed-retry-multiplier"),
    ] {
        assert_eq!(retry(&[other, levels(text("1s"))]), Err(Flaw::Excludes(name)));
    }
}

#[test]
fn what_waits_when_nobody_says_it() {
    let delayed = |given: Given<'_>| queue(given).settings().retry.delayed;
    let (min, by) = (("x-delayed-retry-min", int(10)), ("x-delayed-retry-multiplier", int(2)));
    let levels = ("x-delayed-retry-levels", text("1s"));
    assert_eq!(delayed(&[]), Delayed::Disabled);
    assert_eq!(delayed(std::slice::from_ref(&min)), Delayed::Disabled);
    assert_eq!(delayed(&[min, by]), Delayed::All);
    assert_eq!(delayed(std::slice::from_ref(&levels)), Delayed::All);
    assert_eq!(delayed(&[levels, ("x-delayed-retry-type", text("disabled"))]), Delayed::Disabled);
}

#[test]
fn a_durable_exclusive_queue_goes_with_its_connection() {
    let owned = |durable| QueueDefinition { durable, owner: Some(ConnectionId(1)), ..queue(&[]) };
    assert!(queue(&[]).survives_restart());
    assert!(!owned(true).survives_restart());
    assert!(!QueueDefinition { durable: false, ..queue(&[]) }.survives_restart());
    assert_eq!(owned(true).check_equivalent(&owned(false)), Ok(()));
}

#[test]
fn equivalence() {
    let ttl = |value| queue(&[("x-message-ttl", value)]);
    let differ = |current: &QueueDefinition, wanted: &QueueDefinition| match current.check_equivalent(wanted)
    {
        Ok(()) => None,
        Err(Refusal::InequivalentArgument { argument, .. }) => Some(argument),
        Err(other) => panic!("{other:?}"),
    };
    let plain = queue(&[]);
    let classic = queue(&[("x-queue-type", text("classic"))]);
    for other in [&classic, &queue(&[("x-queue-type", text(""))]), &queue(&[("x-mine", int(1))])] {
        assert_eq!(differ(&plain, other), None);
        assert_eq!(differ(other, &plain), None);
    }
    assert_eq!(differ(&ttl(int(1000)), &ttl(long(1000))), None);
    assert_eq!(differ(&ttl(int(1000)), &ttl(int(2000))), Some("x-message-ttl"));
    assert_eq!(differ(&ttl(int(1000)), &ttl(text("1000"))), Some("x-message-ttl"));
    assert_eq!(differ(&plain, &ttl(int(1))), Some("x-message-ttl"));
    assert_eq!(differ(&ttl(int(1)), &plain), Some("x-message-ttl"));
    assert_eq!(differ(&plain, &quorum(&[])), Some("x-queue-type"));
    let limited = [("x-delivery-limit", int(3))];
    assert_eq!(differ(&plain, &queue(&limited)), Some("x-delivery-limit"));
    assert_eq!(differ(&quorum(&[]), &quorum(&limited)), Some("x-delivery-limit"));
    // What is held counts, not how; inside of an array both do.
    let mode = |value| queue(&[("x-queue-mode", value)]);
    assert_eq!(differ(&mode(AMQPValue::Float(1.5)), &mode(AMQPValue::Double(1.5))), None);
    assert_eq!(differ(&mode(int(1)), &mode(AMQPValue::Double(1.0))), Some("x-queue-mode"));
    assert_eq!(differ(&mode(array(vec![int(1)])), &mode(array(vec![long(1)]))), Some("x-queue-mode"));
    // Of what a type does not take nothing is compared, nor was it checked.
    assert_eq!(differ(&quorum(&[]), &quorum(&[("x-queue-mode", text("lazy"))])), None);
}

#[test]
fn arguments_of_consumers() {
    let read = |queue: &QueueDefinition, given: Given<'_>| match consumer_arguments(queue, &table(given)) {
        Ok(ConsumerArguments { priority, timeout_ms }) => Ok((priority, timeout_ms)),
        Err(Refusal::InvalidArgument { argument, flaw, .. }) => Err((argument, flaw)),
        Err(other) => panic!("{other:?}"),
    };
    for queue in [queue(&[]), quorum(&[])] {
        let priority = |value| read(&queue, &[("x-priority", value)]);
        assert_eq!(read(&queue, &[("x-mine", int(1))]), Ok((0, None)));
        assert_eq!(priority(AMQPValue::ShortShortInt(-5)), Ok((-5, None)));
        assert_eq!(priority(long(i64::MAX)), Ok((i32::MAX, None)));
        assert_eq!(priority(long(i64::MIN)), Ok((i32::MIN, None)));
        assert_eq!(priority(text("x")), Err(("x-priority", Flaw::NotAnInteger(text("x")))));
        let timeout = |value| read(&queue, &[("x-consumer-timeout", value)]);
        assert_eq!(timeout(int(1000)), Ok((0, Some(1000))));
        assert_eq!(timeout(int(0)), Ok((0, Some(DURATION_MAX_MS))));
        assert_eq!(timeout(int(-1)), Err(("x-consumer-timeout", Flaw::Negative(-1))));
        for name in ["x-stream-offset", "x-stream-filter", "x-stream-match-unfiltered"] {
            let flaw = Flaw::OfAnotherQueueType(queue.queue_type());
            assert_eq!(read(&queue, &[(name, text("first"))]), Err((name, flaw)));
        }
    }
}

fn any_value() -> impl Strategy<Value = AMQPValue> {
    let words = [
        "",
        "classic",
        "quorum",
        "at-least-once",
        "drop-head",
        "reject-publish-dlx",
        "all",
        "failed",
        "returned",
        "disabled",
        "1.5",
        "1s 2m",
        "balanced",
        "nope",
    ];
    let flat = prop_oneof![
        4 => (-2..40).prop_map(int),
        1 => any::<i64>().prop_map(long),
        4 => prop::sample::select(words.to_vec()).prop_map(text),
        1 => any::<bool>().prop_map(AMQPValue::Boolean),
        1 => any::<f64>().prop_map(AMQPValue::Double),
        1 => (any::<u8>(), any::<u32>())
            .prop_map(|(scale, value)| AMQPValue::DecimalValue(DecimalValue { scale, value })),
        1 => prop::collection::vec(any::<u8>(), 0..300)
            .prop_map(|bytes| AMQPValue::LongString(bytes.into())),
        1 => Just(AMQPValue::Void),
    ];
    flat.prop_recursive(1, 40, 40, |inner| prop::collection::vec(inner, 0..40).prop_map(array))
}

fn check_settings(settings: &Settings) -> Result<(), TestCaseError> {
    let times = [settings.message_ttl_ms, settings.expires_ms, settings.consumer_timeout_ms];
    prop_assert!(times.iter().flatten().all(|ms| *ms <= DURATION_MAX_MS));
    prop_assert!(settings.expires_ms != Some(0) && settings.consumer_timeout_ms != Some(0));
    prop_assert!(settings.priorities.default <= settings.priorities.max);
    if let Some(to) = &settings.dead_letter {
        prop_assert!(to.exchange.len() <= 255);
        prop_assert!(to.routing_key.as_ref().is_none_or(|key| key.len() <= 255));
    }
    match &settings.retry.schedule {
        Schedule::Linear { min_ms, max_ms } => prop_assert!(min_ms <= max_ms && *max_ms <= DURATION_MAX_MS),
        Schedule::Exponential { min_ms, multiplier, max_ms } => {
            prop_assert!(min_ms <= max_ms && *max_ms <= DURATION_MAX_MS);
            prop_assert!((1.0..=1000.0).contains(multiplier));
        }
        Schedule::Levels(levels) => {
            prop_assert!((1..=32).contains(&levels.len()));
            prop_assert!(levels.iter().all(|ms| *ms <= DURATION_MAX_MS));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn settings_are_sound(given in prop::collection::vec((0..ARGUMENTS.len(), any_value()), 0..6)) {
        let given: Vec<_> = given.into_iter().map(|(at, value)| (ARGUMENTS[at].name, value)).collect();
        let declared = queue(&given);
        // Also of what is refused: a definition from an older version may be recovered.
        check_settings(&declared.settings())?;
        prop_assert_eq!(declared.check_equivalent(&declared), Ok(()));
        let (_, fault) = argument::take::<Wanted>(&ARGUMENTS, &declared.arguments, declared.queue_type());
        if let Some((name, _)) = fault {
            // The flaw of a value keeps all effect from it.
            let without: Vec<_> = given.iter().filter(|(other, _)| *other != name).cloned().collect();
            prop_assert_eq!(declared.settings(), queue(&without).settings());
        }
    }
}
