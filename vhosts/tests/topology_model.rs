//! The topology equals a naive model of one: three lists. What it reports as changed is enough to build its
//! durable part again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

use amq_protocol_types::{AMQPValue, FieldTable};
use exchanges::{Kind, Routable, Target};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use vhosts::topology::{Binding, Change, QueueHandle, Topology};
use vhosts::{ConnectionId, ExchangeDefinition, Name, QueueDefinition, QueueId, Resource};

/// Exchanges and queues that there may be.
const NAMES: usize = 4;
const KEYS: [&str; 4] = ["a", "a.b", "a.*", "#"];
const KINDS: [Kind; 3] = [Kind::Direct, Kind::Fanout, Kind::Topic];

#[derive(Clone, Debug)]
enum Op {
    DeclareExchange { at: usize, kind: usize, durable: bool, auto_delete: bool },
    DeleteExchange { at: usize, if_unused: bool },
    DeclareQueue { at: usize, durable: bool, exclusive: bool },
    DeleteQueue { at: usize },
    Bind(Ends),
    Unbind(Ends),
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    source: usize,
    to_queue: bool,
    destination: usize,
    key: usize,
    with_arguments: bool,
}

fn op() -> impl Strategy<Value = Op> {
    let at = || 0..NAMES;
    let ends = || {
        (at(), any::<bool>(), at(), 0..KEYS.len(), prop::bool::weighted(0.2)).prop_map(
            |(source, to_queue, destination, key, with_arguments)| Ends {
                source,
                to_queue,
                destination,
                key,
                with_arguments,
            },
        )
    };
    prop_oneof![
        4 => (at(), 0..3_usize, any::<bool>(), any::<bool>())
            .prop_map(|(at, kind, durable, auto_delete)| Op::DeclareExchange { at, kind, durable, auto_delete }),
        1 => (at(), any::<bool>()).prop_map(|(at, if_unused)| Op::DeleteExchange { at, if_unused }),
        3 => (at(), any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(at, durable, exclusive)| Op::DeclareQueue { at, durable, exclusive }),
        1 => at().prop_map(|at| Op::DeleteQueue { at }),
        10 => ends().prop_map(Op::Bind),
        3 => ends().prop_map(Op::Unbind),
    ]
}

#[derive(Clone, Debug)]
struct Queue(Arc<QueueDefinition>);

impl QueueHandle for Queue {
    fn definition(&self) -> &QueueDefinition {
        &self.0
    }
}

impl PartialEq for Queue {
    fn eq(&self, other: &Queue) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Queue {}

impl Hash for Queue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

/// Three lists.
#[derive(Default)]
struct Model {
    exchanges: Vec<ExchangeDefinition>,
    queues: Vec<QueueDefinition>,
    bindings: Vec<Binding>,
}

impl Model {
    fn exchange(&self, name: &str) -> Option<&ExchangeDefinition> {
        self.exchanges.iter().find(|exchange| *exchange.name == *name)
    }

    fn queue(&self, name: &str) -> Option<&QueueDefinition> {
        self.queues.iter().find(|queue| *queue.name == *name)
    }

    fn has_ends(&self, binding: &Binding) -> bool {
        let destination = match binding.destination_kind {
            Resource::Queue => self.queue(&binding.destination).is_some(),
            Resource::Exchange => self.exchange(&binding.destination).is_some(),
        };
        destination && self.exchange(&binding.source).is_some()
    }

    fn is_used(&self, exchange: &str) -> bool {
        self.bindings.iter().any(|binding| *binding.source == *exchange)
    }

    fn delete_exchange(&mut self, name: &str) {
        self.exchanges.retain(|exchange| *exchange.name != *name);
        self.bindings.retain(|binding| *binding.source != *name);
        self.drop_bindings(|binding| {
            binding.destination_kind == Resource::Exchange && *binding.destination == *name
        });
    }

    fn delete_queue(&mut self, name: &str) {
        self.queues.retain(|queue| *queue.name != *name);
        self.drop_bindings(|binding| {
            binding.destination_kind == Resource::Queue && *binding.destination == *name
        });
    }

    /// Removes bindings; an auto-delete exchange goes with its last one.
    fn drop_bindings(&mut self, which: impl Fn(&Binding) -> bool) {
        let gone: Vec<Binding> = self.bindings.extract_if(.., |binding| which(binding)).collect();
        for binding in gone {
            let auto_delete = self.exchange(&binding.source).is_some_and(|exchange| exchange.auto_delete);
            if auto_delete && !self.is_used(&binding.source) {
                self.delete_exchange(&binding.source);
            }
        }
    }

