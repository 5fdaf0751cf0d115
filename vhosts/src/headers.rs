//! Header tables as bytes: fields are found, left out and added, and the others are not decoded.
//!
//! A table has its four length octets in front, a value its type octet. What an edit does not name keeps its
//! bytes and its place.
//!
//! Tables were [checked](crate::table::check) when they came in. A walk over other bytes ends where they make
//! no sense; nothing here panics over them.

use crate::table::value_len;
use std::iter;

/// A table without fields.
pub const EMPTY: &[u8] = &[0; 4];

/// One field of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name, at most 255 bytes.
    pub name: &'a [u8],
    /// Its value, with the type octet.
    pub value: &'a [u8],
}

/// The fields of a table, in their order.
pub fn fields(table: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = contents(table);
    iter::from_fn(move || {
        let (len, left) = rest.split_first()?;
        let (name, mut left) = left.split_at_checked((*len).into())?;
        let value = take_value(&mut left)?;
        rest = left;
        Some(Field { name, value })
    })
}

/// The value of the first field of that name.
#[must_use]
pub fn find<'a>(table: &'a [u8], name: &str) -> Option<&'a [u8]> {
    fields(table).find(|field| field.name == name.as_bytes()).map(|field| field.value)
}

/// The values in an array; none in anything else.
pub fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = value.strip_prefix(b"A").map_or(&[][..], contents);
    iter::from_fn(move || take_value(&mut rest))
}

/// What is in a long string.
#[must_use]
pub fn text(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"S").map(contents)
}

/// The number in a 64-bit integer.
#[must_use]
pub fn long(value: &[u8]) -> Option<i64> {
    let number = value.strip_prefix(b"l").or_else(|| value.strip_prefix(b"L"))?;
    Some(i64::from_be_bytes(number.try_into().ok()?))
}

/// The table in a nested table.
#[must_use]
pub fn nested(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"F")
}

/// What is behind four length octets.
fn contents(bytes: &[u8]) -> &[u8] {
    bytes.get(4..).unwrap_or_default()
}

fn take_value<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (value, left) = rest.split_at_checked(value_len(rest).ok()?)?;
    *rest = left;
    Some(value)
}

/// A value to be written.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// One that was read, with its type octet.
    Raw(&'a [u8]),
    /// A long string.
    Text(&'a [u8]),
    /// A 64-bit integer.
    Long(i64),
    /// A timestamp, in seconds since the Unix epoch.
    Timestamp(u64),
    /// A table.
    Table(&'a [u8]),
    /// An array.
    Array(&'a [Value<'a>]),
}

impl Value<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::Raw(bytes) => out.extend_from_slice(bytes),
            Value::Text(bytes) => {
                out.push(b'S');
                out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
                out.extend_from_slice(bytes);
            }
            Value::Long(number) => {
                out.push(b'l');
                out.extend_from_slice(&number.to_be_bytes());
            }
            Value::Timestamp(seconds) => {
                out.push(b'T');
                out.extend_from_slice(&seconds.to_be_bytes());
            }
            Value::Table(table) => {
                out.push(b'F');
                out.extend_from_slice(table);
            }
            Value::Array(items) => {
                out.push(b'A');
                let at = out.len();
                out.extend_from_slice(EMPTY);
                items.iter().for_each(|item| item.write(out));
                write_length(out, at);
            }
        }
    }
}

/// A table that is being written.
#[derive(Debug)]
pub struct TableWriter(Vec<u8>);

impl Default for TableWriter {
    fn default() -> TableWriter {
        TableWriter(EMPTY.to_vec())
    }
}

impl TableWriter {
    /// Begins with the fields of an old table whose names are to be kept.
    #[must_use]
    pub fn keeping(table: &[u8], keep: impl Fn(&[u8]) -> bool) -> TableWriter {
        let mut writer = TableWriter::default();
        fields(table)
            .filter(|field| keep(field.name))
            .for_each(|field| writer.add(field.name, Value::Raw(field.value)));
        writer
    }

    /// Adds a field.
    ///
    /// # Panics
    /// When `name` is longer than 255 bytes.
    pub fn add(&mut self, name: &[u8], value: Value<'_>) {
        assert!(name.len() <= 255, "a field's name has at most 255 bytes");
        self.0.push(name.len() as u8);
        self.0.extend_from_slice(name);
        value.write(&mut self.0);
    }

    /// The table.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        write_length(&mut self.0, 0);
        self.0
    }
}

