//! From a store to lines.

use super::lines::{self, Arguments, Line, Mark, Raw, RoutingKey};
use super::values::properties_json;
use crate::broker::records::{self, Definition};
use crate::store::{Reader, Recovered, RecoveredQueue, View};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use vhosts::{Binding, ExchangeDefinition, Message, Place, QueueDefinition, QueueId, Resource};

/// Messages that are read in one go at most,
const CHUNK: usize = 1024;
/// and bytes of their bodies, unless a single one is larger.
const CHUNK_BYTES: u64 = 4 << 20;

/// What is exported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only this virtual host.
    pub vhost: Option<String>,
    /// Only queues of this name, with what leads to them.
    pub queue: Option<String>,
}

/// What was selected is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSuch {
    /// The virtual host.
    #[error("there is no vhost '{0}'")]
    Vhost(String),
    /// The queue.
    #[error("there is no durable queue '{0}'")]
    Queue(String),
}

/// What an export is made of.
pub struct Export<'a> {
    view: &'a View,
    definitions: Definitions,
    /// Definitions that cannot be read, and why.
    pub unreadable: Vec<String>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Lines of definitions.
    pub definitions: u64,
    /// Lines of messages.
    pub messages: u64,
    /// Messages that could not be read.
    pub lost: u64,
}

/// Definitions that are exported.
#[derive(Default)]
struct Definitions {
    vhosts: BTreeSet<String>,
    exchanges: Vec<(String, ExchangeDefinition)>,
    queues: BTreeMap<QueueId, (String, QueueDefinition)>,
    bindings: Vec<(String, Binding)>,
}

impl<'a> Export<'a> {
    /// Finds out what is to be exported.
    ///
    /// # Errors
    /// [`NoSuch`].
    pub fn new(view: &'a View, selection: &Selection) -> Result<Export<'a>, NoSuch> {
        let (mut definitions, mut unreadable) = (Definitions::default(), Vec::new());
        for (key, value) in &view.recovery().definitions {
            match records::read(key, value) {
                Ok(definition) => definitions.add(definition),
                Err(error) => unreadable.push(error.to_string()),
            }
        }
        definitions.select(selection)?;
        Ok(Export { view, definitions, unreadable })
    }

    /// How many messages it has.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.queues().map(|(_, _, messages)| messages.len).sum()
    }

    /// Writes all lines. `progress` is told how many messages were written since it was called last.
    ///
    /// # Errors
    /// When the disk or `out` refuses.
    pub fn write(&self, out: &mut dyn Write, progress: &mut dyn FnMut(u64)) -> io::Result<Exported> {
        let mut exported = Exported::default();
        self.definitions.lines(&mut |line| {
            exported.definitions += 1;
            write_line(out, &line)
        })?;
        let reader = self.view.reader();
        for (vhost, queue, messages) in self.queues() {
            let mut waiting = messages.messages().peekable();
            while waiting.peek().is_some() {
                let chunk = chunk(&mut waiting);
                let done = chunk.len() as u64;
                write_chunk(out, (vhost, &queue.name), &reader, chunk, &mut exported)?;
                progress(done);
            }
        }
        out.flush()?;
        Ok(exported)
    }

    /// The queues that have messages.
    fn queues(&self) -> impl Iterator<Item = (&str, &QueueDefinition, &RecoveredQueue)> {
        let recovered = self.view.recovery().queues.iter();
        recovered.filter_map(|messages| {
            let (vhost, queue) = self.definitions.queues.get(&messages.queue)?;
            Some((vhost.as_str(), queue, messages))
        })
    }
}

impl Definitions {
    fn add(&mut self, definition: Definition) {
        match definition {
            Definition::Vhost(vhost) => _ = self.vhosts.insert(vhost.name),
            Definition::Exchange(vhost, exchange) => self.exchanges.push((vhost, exchange)),
            Definition::Queue(vhost, queue) => _ = self.queues.insert(queue.id, (vhost, queue)),
            Definition::Binding(vhost, binding) => self.bindings.push((vhost, binding)),
            Definition::User(_) | Definition::Permission(_) | Definition::NextQueueId(_) => {}
        }
    }

    fn select(&mut self, selection: &Selection) -> Result<(), NoSuch> {
        if let Some(wanted) = &selection.vhost {
            if !self.vhosts.contains(wanted) {
                return Err(NoSuch::Vhost(wanted.clone()));
            }
            self.vhosts.retain(|vhost| vhost == wanted);
        }
        // What is left of a vhost that was deleted is not there either.
        let vhosts = &self.vhosts;
        self.exchanges.retain(|(vhost, _)| vhosts.contains(vhost));
        self.queues.retain(|_, (vhost, _)| vhosts.contains(vhost));
        self.bindings.retain(|(vhost, _)| vhosts.contains(vhost));
        match &selection.queue {
            Some(queue) => self.select_queue(queue),
            None => Ok(()),
        }
    }

