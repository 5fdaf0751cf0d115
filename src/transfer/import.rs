//! From lines to operations of a store.

use super::lines::{self, Line, Mark};
use crate::broker::records::{self, Definition, VhostRecord};
use crate::store::{Note, Op, Recovery, Safety};
use exchanges::Kind;
use rabbit_compat::Violation;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use vhosts::message::Chunk;
use vhosts::topology::{Change, QueueHandle};
use vhosts::{
    Binding, ExchangeDefinition, Message, MessageBuilder, Moment, QueueDefinition, QueueId, Refusal,
    Resource, Seq, Topology, table,
};

/// Numbers of messages are below this, so that there are enough left behind it.
const SEQ_MAX: u64 = 1 << 62;

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is no line of an export.
    #[error("it is no line of an export: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A field has not the form that it must have.
    #[error("its {0} cannot be read")]
    Field(&'static str),
    /// It names what neither the store nor a line before it has.
    #[error("{0} is neither there nor in a line before")]
    Unknown(String),
    /// It is not the same as what is there, or may not be like this.
    #[error("{0}")]
    Refused(String),
    /// A definition of the store cannot be read.
    #[error("the store is damaged: {0}")]
    Store(#[from] records::Unreadable),
}

/// What was imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Definitions that were not there.
    pub definitions: u64,
    /// Messages.
    pub messages: u64,
    /// Messages that the export says were lost.
    pub lost: u64,
}

/// An import under way: what is there by now.
pub struct Import {
    vhosts: BTreeMap<String, Topology<Planned>>,
    /// The next number of each queue.
    next: HashMap<QueueId, u64>,
    next_queue: u64,
    imported: Imported,
    builder: MessageBuilder,
}

/// A queue that is there or will be.
#[derive(Clone, Debug)]
struct Planned(Arc<QueueDefinition>);

impl PartialEq for Planned {
    fn eq(&self, other: &Planned) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Planned {}

impl Hash for Planned {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl QueueHandle for Planned {
    fn definition(&self) -> &QueueDefinition {
        &self.0
    }
}

impl Import {
    /// Begins with what the store has.
    ///
    /// # Errors
    /// [`Refused::Store`].
    pub fn new(recovery: &Recovery) -> Result<Import, Refused> {
        let mut import = Import {
            vhosts: BTreeMap::new(),
            next: recovery.queues.iter().map(|queue| (queue.queue, queue.next.0)).collect(),
            next_queue: 1,
            imported: Imported::default(),
            builder: MessageBuilder::default(),
        };
        let (mut exchanges, mut queues, mut bindings) = (Vec::new(), Vec::new(), Vec::new());
        for (key, value) in &recovery.definitions {
            match records::read(key, value)? {
                Definition::Vhost(VhostRecord { name }) => {
                    import.vhosts.insert(name, Topology::predeclared());
                }
                Definition::Exchange(vhost, exchange) => exchanges.push((vhost, exchange)),
                Definition::Queue(vhost, queue) => queues.push((vhost, queue)),
                Definition::Binding(vhost, binding) => bindings.push((vhost, binding)),
                Definition::NextQueueId(next) => import.next_queue = import.next_queue.max(next.0),
                Definition::User(_) | Definition::Permission(_) => {}
            }
        }
        let ids = import.next.keys().copied().chain(queues.iter().map(|(_, queue)| queue.id));
        import.next_queue = ids.map(|id| id.0 + 1).fold(import.next_queue, u64::max);
        for (vhost, exchange) in exchanges {
            import.vhosts.entry(vhost).and_modify(|topology| topology.insert_exchange(exchange));
        }
        for (vhost, queue) in queues {
            let queue = Planned(Arc::new(queue));
            import.vhosts.entry(vhost).and_modify(|topology| topology.insert_queue(queue, &mut Vec::new()));
        }
        for (vhost, binding) in bindings {
            // One whose ends are gone was about to be deleted with them.
            let topology = import.vhosts.get_mut(&vhost);
            let _ = topology.map(|topology| topology.bind(binding, &mut Vec::new()));
        }
        Ok(import)
    }

    /// What was imported so far.
    #[must_use]
    pub fn imported(&self) -> Imported {
        self.imported
    }

    /// Adds to `ops` what a line asks for; nothing if it is there.
    ///
    /// # Errors
    /// [`Refused`], and then nothing was added.
    pub fn line(&mut self, line: &[u8], ops: &mut Vec<Op>) -> Result<(), Refused> {
        match serde_json::from_slice(line)? {
            Line::Vhost { name } => self.vhost(name, ops),
            Line::Exchange(line) => return self.exchange(line, ops),
            Line::Queue(line) => return self.queue(line, ops),
            Line::Binding(line) => return self.binding(line, ops),
            Line::Message(line) => return self.message(*line, ops),
            Line::Lost { .. } => self.imported.lost += 1,
        }
        Ok(())
    }

    fn vhost(&mut self, name: String, ops: &mut Vec<Op>) {
        if !self.vhosts.contains_key(&name) {
            self.imported.definitions += 1;
            ops.push(Op::Define(vec![records::vhost(&VhostRecord { name: name.clone() })]));
            self.vhosts.insert(name, Topology::predeclared());
        }
    }

