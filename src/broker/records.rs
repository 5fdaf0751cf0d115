//! Definitions as the store keeps them.
//!
//! A key says what it is and of which object, so that the same object has the same key each time; a value is
//! a version octet and a record. Records are apart from the types that the broker works with: those may
//! change, what is on a disk may not.

use crate::store::Assignment;
use amq_protocol_types::FieldTable;
use exchanges::Kind;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use vhosts::topology::Change;
use vhosts::{Binding, ExchangeDefinition, QueueDefinition, QueueId, Resource};

const VERSION: u8 = 1;

/// What a key begins with.
mod tag {
    pub const VHOST: u8 = b'v';
    pub const USER: u8 = b'u';
    pub const PERMISSION: u8 = b'p';
    pub const EXCHANGE: u8 = b'e';
    pub const QUEUE: u8 = b'q';
    pub const BINDING: u8 = b'b';
    pub const NEXT_QUEUE_ID: u8 = b'n';
}

/// A definition that was read back.
#[derive(Debug)]
pub enum Definition {
    /// A virtual host.
    Vhost(VhostRecord),
    /// A user.
    User(UserRecord),
    /// What a user may do in a virtual host.
    Permission(PermissionRecord),
    /// An exchange of a virtual host.
    Exchange(String, ExchangeDefinition),
    /// A queue of a virtual host.
    Queue(String, QueueDefinition),
    /// A binding in a virtual host.
    Binding(String, Binding),
    /// Queue ids from here on were never given.
    NextQueueId(QueueId),
}

/// A stored definition that can not be read.
#[derive(Debug, thiserror::Error)]
#[error("definition {key} is not readable: {reason}")]
pub struct Unreadable {
    key: String,
    reason: String,
}

/// A virtual host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VhostRecord {
    /// Its name.
    pub name: String,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserRecord {
    /// The name.
    pub name: String,
    /// Salt and hash, base64, as RabbitMQ exports them.
    pub password_hash: String,
    /// What it may do in management.
    pub tags: Vec<String>,
}

/// What a user may do in a virtual host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PermissionRecord {
    /// Who.
    pub user: String,
    /// Where.
    pub vhost: String,
    /// Regular expression.
    pub configure: String,
    /// Regular expression.
    pub write: String,
    /// Regular expression.
    pub read: String,
}

#[derive(Serialize, Deserialize)]
struct ExchangeRecord {
    vhost: String,
    name: String,
    kind: String,
    auto_delete: bool,
    internal: bool,
    arguments: FieldTable,
}

#[derive(Serialize, Deserialize)]
struct QueueRecord {
    vhost: String,
    name: String,
    id: u64,
    auto_delete: bool,
    arguments: FieldTable,
}

#[derive(Serialize, Deserialize)]
struct BindingRecord {
    vhost: String,
    source: String,
    to_queue: bool,
    destination: String,
    routing_key: Vec<u8>,
    arguments: FieldTable,
}

/// What keeps a change of a virtual host's topology.
pub fn change(vhost: &str, change: &Change) -> Assignment {
    match change {
        Change::ExchangeDeclared(exchange) => {
            put(exchange_key(vhost, &exchange.name), &exchange_record(vhost, exchange))
        }
        Change::ExchangeDeleted(name) => remove(exchange_key(vhost, name)),
        Change::QueueDeclared(queue) => put(queue_key(queue.id), &queue_record(vhost, queue)),
        Change::QueueDeleted(queue) => remove(queue_key(queue.id)),
        Change::Bound(binding) => put(binding_key(vhost, binding), &binding_record(vhost, binding)),
        Change::Unbound(binding) => remove(binding_key(vhost, binding)),
    }
}

/// What keeps a virtual host.
pub fn vhost(record: &VhostRecord) -> Assignment {
    put(key(tag::VHOST, &[record.name.as_bytes()]), record)
}

/// What keeps a user.
pub fn user(record: &UserRecord) -> Assignment {
    put(key(tag::USER, &[record.name.as_bytes()]), record)
}

/// What keeps a permission.
pub fn permission(record: &PermissionRecord) -> Assignment {
    put(key(tag::PERMISSION, &[record.vhost.as_bytes(), record.user.as_bytes()]), record)
}

/// What keeps queue ids below `next` from being given again.
pub fn next_queue_id(next: QueueId) -> Assignment {
    put(vec![tag::NEXT_QUEUE_ID], &next.0)
}

