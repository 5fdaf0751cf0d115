//! Replies that go to a client without a queue (RabbitMQ, "Direct Reply-to").
//!
//! A client that consumes `amq.rabbitmq.reply-to` gets an address that nobody can guess; what is published
//! to the default exchange with that address as routing key goes straight to the outbox of its connection.

use super::outbox::{Item, Outbox};
use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use dashmap::DashMap;
use rabbit_compat::session::{ConsumerId, REPLY_TO};
use std::sync::Arc;
use vhosts::{Message, Name};

/// What every address begins with.
const PREFIX: &[u8] = b"amq.rabbitmq.reply-to.";

/// The addresses of all clients that wait for replies.
#[derive(Debug, Default)]
pub struct Replies(DashMap<Name, (Arc<Outbox>, ConsumerId)>);

impl Replies {
    /// A consumer waits for replies; says under which address.
    pub fn enter(&self, outbox: Arc<Outbox>, consumer: ConsumerId) -> Name {
        // Of two parts, the second with its padding, as RabbitMQ's look: there are clients that check.
        let (place, key): ([u8; 8], [u8; 16]) = rand::random();
        let address = format!("{REPLY_TO}.{}.{}", URL_SAFE_NO_PAD.encode(place), URL_SAFE.encode(key));
        let address = Name::from(address);
        self.0.insert(address.clone(), (outbox, consumer));
        address
    }

    /// Nobody waits under that address any more.
    pub fn leave(&self, address: &str) {
        self.0.remove(address);
    }

    /// Whether somebody waits under that address.
    pub fn is_live(&self, address: &str) -> bool {
        self.0.contains_key(address)
    }

    /// Whether a message goes to such an address, whoever has it.
    pub fn is_addressed(message: &Message) -> bool {
        message.exchange().is_empty() && message.routing_key().starts_with(PREFIX)
    }

    /// Sends a reply; one that nobody waits for is gone, and so is one too many for a client that does not
    /// read. True if it was sent.
    pub fn send(&self, message: &Message) -> bool {
        let address = std::str::from_utf8(message.routing_key()).ok();
        address.and_then(|address| self.0.get(address)).is_some_and(|entry| {
            let (outbox, consumer) = entry.value();
            outbox.offer(Item::Reply { consumer: *consumer, message: message.clone() })
        })
    }
}