/// Writes how many bytes are behind the four at `at` into these.
fn write_length(out: &mut [u8], at: usize) {
    let len = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::check;
    use amq_protocol_types::{AMQPValue, FieldArray, FieldTable, generation, parsing};
    use proptest::prelude::*;

    fn encode(table: &FieldTable) -> Vec<u8> {
        generation::gen_field_table(table)(Vec::new().into()).unwrap().write
    }

    fn decode(table: &[u8]) -> FieldTable {
        parsing::parse_field_table(table).unwrap().1
    }

    fn any_value() -> impl Strategy<Value = AMQPValue> {
        let flat = prop_oneof![
            Just(AMQPValue::Void),
            any::<bool>().prop_map(AMQPValue::Boolean),
            any::<i8>().prop_map(AMQPValue::ShortShortInt),
            any::<u16>().prop_map(AMQPValue::ShortUInt),
            any::<i32>().prop_map(AMQPValue::LongInt),
            any::<i64>().prop_map(AMQPValue::LongLongInt),
            any::<u64>().prop_map(AMQPValue::Timestamp),
            "[a-z]{0,9}".prop_map(|text| AMQPValue::LongString(text.as_str().into())),
        ];
        flat.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4)
                    .prop_map(|items| AMQPValue::FieldArray(FieldArray::from(items))),
                prop::collection::vec(("[a-d]", inner), 0..4)
                    .prop_map(|fields| AMQPValue::FieldTable(table_of(fields))),
            ]
        })
    }

    fn table_of(fields: Vec<(String, AMQPValue)>) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in fields {
            table.insert(name.as_str().into(), value);
        }
        table
    }

    fn any_table() -> impl Strategy<Value = FieldTable> {
        prop::collection::vec(("[a-d]{1,2}", any_value()), 0..8).prop_map(table_of)
    }

    proptest! {
        #[test]
        fn an_edit_equals_that_of_the_decoded_table(
            table in any_table(),
            left_out in prop::collection::vec("[a-d]{1,2}", 0..4),
            (text, number, seconds) in ("[a-z]{0,9}", any::<i64>(), any::<u64>()),
        ) {
            let raw = encode(&table);
            let gone = |name: &[u8]| left_out.iter().any(|out| out.as_bytes() == name);
            let mut writer = TableWriter::keeping(&raw, |name| !gone(name));
            writer.add(b"x-text", Value::Text(text.as_bytes()));
            writer.add(b"x-table", Value::Table(&raw));
            writer.add(b"x-array", Value::Array(&[Value::Long(number), Value::Timestamp(seconds)]));
            let edited = writer.finish();

            let kept = table.inner().iter().filter(|(name, _)| !gone(name.as_str().as_bytes()));
            let mut expected: Vec<_> =
                kept.map(|(name, value)| (name.to_string(), value.clone())).collect();
            expected.push(("x-text".into(), AMQPValue::LongString(text.as_str().into())));
            expected.push(("x-table".into(), AMQPValue::FieldTable(table.clone())));
            let items = vec![AMQPValue::LongLongInt(number), AMQPValue::Timestamp(seconds)];
            expected.push(("x-array".into(), AMQPValue::FieldArray(FieldArray::from(items))));
            prop_assert_eq!(check(&edited), Ok(()));
            prop_assert_eq!(decode(&edited), table_of(expected));
        }

        #[test]
        fn what_is_kept_whole_keeps_its_bytes(table in any_table()) {
            let raw = encode(&table);
            prop_assert_eq!(TableWriter::keeping(&raw, |_| true).finish(), raw);
        }

        #[test]
        fn fields_are_those_of_the_decoded_table(table in any_table(), name in "[a-d]{1,2}") {
            let raw = encode(&table);
            prop_assert_eq!(fields(&raw).count(), table.inner().len());
            let (found, held) = (find(&raw, &name), table.inner().get(name.as_str()));
            prop_assert_eq!(found.is_some(), held.is_some());
            let Some((found, held)) = found.zip(held) else { return Ok(()) };
            prop_assert_eq!(found[0], held.get_type().get_id() as u8);
            prop_assert_eq!(long(found), held.as_long_long_int());
            prop_assert_eq!(text(found), held.as_long_string().map(|text| text.as_bytes()));
            prop_assert_eq!(nested(found).map(decode), held.as_field_table().cloned());
            prop_assert_eq!(items(found).count(), held.as_array().map_or(0, |array| array.as_slice().len()));
        }

        #[test]
        fn any_bytes_are_read_to_some_end(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            for field in fields(&bytes) {
                items(field.value).for_each(|item| _ = (text(item), long(item), nested(item).map(fields)));
            }
            prop_assert_eq!(items(&bytes).map(<[u8]>::len).sum::<usize>() <= bytes.len(), true);
            _ = (find(&bytes, "a"), text(&bytes), long(&bytes));
            let kept = TableWriter::keeping(&bytes, |_| true).finish();
            prop_assert_eq!(fields(&kept).collect::<Vec<_>>(), fields(&bytes).collect::<Vec<_>>());
        }
    }
}