    fn route(&self, exchange: &str, key: &str) -> BTreeSet<Name> {
        let (mut queues, mut seen, mut next) = (BTreeSet::new(), BTreeSet::new(), vec![Name::from(exchange)]);
        while let Some(name) = next.pop() {
            let Some(exchange) = self.exchange(&name).filter(|_| seen.insert(name.clone())) else { continue };
            for binding in self.bindings.iter().filter(|binding| binding.source == name) {
                match binding.destination_kind {
                    _ if !selects(exchange.kind, &binding.routing_key, key) => {}
                    Resource::Queue => _ = queues.insert(binding.destination.clone()),
                    Resource::Exchange => next.push(binding.destination.clone()),
                }
            }
        }
        queues
    }

    /// What must be there after a restart, in words.
    fn durable(&self) -> BTreeSet<String> {
        let durable_exchange = |name: &str| self.exchange(name).is_some_and(|exchange| exchange.durable);
        let durable_queue =
            |name: &str| self.queue(name).is_some_and(|queue| queue.durable && queue.owner.is_none());
        let exchanges = self.exchanges.iter().filter(|exchange| exchange.durable).map(|e| format!("{e:?}"));
        let queues = self.queues.iter().filter(|queue| durable_queue(&queue.name)).map(|q| format!("{q:?}"));
        let bindings = self.bindings.iter().filter(|binding| {
            durable_exchange(&binding.source)
                && match binding.destination_kind {
                    Resource::Queue => durable_queue(&binding.destination),
                    Resource::Exchange => durable_exchange(&binding.destination),
                }
        });
        exchanges.chain(queues).chain(bindings.map(|binding| format!("{binding:?}"))).collect()
    }
}

/// Whether a binding selects a message.
fn selects(kind: Kind, binding_key: &[u8], key: &str) -> bool {
    let pattern = std::str::from_utf8(binding_key).unwrap();
    match kind {
        Kind::Fanout => true,
        Kind::Direct => pattern == key,
        _ => matches_words(&pattern.split('.').collect::<Vec<_>>(), &key.split('.').collect::<Vec<_>>()),
    }
}

fn matches_words(pattern: &[&str], words: &[&str]) -> bool {
    match pattern {
        [] => words.is_empty(),
        ["#", rest @ ..] => (0..=words.len()).any(|skipped| matches_words(rest, &words[skipped..])),
        [first, rest @ ..] => words
            .split_first()
            .is_some_and(|(word, after)| (first == word || *first == "*") && matches_words(rest, after)),
    }
}

struct Key<'a>(&'a str, FieldTable);

impl Routable for Key<'_> {
    fn routing_key(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn headers(&self) -> &FieldTable {
        &self.1
    }
}

/// The machine, the model, and what the changes so far leave on disk.
struct Pair {
    topology: Topology<Queue>,
    model: Model,
    disk: BTreeSet<String>,
    next_id: u64,
}

fn exchange_name(at: usize) -> Name {
    format!("x{at}").into()
}

fn queue_name(at: usize) -> Name {
    format!("q{at}").into()
}

fn binding(ends: Ends) -> Binding {
    let Ends { source, to_queue, destination, key, with_arguments } = ends;
    let mut arguments = FieldTable::default();
    if with_arguments {
        arguments.insert("n".into(), AMQPValue::LongInt(1));
    }
    let (destination_kind, destination) = match to_queue {
        true => (Resource::Queue, queue_name(destination)),
        false => (Resource::Exchange, exchange_name(destination)),
    };
    let routing_key = KEYS[key].as_bytes().into();
    Binding { source: exchange_name(source), destination_kind, destination, routing_key, arguments }
}

impl Pair {
    fn apply(&mut self, op: &Op) -> Result<(), TestCaseError> {
        let Pair { topology, model, next_id, .. } = self;
        let mut changes = Vec::new();
        match *op {
            Op::DeclareExchange { at, kind, durable, auto_delete } => {
                let (name, arguments) = (exchange_name(at), FieldTable::default());
                let kind = KINDS[kind];
                let wanted =
                    ExchangeDefinition { name, kind, durable, auto_delete, internal: false, arguments };
                let existing = model.exchange(&wanted.name).cloned();
                let result = topology.declare_exchange(wanted.clone(), &mut changes);
                prop_assert_eq!(result.is_ok(), existing.as_ref().is_none_or(|existing| *existing == wanted));
                if existing.is_none() {
                    model.exchanges.push(wanted);
                }
            }
            Op::DeleteExchange { at, if_unused } => {
                let name = exchange_name(at);
                let refused = if_unused && model.is_used(&name);
                let result = topology.delete_exchange(&name, if_unused, &mut changes);
                prop_assert_eq!(result.is_err(), refused);
                if !refused && model.exchange(&name).is_some() {
                    model.delete_exchange(&name);
                }
            }
            Op::DeclareQueue { at, durable, exclusive } if model.queue(&queue_name(at)).is_none() => {
                *next_id += 1;
                let (id, owner) = (QueueId(*next_id), exclusive.then_some(ConnectionId(1)));
                let (name, arguments) = (queue_name(at), FieldTable::default());
                let definition = QueueDefinition { id, name, durable, auto_delete: false, owner, arguments };
                topology.insert_queue(Queue(Arc::new(definition.clone())), &mut changes);
                model.queues.push(definition);
            }
            Op::DeclareQueue { .. } => {}
            Op::DeleteQueue { at } => {
                let removed = topology.remove_queue(&queue_name(at), &mut changes);
                prop_assert_eq!(removed.map(|queue| queue.0.id), model.queue(&queue_name(at)).map(|q| q.id));
                model.delete_queue(&queue_name(at));
            }
            Op::Bind(ends) => {
                let wanted = binding(ends);
                let result = topology.bind(wanted.clone(), &mut changes);
                prop_assert_eq!(result.is_ok(), model.has_ends(&wanted));
                if result.is_ok() && !model.bindings.contains(&wanted) {
                    model.bindings.push(wanted);
                }
            }
            Op::Unbind(ends) => {
                let unwanted = binding(ends);
                prop_assert!(topology.unbind(unwanted.clone(), &mut changes).is_ok());
                model.drop_bindings(|binding| *binding == unwanted);
            }
        }
        changes.into_iter().for_each(|change| self.write(change));
        self.compare()
    }

