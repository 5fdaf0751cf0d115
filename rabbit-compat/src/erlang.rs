//! RabbitMQ prints Erlang terms into some of its texts; clients and people compare them.

use amq_protocol::types::{AMQPType, AMQPValue};
use std::fmt::Write;

/// A binary, as `io_lib:format("~p")` prints it: `<<"abc">>` when printable, else `<<1,2>>`.
#[must_use]
pub fn binary(bytes: &[u8]) -> String {
    let printable = |byte: &u8| matches!(byte, b' '..=b'~');
    if bytes.is_empty() {
        return "<<>>".to_owned();
    }
    if bytes.iter().all(printable) {
        let text = String::from_utf8_lossy(bytes).replace('\\', "\\\\").replace('"', "\\\"");
        return format!("<<\"{text}\">>");
    }
    let mut text = String::from("<<");
    for (at, byte) in bytes.iter().enumerate() {
        // Writing into a string does not fail.
        let _ = write!(text, "{}{byte}", if at == 0 { "" } else { "," });
    }
    text + ">>"
}

/// A list of characters, as `io_lib:format("~tp")` prints it: `"abc"` when printable, else `[1,2]`.
#[must_use]
pub fn string(characters: &[u8]) -> String {
    let printable = |character: &u8| matches!(character, b' '..=b'~' | 0xA0..);
    if !characters.is_empty() && characters.iter().all(printable) {
        let text: String = characters.iter().copied().map(char::from).collect();
        return format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    }
    let numbers: Vec<String> = characters.iter().map(u8::to_string).collect();
    format!("[{}]", numbers.join(","))
}

/// The beginning of a frame's payload, as frame errors show it.
#[must_use]
pub fn octets(payload: &[u8]) -> String {
    match payload.split_at_checked(16) {
        Some((first, [_, ..])) => format!("first 16 octets = {}", binary(first)),
        _ => format!("all octets = {}", binary(payload)),
    }
}

/// The name of a field's type.
#[must_use]
pub fn type_name(value: &AMQPValue) -> &'static str {
    name_of_type(value.get_type())
}

/// What a field's type is called.
#[must_use]
pub fn name_of_type(kind: AMQPType) -> &'static str {
    match kind {
        AMQPType::Boolean => "bool",
        AMQPType::ShortShortInt => "byte",
        AMQPType::ShortShortUInt => "unsignedbyte",
        AMQPType::ShortInt => "short",
        AMQPType::ShortUInt => "unsignedshort",
        AMQPType::LongInt => "signedint",
        AMQPType::LongUInt => "unsignedint",
        AMQPType::LongLongInt | AMQPType::LongLongUInt => "long",
        AMQPType::Float => "float",
        AMQPType::Double => "double",
        AMQPType::DecimalValue => "decimal",
        AMQPType::ShortString | AMQPType::LongString => "longstr",
        AMQPType::FieldArray => "array",
        AMQPType::Timestamp => "timestamp",
        AMQPType::FieldTable => "table",
        AMQPType::ByteArray => "binary",
        AMQPType::Void => "void",
    }
}

/// How an argument differs from the one that is in force. Types are told only where one has none to compare
/// with.
#[must_use]
pub fn difference(received: Option<&AMQPValue>, current: Option<&AMQPValue>) -> String {
    match (received, current) {
        (Some(received), Some(current)) => {
            format!("received '{}' but current is '{}'", value(received), value(current))
        }
        _ => format!("received {} but current is {}", typed(received), typed(current)),
    }
}

fn typed(argument: Option<&AMQPValue>) -> String {
    match argument {
        None => "none".to_owned(),
        Some(argument) => format!("the value '{}' of type '{}'", value(argument), type_name(argument)),
    }
}

/// A field's value, with strings as they are.
#[must_use]
pub fn value(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(value) => value.to_string(),
        AMQPValue::ShortString(value) => value.to_string(),
        AMQPValue::ByteArray(value) => String::from_utf8_lossy(value.as_slice()).into_owned(),
        other => term(other),
    }
}

/// A field's value as a term. Those inside of arrays and tables come with their types.
fn term(value: &AMQPValue) -> String {
    match value {
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::ShortShortInt(value) => value.to_string(),
        AMQPValue::ShortShortUInt(value) => value.to_string(),
        AMQPValue::ShortInt(value) => value.to_string(),
        AMQPValue::ShortUInt(value) => value.to_string(),
        AMQPValue::LongInt(value) => value.to_string(),
        AMQPValue::LongUInt(value) => value.to_string(),
        AMQPValue::LongLongInt(value) => value.to_string(),
        AMQPValue::Timestamp(value) => value.to_string(),
        AMQPValue::Float(value) => format!("{value:?}"),
        AMQPValue::Double(value) => format!("{value:?}"),
        AMQPValue::DecimalValue(value) => format!("{{{},{}}}", value.scale, value.value),
        AMQPValue::ShortString(value) => binary(value.as_str().as_bytes()),
        AMQPValue::LongString(value) => binary(value.as_bytes()),
        AMQPValue::ByteArray(value) => binary(value.as_slice()),
        AMQPValue::FieldArray(array) => {
            list(array.as_slice().iter().map(|value| format!("{{{},{}}}", type_name(value), term(value))))
        }
        AMQPValue::FieldTable(table) => list(table.inner().iter().map(|(name, value)| {
            format!("{{{},{},{}}}", binary(name.as_str().as_bytes()), type_name(value), term(value))
        })),
        AMQPValue::Void => "undefined".to_owned(),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_are_text_when_they_can_be() {
        assert_eq!(binary(b""), "<<>>");
        assert_eq!(binary(b"abc"), "<<\"abc\">>");
        assert_eq!(binary(&[0, 120, 255]), "<<0,120,255>>");
    }

    #[test]
    fn so_are_strings() {
        assert_eq!(string(b""), "[]");
        assert_eq!(string(b"a\"\\b"), r#""a\"\\b""#);
        assert_eq!(string(&[120, 0xE9]), "\"xé\"");
        assert_eq!(string(&[0, 120]), "[0,120]");
    }

    #[test]
    fn values_inside_of_values_have_types() {
        let inner =
            AMQPValue::FieldArray(vec![AMQPValue::LongString("1s".into()), AMQPValue::Double(2.0)].into());
        assert_eq!(value(&inner), "[{longstr,<<\"1s\">>},{double,2.0}]");
        let mut table = amq_protocol::types::FieldTable::default();
        table.insert("k".into(), AMQPValue::Void);
        assert_eq!(value(&AMQPValue::FieldTable(table)), "[{<<\"k\">>,void,undefined}]");
        assert_eq!(value(&AMQPValue::LongString("a b".into())), "a b");
    }
}