    fn exchange(&mut self, line: lines::Exchange, ops: &mut Vec<Op>) -> Result<(), Refused> {
        let lines::Exchange { vhost, name, kind, auto_delete, internal, arguments } = line;
        let kind = Kind::parse(&kind).ok_or(Refused::Field("kind"))?;
        let arguments = arguments.table().ok_or(Refused::Field("arguments_raw"))?;
        let name = name.into();
        let wanted = ExchangeDefinition { name, kind, durable: true, auto_delete, internal, arguments };
        self.change(&vhost, ops, |topology, changes| topology.declare_exchange(wanted, changes))
    }

    fn queue(&mut self, line: lines::Queue, ops: &mut Vec<Op>) -> Result<(), Refused> {
        let lines::Queue { vhost, name, auto_delete, arguments } = line;
        let arguments = arguments.table().ok_or(Refused::Field("arguments_raw"))?;
        let (id, name) = (QueueId(self.next_queue), name.into());
        let wanted = QueueDefinition { id, name, durable: true, auto_delete, owner: None, arguments };
        let before = ops.len();
        self.change(&vhost, ops, |topology, changes| {
            if let Some(existing) = topology.queue(&wanted.name) {
                return existing.definition().check_equivalent(&wanted);
            }
            wanted.validate()?;
            topology.insert_queue(Planned(Arc::new(wanted)), changes);
            Ok(())
        })?;
        if let Some(Op::Define(changes)) = ops.get_mut(before) {
            self.next_queue += 1;
            changes.push(records::next_queue_id(QueueId(self.next_queue)));
        }
        Ok(())
    }

    fn binding(&mut self, line: lines::Binding, ops: &mut Vec<Op>) -> Result<(), Refused> {
        let destination_kind = match line.destination_type.as_str() {
            "queue" => Resource::Queue,
            "exchange" => Resource::Exchange,
            _ => return Err(Refused::Field("destination_type")),
        };
        let binding = Binding {
            source: line.source.into(),
            destination_kind,
            destination: line.destination.into(),
            routing_key: line.routing_key.into_bytes().into(),
            arguments: line.arguments.table().ok_or(Refused::Field("arguments_raw"))?,
        };
        self.change(&line.vhost, ops, |topology, changes| topology.bind(binding, changes))
    }

    fn change(
        &mut self,
        vhost: &str,
        ops: &mut Vec<Op>,
        change: impl FnOnce(&mut Topology<Planned>, &mut Vec<Change>) -> Result<(), Refusal>,
    ) -> Result<(), Refused> {
        let topology = self.vhosts.get_mut(vhost).ok_or_else(|| unknown_vhost(vhost))?;
        let mut changes = Vec::new();
        let changed = change(topology, &mut changes);
        changed.map_err(|refusal| Refused::Refused(Violation::refused(&refusal, vhost, "").text()))?;
        if !changes.is_empty() {
            self.imported.definitions += changes.len() as u64;
            ops.push(Op::Define(changes.iter().map(|change| records::change(vhost, change)).collect()));
        }
        Ok(())
    }

    fn message(&mut self, line: lines::Message, ops: &mut Vec<Op>) -> Result<(), Refused> {
        let topology = self.vhosts.get(&line.vhost).ok_or_else(|| unknown_vhost(&line.vhost))?;
        let queue = topology.queue(&line.queue).ok_or_else(|| {
            Refused::Unknown(format!("the queue '{}' of the vhost '{}'", line.queue, line.vhost))
        })?;
        let queue = queue.0.id;
        if line.seq >= SEQ_MAX {
            return Err(Refused::Field("seq"));
        }
        let next = self.next.get(&queue).copied().unwrap_or(1);
        let seq = line.seq.max(next);
        let note = Note { acquired: line.acquired, failed: line.failed, due: line.due_ms.map(Moment) };
        let message = self.build(line)?;
        self.next.insert(queue, seq + 1);
        self.imported.messages += 1;
        let targets = std::iter::once((queue, Seq(seq))).collect();
        ops.push(Op::Append { message: message.clone(), targets, safety: Safety::Relaxed });
        if note != Note::default() {
            ops.push(Op::Note { queue, seq: Seq(seq), message, note });
        }
        Ok(())
    }

    fn build(&mut self, line: lines::Message) -> Result<Message, Refused> {
        let body = lines::body(line.payload_encoding, line.payload);
        let body = body.map_err(|_| Refused::Field("payload"))?;
        let mut address = Vec::new();
        let routing_key = line.routing_key.into_bytes();
        for (name, part) in [("exchange", line.exchange.as_bytes()), ("routing_key", &routing_key)] {
            address.push(u8::try_from(part.len()).map_err(|_| Refused::Field(name))?);
            address.extend_from_slice(part);
        }
        self.builder.address(&address);
        let properties = self.builder.header(&line.properties_raw.0, body.len() as u64);
        let properties = properties.map_err(|_| Refused::Field("properties_raw"))?;
        if properties.headers.is_some_and(|headers| table::check(headers).is_err()) {
            return Err(Refused::Field("properties_raw"));
        }
        if line.marks.contains(&Mark::Died) {
            self.builder.mark_died();
        }
        if line.marks.contains(&Mark::Copies) {
            self.builder.mark_copies(line.marks.contains(&Mark::Bcc));
        }
        self.builder.push(Chunk::Shared(body.into()));
        Ok(self.builder.finish(Moment(line.arrived_ms)))
    }
}

fn unknown_vhost(vhost: &str) -> Refused {
    Refused::Unknown(format!("the vhost '{vhost}'"))
}
