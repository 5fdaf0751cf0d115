//! Exchanges, queues and bindings: `exchange.*` and `queue.*` as operations.

use super::command::{Command, Operation};
use super::{Session, operations, replies};
use crate::violation::{Code, Violation};
use amq_protocol::protocol::{exchange, queue};
use amq_protocol::types::{FieldTable, ShortString};
use vhosts::{Binding, Name, Resource};

impl Session {
    pub(super) fn queue_class(
        &mut self,
        number: u16,
        ids: (u16, u16),
        method: queue::AMQPMethod,
        commands: &mut Vec<Command>,
    ) -> Result<(), Violation> {
        let (operation, nowait) = match method {
            queue::AMQPMethod::Declare(declare) => {
                let name = stripped(declare.queue.as_str());
                if &*name == replies::NAME {
                    self.declare_replies(number, declare.nowait);
                    return Ok(());
                }
                let operation = Operation::DeclareQueue {
                    // An address is made by consuming; declaring it is looking whether it is there.
                    passive: declare.passive || replies::is_address(&name),
                    name,
                    durable: declare.durable,
                    auto_delete: declare.auto_delete,
                    exclusive: declare.exclusive,
                    arguments: declare.arguments,
                };
                (operation, declare.nowait)
            }
            queue::AMQPMethod::Bind(queue::Bind { queue, exchange, routing_key, nowait, arguments }) => {
                let (name, routing_key) = self.binding_ends(number, &queue, &routing_key)?;
                (Operation::Bind(to_queue(exchange.as_str(), name, routing_key, arguments)), nowait)
            }
            queue::AMQPMethod::Unbind(queue::Unbind { queue, exchange, routing_key, arguments }) => {
                let (name, routing_key) = self.binding_ends(number, &queue, &routing_key)?;
                (Operation::Unbind(to_queue(exchange.as_str(), name, routing_key, arguments)), false)
            }
            queue::AMQPMethod::Purge(purge) => {
                (Operation::Purge { name: self.queue_name(number, &purge.queue)? }, purge.nowait)
            }
            queue::AMQPMethod::Delete(delete) => {
                let name = self.queue_name(number, &delete.queue)?;
                let queue::Delete { if_unused, if_empty, nowait, .. } = delete;
                (Operation::DeleteQueue { name, if_unused, if_empty }, nowait)
            }
            _ => return Err(operations::unimplemented_method()),
        };
        self.hand_out(number, ids, nowait, String::new(), operation, commands);
        Ok(())
    }

    /// The queue that a name means; an empty one means the last declared.
    pub(super) fn queue_name(&self, number: u16, name: &ShortString) -> Result<Name, Violation> {
        if !name.as_str().is_empty() {
            return Ok(stripped(name.as_str()));
        }
        let last = self.channels.get(&number).and_then(|channel| channel.last_queue.clone());
        last.ok_or_else(|| Violation::new(Code::NotFound, "no previously declared queue"))
    }

    /// Queue and routing key of a binding; where both are empty, the queue's name is the key too.
    fn binding_ends(
        &self,
        number: u16,
        queue: &ShortString,
        key: &ShortString,
    ) -> Result<(Name, Box<[u8]>), Violation> {
        let name = self.queue_name(number, queue)?;
        replies::check_bindable(&name)?;
        let both_empty = queue.as_str().is_empty() && key.as_str().is_empty();
        let key = if both_empty { name.as_bytes() } else { key.as_str().as_bytes() };
        let key = key.into();
        Ok((name, key))
    }
}

/// What an `exchange.*` method asks for, and whether it wants no answer.
pub(super) fn exchange_operation(method: exchange::AMQPMethod) -> Result<(Operation, bool), Violation> {
    Ok(match method {
        exchange::AMQPMethod::Declare(declare) => {
            let operation = Operation::DeclareExchange {
                passive: declare.passive,
                name: stripped(declare.exchange.as_str()),
                kind: declare.kind.to_string(),
                durable: declare.durable,
                auto_delete: declare.auto_delete,
                internal: declare.internal,
                arguments: declare.arguments,
            };
            (operation, declare.nowait)
        }
        exchange::AMQPMethod::Delete(delete) => {
            let name = stripped(delete.exchange.as_str());
            (Operation::DeleteExchange { name, if_unused: delete.if_unused }, delete.nowait)
        }
        exchange::AMQPMethod::Bind(bind) => {
            let nowait = bind.nowait;
            (
                Operation::Bind(to_exchange(
                    &bind.source,
                    &bind.destination,
                    &bind.routing_key,
                    bind.arguments,
                )),
                nowait,
            )
        }
        exchange::AMQPMethod::Unbind(unbind) => {
            let exchange::Unbind { source, destination, routing_key, nowait, arguments } = unbind;
            (Operation::Unbind(to_exchange(&source, &destination, &routing_key, arguments)), nowait)
        }
        _ => return Err(operations::unimplemented_method()),
    })
}

fn to_queue(exchange: &str, queue: Name, routing_key: Box<[u8]>, arguments: FieldTable) -> Binding {
    let destination_kind = Resource::Queue;
    Binding { source: exchange.into(), destination_kind, destination: queue, routing_key, arguments }
}

fn to_exchange(
    source: &ShortString,
    destination: &ShortString,
    routing_key: &ShortString,
    arguments: FieldTable,
) -> Binding {
    Binding {
        source: source.as_str().into(),
        destination_kind: Resource::Exchange,
        destination: destination.as_str().into(),
        routing_key: routing_key.as_str().as_bytes().into(),
        arguments,
    }
}

/// Line ends are taken out of names, as RabbitMQ does.
fn stripped(name: &str) -> Name {
    if name.contains(['\r', '\n']) { name.replace(['\r', '\n'], "").into() } else { name.into() }
}
