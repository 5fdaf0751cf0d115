//! The lines.

use super::values::table_json;
use amq_protocol_types::FieldTable;
use amq_protocol_types::generation::gen_field_table;
use amq_protocol_types::parsing::parse_field_table;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use std::borrow::Cow;
use vhosts::table;

/// How the line of a message begins that could not be read.
pub const LOST_PREFIX: &[u8] = b"{\"type\":\"lost\"";

/// One line of an export.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Line {
    /// A virtual host.
    Vhost { name: String },
    /// A durable exchange.
    Exchange(Exchange),
    /// A durable queue.
    Queue(Queue),
    /// A binding between the two, or between two exchanges.
    Binding(Binding),
    /// A message of a queue.
    Message(Box<Message>),
    /// A message of a queue that could not be read, because it is damaged. An import passes it by.
    Lost { vhost: String, queue: String, seq: u64 },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Exchange {
    pub vhost: String,
    pub name: String,
    pub kind: String,
    pub auto_delete: bool,
    pub internal: bool,
    #[serde(flatten)]
    pub arguments: Arguments,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Queue {
    pub vhost: String,
    pub name: String,
    pub auto_delete: bool,
    #[serde(flatten)]
    pub arguments: Arguments,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Binding {
    pub vhost: String,
    pub source: String,
    /// `queue` or `exchange`.
    pub destination_type: String,
    pub destination: String,
    #[serde(flatten)]
    pub routing_key: RoutingKey,
    #[serde(flatten)]
    pub arguments: Arguments,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Message {
    pub vhost: String,
    pub queue: String,
    /// Its number in the queue. An import keeps it if the queue has none as high.
    pub seq: u64,
    pub exchange: String,
    #[serde(flatten)]
    pub routing_key: RoutingKey,
    #[serde(default, skip_deserializing)]
    pub properties: Value,
    /// Property flags and list, as in a content header.
    pub properties_raw: Raw,
    /// When it was published or dead-lettered, in milliseconds since the Unix epoch.
    pub arrived_ms: u64,
    /// How often it was handed to a consumer.
    #[serde(default)]
    pub acquired: u32,
    /// How often that failed.
    #[serde(default)]
    pub failed: u32,
    /// Until when it waits for a delayed retry, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_ms: Option<u64>,
    /// What the broker knows of it and the properties do not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
    #[serde(default, skip_deserializing)]
    pub payload_bytes: u64,
    pub payload_encoding: Encoding,
    pub payload: String,
}

/// See [`vhosts::message::Marks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mark {
    /// It was dead-lettered: its `x-death` header is the broker's.
    Died,
    /// It goes to the keys of `CC` and `BCC` too.
    Copies,
    /// It has a `BCC`.
    Bcc,
}

/// As RabbitMQ's HTTP API names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Encoding {
    /// The payload is the text.
    String,
    /// The payload is base64 of the bytes.
    Base64,
}

/// A routing key, which need not be text.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RoutingKey {
    routing_key: String,
    /// Only where it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    routing_key_raw: Option<Raw>,
}

impl RoutingKey {
    pub(super) fn of(bytes: &[u8]) -> RoutingKey {
        let text = String::from_utf8_lossy(bytes);
        let routing_key_raw = matches!(text, Cow::Owned(_)).then(|| Raw(bytes.to_vec()));
        RoutingKey { routing_key: text.into_owned(), routing_key_raw }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.routing_key_raw.map_or_else(|| self.routing_key.into_bytes(), |raw| raw.0)
    }
}

/// Arguments, to be read and as they are on the wire.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Arguments {
    #[serde(default, skip_deserializing)]
    arguments: Value,
    arguments_raw: Raw,
}

impl Arguments {
    pub(super) fn of(table: &FieldTable) -> Arguments {
        // Writing into a vector does not fail.
        let written = gen_field_table(table)(Vec::new().into());
        let raw = written.map(|written| written.write).unwrap_or_default();
        Arguments { arguments: table_json(table), arguments_raw: Raw(raw) }
    }

    /// The table; nothing if the bytes are none.
    pub(super) fn table(&self) -> Option<FieldTable> {
        let raw = &self.arguments_raw.0[..];
        table::check(raw).ok()?;
        Some(parse_field_table(raw).ok()?.1)
    }
}

/// Bytes, as base64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Raw(pub Vec<u8>);

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        BASE64_STANDARD.decode(&*text).map(Raw).map_err(de::Error::custom)
    }
}

/// A body as text if it is some, else as base64.
pub(super) fn payload(body: &[u8]) -> (Encoding, String) {
    match std::str::from_utf8(body) {
        Ok(text) => (Encoding::String, text.to_owned()),
        Err(_) => (Encoding::Base64, BASE64_STANDARD.encode(body)),
    }
}

/// The body again.
pub(super) fn body(encoding: Encoding, payload: String) -> Result<Vec<u8>, base64::DecodeError> {
    match encoding {
        Encoding::String => Ok(payload.into_bytes()),
        Encoding::Base64 => BASE64_STANDARD.decode(payload),
    }
}
