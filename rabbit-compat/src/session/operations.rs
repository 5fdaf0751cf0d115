//! The methods of a channel: from frames to commands.

use super::answers::Reply;
use super::channel::{Channel, Limits, Received, Tags};
use super::command::{Command, ConsumerId, Operation};
use super::deliveries::{CREDIT, Consumer};
use super::{Pending, Session};
use crate::violation::{Code, Violation};
use crate::wire::{Frame, Method, method};
use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, exchange, queue, tx};
use amq_protocol::types::ShortString;
use bytes::BufMut;
use vhosts::queue::{ConsumerSpec, Outcome};
use vhosts::{Binding, Name, Resource};

impl Session {
    /// Takes a method on a channel other than 0.
    pub(super) fn channel_method(
        &mut self,
        number: u16,
        payload: &[u8],
        commands: &mut Vec<Command>,
    ) -> Result<(), Violation> {
        let ids = method::ids(payload);
        let Some(channel) = self.channels.get_mut(&number) else { return self.unopened(number, payload) };
        if channel.closing {
            return self.while_closing(number, ids);
        }
        channel.expect_method()?;
        let Some(method) = self.decode(payload)? else { return Ok(()) };
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        match method {
            Method::Publish { immediate: true, .. } => Err(not_implemented("immediate=true")),
            Method::Publish { address, mandatory, .. } => {
                channel.publish(address, mandatory);
                Ok(())
            }
            Method::Ack { delivery_tag, multiple } => {
                self.answer(number, delivery_tag, multiple, Outcome::Settle)
            }
            Method::Nack { delivery_tag, multiple, requeue } => self.answer(
                number,
                delivery_tag,
                multiple,
                if requeue { Outcome::Requeue } else { Outcome::Settle },
            ),
            Method::Reject { delivery_tag, requeue } => self.answer(
                number,
                delivery_tag,
                false,
                if requeue { Outcome::Requeue } else { Outcome::Settle },
            ),
            Method::Qos { prefetch_size, prefetch_count, global } => {
                self.qos(number, prefetch_size, prefetch_count, global)
            }
            Method::Other(class) => self.other(number, ids, *class, commands),
        }
    }

    /// Takes a frame of a message's content.
    pub(super) fn channel_content(
        &mut self,
        number: u16,
        frame: Frame<'_>,
        commands: &mut Vec<Command>,
    ) -> Result<(), Violation> {
        let limits =
            Limits { max_message_size: self.settings.max_message_size, user: &self.user, now: self.now };
        let Some(channel) = self.channels.get_mut(&number) else { return Err(not_open()) };
        if channel.closing {
            return Ok(());
        }
        match channel.content(frame, limits)? {
            Received::Part => {}
            Received::Whole(message, mandatory) => {
                if let Some(tags) = &mut channel.confirms {
                    if tags.published == tags.handed {
                        self.publishing.push(number);
                    }
                    tags.published += 1;
                }
                commands.push(Command::Publish { channel: number, message, mandatory });
            }
        }
        Ok(())
    }

