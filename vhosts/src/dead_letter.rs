//! Dead letters: what a message becomes when it dies in a queue (RabbitMQ, "Dead Letter Exchanges").
//!
//! A letter is a new message, published to the dead letter exchange. Its header `x-death` is an array with a
//! table for each queue and reason that it died of, the last death first, and how often. Only a message that
//! is marked as died has such a header from here; one that a client wrote is replaced.
//!
//! RabbitMQ's list may grow without an end. Here it has at most [`DEATHS_MAX`] tables, the oldest are
//! forgotten, and a table names no more routing keys than fit into [`KEYS_BYTES_MAX`]: what died often or has
//! many `CC` keys must still fit into a frame.

use crate::copies::BCC;
use crate::headers::{self, TableWriter, Value};
use crate::message::address_of;
use crate::properties::Edit;
use crate::queue::settings::DeadLetterTo;
use crate::{Message, Moment};
use std::iter;

/// How many deaths a letter remembers.
pub const DEATHS_MAX: usize = 64;

/// Bytes that the routing keys of one death may have in `x-death`; those over it are not listed.
pub const KEYS_BYTES_MAX: usize = 1024;

/// Why a message dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A consumer refused it for good.
    Rejected,
    /// It waited too long.
    Expired,
    /// The queue was full.
    MaxLength,
    /// It failed too often.
    DeliveryLimit,
}

impl Reason {
    /// As it is called in headers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Rejected => "rejected",
            Reason::Expired => "expired",
            Reason::MaxLength => "maxlen",
            Reason::DeliveryLimit => "delivery_limit",
        }
    }
}

/// How a message dies.
#[derive(Clone, Copy, Debug)]
pub struct Death<'a> {
    /// In which queue.
    pub queue: &'a str,
    /// Why.
    pub reason: Reason,
    /// Where it goes then.
    pub to: &'a DeadLetterTo,
    /// When.
    pub now: Moment,
}

/// The message that is published for one that died.
///
/// With a dead letter routing key it goes there only: `CC` stays to be seen, `BCC` is gone. Without one it
/// goes to all its keys again. A name or key of more than 255 bytes, which no frame can carry, is cut off.
#[must_use]
pub fn letter(message: &Message, death: &Death<'_>) -> Message {
    let rerouted = death.to.routing_key.as_deref();
    let mut marks = message.marks();
    (marks.died, marks.expires) = (true, false);
    if rerouted.is_some() {
        (marks.has_copies, marks.has_bcc) = (false, false);
    }
    let headers = headers_of_letter(message, death);
    let edit = Edit { headers: Some(&headers), without_expiration: true, ..Edit::default() };
    let routing_key = rerouted.unwrap_or(message.routing_key());
    let address = address_of(short(death.to.exchange.as_bytes()), short(routing_key));
    message.rewritten(&address, &edit, marks, death.now)
}

/// Whether the letter would come to a queue that it died in before, with no consumer's refusal since: then
/// it would go round for ever. So would, in all likelihood, one that died [`DEATHS_MAX`] times in other
/// queues and was never refused.
#[must_use]
pub fn is_cycle(letter: &Message, queue: &str) -> bool {
    let mut seen = 0;
    for entry in deaths(letter) {
        if has(entry, "reason", Reason::Rejected.as_str()) {
            return false;
        }
        if has(entry, "queue", queue) {
            return true;
        }
        seen += 1;
    }
    seen >= DEATHS_MAX
}

fn short(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(255)]
}

const DEATHS: &str = "x-death";
const FIRST: [&str; 3] = ["x-first-death-exchange", "x-first-death-queue", "x-first-death-reason"];
const LAST: [&str; 3] = ["x-last-death-exchange", "x-last-death-queue", "x-last-death-reason"];

fn headers_of_letter(message: &Message, death: &Death<'_>) -> Vec<u8> {
    let old = message.properties().headers.unwrap_or(headers::EMPTY);
    let rerouted = death.to.routing_key.is_some();
    let dropped = |name: &[u8]| is_of_death(name) || (rerouted && name == BCC.as_bytes());
    let mut new = TableWriter::keeping(old, |name| !dropped(name));
    add_deaths(&mut new, message, death);
    let this = [message.exchange(), death.queue.as_bytes(), death.reason.as_str().as_bytes()];
    for (name, this) in FIRST.into_iter().zip(this) {
        let first = if message.marks().died { headers::find(old, name) } else { None };
        new.add(name.as_bytes(), first.map_or(Value::Text(this), Value::Raw));
    }
    for (name, this) in LAST.into_iter().zip(this) {
        new.add(name.as_bytes(), Value::Text(this));
    }
    new.finish()
}

fn is_of_death(name: &[u8]) -> bool {
    iter::once(DEATHS).chain(FIRST).chain(LAST).any(|ours| ours.as_bytes() == name)
}

/// The deaths so far, with this one before them. One of the same queue and reason is this one again.
fn add_deaths(new: &mut TableWriter, message: &Message, death: &Death<'_>) {
    let mut older: Vec<_> = deaths(message).collect();
    let same =
        |entry: &&[u8]| has(entry, "queue", death.queue) && has(entry, "reason", death.reason.as_str());
    let newest = match older.iter().position(same) {
        Some(place) => once_more(older.remove(place)),
        None => first_time(message, death),
    };
    older.truncate(DEATHS_MAX - 1);
    let entries: Vec<_> = iter::once(&newest[..]).chain(older).map(Value::Table).collect();
    new.add(DEATHS.as_bytes(), Value::Array(&entries));
}

/// The tables in `x-death`, the last death first; none in a header that a client wrote.
fn deaths(message: &Message) -> impl Iterator<Item = &[u8]> {
    let headers = if message.marks().died { message.properties().headers } else { None };
    let array = headers.and_then(|headers| headers::find(headers, DEATHS));
    array.into_iter().flat_map(headers::items).filter_map(headers::nested)
}

fn has(entry: &[u8], name: &str, text: &str) -> bool {
    headers::find(entry, name).and_then(headers::text) == Some(text.as_bytes())
}

/// The table of a death that happened before: its time, keys and expiration are those of the first time.
fn once_more(entry: &[u8]) -> Vec<u8> {
    let mut table = TableWriter::default();
    for field in headers::fields(entry) {
        let count = if field.name == b"count" { headers::long(field.value) } else { None };
        let value = count.map_or(Value::Raw(field.value), |count| Value::Long(count.saturating_add(1)));
        table.add(field.name, value);
    }
    table.finish()
}

fn first_time(message: &Message, death: &Death<'_>) -> Vec<u8> {
    let mut table = TableWriter::default();
    if let Some(expiration) = message.properties().expiration {
        table.add(b"original-expiration", Value::Text(expiration));
    }
    table.add(b"count", Value::Long(1));
    table.add(b"reason", Value::Text(death.reason.as_str().as_bytes()));
    table.add(b"queue", Value::Text(death.queue.as_bytes()));
    table.add(b"time", Value::Timestamp(death.now.0 / 1000));
    table.add(b"exchange", Value::Text(message.exchange()));
    table.add(b"routing-keys", Value::Array(&keys(message)));
    table.finish()
}

/// The keys that everybody may see, as far as there is room.
fn keys(message: &Message) -> Vec<Value<'_>> {
    // Each has a type octet and four length octets in front.
    let mut room = KEYS_BYTES_MAX;
    let mut fits = |key: &&[u8]| {
        let left = room.checked_sub(5 + key.len());
        room = left.unwrap_or(room);
        left.is_some()
    };
    message.visible_keys().take_while(|key| fits(key)).map(Value::Text).collect()
}

#[cfg(test)]
mod tests;
