//! The exchanges, queues and bindings of one virtual host.
//!
//! A topology is a persistent structure: a clone is a few pointers, and changing the clone leaves the
//! original as it was. So publishers route on a snapshot without a lock while a changed copy is made.
//!
//! `Q` is how the shell names a running queue; routing gives it back without a look-up.
//!
//! Invariants: every binding is in its source's router, in `bound_to` under its destination and counted in
//! `bound_from` under its source; both ends of every binding exist.

use crate::exchange::ExchangeDefinition;
use crate::queue_definition::QueueDefinition;
use crate::refusal::{Name, Refusal, Resource};
use amq_protocol_types::FieldTable;
use exchanges::graph::{self, Graph, Node, Target};
use exchanges::{Kind, Routable, Router};
use rpds::{HashTrieMapSync, RedBlackTreeMapSync};
use std::hash::Hash;
use std::sync::Arc;

/// A running queue, as the shell names it.
pub trait QueueHandle: Clone + Eq + Hash {
    /// What it was declared with.
    fn definition(&self) -> &QueueDefinition;
}

/// An exchange and its bindings.
#[derive(Clone)]
pub struct Exchange<Q: QueueHandle> {
    /// What it was declared with.
    pub definition: ExchangeDefinition,
    /// Its bindings.
    pub router: Router<Target<Q>>,
}

/// A binding, both ends by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// The exchange that it is a binding of.
    pub source: Name,
    /// Whether it leads to a queue or to an exchange.
    pub destination_kind: Resource,
    /// Where it leads to.
    pub destination: Name,
    /// What messages are compared with.
    pub routing_key: Box<[u8]>,
    /// Optional arguments.
    pub arguments: FieldTable,
}

impl Binding {
    /// Whether neither end is the default exchange.
    ///
    /// # Errors
    /// [`Refusal::DefaultExchange`].
    pub fn check_ends(&self) -> Result<(), Refusal> {
        let to_exchange = self.destination_kind == Resource::Exchange;
        if self.source.is_empty() || (to_exchange && self.destination.is_empty()) {
            return Err(Refusal::DefaultExchange);
        }
        Ok(())
    }
}

/// A change that must survive a restart.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A durable exchange came to be.
    ExchangeDeclared(ExchangeDefinition),
    /// A durable exchange is gone.
    ExchangeDeleted(Name),
    /// A queue that survives a restart came to be.
    QueueDeclared(QueueDefinition),
    /// A queue that survives a restart is gone.
    QueueDeleted(QueueDefinition),
    /// A binding between durable ends came to be.
    Bound(Binding),
    /// A binding between durable ends is gone.
    Unbound(Binding),
}

/// Source, routing key and arguments in words: what tells two bindings of a destination apart.
type BindingKey = (Name, Box<[u8]>, String);
type BoundTo = RedBlackTreeMapSync<BindingKey, FieldTable>;
type Map<K, V> = HashTrieMapSync<K, V, foldhash::fast::RandomState>;

fn map<K: Eq + Hash, V>() -> Map<K, V> {
    Map::new_with_hasher_and_ptr_kind(foldhash::fast::RandomState::default())
}

/// What a virtual host routes with.
#[derive(Clone)]
pub struct Topology<Q: QueueHandle> {
    exchanges: Map<Name, Arc<Exchange<Q>>>,
    queues: Map<Name, Q>,
    bound_to: Map<Target<Q>, BoundTo>,
    /// How many bindings an exchange has to each of its destinations.
    bound_from: Map<Name, Map<Target<Q>, usize>>,
}