    /// Leaves the queues of that name, their bindings, and the exchanges of these.
    fn select_queue(&mut self, wanted: &str) -> Result<(), NoSuch> {
        self.queues.retain(|_, (_, queue)| &*queue.name == wanted);
        if self.queues.is_empty() {
            return Err(NoSuch::Queue(wanted.to_owned()));
        }
        let leads_there = |binding: &Binding| {
            binding.destination_kind == Resource::Queue && &*binding.destination == wanted
        };
        self.bindings.retain(|(_, binding)| leads_there(binding));
        let bindings = &self.bindings;
        self.exchanges.retain(|(vhost, exchange)| {
            bindings.iter().any(|(of, binding)| of == vhost && binding.source == exchange.name)
        });
        let queues = &self.queues;
        self.vhosts.retain(|vhost| queues.values().any(|(of, _)| of == vhost));
        Ok(())
    }

    fn lines(&self, each: &mut dyn FnMut(Line) -> io::Result<()>) -> io::Result<()> {
        for name in &self.vhosts {
            each(Line::Vhost { name: name.clone() })?;
        }
        for (vhost, exchange) in &self.exchanges {
            each(Line::Exchange(exchange_line(vhost, exchange)))?;
        }
        for (vhost, queue) in self.queues.values() {
            each(Line::Queue(lines::Queue {
                vhost: vhost.clone(),
                name: queue.name.to_string(),
                auto_delete: queue.auto_delete,
                arguments: Arguments::of(&queue.arguments),
            }))?;
        }
        self.bindings
            .iter()
            .try_for_each(|(vhost, binding)| each(Line::Binding(binding_line(vhost, binding))))
    }
}

fn exchange_line(vhost: &str, exchange: &ExchangeDefinition) -> lines::Exchange {
    lines::Exchange {
        vhost: vhost.to_owned(),
        name: exchange.name.to_string(),
        kind: exchange.kind.as_str().to_owned(),
        auto_delete: exchange.auto_delete,
        internal: exchange.internal,
        arguments: Arguments::of(&exchange.arguments),
    }
}

fn binding_line(vhost: &str, binding: &Binding) -> lines::Binding {
    lines::Binding {
        vhost: vhost.to_owned(),
        source: binding.source.to_string(),
        destination_type: binding.destination_kind.to_string(),
        destination: binding.destination.to_string(),
        routing_key: RoutingKey::of(&binding.routing_key),
        arguments: Arguments::of(&binding.arguments),
    }
}

/// The next messages, as many as are read in one go.
fn chunk(waiting: &mut std::iter::Peekable<impl Iterator<Item = Recovered>>) -> Vec<Recovered> {
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    while let Some(next) = waiting
        .next_if(|next| chunk.is_empty() || (chunk.len() < CHUNK && bytes + next.body_len <= CHUNK_BYTES))
    {
        bytes += next.body_len;
        chunk.push(next);
    }
    chunk
}

fn write_chunk(
    out: &mut dyn Write,
    (vhost, queue): (&str, &str),
    reader: &Reader,
    chunk: Vec<Recovered>,
    exported: &mut Exported,
) -> io::Result<()> {
    let places: Vec<Place> = chunk.iter().map(|recovered| recovered.place).collect();
    for (recovered, message) in chunk.iter().zip(reader.read(&places)?) {
        let (vhost, queue) = (vhost.to_owned(), queue.to_owned());
        let line = match message {
            Some(message) => {
                exported.messages += 1;
                Line::Message(Box::new(message_line(vhost, queue, recovered, &message)))
            }
            None => {
                exported.lost += 1;
                Line::Lost { vhost, queue, seq: recovered.seq.0 }
            }
        };
        write_line(out, &line)?;
    }
    Ok(())
}

fn message_line(vhost: String, queue: String, recovered: &Recovered, message: &Message) -> lines::Message {
    let marks = message.marks();
    let marks = [(marks.died, Mark::Died), (marks.has_copies, Mark::Copies), (marks.has_bcc, Mark::Bcc)];
    let (payload_encoding, payload) = lines::payload(&message.body_bytes());
    lines::Message {
        vhost,
        queue,
        seq: recovered.seq.0,
        // A name of an exchange is text, or the message could not have been published to it.
        exchange: String::from_utf8_lossy(message.exchange()).into_owned(),
        routing_key: RoutingKey::of(message.routing_key()),
        properties: properties_json(message.raw_properties()),
        properties_raw: Raw(message.raw_properties().to_vec()),
        arrived_ms: message.arrived().0,
        acquired: recovered.note.acquired,
        failed: recovered.note.failed,
        due_ms: recovered.note.due.map(|due| due.0),
        marks: marks.into_iter().filter(|(is_set, _)| *is_set).map(|(_, mark)| mark).collect(),
        payload_bytes: message.body_len(),
        payload_encoding,
        payload,
    }
}

fn write_line(out: &mut dyn Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}
