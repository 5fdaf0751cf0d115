//! Cases whose answers were recorded from RabbitMQ 4.3.

mod support;

use amq_protocol_types::{AMQPValue, ByteArray, DecimalValue, FieldTable};
use exchanges::graph::{Graph, Node, Target, route};
use exchanges::{BindError, Kind, Router};
use std::collections::HashMap;
use support::{Sent, selected, table, text};

/// Binding key, routing key, whether they match.
#[rustfmt::skip]
const TOPIC: &[(&str, &str, bool)] = &[
    ("#", "", true),
    ("#", "a", true),
    ("#", "a.b.c", true),
    ("#", ".", true),
    ("*", "", false),
    ("*", "a", true),
    ("*", "a.b", false),
    ("*", ".", false),
    ("*.*", "a.b", true),
    ("*.*", ".", true),
    ("*.*", "a.", true),
    ("*.*", ".a", true),
    ("*.*", "a", false),
    ("", "", true),
    ("", "a", false),
    ("", ".", false),
    (".", ".", true),
    (".", "", false),
    ("a", "a", true),
    ("a", "A", false),
    ("a", "a.", false),
    ("a.", "a.", true),
    ("a.", "a", false),
    (".a", ".a", true),
    (".a", "a", false),
    ("a.b", "a.b", true),
    ("a.*", "a.b", true),
    ("a.*", "a", false),
    ("a.*", "a.", true),
    ("a.*", "a..", false),
    ("a.*.c", "a.b.c", true),
    ("a.*.c", "a..c", true),
    ("a.*.c", "a.c", false),
    ("a.#", "a", true),
    ("a.#", "a.", true),
    ("a.#", "a.b", true),
    ("a.#", "a.b.c", true),
    ("a.#", "ab", false),
    ("#.a", "a", true),
    ("#.a", "b.a", true),
    ("#.a", "b.c.a", true),
    ("#.a", ".a", true),
    ("#.a", "ba", false),
    ("a.#.b", "a.b", true),
    ("a.#.b", "a.x.b", true),
    ("a.#.b", "a.x.y.b", true),
    ("a.#.b", "a..b", true),
    ("a.#.b", "ab", false),
    ("a.#.b", "a.b.b", true),
    ("a.#.b", "a.b.c", false),
    ("#.#", "", true),
    ("#.#", "a", true),
    ("#.#", "a.b", true),
    ("*.#", "", false),
    ("*.#", "a", true),
    ("*.#", "a.b", true),
    ("*.#", ".", true),
    ("#.*", "", false),
    ("#.*", "a", true),
    ("#.*", "a.b.c", true),
    ("#.a.#", "a", true),
    ("#.a.#", "x.a.y", true),
    ("#.a.#", "x.y", false),
    ("#.*.#", "", false),
    ("#.*.#", "a", true),
    ("*.#.*", "a", false),
    ("*.#.*", "a.b", true),
    ("*.#.*", "a.b.c", true),
    ("a*", "ab", false),
    ("a*", "a*", true),
    ("a#", "ab", false),
    ("a#", "a#", true),
    ("*a", "*a", true),
    ("*", "*", true),
    ("*", "#", true),
    ("a.b", "a.*", false),
    ("a..b", "a..b", true),
    ("a..b", "a.b", false),
    ("..", "..", true),
    ("..", ".", false),
    ("*.*.*", "..", true),
    ("a.#.b.#.c", "a.b.c", true),
];

#[test]
fn topic_table() {
    for &(pattern, key, matches) in TOPIC {
        let mut router = Router::new(Kind::Topic);
        assert_eq!(router.bind(pattern.as_bytes(), &FieldTable::default(), 1), Ok(true), "{pattern}");
        let found = selected(&router, &Sent::with_key(key.as_bytes()));
        assert_eq!(!found.is_empty(), matches, "binding '{pattern}', key '{key}'");
    }
}

#[test]
fn topic_keys_have_at_most_two_hashes() {
    for (key, count) in [("#.#.#", 3), ("#.#.#.#", 4), ("#.a.#.b.#", 3)] {
        let mut router = Router::new(Kind::Topic);
        let refused = router.bind(key.as_bytes(), &FieldTable::default(), 1);
        assert_eq!(refused, Err(BindError::TooManyWildcards { binding_key: key.into(), count }));
        assert!(router.is_empty());
    }
}