/// Reads a definition back.
///
/// # Errors
/// A key or a value that this version did not write.
pub fn read(key: &[u8], value: &[u8]) -> Result<Definition, Unreadable> {
    let unreadable =
        |reason: &str| Unreadable { key: key.escape_ascii().to_string(), reason: reason.to_owned() };
    let (&version, record) = value.split_first().ok_or_else(|| unreadable("it is empty"))?;
    if version != VERSION {
        return Err(unreadable(&format!("version {version}, this is {VERSION}")));
    }
    let definition = match key.first() {
        Some(&tag::VHOST) => parse(record).map(Definition::Vhost),
        Some(&tag::USER) => parse(record).map(Definition::User),
        Some(&tag::PERMISSION) => parse(record).map(Definition::Permission),
        Some(&tag::EXCHANGE) => parse(record).and_then(exchange),
        Some(&tag::QUEUE) => parse(record).map(queue),
        Some(&tag::BINDING) => parse(record).map(binding),
        Some(&tag::NEXT_QUEUE_ID) => parse(record).map(|next| Definition::NextQueueId(QueueId(next))),
        _ => return Err(unreadable("a kind that this version does not know")),
    };
    definition.ok_or_else(|| unreadable("its record is damaged"))
}

fn parse<T: DeserializeOwned>(record: &[u8]) -> Option<T> {
    postcard::from_bytes(record).ok()
}

fn put<T: Serialize>(key: Vec<u8>, record: &T) -> Assignment {
    // Writing a record into a vector does not fail: it has no maps of unknown size and no writer behind it.
    let value = postcard::to_extend(record, vec![VERSION]).unwrap_or_default();
    (key, Some(value))
}

fn remove(key: Vec<u8>) -> Assignment {
    (key, None)
}

fn exchange_key(vhost: &str, name: &str) -> Vec<u8> {
    key(tag::EXCHANGE, &[vhost.as_bytes(), name.as_bytes()])
}

fn queue_key(id: QueueId) -> Vec<u8> {
    key(tag::QUEUE, &[&id.0.to_be_bytes()])
}

fn binding_key(vhost: &str, binding: &Binding) -> Vec<u8> {
    let to: &[u8] = if binding.destination_kind == Resource::Queue { b"q" } else { b"e" };
    let arguments = postcard::to_stdvec(&binding.arguments).unwrap_or_default();
    let (source, destination) = (binding.source.as_bytes(), binding.destination.as_bytes());
    key(tag::BINDING, &[vhost.as_bytes(), source, to, destination, &binding.routing_key, &arguments])
}

/// Parts with their lengths, so that no two lists of parts make the same key.
fn key(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![tag];
    for part in parts {
        key.extend((part.len() as u32).to_be_bytes());
        key.extend(*part);
    }
    key
}

fn exchange_record(vhost: &str, exchange: &ExchangeDefinition) -> ExchangeRecord {
    ExchangeRecord {
        vhost: vhost.to_owned(),
        name: exchange.name.to_string(),
        kind: exchange.kind.as_str().to_owned(),
        auto_delete: exchange.auto_delete,
        internal: exchange.internal,
        arguments: exchange.arguments.clone(),
    }
}

fn exchange(record: ExchangeRecord) -> Option<Definition> {
    let ExchangeRecord { vhost, name, kind, auto_delete, internal, arguments } = record;
    let kind = Kind::parse(&kind)?;
    let name = name.into();
    let definition = ExchangeDefinition { name, kind, durable: true, auto_delete, internal, arguments };
    Some(Definition::Exchange(vhost, definition))
}

fn queue_record(vhost: &str, queue: &QueueDefinition) -> QueueRecord {
    QueueRecord {
        vhost: vhost.to_owned(),
        name: queue.name.to_string(),
        id: queue.id.0,
        auto_delete: queue.auto_delete,
        arguments: queue.arguments.clone(),
    }
}

fn queue(record: QueueRecord) -> Definition {
    let QueueRecord { vhost, name, id, auto_delete, arguments } = record;
    let (id, name) = (QueueId(id), name.into());
    Definition::Queue(vhost, QueueDefinition { id, name, durable: true, auto_delete, owner: None, arguments })
}

fn binding_record(vhost: &str, binding: &Binding) -> BindingRecord {
    BindingRecord {
        vhost: vhost.to_owned(),
        source: binding.source.to_string(),
        to_queue: binding.destination_kind == Resource::Queue,
        destination: binding.destination.to_string(),
        routing_key: binding.routing_key.to_vec(),
        arguments: binding.arguments.clone(),
    }
}

fn binding(record: BindingRecord) -> Definition {
    let BindingRecord { vhost, source, to_queue, destination, routing_key, arguments } = record;
    let binding = Binding {
        source: source.into(),
        destination_kind: if to_queue { Resource::Queue } else { Resource::Exchange },
        destination: destination.into(),
        routing_key: routing_key.into(),
        arguments,
    };
    Definition::Binding(vhost, binding)
}
