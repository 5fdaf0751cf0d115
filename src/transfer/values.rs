//! Properties and field tables as JSON, to be read. What JSON has no form for is shown as near as it comes: the
//! bytes beside it are what counts.

use amq_protocol_types::parsing::parse_field_table;
use amq_protocol_types::{AMQPValue, FieldTable};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Map, Value, json};
use vhosts::table;

/// How a property is written.
#[derive(Clone, Copy)]
enum Shape {
    Short,
    Octet,
    Long,
    Table,
}

/// The basic properties in their order, under the names of RabbitMQ's HTTP API.
const PROPERTIES: [(&str, Shape); 14] = [
    ("content_type", Shape::Short),
    ("content_encoding", Shape::Short),
    ("headers", Shape::Table),
    ("delivery_mode", Shape::Octet),
    ("priority", Shape::Octet),
    ("correlation_id", Shape::Short),
    ("reply_to", Shape::Short),
    ("expiration", Shape::Short),
    ("message_id", Shape::Short),
    ("timestamp", Shape::Long),
    ("type", Shape::Short),
    ("user_id", Shape::Short),
    ("app_id", Shape::Short),
    ("cluster_id", Shape::Short),
];

/// The properties of a message from their flags and list; those before the first that is malformed.
pub(super) fn properties_json(raw: &[u8]) -> Value {
    let mut found = Map::new();
    let Some((flags, mut rest)) = raw.split_first_chunk() else { return Value::Object(found) };
    let flags = u16::from_be_bytes(*flags);
    for (at, (name, shape)) in PROPERTIES.into_iter().enumerate() {
        if flags & 0x8000 >> at == 0 {
            continue;
        }
        let Some(value) = take(&mut rest, shape) else { break };
        found.insert(name.to_owned(), value);
    }
    Value::Object(found)
}

fn take(rest: &mut &[u8], shape: Shape) -> Option<Value> {
    let len = match shape {
        Shape::Octet => 1,
        Shape::Long => 8,
        Shape::Short => 1 + usize::from(*rest.first()?),
        Shape::Table => 4 + u32::from_be_bytes(*rest.first_chunk()?) as usize,
    };
    let (bytes, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(match shape {
        Shape::Octet => json!(bytes[0]),
        Shape::Long => json!(u64::from_be_bytes(*bytes.first_chunk()?)),
        Shape::Short => text_json(&bytes[1..]),
        Shape::Table => table::check(bytes).ok().and_then(|()| parse_field_table(bytes).ok()).map_or_else(
            // A name that is not text: nobody can read it as JSON.
            || Value::Null,
            |(_, table)| table_json(&table),
        ),
    })
}

/// A field table.
pub(super) fn table_json(table: &FieldTable) -> Value {
    let fields = table.inner().iter();
    Value::Object(fields.map(|(name, value)| (name.as_str().to_owned(), value_json(value))).collect())
}

fn value_json(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(value) => json!(value),
        AMQPValue::ShortShortInt(value) => json!(value),
        AMQPValue::ShortShortUInt(value) => json!(value),
        AMQPValue::ShortInt(value) => json!(value),
        AMQPValue::ShortUInt(value) => json!(value),
        AMQPValue::LongInt(value) => json!(value),
        AMQPValue::LongUInt(value) => json!(value),
        AMQPValue::LongLongInt(value) => json!(value),
        AMQPValue::Float(value) => json!(value),
        AMQPValue::Double(value) => json!(value),
        AMQPValue::DecimalValue(value) => json!({ "scale": value.scale, "value": value.value }),
        AMQPValue::ShortString(value) => json!(value.as_str()),
        AMQPValue::LongString(value) => text_json(value.as_bytes()),
        AMQPValue::FieldArray(values) => Value::Array(values.as_slice().iter().map(value_json).collect()),
        AMQPValue::Timestamp(value) => json!(value),
        AMQPValue::FieldTable(table) => table_json(table),
        AMQPValue::ByteArray(bytes) => json!(BASE64_STANDARD.encode(bytes.as_slice())),
        AMQPValue::Void => Value::Null,
    }
}

fn text_json(bytes: &[u8]) -> Value {
    json!(String::from_utf8_lossy(bytes))
}
