//! What routing a message and adding a binding cost, by kind and number of bindings.
//!
//! `route/<kind>/<bindings>`: one message; of a fanout, that is a visit of every binding. `graph/...`: the same
//! through exchange lookup and with queues collected once each. `bind/<kind>/<bindings>`: one bind and one
//! unbind while a snapshot is held, so that nothing can be changed in place the first time.

#![allow(missing_docs)] // criterion_group! makes public functions

use amq_protocol_types::{AMQPValue, FieldTable};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use exchanges::graph::{Graph, Node, Target, route};
use exchanges::{Kind, Routable, Router};
use std::hint::black_box;

const SIZES: [u32; 4] = [1, 100, 1_000, 100_000];

struct Sent {
    key: Vec<u8>,
    headers: FieldTable,
}

impl Routable for Sent {
    fn routing_key(&self) -> &[u8] {
        &self.key
    }

    fn headers(&self) -> &FieldTable {
        &self.headers
    }
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// Key and arguments of binding `number`.
fn binding(kind: Kind, number: u32) -> (String, FieldTable) {
    let mut arguments = FieldTable::default();
    let key = match kind {
        Kind::Direct | Kind::Fanout => format!("orders.{number}"),
        Kind::Topic => match number % 4 {
            0 => format!("orders.*.{number}"),
            1 => format!("orders.eu.{number}.#"),
            2 => format!("#.{number}"),
            _ => format!("*.{number}.created"),
        },
        Kind::Headers => {
            arguments.insert("x-match".into(), text(if number.is_multiple_of(3) { "any" } else { "all" }));
            arguments.insert("type".into(), text(&format!("order-{number}")));
            arguments.insert("region".into(), text(&format!("eu-{}", number % 50)));
            String::new()
        }
    };
    (key, arguments)
}

/// A message that few bindings select, with ten headers.
fn message(kind: Kind) -> Sent {
    let key = if kind == Kind::Topic { "orders.eu.0" } else { "orders.0" };
    let mut headers = FieldTable::default();
    for number in 0..8 {
        headers.insert(format!("header-{number}").into(), AMQPValue::LongInt(number));
    }
    headers.insert("type".into(), text("order-0"));
    headers.insert("region".into(), text("eu-60"));
    Sent { key: key.into(), headers }
}

fn bound<D: Clone + Eq + std::hash::Hash>(
    kind: Kind,
    bindings: u32,
    destination: impl Fn(u32) -> D,
) -> Router<D> {
    let mut router = Router::new(kind);
    for number in 0..bindings {
        let (key, arguments) = binding(kind, number);
        assert_eq!(router.bind(key.as_bytes(), &arguments, destination(number)), Ok(true));
    }
    router
}

fn routing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    for kind in Kind::ALL {
        for size in SIZES {
            let (router, message) = (bound(kind, size, u64::from), message(kind));
            group.bench_function(BenchmarkId::new(kind.as_str(), size), |bencher| {
                bencher.iter(|| {
                    let mut visits = 0;
                    router.route(black_box(&message), &mut |destination| visits += destination);
                    visits
                });
            });
        }
    }
}

/// A graph of one exchange.
struct Single(Router<Target<u64>>);

impl Graph for Single {
    type Queue = u64;

    fn exchange(&self, _name: &str) -> Option<Node<'_, u64>> {
        Some(Node { router: &self.0, alternate: None })
    }
}

fn graph(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("graph");
    for (kind, size) in
        [(Kind::Direct, 1), (Kind::Direct, 100_000), (Kind::Fanout, 10), (Kind::Fanout, 1_000)]
    {
        let graph = Single(bound(kind, size, |number| Target::Queue(number.into())));
        let (message, mut found) = (message(kind), Vec::new());
        group.bench_function(BenchmarkId::new(kind.as_str(), size), |bencher| {
            bencher.iter(|| {
                found.clear();
                route(&graph, black_box("orders"), &message, &mut found);
                found.len()
            });
        });
    }
}

fn binding_and_unbinding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bind");
    for kind in Kind::ALL {
        let snapshot = bound(kind, 100_000, u64::from);
        let (key, arguments) = binding(kind, 100_001);
        group.bench_function(BenchmarkId::new(kind.as_str(), 100_000), |bencher| {
            bencher.iter(|| {
                let mut router = snapshot.clone();
                let added = router.bind(key.as_bytes(), black_box(&arguments), 100_001);
                let removed = router.unbind(key.as_bytes(), &arguments, &100_001);
                (added, removed)
            });
        });
    }
}

fn hostile_topic(criterion: &mut Criterion) {
    let mut router = Router::new(Kind::Topic);
    for number in 0..100u32 {
        let key = format!("#.{}#.a", "*.".repeat(number as usize));
        assert_eq!(router.bind(key.as_bytes(), &FieldTable::default(), number), Ok(true));
    }
    let message = Sent { key: vec![b'.'; 255], headers: FieldTable::default() };
    criterion.bench_function("route/topic/hostile", |bencher| {
        bencher.iter(|| router.route(black_box(&message), &mut |destination| _ = black_box(destination)));
    });
}

criterion_group!(benches, routing, graph, binding_and_unbinding, hostile_topic);
criterion_main!(benches);