    /// Does to the disk what a change asks for.
    fn write(&mut self, change: Change) {
        match change {
            Change::ExchangeDeclared(exchange) => _ = self.disk.insert(format!("{exchange:?}")),
            Change::ExchangeDeleted(name) => {
                let begins = format!("ExchangeDefinition {{ name: {name:?},");
                self.disk.retain(|line| !line.starts_with(&begins));
            }
            Change::QueueDeclared(queue) => _ = self.disk.insert(format!("{queue:?}")),
            Change::QueueDeleted(queue) => _ = self.disk.remove(&format!("{queue:?}")),
            Change::Bound(binding) => _ = self.disk.insert(format!("{binding:?}")),
            Change::Unbound(binding) => _ = self.disk.remove(&format!("{binding:?}")),
        }
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        let Pair { topology, model, disk, .. } = self;
        let words = |bindings: &mut dyn Iterator<Item = Binding>| -> BTreeSet<String> {
            bindings.map(|binding| format!("{binding:?}")).collect()
        };
        let ours = topology.exchanges().filter(|exchange| exchange.definition.name.starts_with('x'));
        let names: BTreeSet<&str> = ours.map(|exchange| &*exchange.definition.name).collect();
        prop_assert_eq!(names, model.exchanges.iter().map(|exchange| &*exchange.name).collect());
        let mut bindings = BTreeSet::new();
        for exchange in &model.exchanges {
            bindings.extend(words(&mut topology.bindings_to(&Target::Exchange(exchange.name.clone()))));
            prop_assert_eq!(
                topology.exchange(&exchange.name).unwrap().router.is_empty(),
                !model.is_used(&exchange.name)
            );
        }
        for queue in topology.queues() {
            bindings.extend(words(&mut topology.bindings_to(&Target::Queue(queue.clone()))));
        }
        prop_assert_eq!(bindings, words(&mut model.bindings.iter().cloned()));
        for exchange in &model.exchanges {
            for key in ["a", "a.b", "b"] {
                let mut found = Vec::new();
                topology.route(&exchange.name, &Key(key, FieldTable::default()), &mut found);
                let names: BTreeSet<Name> = found.iter().map(|queue| queue.0.name.clone()).collect();
                prop_assert_eq!(names.len(), found.len(), "each queue once");
                prop_assert_eq!(names, model.route(&exchange.name, key));
            }
        }
        prop_assert_eq!(disk, &model.durable());
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_topology_equals_its_model(ops in prop::collection::vec(op(), 0..80)) {
        let (topology, model) = (Topology::predeclared(), Model::default());
        let mut pair = Pair { topology, model, disk: BTreeSet::new(), next_id: 0 };
        for op in &ops {
            pair.apply(op)?;
        }
    }
}

#[test]
fn an_exchange_that_leads_to_itself_leaves_nothing_behind() {
    let (topology, model) = (Topology::predeclared(), Model::default());
    let mut pair = Pair { topology, model, disk: BTreeSet::new(), next_id: 0 };
    let ends = |source| Ends { source, to_queue: false, destination: 0, key: 0, with_arguments: false };
    for op in [
        Op::DeclareExchange { at: 0, kind: 0, durable: true, auto_delete: true },
        Op::DeclareExchange { at: 1, kind: 0, durable: true, auto_delete: false },
        Op::Bind(ends(1)),
        Op::Bind(ends(0)),
        Op::DeleteExchange { at: 0, if_unused: false },
    ] {
        pair.apply(&op).unwrap();
    }
}