fn int(value: i32) -> AMQPValue {
    AMQPValue::LongInt(value)
}

fn array(values: &[i32]) -> AMQPValue {
    AMQPValue::FieldArray(values.iter().map(|value| int(*value)).collect::<Vec<_>>().into())
}

type Pairs<'a> = &'a [(&'a str, AMQPValue)];

/// Binding arguments, message headers, whether they match.
fn headers_matrix() -> Vec<(FieldTable, FieldTable, bool)> {
    let nested = || AMQPValue::FieldTable(table(&[("b", int(1))]));
    let decimal = || AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 5 });
    let bytes = || AMQPValue::ByteArray(ByteArray::from(&b"x"[..]));
    let x_match = |form| ("x-match", text(form));
    let (all, any) = (|| x_match("all"), || x_match("any"));
    let (all_x, any_x) = (|| x_match("all-with-x"), || x_match("any-with-x"));
    let one = |value: AMQPValue| table(&[("a", value)]);
    let pair = |a: AMQPValue, b: AMQPValue, matches| (one(a), one(b), matches);
    let rows = |rows: &[(Pairs<'_>, Pairs<'_>, bool)]| -> Vec<_> {
        rows.iter().map(|(bound, sent, matches)| (table(bound), table(sent), *matches)).collect()
    };
    let mut matrix = rows(&[
        (&[("a", int(1)), ("b", text("x"))], &[("a", int(1)), ("b", text("x"))], true),
        (&[all(), ("a", int(1)), ("b", text("x"))], &[("a", int(1))], false),
        (&[all(), ("a", int(1))], &[("a", int(1)), ("c", int(2))], true),
        (&[any(), ("a", int(1)), ("b", text("x"))], &[("a", int(1)), ("b", text("y"))], true),
        (&[any(), ("a", int(1))], &[("a", int(2))], false),
        (&[any()], &[("a", int(2))], false),
        (&[all()], &[("a", int(2))], true),
        (&[all()], &[], true),
        (&[], &[], true),
        (&[any(), ("a", int(1))], &[], false),
        (&[all(), ("a", int(1)), ("x-b", int(1))], &[("a", int(1))], true),
        (&[all(), ("x-b", int(1))], &[("a", int(1))], true),
        (&[any(), ("x-b", int(1))], &[("x-b", int(1))], false),
        (&[all_x(), ("a", int(1)), ("x-b", int(1))], &[("a", int(1)), ("x-b", int(1))], true),
        (&[all_x(), ("a", int(1)), ("x-b", int(1))], &[("a", int(1)), ("x-b", int(2))], false),
        (&[any_x(), ("a", int(1)), ("x-b", int(1))], &[("x-b", int(1))], true),
        (&[any_x(), ("a", int(1)), ("x-b", int(1))], &[("a", int(2))], false),
        (&[all_x(), ("a", int(1))], &[("a", int(1)), ("x-match", text("foo"))], true),
        (&[("x-foo", int(1))], &[("x-foo", int(2))], true),
        (&[all(), ("a", AMQPValue::Void)], &[("a", int(1))], true),
        (&[all(), ("a", AMQPValue::Void)], &[("a", nested())], true),
        (&[all(), ("a", AMQPValue::Void)], &[("b", int(1))], false),
        (&[any(), ("a", AMQPValue::Void)], &[("a", int(1))], true),
        (&[all(), ("a", AMQPValue::Void)], &[("a", AMQPValue::Void)], true),
        (&[all(), ("a", int(1))], &[("a", AMQPValue::Void)], false),
        (&[("A", int(1))], &[("a", int(1))], false),
    ]);
    matrix.extend([
        pair(int(1), text("1"), false),
        pair(text("1"), int(1), false),
        pair(int(1), AMQPValue::LongLongInt(1), true),
        pair(AMQPValue::LongLongInt(1), int(1), true),
        pair(int(1), AMQPValue::ShortShortInt(1), true),
        pair(int(1), AMQPValue::ShortShortUInt(1), true),
        pair(int(1), AMQPValue::ShortInt(1), true),
        pair(int(1), AMQPValue::ShortUInt(1), true),
        pair(int(1), AMQPValue::LongUInt(1), true),
        pair(int(1), AMQPValue::Double(1.0), false),
        pair(AMQPValue::Double(1.0), int(1), false),
        pair(AMQPValue::Float(1.5), AMQPValue::Double(1.5), true),
        pair(int(1), AMQPValue::Boolean(true), false),
        pair(AMQPValue::Boolean(true), AMQPValue::Boolean(true), true),
        pair(AMQPValue::Boolean(true), AMQPValue::Boolean(false), false),
        pair(text("x"), bytes(), true),
        pair(int(1000), AMQPValue::Timestamp(1000), false),
        pair(AMQPValue::Timestamp(1000), AMQPValue::Timestamp(1000), false),
        pair(array(&[1, 2]), array(&[1, 2]), true),
        pair(array(&[1, 2]), array(&[2, 1]), false),
        pair(nested(), nested(), true),
        pair(text("X"), text("x"), false),
        pair(text(""), text(""), true),
        pair(decimal(), decimal(), true),
    ]);
    matrix
}

