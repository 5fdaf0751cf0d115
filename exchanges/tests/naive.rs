//! The indexes against matchers that are too simple to be wrong.

mod support;

use amq_protocol_types::{AMQPValue, FieldTable};
use exchanges::graph::{Graph, Node, Target, route};
use exchanges::{Kind, Router};
use proptest::prelude::*;
use std::collections::BTreeSet;
use support::{Sent, selected, table, text};

/// A binding as bound: key, arguments, destination.
type Bound = (Vec<u8>, FieldTable, u8);

fn words(key: &[u8]) -> Vec<&[u8]> {
    if key.is_empty() { Vec::new() } else { key.split(|byte| *byte == b'.').collect() }
}

fn topic_matches(pattern: &[&[u8]], key: &[&[u8]]) -> bool {
    match (pattern, key) {
        ([], key) => key.is_empty(),
        ([b"#", rest @ ..], key) => (0..=key.len()).any(|taken| topic_matches(rest, &key[taken..])),
        ([b"*", rest @ ..], [_, key @ ..]) => topic_matches(rest, key),
        ([word, rest @ ..], [first, key @ ..]) => word == first && topic_matches(rest, key),
        (_, []) => false,
    }
}

/// Sample values are of one type each, so that comparing them as they are is right.
fn headers_match(arguments: &FieldTable, headers: &FieldTable) -> bool {
    let form = match arguments.inner().get("x-match") {
        Some(AMQPValue::LongString(form)) => form.to_string(),
        _ => "all".to_owned(),
    };
    let counts = |name: &str| name != "x-match" && (form.ends_with("-with-x") || !name.starts_with("x-"));
    let mut pairs = arguments.into_iter().filter(|(name, _)| counts(name.as_str()));
    let matches = |name: &str, value: &AMQPValue| {
        headers.inner().get(name).is_some_and(|sent| *value == AMQPValue::Void || value == sent)
    };
    if form.starts_with("any") {
        pairs.any(|(name, value)| matches(name.as_str(), value))
    } else {
        pairs.all(|(name, value)| matches(name.as_str(), value))
    }
}

fn matches(kind: Kind, (key, arguments, _): &Bound, message: &Sent) -> bool {
    match kind {
        Kind::Direct => *key == message.key,
        Kind::Fanout => true,
        Kind::Topic => topic_matches(&words(key), &words(&message.key)),
        Kind::Headers => headers_match(arguments, &message.headers),
    }
}

fn naively_selected(kind: Kind, bindings: &[Bound], message: &Sent) -> Vec<u8> {
    let found: BTreeSet<u8> =
        bindings.iter().filter(|bound| matches(kind, bound, message)).map(|bound| bound.2).collect();
    found.into_iter().collect()
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(""), Just("a"), Just("b"), Just("\u{ff}")], 0..9)
        .prop_map(|words| words.join(".").into_bytes())
}

/// At most two `#`.
fn pattern() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![3 => Just("a"), 2 => Just("b"), 1 => Just(""), 2 => Just("*"), 3 => Just("#")];
    prop::collection::vec(word, 0..6).prop_map(|mut words| {
        let mut hashes = 0;
        words.retain(|word| {
            hashes += usize::from(*word == "#");
            *word != "#" || hashes <= 2
        });
        words.join(".").into_bytes()
    })
}

fn value() -> impl Strategy<Value = AMQPValue> {
    prop_oneof![
        (0..3i32).prop_map(AMQPValue::LongInt),
        any::<bool>().prop_map(AMQPValue::Boolean),
        Just(text("s")),
        Just(AMQPValue::Void),
    ]
}

fn pairs() -> impl Strategy<Value = FieldTable> {
    let name = prop_oneof![Just("a"), Just("b"), Just("c"), Just("x-a"), Just("x-b")];
    prop::collection::vec((name, value()), 0..5).prop_map(|pairs| table(&pairs))
}

fn arguments() -> impl Strategy<Value = FieldTable> {
    let form =
        prop_oneof![Just(""), Just("all"), Just("any"), Just("all-with-x"), Just("any-with-x"), Just("all")];
    (pairs(), form).prop_map(|(mut table, form)| {
        if !form.is_empty() {
            table.insert("x-match".into(), text(form));
        }
        table
    })
}

