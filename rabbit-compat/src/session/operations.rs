//! The methods of a channel: from frames to commands.

use super::answers::Reply;
use super::channel::{Channel, Received};
use super::checks::Limits;
use super::command::{Command, Operation, Publishing};
use super::{Pending, Session, definitions};
use crate::violation::{Code, Violation};
use crate::wire::{Frame, Method, method};
use amq_protocol::protocol::{AMQPClass, access, channel, confirm};
use bytes::BufMut;
use std::borrow::Cow;
use vhosts::queue::Outcome;

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
                if requeue { Outcome::Return } else { Outcome::Reject },
            ),
            Method::Reject { delivery_tag, requeue } => self.answer(
                number,
                delivery_tag,
                false,
                if requeue { Outcome::Fail } else { Outcome::Reject },
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
                let how = match (&channel.transaction, &mut channel.confirms) {
                    (Some(_), _) => Publishing::Enlisted,
                    (None, None) => Publishing::Plain,
                    (None, Some(tags)) => {
                        if tags.all_handed() {
                            self.publishing.push(number);
                        }
                        Publishing::Confirmed(tags.publish())
                    }
                };
                commands.push(Command::Publish { channel: number, message, mandatory, how });
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
            (20, 40) => self.respond(number, Reply::Plain(20, 41)),
            (20, 41) => _ = self.channels.remove(&number),
            _ => {}
        }
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
            AMQPClass::Access(access::AMQPMethod::Request(_)) => {
                method::frame(self.output.open(), number, |payload| {
                    payload.put_u32(30 << 16 | 11);
                    payload.put_u16(1);
                });
                Ok(())
            }
            AMQPClass::Exchange(method) => {
                let (operation, nowait) = definitions::exchange_operation(method)?;
                self.hand_out(number, ids, nowait, String::new(), operation, commands);
                Ok(())
            }
            AMQPClass::Queue(method) => self.queue_class(number, ids, method, commands),
            AMQPClass::Basic(method) => self.basic_class(number, ids, method, commands),
            AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait })) => {
                self.select_confirms(number, nowait)
            }
            AMQPClass::Tx(method) => self.tx_class(number, ids, &method, commands),
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
                if let Some(channel) = self.channels.get_mut(&number) {
                    channel.leaving = true;
                }
                commands.push(self.release(number));
                Ok(())
            }
            _ => Err(unimplemented_method()),
        }
    }

    /// Asks the broker; the answer to `method` comes with its own.
    pub(super) fn hand_out(
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
}

fn not_open() -> Violation {
    Violation::new(Code::ChannelError, "expected 'channel.open'")
}

pub(super) fn precondition(text: &'static str) -> Violation {
    Violation::new(Code::PreconditionFailed, text)
}

pub(super) fn unimplemented_method() -> Violation {
    Violation::new(Code::CommandInvalid, "unimplemented method")
}

pub(super) fn not_implemented(text: impl Into<Cow<'static, str>>) -> Violation {
    Violation::new(Code::NotImplemented, text)
}