fn with_headers(headers: &FieldTable) -> Sent {
    Sent { headers: headers.clone(), ..Sent::default() }
}

#[test]
fn headers_table() {
    for (bound, sent, matches) in headers_matrix() {
        let mut router = Router::new(Kind::Headers);
        assert_eq!(router.bind(b"", &bound, 1), Ok(true), "{bound:?}");
        let found = selected(&router, &with_headers(&sent));
        assert_eq!(!found.is_empty(), matches, "binding {bound:?}, headers {sent:?}");
    }
}

#[test]
fn a_timestamp_is_its_milliseconds() {
    let timestamp = |seconds| table(&[("a", AMQPValue::Timestamp(seconds))]);
    let mut router = Router::new(Kind::Headers);
    router.bind(b"", &table(&[("a", AMQPValue::LongLongInt(5000))]), 1).unwrap();
    assert_eq!(selected(&router, &with_headers(&timestamp(5))), [1]);
    assert!(selected(&router, &with_headers(&timestamp(u64::MAX))).is_empty());
}

#[test]
fn x_match_is_one_of_four_strings() {
    let mut router = Router::new(Kind::Headers);
    for value in ["some", ""] {
        let refused = router.bind(b"", &table(&[("x-match", text(value))]), 1);
        assert_eq!(refused, Err(BindError::InvalidXMatch { value: value.into() }));
    }
    let refused = router.bind(b"", &table(&[("x-match", int(1))]), 1);
    assert_eq!(refused, Err(BindError::InvalidXMatchType { value: int(1) }));
    assert!(router.is_empty());
    assert!(!router.unbind(b"", &table(&[("x-match", int(1))]), &1));
    for kind in [Kind::Direct, Kind::Fanout, Kind::Topic] {
        assert_eq!(Router::new(kind).bind(b"", &table(&[("x-match", int(1))]), 1), Ok(true), "{kind:?}");
    }
}

#[test]
fn a_binding_is_its_key_arguments_and_destination() {
    for kind in Kind::ALL {
        let (one, long, two) =
            (table(&[("a", int(1))]), table(&[("a", AMQPValue::LongLongInt(1))]), table(&[("a", int(2))]));
        let message = Sent { key: b"k".to_vec(), headers: one.clone(), copies: vec![] };
        let mut router = Router::new(kind);
        assert_eq!(router.bind(b"k", &one, 1), Ok(true));
        assert_eq!(router.bind(b"k", &one, 1), Ok(false));
        assert_eq!(router.bind(b"k", &two, 1), Ok(true));
        assert_eq!(router.bind(b"l", &one, 1), Ok(true));
        assert_eq!(router.bind(b"k", &one, 2), Ok(true));
        assert_eq!(router.len(), 4);
        assert!(!router.unbind(b"k", &long, &1), "another type is another argument");
        assert!(!router.unbind(b"k", &FieldTable::default(), &1));
        assert_eq!(selected(&router, &message), [1, 2]);
        for (key, arguments, destination) in
            [(b"k", &one, 2), (b"k", &one, 1), (b"k", &two, 1), (b"l", &one, 1)]
        {
            assert!(router.unbind(key, arguments, &destination));
            assert!(!router.unbind(key, arguments, &destination));
        }
        assert!(router.is_empty());
        assert!(selected(&router, &message).is_empty());
    }
}

#[test]
fn a_nan_can_be_unbound() {
    for kind in Kind::ALL {
        let mut router = Router::new(kind);
        let nan = table(&[("a", AMQPValue::Double(f64::NAN))]);
        assert_eq!(router.bind(b"k", &nan, 1), Ok(true));
        assert_eq!(router.bind(b"k", &nan, 1), Ok(false));
        assert!(router.unbind(b"k", &nan, &1));
    }
}