fn message() -> impl Strategy<Value = Sent> {
    (key(), pairs()).prop_map(|(key, headers)| Sent { key, headers, copies: Vec::new() })
}

/// A change: whether to bind, and what. Few patterns and destinations, so that they meet again.
fn change() -> impl Strategy<Value = (bool, Bound)> {
    let short = prop::collection::vec(prop_oneof![Just("a"), Just("*"), Just("#")], 0..3);
    let key = short.prop_map(|words| words.join(".").into_bytes());
    let arguments = prop_oneof![Just(FieldTable::default()), arguments()];
    (prop::bool::weighted(0.6), (key, arguments, 0..40u8))
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_trie_matches_as_its_patterns(patterns in prop::collection::vec(pattern(), 1..30), keys in prop::collection::vec(key(), 1..10)) {
        let mut router = Router::new(Kind::Topic);
        let mut bindings = Vec::new();
        for (destination, pattern) in (0..).zip(patterns) {
            prop_assert_eq!(router.bind(&pattern, &FieldTable::default(), destination), Ok(true));
            bindings.push((pattern, FieldTable::default(), destination));
        }
        for key in keys {
            let message = Sent::with_key(&key);
            prop_assert_eq!(selected(&router, &message), naively_selected(Kind::Topic, &bindings, &message));
        }
    }

    #[test]
    fn a_trie_visits_a_binding_once(pattern in pattern(), key in key()) {
        let mut router = Router::new(Kind::Topic);
        prop_assert_eq!(router.bind(&pattern, &FieldTable::default(), ()), Ok(true));
        let mut visits = 0;
        router.route(&Sent::with_key(&key), &mut |()| visits += 1);
        prop_assert_eq!(visits, i32::from(topic_matches(&words(&pattern), &words(&key))));
    }

    #[test]
    fn headers_match_as_their_arguments(all in prop::collection::vec(arguments(), 1..30), messages in prop::collection::vec(message(), 1..10)) {
        let mut router = Router::new(Kind::Headers);
        let mut bindings = Vec::new();
        for (destination, arguments) in (0..).zip(all) {
            prop_assert_eq!(router.bind(b"", &arguments, destination), Ok(true));
            bindings.push((Vec::new(), arguments, destination));
        }
        for message in messages {
            prop_assert_eq!(selected(&router, &message), naively_selected(Kind::Headers, &bindings, &message));
        }
    }

    #[test]
    fn changes_leave_what_a_list_has_and_copies_alone(
        kind in kind(),
        changes in prop::collection::vec(change(), 0..200),
        messages in prop::collection::vec(message(), 1..6),
    ) {
        let mut router = Router::new(kind);
        let mut list: Vec<Bound> = Vec::new();
        let mut copies = Vec::new();
        for (at, (bind, bound)) in changes.into_iter().enumerate() {
            if at % 23 == 0 {
                copies.push((router.clone(), list.clone()));
            }
            let place = list.iter().position(|held| *held == bound);
            let (key, arguments, destination) = &bound;
            if bind {
                prop_assert_eq!(router.bind(key, arguments, *destination), Ok(place.is_none()));
                if place.is_none() {
                    list.push(bound);
                }
            } else {
                prop_assert_eq!(router.unbind(key, arguments, destination), place.is_some());
                place.map(|place| list.remove(place));
            }
        }
        copies.push((router, list));
        for (router, list) in copies {
            prop_assert_eq!(router.len(), list.len());
            for message in &messages {
                prop_assert_eq!(selected(&router, message), naively_selected(kind, &list, message));
            }
            let mut emptied = router.clone();
            for (key, arguments, destination) in &list {
                prop_assert!(emptied.unbind(key, arguments, destination));
            }
            prop_assert!(emptied.is_empty());
            for message in &messages {
                prop_assert!(selected(&emptied, message).is_empty());
            }
        }
    }
}

/// Direct exchanges with the names of their places. Name 30 is missing.
struct Exchanges(Vec<Exchange>);

