//! Field values as a headers exchange compares them, and as bytes that tell all of them apart.
//!
//! RabbitMQ 4.3 compares what a field holds and not its type: integers of every width and sign are one type,
//! so are single and double floats, strings and byte arrays; but 1 is not 1.0. Inside arrays and tables the
//! types count again. A message's timestamp is compared as its milliseconds, which are an integer; that of a
//! binding as its seconds. So a timestamp does not match itself, but an integer binding can match it.

use amq_protocol_types::{AMQPValue, FieldArray, FieldTable};
use std::hash::{Hash, Hasher};

/// What is compared. Floats are their bits: NaN equals NaN, and 0.0 is not -0.0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Integer(i128),
    Double(u64),
    Boolean(bool),
    Bytes(&'a [u8]),
    Decimal(u8, u32),
    Array(&'a FieldArray),
    Table(&'a FieldTable),
    Void,
}

impl<'a> Value<'a> {
    /// As a binding's argument.
    pub(crate) fn bound(value: &'a AMQPValue) -> Self {
        match value {
            AMQPValue::Boolean(held) => Value::Boolean(*held),
            AMQPValue::ShortShortInt(held) => Value::Integer((*held).into()),
            AMQPValue::ShortShortUInt(held) => Value::Integer((*held).into()),
            AMQPValue::ShortInt(held) => Value::Integer((*held).into()),
            AMQPValue::ShortUInt(held) => Value::Integer((*held).into()),
            AMQPValue::LongInt(held) => Value::Integer((*held).into()),
            AMQPValue::LongUInt(held) => Value::Integer((*held).into()),
            AMQPValue::LongLongInt(held) => Value::Integer((*held).into()),
            AMQPValue::Timestamp(seconds) => Value::Integer((*seconds).into()),
            AMQPValue::Float(held) => Value::Double(f64::from(*held).to_bits()),
            AMQPValue::Double(held) => Value::Double(held.to_bits()),
            AMQPValue::DecimalValue(held) => Value::Decimal(held.scale, held.value),
            AMQPValue::ShortString(held) => Value::Bytes(held.as_str().as_bytes()),
            AMQPValue::LongString(held) => Value::Bytes(held.as_bytes()),
            AMQPValue::ByteArray(held) => Value::Bytes(held.as_slice()),
            AMQPValue::FieldArray(held) => Value::Array(held),
            AMQPValue::FieldTable(held) => Value::Table(held),
            AMQPValue::Void => Value::Void,
        }
    }

    /// As a message's header.
    pub(crate) fn sent(value: &'a AMQPValue) -> Self {
        match value {
            AMQPValue::Timestamp(seconds) => Value::Integer(i128::from(*seconds) * 1000),
            other => Self::bound(other),
        }
    }
}

/// Whether two field values hold the same: integers of any width, single and double floats, strings and byte
/// arrays; inside arrays and tables also of the same types.
#[must_use]
pub fn same_value(one: &AMQPValue, other: &AMQPValue) -> bool {
    Value::bound(one) == Value::bound(other)
}

impl Hash for Value<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Value::Integer(held) => held.hash(state),
            Value::Double(bits) => bits.hash(state),
            Value::Boolean(held) => held.hash(state),
            Value::Bytes(bytes) => bytes.hash(state),
            Value::Decimal(scale, value) => (scale, value).hash(state),
            Value::Array(array) => feed_array(array, &mut |part| state.write(part)),
            Value::Table(table) => feed_table(table, &mut |part| state.write(part)),
            Value::Void => {}
        }
    }
}

/// Gives `sink` bytes that are the same for two tables exactly when names, types and values are.
pub(crate) fn feed_table(table: &FieldTable, sink: &mut dyn FnMut(&[u8])) {
    sink(&table.inner().len().to_be_bytes());
    for (name, value) in table {
        feed_bytes(name.as_str().as_bytes(), sink);
        feed(value, sink);
    }
}

/// Bytes with their length in front, so that none run into the next.
pub(crate) fn feed_bytes(bytes: &[u8], sink: &mut dyn FnMut(&[u8])) {
    sink(&bytes.len().to_be_bytes());
    sink(bytes);
}

fn feed_array(array: &FieldArray, sink: &mut dyn FnMut(&[u8])) {
    sink(&array.as_slice().len().to_be_bytes());
    array.as_slice().iter().for_each(|value| feed(value, sink));
}

fn feed(value: &AMQPValue, sink: &mut dyn FnMut(&[u8])) {
    sink(&[value.get_type().get_id() as u8]);
    match value {
        AMQPValue::Boolean(held) => sink(&[u8::from(*held)]),
        AMQPValue::ShortShortInt(held) => sink(&held.to_be_bytes()),
        AMQPValue::ShortShortUInt(held) => sink(&held.to_be_bytes()),
        AMQPValue::ShortInt(held) => sink(&held.to_be_bytes()),
        AMQPValue::ShortUInt(held) => sink(&held.to_be_bytes()),
        AMQPValue::LongInt(held) => sink(&held.to_be_bytes()),
        AMQPValue::LongUInt(held) => sink(&held.to_be_bytes()),
        AMQPValue::LongLongInt(held) => sink(&held.to_be_bytes()),
        AMQPValue::Timestamp(held) => sink(&held.to_be_bytes()),
        AMQPValue::Float(held) => sink(&held.to_bits().to_be_bytes()),
        AMQPValue::Double(held) => sink(&held.to_bits().to_be_bytes()),
        AMQPValue::DecimalValue(held) => {
            sink(&[held.scale]);
            sink(&held.value.to_be_bytes());
        }
        AMQPValue::ShortString(held) => feed_bytes(held.as_str().as_bytes(), sink),
        AMQPValue::LongString(held) => feed_bytes(held.as_bytes(), sink),
        AMQPValue::ByteArray(held) => feed_bytes(held.as_slice(), sink),
        AMQPValue::FieldArray(held) => feed_array(held, sink),
        AMQPValue::FieldTable(held) => feed_table(held, sink),
        AMQPValue::Void => {}
    }
}