#[test]
fn copies_are_routed_by_their_own_keys() {
    for kind in [Kind::Direct, Kind::Topic] {
        let mut router = Router::new(kind);
        for (key, destination) in [("a", 1), ("b", 2), ("c", 3)] {
            router.bind(key.as_bytes(), &FieldTable::default(), destination).unwrap();
        }
        let message = Sent { copies: vec![b"c".to_vec(), b"a".to_vec()], ..Sent::with_key(b"a") };
        assert_eq!(selected(&router, &message), [1, 3]);
    }
}

/// Exchanges by name, with their alternates.
#[derive(Default)]
struct Exchanges(HashMap<&'static str, (Router<Target<u32>>, Option<&'static str>)>);

impl Exchanges {
    fn with(mut self, name: &'static str, kind: Kind, alternate: Option<&'static str>) -> Self {
        self.0.insert(name, (Router::new(kind), alternate));
        self
    }

    fn bound(mut self, source: &str, key: &str, target: Target<u32>) -> Self {
        let router = self.0.get_mut(source).map(|(router, _)| router);
        let bound = router.map(|router| router.bind(key.as_bytes(), &FieldTable::default(), target));
        assert_eq!(bound, Some(Ok(true)));
        self
    }

    fn route(&self, exchange: &str, key: &str) -> Vec<u32> {
        let mut found = Vec::new();
        route(self, exchange, &Sent::with_key(key.as_bytes()), &mut found);
        found
    }
}

impl Graph for Exchanges {
    type Queue = u32;

    fn exchange(&self, name: &str) -> Option<Node<'_, u32>> {
        self.0.get(name).map(|(router, alternate)| Node { router, alternate: *alternate })
    }
}

fn exchange(name: &str) -> Target<u32> {
    Target::Exchange(name.into())
}

#[test]
fn a_cycle_gives_one_copy() {
    let graph = Exchanges::default()
        .with("a", Kind::Fanout, None)
        .with("b", Kind::Fanout, None)
        .bound("a", "", exchange("b"))
        .bound("b", "", exchange("a"))
        .bound("a", "", exchange("a"))
        .bound("a", "", Target::Queue(1))
        .bound("b", "", Target::Queue(1));
    assert_eq!(graph.route("a", "k"), [1]);
    assert_eq!(graph.route("b", "k"), [1]);
    assert!(graph.route("missing", "k").is_empty());
}

#[test]
fn an_alternate_gets_only_what_nothing_selects() {
    let graph = Exchanges::default()
        .with("x", Kind::Direct, Some("ae"))
        .with("ae", Kind::Fanout, None)
        .with("lost", Kind::Direct, Some("missing"))
        .bound("ae", "", Target::Queue(1))
        .bound("x", "k", Target::Queue(2))
        .bound("x", "dead end", exchange("missing"));
    assert_eq!(graph.route("x", "k"), [2]);
    assert_eq!(graph.route("x", "none"), [1]);
    assert!(graph.route("x", "dead end").is_empty(), "a binding was selected");
    assert!(graph.route("lost", "none").is_empty());
    let mut found = Vec::new();
    let copied = Sent { copies: vec![b"k".to_vec()], ..Sent::with_key(b"none") };
    route(&graph, "x", &copied, &mut found);
    assert_eq!(found, [2], "one of the keys was selected");
}

#[test]
fn alternates_in_a_cycle_end() {
    let graph = Exchanges::default()
        .with("a", Kind::Direct, Some("b"))
        .with("b", Kind::Direct, Some("a"))
        .bound("b", "k", Target::Queue(1));
    assert!(graph.route("a", "none").is_empty());
    assert_eq!(graph.route("a", "k"), [1]);
}

#[test]
fn what_was_found_before_is_not_found_again() {
    let mut graph = Exchanges::default().with("a", Kind::Fanout, None);
    for queue in 0..100 {
        graph = graph.bound("a", "1", Target::Queue(queue)).bound("a", "2", Target::Queue(queue));
    }
    let mut found = vec![99, 3];
    route(&graph, "a", &Sent::default(), &mut found);
    assert_eq!(found[..2], [99, 3]);
    found.sort_unstable();
    assert_eq!(found, (0..100).collect::<Vec<_>>());
}
