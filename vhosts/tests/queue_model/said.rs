//! What the machine says, in words that can be compared with the model's.

use vhosts::dead_letter::Reason;
use vhosts::message::Chunk;
use vhosts::queue::{ConsumerKey, Delivery, Effect, History};
use vhosts::{Message, MessageBuilder, Moment};

/// A delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    pub id: Option<u64>,
    pub name: u64,
    pub history: History,
}

/// An effect, with the name of the message in place of the message.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    Deliver(ConsumerKey, Given),
    /// Number and name.
    Settled(u64, u64),
    /// Number, name, history, and when it is ready again.
    Noted(u64, u64, History, Option<u64>),
    /// Number of the letter, name, reason.
    Died(u64, u64, Reason),
    Dropped(u64, History),
    /// Who, and how long it had.
    TimedOut(ConsumerKey, u64),
}

pub fn given(delivery: &Delivery) -> Given {
    let Delivery { id, message, history } = delivery;
    Given { id: id.map(|id| id.0), name: name(message), history: *history }
}

pub fn said(effect: &Effect) -> Said {
    match effect {
        Effect::Deliver { consumer, delivery } => Said::Deliver(*consumer, given(delivery)),
        Effect::Noted { seq, message, history, due } => {
            Said::Noted(seq.0, name(message), *history, due.map(|due| due.0))
        }
        Effect::Died { letter, message, reason } => Said::Died(letter.0, name(message), *reason),
        Effect::Dropped { message, history } => Said::Dropped(name(message), *history),
        Effect::TimedOut { consumer, timeout_ms } => Said::TimedOut(*consumer, *timeout_ms),
        Effect::Settled { .. }
        | Effect::Spill { .. }
        | Effect::SettledPaged { .. }
        | Effect::Fetch { .. } => {
            unreachable!("the store hears that")
        }
    }
}

/// Messages are told apart by their routing keys.
pub fn name(message: &Message) -> u64 {
    u64::from_be_bytes(message.routing_key().try_into().unwrap())
}

/// What a message is published with.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    pub persistent: bool,
    pub priority: Option<u8>,
    pub expiration_ms: Option<u64>,
    pub len: u8,
}

impl Published {
    /// The message of that name.
    pub fn message(self, name: u64, arrived: u64) -> Message {
        let mut properties = vec![0x10 | u8::from(self.priority.is_some()) << 3, 0];
        properties[0] |= u8::from(self.expiration_ms.is_some());
        properties.push(1 + u8::from(self.persistent));
        properties.extend(self.priority);
        if let Some(digits) = self.expiration_ms.map(|ms| ms.to_string()) {
            properties.push(digits.len() as u8);
            properties.extend(digits.as_bytes());
        }
        let mut address = vec![0, 8];
        address.extend(name.to_be_bytes());
        let mut builder = MessageBuilder::default();
        builder.address(&address);
        builder.header(&properties, self.len.into()).unwrap();
        builder.push(Chunk::Borrowed(&[b'x'; u8::MAX as usize][..self.len.into()]));
        builder.finish(Moment(arrived))
    }
}
