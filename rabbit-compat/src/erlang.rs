//! RabbitMQ prints Erlang terms into some of its texts; clients and people compare them.

use amq_protocol::types::AMQPValue;
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
    match value {
        AMQPValue::Boolean(_) => "bool",
        AMQPValue::ShortShortInt(_) => "byte",
        AMQPValue::ShortShortUInt(_) => "unsignedbyte",
        AMQPValue::ShortInt(_) => "short",
        AMQPValue::ShortUInt(_) => "unsignedshort",
        AMQPValue::LongInt(_) => "signedint",
        AMQPValue::LongUInt(_) => "unsignedint",
        AMQPValue::LongLongInt(_) => "long",
        AMQPValue::Float(_) => "float",
        AMQPValue::Double(_) => "double",
        AMQPValue::DecimalValue(_) => "decimal",
        AMQPValue::ShortString(_) | AMQPValue::LongString(_) => "longstr",
        AMQPValue::FieldArray(_) => "array",
        AMQPValue::Timestamp(_) => "timestamp",
        AMQPValue::FieldTable(_) => "table",
        AMQPValue::ByteArray(_) => "binary",
        AMQPValue::Void => "void",
    }
}

/// How an argument differs from the one that is in force.
#[must_use]
pub fn difference(received: Option<&AMQPValue>, current: Option<&AMQPValue>) -> String {
    match (received, current) {
        (Some(received), Some(current)) if type_name(received) == type_name(current) => {
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

/// A field's value in words.
#[must_use]
pub fn value(value: &AMQPValue) -> String {
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
        AMQPValue::Float(value) => value.to_string(),
        AMQPValue::Double(value) => value.to_string(),
        AMQPValue::LongString(value) => value.to_string(),
        AMQPValue::ShortString(value) => value.to_string(),
        other => format!("{other:?}"),
    }
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
}