#[derive(Debug)]
struct Exchange {
    router: Router<Target<u8>>,
    alternate: Option<String>,
    /// Routing keys and what they lead to.
    edges: Vec<(u8, Target<u8>)>,
}

impl Graph for Exchanges {
    type Queue = u8;

    fn exchange(&self, name: &str) -> Option<Node<'_, u8>> {
        let exchange = self.0.get(name.parse::<usize>().ok()?)?;
        Some(Node { router: &exchange.router, alternate: exchange.alternate.as_deref() })
    }
}

impl Exchanges {
    /// Every exchange marked that a marked one leads to, until nothing changes; then their queues.
    fn naive_route(&self, exchange: usize, key: u8) -> BTreeSet<u8> {
        let mut reached = BTreeSet::from([exchange.to_string()]);
        loop {
            let before = reached.len();
            for name in reached.clone() {
                reached.extend(self.leads_to(&name, key).into_iter().filter_map(|target| match target {
                    Target::Exchange(name) => Some(name.to_string()),
                    Target::Queue(_) => None,
                }));
            }
            if reached.len() == before {
                break;
            }
        }
        let targets = reached.iter().flat_map(|name| self.leads_to(name, key));
        targets
            .filter_map(|target| if let Target::Queue(queue) = target { Some(queue) } else { None })
            .collect()
    }

    fn leads_to(&self, name: &str, key: u8) -> Vec<Target<u8>> {
        let Some(exchange) = name.parse::<usize>().ok().and_then(|place| self.0.get(place)) else {
            return Vec::new();
        };
        let edges = exchange.edges.iter().filter(|edge| edge.0 == key);
        let mut targets: Vec<_> = edges.map(|edge| edge.1.clone()).collect();
        if targets.is_empty() {
            targets.extend(exchange.alternate.iter().map(|name| Target::Exchange(name.as_str().into())));
        }
        targets
    }
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let to_exchange = (0..=30u8).prop_map(|name| Target::Exchange(name.to_string().into()));
    let target = prop_oneof![to_exchange, any::<u8>().prop_map(Target::Queue)];
    let alternate = prop::option::of((0..=30u8).prop_map(|name| name.to_string()));
    (prop::collection::vec((0..3u8, target), 0..8), alternate).prop_map(|(edges, alternate)| {
        let mut router = Router::new(Kind::Direct);
        for (key, target) in &edges {
            assert!(router.bind(&[*key], &FieldTable::default(), target.clone()).is_ok());
        }
        Exchange { router, alternate, edges }
    })
}

proptest! {
    #[test]
    fn a_graph_finds_what_can_be_reached(exchanges in prop::collection::vec(exchange(), 30), start in 0..30usize, key in 0..3u8) {
        let graph = Exchanges(exchanges);
        let mut found = Vec::new();
        route(&graph, &start.to_string(), &Sent::with_key(&[key]), &mut found);
        let set: BTreeSet<u8> = found.iter().copied().collect();
        prop_assert_eq!(set.len(), found.len(), "a queue was found twice");
        prop_assert_eq!(set, graph.naive_route(start, key));
    }
}

/// A key of 255 dots against patterns that meet it everywhere: the work stays bounded, or this does not end.
#[test]
fn hostile_keys_and_patterns_end() {
    let mut router = Router::new(Kind::Topic);
    let mut patterns =
        vec!["#.#".to_owned(), "#.*.#".to_owned(), "#..#".to_owned(), "#.*.*.*.#.*.*.a".to_owned()];
    for length in 1..120 {
        patterns.push(format!("#.{}#.a", "*.".repeat(length)));
        patterns.push(format!("#{}.#.b", ".".repeat(length)));
    }
    for pattern in &patterns {
        assert_eq!(router.bind(pattern.as_bytes(), &FieldTable::default(), pattern.clone()), Ok(true));
    }
    let mut visits = Vec::new();
    router.route(&Sent::with_key(&[b'.'; 255]), &mut |pattern| visits.push(pattern.as_str()));
    visits.sort_unstable();
    assert_eq!(visits, ["#.#", "#.*.#", "#..#"]);
}