impl<Q: QueueHandle> Topology<Q> {
    /// With the exchanges that every virtual host has.
    #[must_use]
    pub fn predeclared() -> Topology<Q> {
        let mut topology = Topology { exchanges: map(), queues: map(), bound_to: map(), bound_from: map() };
        for (name, kind, internal) in [
            ("", Kind::Direct, false),
            ("amq.direct", Kind::Direct, false),
            ("amq.fanout", Kind::Fanout, false),
            ("amq.topic", Kind::Topic, false),
            ("amq.headers", Kind::Headers, false),
            ("amq.match", Kind::Headers, false),
            ("amq.rabbitmq.trace", Kind::Topic, true),
        ] {
            topology.insert_exchange(ExchangeDefinition {
                name: name.into(),
                kind,
                durable: true,
                auto_delete: false,
                internal,
                arguments: FieldTable::default(),
            });
        }
        topology
    }

    /// An exchange by name.
    #[must_use]
    pub fn exchange(&self, name: &str) -> Option<&Exchange<Q>> {
        self.exchanges.get(name).map(Arc::as_ref)
    }

    /// All exchanges.
    pub fn exchanges(&self) -> impl Iterator<Item = &Exchange<Q>> {
        self.exchanges.values().map(Arc::as_ref)
    }

    /// A queue by name.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<&Q> {
        self.queues.get(name)
    }

    /// All queues.
    pub fn queues(&self) -> impl Iterator<Item = &Q> {
        self.queues.values()
    }

    /// An exchange that must be there.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub fn expect_exchange(&self, name: &str) -> Result<&Exchange<Q>, Refusal> {
        self.exchange(name).ok_or_else(|| Refusal::NotFound(Resource::Exchange, name.into()))
    }

    /// A queue that must be there.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub fn expect_queue(&self, name: &str) -> Result<&Q, Refusal> {
        self.queue(name).ok_or_else(|| Refusal::NotFound(Resource::Queue, name.into()))
    }

    /// Adds to `found` each queue that a message published to `exchange` goes to, once.
    pub fn route(&self, exchange: &str, message: &impl Routable, found: &mut Vec<Q>) {
        if exchange.is_empty() {
            message.each_routing_key(&mut |key| {
                let queue = std::str::from_utf8(key).ok().and_then(|name| self.queue(name));
                found.extend(queue.filter(|queue| !found.contains(queue)).cloned());
            });
        } else {
            graph::route(self, exchange, message, found);
        }
    }

    /// Makes sure that an exchange is there.
    ///
    /// # Errors
    /// A name or an argument that is not allowed, or an exchange of that name that is not equivalent.
    pub fn declare_exchange(
        &mut self,
        wanted: ExchangeDefinition,
        changes: &mut Vec<Change>,
    ) -> Result<(), Refusal> {
        wanted.validate()?;
        if let Some(existing) = self.exchange(&wanted.name) {
            return existing.definition.check_equivalent(&wanted);
        }
        if wanted.name.starts_with("amq.") {
            return Err(Refusal::Reserved(Resource::Exchange, wanted.name));
        }
        if wanted.durable {
            changes.push(Change::ExchangeDeclared(wanted.clone()));
        }
        self.insert_exchange(wanted);
        Ok(())
    }

    /// Puts back an exchange that was declared before a restart.
    pub fn insert_exchange(&mut self, definition: ExchangeDefinition) {
        let router = Router::new(definition.kind);
        self.exchanges.insert_mut(definition.name.clone(), Arc::new(Exchange { definition, router }));
    }

    /// Deletes an exchange with its bindings. One that is not there is fine.
    ///
    /// # Errors
    /// Predeclared names, and [`Refusal::InUse`] with `if_unused` while it has bindings.
    pub fn delete_exchange(
        &mut self,
        name: &str,
        if_unused: bool,
        changes: &mut Vec<Change>,
    ) -> Result<(), Refusal> {
        if name.starts_with("amq.") {
            return Err(Refusal::SystemExchange(name.into()));
        }
        let Some(exchange) = self.exchange(name) else { return Ok(()) };
        if if_unused && !exchange.router.is_empty() {
            return Err(Refusal::InUse(Resource::Exchange, name.into()));
        }
        self.remove_exchange(name, changes);
        Ok(())
    }

    /// Adds a queue whose name is free.
    pub fn insert_queue(&mut self, queue: Q, changes: &mut Vec<Change>) {
        let definition = queue.definition();
        if definition.survives_restart() {
            changes.push(Change::QueueDeclared(definition.clone()));
        }
        self.queues.insert_mut(definition.name.clone(), queue);
    }

    /// Removes a queue with its bindings, and auto-delete exchanges that lose their last one.
    pub fn remove_queue(&mut self, name: &str, changes: &mut Vec<Change>) -> Option<Q> {
        let queue = self.queues.get(name)?.clone();
        self.unbind_destination(&Target::Queue(queue.clone()), changes);
        self.queues.remove_mut(name);
        if queue.definition().survives_restart() {
            changes.push(Change::QueueDeleted(queue.definition().clone()));
        }
        Some(queue)
    }

    /// Makes sure that a binding is there.
    ///
    /// # Errors
    /// An end that is missing, the default exchange, or arguments that the exchange does not take.
    pub fn bind(&mut self, binding: Binding, changes: &mut Vec<Change>) -> Result<(), Refusal> {
        let target = self.target(&binding)?;
        let Some(source) = self.exchanges.get_mut(&*binding.source).map(Arc::make_mut) else { return Ok(()) };
        let added = source.router.bind(&binding.routing_key, &binding.arguments, target.clone());
        if !added.map_err(Refusal::Binding)? {
            return Ok(());
        }
        let mut bound = self.bound_to.get(&target).cloned().unwrap_or_default();
        bound.insert_mut(binding_key(&binding), binding.arguments.clone());
        self.bound_to.insert_mut(target.clone(), bound);
        self.count(&binding.source, &target, 1);
        if self.is_durable(&binding.source, &target) {
            changes.push(Change::Bound(binding));
        }
        Ok(())
    }

    /// Removes a binding. One that is not there is fine, and so is an end that is not there.
    ///
    /// # Errors
    /// The default exchange.
    pub fn unbind(&mut self, binding: Binding, changes: &mut Vec<Change>) -> Result<(), Refusal> {
        let target = match self.target(&binding) {
            Err(Refusal::NotFound(..)) => return Ok(()),
            target => target?,
        };
        let Some(source) = self.exchanges.get_mut(&*binding.source).map(Arc::make_mut) else { return Ok(()) };
        if !source.router.unbind(&binding.routing_key, &binding.arguments, &target) {
            return Ok(());
        }
        if let Some(bound) = self.bound_to.get_mut(&target) {
            bound.remove_mut(&binding_key(&binding));
        }
        self.count(&binding.source, &target, -1);
        let source = binding.source.clone();
        if self.is_durable(&source, &target) {
            changes.push(Change::Unbound(binding));
        }
        self.remove_if_unused(&source, changes);
        Ok(())
    }

    /// The bindings of a queue or an exchange as destination.
    pub fn bindings_to(&self, target: &Target<Q>) -> impl Iterator<Item = Binding> {
        let (destination_kind, destination) = match target {
            Target::Queue(queue) => (Resource::Queue, queue.definition().name.clone()),
            Target::Exchange(name) => (Resource::Exchange, name.clone()),
        };
        self.bound_to.get(target).into_iter().flat_map(BoundTo::iter).map(
            move |((source, key, _), arguments)| Binding {
                source: source.clone(),
                destination_kind,
                destination: destination.clone(),
                routing_key: key.clone(),
                arguments: arguments.clone(),
            },
        )
    }

    /// Whether a binding is there.
    #[must_use]
    pub fn is_bound(&self, binding: &Binding) -> bool {
        let bound = self.target(binding).ok().and_then(|target| self.bound_to.get(&target));
        bound.is_some_and(|bound| bound.contains_key(&binding_key(binding)))
    }

    fn target(&self, binding: &Binding) -> Result<Target<Q>, Refusal> {
        binding.check_ends()?;
        self.expect_exchange(&binding.source)?;
        if binding.destination_kind == Resource::Queue {
            return self.expect_queue(&binding.destination).map(|queue| Target::Queue(queue.clone()));
        }
        let exchange = self.expect_exchange(&binding.destination)?;
        Ok(Target::Exchange(exchange.definition.name.clone()))
    }

    fn count(&mut self, source: &Name, target: &Target<Q>, change: isize) {
        let mut targets = self.bound_from.get(source).cloned().unwrap_or_else(map);
        match targets.get(target).copied().unwrap_or_default().saturating_add_signed(change) {
            0 => _ = targets.remove_mut(target),
            count => targets.insert_mut(target.clone(), count),
        }
        self.bound_from.insert_mut(source.clone(), targets);
    }

    fn is_durable(&self, source: &str, target: &Target<Q>) -> bool {
        let durable = |name: &str| self.exchange(name).is_some_and(|exchange| exchange.definition.durable);
        durable(source)
            && match target {
                Target::Queue(queue) => queue.definition().survives_restart(),
                Target::Exchange(name) => durable(name),
            }
    }

    fn remove_exchange(&mut self, name: &str, changes: &mut Vec<Change>) {
        let Some(exchange) = self.exchanges.get(name).cloned() else { return };
        let targets = self.bound_from.get(name).cloned().unwrap_or_else(map);
        self.bound_from.remove_mut(name);
        for target in targets.keys() {
            let from_here: Vec<Binding> =
                self.bindings_to(target).filter(|binding| *binding.source == *name).collect();
            let durable = self.is_durable(name, target);
            if let Some(bound) = self.bound_to.get_mut(target) {
                from_here.iter().for_each(|binding| _ = bound.remove_mut(&binding_key(binding)));
            }
            changes.extend(from_here.into_iter().filter(|_| durable).map(Change::Unbound));
        }
        // After its own bindings: exchanges that go with this one can then not lead back to it.
        self.unbind_destination(&Target::Exchange(exchange.definition.name.clone()), changes);
        self.exchanges.remove_mut(name);
        if exchange.definition.durable {
            changes.push(Change::ExchangeDeleted(name.into()));
        }
    }

    fn unbind_destination(&mut self, target: &Target<Q>, changes: &mut Vec<Change>) {
        let bindings: Vec<Binding> = self.bindings_to(target).collect();
        self.bound_to.remove_mut(target);
        for binding in bindings {
            let source = binding.source.clone();
            if let Some(exchange) = self.exchanges.get_mut(&*source).map(Arc::make_mut) {
                exchange.router.unbind(&binding.routing_key, &binding.arguments, target);
            }
            self.count(&source, target, -1);
            if self.is_durable(&source, target) {
                changes.push(Change::Unbound(binding));
            }
            self.remove_if_unused(&source, changes);
        }
    }

    /// An auto-delete exchange goes when its last binding is removed.
    fn remove_if_unused(&mut self, name: &str, changes: &mut Vec<Change>) {
        let unused = |exchange: &Exchange<Q>| exchange.definition.auto_delete && exchange.router.is_empty();
        if self.exchange(name).is_some_and(unused) {
            self.remove_exchange(name, changes);
        }
    }
}

impl<Q: QueueHandle> Graph for Topology<Q> {
    type Queue = Q;

    fn exchange(&self, name: &str) -> Option<Node<'_, Q>> {
        let exchange = self.exchanges.get(name)?;
        Some(Node { router: &exchange.router, alternate: exchange.definition.alternate() })
    }
}

fn binding_key(binding: &Binding) -> BindingKey {
    // A field table has no order of its own (it may hold floats); its sorted rendering has.
    (binding.source.clone(), binding.routing_key.clone(), format!("{:?}", binding.arguments))
}
