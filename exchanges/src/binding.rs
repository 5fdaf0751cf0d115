//! One binding as an index keeps it: what tells it from the others of its group, and where it leads.
//!
//! Invariant: two bindings of a group are equal exactly when routing key, arguments and destination are.
//! Arguments are compared by their types and bytes, so that a NaN equals itself and can be unbound.

use crate::value;
use amq_protocol_types::FieldTable;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Binding<D> {
    label: Label,
    pub(crate) destination: D,
}

impl<D> Binding<D> {
    /// A binding in a group whose members all have the same routing key.
    pub(crate) fn of_one_key(arguments: &FieldTable, destination: D) -> Self {
        Self::new(b"", arguments, destination)
    }

    pub(crate) fn new(routing_key: &[u8], arguments: &FieldTable, destination: D) -> Self {
        Binding { label: Label::new(routing_key, arguments), destination }
    }
}

/// Routing key and arguments in one piece. Most bindings have neither, and pay no allocation for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Label(Option<Arc<[u8]>>);

impl Label {
    fn new(routing_key: &[u8], arguments: &FieldTable) -> Self {
        if routing_key.is_empty() && arguments.inner().is_empty() {
            return Label(None);
        }
        let mut bytes = Vec::new();
        let mut sink = |part: &[u8]| bytes.extend_from_slice(part);
        value::feed_bytes(routing_key, &mut sink);
        value::feed_table(arguments, &mut sink);
        Label(Some(bytes.into()))
    }
}
