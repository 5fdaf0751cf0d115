//! What an exchange was declared with, and when a second declaration means the same exchange.

use crate::refusal::{Name, Refusal, Resource};
use amq_protocol_types::{AMQPValue, FieldTable};
use exchanges::Kind;

/// The argument that names the alternate exchange.
pub const ALTERNATE: &str = "alternate-exchange";

/// A declared exchange, without its bindings.
#[derive(Clone, Debug, PartialEq)]
pub struct ExchangeDefinition {
    /// Its name, unique in the virtual host; empty for the default exchange.
    pub name: Name,
    /// How it picks destinations.
    pub kind: Kind,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes with its last binding.
    pub auto_delete: bool,
    /// Whether only other exchanges may hand it messages.
    pub internal: bool,
    /// Optional arguments, as declared.
    pub arguments: FieldTable,
}

impl ExchangeDefinition {
    /// Where messages go that no binding selects.
    #[must_use]
    pub fn alternate(&self) -> Option<&str> {
        match self.arguments.inner().get(ALTERNATE) {
            Some(AMQPValue::LongString(name)) => std::str::from_utf8(name.as_bytes()).ok(),
            _ => None,
        }
    }

    /// Whether it may be declared like this at all.
    ///
    /// # Errors
    /// [`Refusal::NotAString`] for the alternate exchange.
    pub fn validate(&self) -> Result<(), Refusal> {
        match self.arguments.inner().get(ALTERNATE) {
            None | Some(AMQPValue::LongString(_)) => Ok(()),
            Some(value) => Err(Refusal::NotAString {
                resource: Resource::Exchange,
                name: self.name.clone(),
                argument: ALTERNATE,
                value: value.clone(),
            }),
        }
    }

    /// Whether declaring `wanted` again means this exchange. Of the arguments only the alternate exchange
    /// counts, as in RabbitMQ.
    ///
    /// # Errors
    /// [`Refusal::Inequivalent`] or [`Refusal::InequivalentArgument`].
    pub fn check_equivalent(&self, wanted: &ExchangeDefinition) -> Result<(), Refusal> {
        let text = |value: bool| value.to_string();
        let properties = [
            ("type", wanted.kind.as_str().to_owned(), self.kind.as_str().to_owned()),
            ("durable", text(wanted.durable), text(self.durable)),
            ("auto_delete", text(wanted.auto_delete), text(self.auto_delete)),
            ("internal", text(wanted.internal), text(self.internal)),
        ];
        for (property, received, current) in properties {
            if received != current {
                let (resource, name) = (Resource::Exchange, self.name.clone());
                return Err(Refusal::Inequivalent { resource, name, property, received, current });
            }
        }
        let alternate = |table: &FieldTable| table.inner().get(ALTERNATE).cloned();
        let (received, current) = (alternate(&wanted.arguments), alternate(&self.arguments));
        if received == current {
            return Ok(());
        }
        let (resource, name, argument) = (Resource::Exchange, self.name.clone(), ALTERNATE);
        Err(Refusal::InequivalentArgument { resource, name, argument, received, current })
    }
}