    fn unopened(&mut self, number: u16, payload: &[u8]) -> Result<(), Violation> {
        let Some(method) = self.decode(payload)? else { return Ok(()) };
        let Method::Other(class) = method else { return Err(not_open()) };
        let AMQPClass::Channel(channel::AMQPMethod::Open(_)) = *class else { return Err(not_open()) };
        if self.channels.len() >= usize::from(self.tuning.channel_max) {
            let (open, max) = (self.channels.len(), self.tuning.channel_max);
            let text =
                format!("number of channels opened ({open}) has reached the negotiated channel_max ({max})");
            self.close(&Violation::new(Code::NotAllowed, text));
            return Ok(());
        }
        self.channels.insert(number, Channel::default());
        method::encode(
            self.output.open(),
            number,
            &AMQPClass::Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {})),
        );
        Ok(())
    }

    fn while_closing(&mut self, number: u16, ids: (u16, u16)) -> Result<(), Violation> {
        match ids {
            (20, 40) => self.reply(number, Reply::Plain(20, 41)),
            (20, 41) => _ = self.channels.remove(&number),
            _ => {}
        }
        Ok(())
    }

    fn answer(&mut self, number: u16, tag: u64, multiple: bool, outcome: Outcome) -> Result<(), Violation> {
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        let was_full = channel.is_full();
        channel.answer(tag, multiple, outcome, &mut self.answers)?;
        if was_full {
            self.give_back(number);
        }
        Ok(())
    }

    fn qos(&mut self, number: u16, size: u32, count: u16, global: bool) -> Result<(), Violation> {
        if size != 0 {
            return Err(not_implemented(format!("prefetch_size!=0 ({size})")));
        }
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        if global {
            channel.global_prefetch = count;
            self.give_back(number);
        } else {
            channel.prefetch = count;
        }
        self.reply(number, Reply::Plain(60, 11));
        Ok(())
    }

    fn other(
        &mut self,
        number: u16,
        ids: (u16, u16),
        class: AMQPClass,
        commands: &mut Vec<Command>,
    ) -> Result<(), Violation> {
        match class {
            AMQPClass::Channel(method) => self.channel_class(number, method, commands),
            AMQPClass::Access(amq_protocol::protocol::access::AMQPMethod::Request(_)) => {
                method::frame(self.output.open(), number, |payload| {
                    payload.put_u32(30 << 16 | 11);
                    payload.put_u16(1);
                });
                Ok(())
            }
            AMQPClass::Exchange(method) => {
                let (operation, nowait) = exchange_operation(method)?;
                self.hand_out(number, ids, nowait, String::new(), operation, commands);
                Ok(())
            }
            AMQPClass::Queue(method) => self.queue_class(number, ids, method, commands),
            AMQPClass::Basic(method) => self.basic_class(number, ids, method, commands),
            AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait })) => {
                if let Some(channel) = self.channels.get_mut(&number) {
                    channel.confirms.get_or_insert_with(Tags::default);
                }
                if !nowait {
                    self.reply(number, Reply::Plain(85, 11));
                }
                Ok(())
            }
            AMQPClass::Tx(tx::AMQPMethod::Select(_)) => {
                let confirming = self.channels.get(&number).is_some_and(|channel| channel.confirms.is_some());
                Err(if confirming {
                    precondition("cannot switch from confirm to tx mode")
                } else {
                    not_implemented("transactions are not implemented")
                })
            }
            AMQPClass::Tx(tx::AMQPMethod::Commit(_) | tx::AMQPMethod::Rollback(_)) => {
                Err(precondition("channel is not transactional"))
            }
            _ => Err(unimplemented_method()),
        }
    }

    fn channel_class(
        &mut self,
        number: u16,
        method: channel::AMQPMethod,
        commands: &mut Vec<Command>,
    ) -> Result<(), Violation> {
        match method {
            channel::AMQPMethod::Open(_) => {
                Err(Violation::new(Code::ChannelError, "second 'channel.open' seen"))
            }
            channel::AMQPMethod::Flow(channel::Flow { active: true }) => {
                let flow_ok = channel::AMQPMethod::FlowOk(channel::FlowOk { active: true });
                method::encode(self.output.open(), number, &AMQPClass::Channel(flow_ok));
                Ok(())
            }
            channel::AMQPMethod::Flow(_) => Err(not_implemented("active=false")),
            channel::AMQPMethod::Close(_) => {
                commands.push(self.release(number));
                Ok(())
            }
            _ => Err(unimplemented_method()),
        }
    }

    fn queue_class(
        &mut self,
        number: u16,
        ids: (u16, u16),
        method: queue::AMQPMethod,
        commands: &mut Vec<Command>,
    ) -> Result<(), Violation> {
        let (operation, nowait) = match method {
            queue::AMQPMethod::Declare(declare) => {
                let operation = Operation::DeclareQueue {
                    passive: declare.passive,
                    name: stripped(declare.queue.as_str()),
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
            _ => return Err(unimplemented_method()),
        };
        self.hand_out(number, ids, nowait, String::new(), operation, commands);
        Ok(())
    }

    fn basic_class(
        &mut self,
        number: u16,
        ids: (u16, u16),
        method: basic::AMQPMethod,
        commands: &mut Vec<Command>,
    ) -> Result<(), Violation> {
        match method {
            basic::AMQPMethod::Consume(consume) => self.consume(number, ids, consume, commands),
            basic::AMQPMethod::Cancel(basic::Cancel { consumer_tag, nowait }) => {
                let Some((_, consumer)) = self.consumer_by_tag(number, consumer_tag.as_str()) else {
                    if !nowait {
                        let cancel_ok = basic::AMQPMethod::CancelOk(basic::CancelOk { consumer_tag });
                        self.reply(number, Reply::Basic(cancel_ok));
                    }
                    return Ok(());
                };
                let operation = Operation::Cancel { queue: consumer.queue, key: consumer.key };
                self.hand_out(number, ids, nowait, consumer_tag.to_string(), operation, commands);
                Ok(())
            }
            basic::AMQPMethod::Get(basic::Get { queue, no_ack }) => {
                let queue = self.queue_name(number, &queue)?;
                self.hand_out(number, ids, false, String::new(), Operation::Get { queue, no_ack }, commands);
                Ok(())
            }
            basic::AMQPMethod::Recover(basic::Recover { requeue: true }) => {
                self.recover(number);
                self.reply(number, Reply::Plain(60, 111));
                Ok(())
            }
            basic::AMQPMethod::RecoverAsync(basic::RecoverAsync { requeue: true }) => {
                self.recover(number);
                Ok(())
            }
            basic::AMQPMethod::Recover(_) | basic::AMQPMethod::RecoverAsync(_) => {
                Err(not_implemented("requeue=false"))
            }
            _ => Err(unimplemented_method()),
        }
    }

    fn consume(
        &mut self,
        number: u16,
        ids: (u16, u16),
        consume: basic::Consume,
        commands: &mut Vec<Command>,
    ) -> Result<(), Violation> {
        let queue = self.queue_name(number, &consume.queue)?;
        let id = ConsumerId(self.consumers.next());
        let tag = match consume.consumer_tag.as_str() {
            // As long as RabbitMQ's, and readable: which connection, and which of its consumers.
            "" => format!("amq.ctag-{:010x}-{:011x}", self.connection.0, id.0),
            tag => tag.to_owned(),
        };
        if self.consumer_by_tag(number, &tag).is_some() {
            return Err(Violation::new(Code::NotAllowed, format!("attempt to reuse consumer tag '{tag}'")));
        }
        if let Some(argument) =
            ["x-priority", "x-consumer-timeout"].iter().find(|a| consume.arguments.contains_key(a))
        {
            return Err(not_implemented(format!("consumer argument '{argument}' is not implemented")));
        }
        let Some(channel) = self.channels.get(&number) else { return Ok(()) };
        let spec = ConsumerSpec {
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            prefetch: channel.prefetch,
            credit: self.credit(number),
        };
        let operation = Operation::Consume { queue, consumer: id, spec };
        self.hand_out(number, ids, consume.nowait, tag, operation, commands);
        Ok(())
    }

    fn hand_out(
        &mut self,
        channel: u16,
        method: (u16, u16),
        nowait: bool,
        consumer_tag: String,
        operation: Operation,
        commands: &mut Vec<Command>,
    ) {
        self.pending = Some(Pending { channel, method, nowait, consumer_tag });
        commands.push(Command::Operate(operation));
    }

    fn recover(&mut self, number: u16) {
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.requeue_all(&mut self.answers);
        }
        self.give_back(number);
    }

    pub(super) fn credit(&self, number: u16) -> u32 {
        match self.channels.get(&number).map_or(0, |channel| channel.global_prefetch) {
            0 => CREDIT,
            limit => CREDIT.min(limit.into()),
        }
    }

    pub(super) fn consumer_by_tag(&self, number: u16, tag: &str) -> Option<(u64, &Consumer)> {
        self.consumers.iter().find(|(_, consumer)| consumer.channel == number && consumer.tag == tag)
    }

    /// The queue that a name means; an empty one means the last declared.
    fn queue_name(&self, number: u16, name: &ShortString) -> Result<Name, Violation> {
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
        let both_empty = queue.as_str().is_empty() && key.as_str().is_empty();
        let key = if both_empty { name.as_bytes() } else { key.as_str().as_bytes() };
        let key = key.into();
        Ok((name, key))
    }
}

fn exchange_operation(method: exchange::AMQPMethod) -> Result<(Operation, bool), Violation> {
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
        _ => return Err(unimplemented_method()),
    })
}

fn to_queue(
    exchange: &str,
    queue: Name,
    routing_key: Box<[u8]>,
    arguments: amq_protocol::types::FieldTable,
) -> Binding {
    let destination_kind = Resource::Queue;
    Binding { source: exchange.into(), destination_kind, destination: queue, routing_key, arguments }
}

fn to_exchange(
    source: &ShortString,
    destination: &ShortString,
    routing_key: &ShortString,
    arguments: amq_protocol::types::FieldTable,
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

fn not_open() -> Violation {
    Violation::new(Code::ChannelError, "expected 'channel.open'")
}

fn precondition(text: &'static str) -> Violation {
    Violation::new(Code::PreconditionFailed, text)
}

fn unimplemented_method() -> Violation {
    Violation::new(Code::CommandInvalid, "unimplemented method")
}

fn not_implemented(text: impl Into<std::borrow::Cow<'static, str>>) -> Violation {
    Violation::new(Code::NotImplemented, text)
}
