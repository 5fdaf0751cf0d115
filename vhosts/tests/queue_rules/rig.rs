//! A queue under test that speaks in words. As its shell does, it delivers after each answer and consumer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use vhosts::message::Chunk;
use vhosts::queue::settings::DeadLetterTo;
use vhosts::queue::{
    Browse, Carried, ConsumerKey, ConsumerSpec, Effect, Full, LetterId, Outcome, Page, PagedEntry, Position,
    Residency, Settings, Where,
};
use vhosts::{DeliveryId, Message, MessageBuilder, Moment, Name, Place, Queue, Seq};

pub struct Rig {
    pub queue: Queue,
    pub now: u64,
    effects: Vec<Effect>,
    words: Vec<String>,
    unacked: HashMap<String, DeliveryId>,
    letters: HashMap<String, LetterId>,
    /// What the queue gave to its store: the place of a message is where it is here.
    pub stored: Vec<Message>,
    /// Stored messages that the queue is done with.
    pub settled: usize,
    /// Pages that the queue asked for.
    pub asked: Vec<Arc<Page>>,
}

/// Somewhere to go for dead letters.
pub fn dead_letters(at_least_once: bool) -> Option<DeadLetterTo> {
    Some(DeadLetterTo { exchange: Name::from("dead"), routing_key: None, at_least_once })
}

/// A consumer that acknowledges, with room for everything.
pub fn spec() -> ConsumerSpec {
    ConsumerSpec { credit: 1_000, ..ConsumerSpec::default() }
}

/// A transient message of that name. It may have a priority and an expiration.
pub fn message(name: &str, priority: Option<u8>, expiration_ms: Option<u64>, arrived: u64) -> Message {
    let flags = u8::from(priority.is_some()) << 3 | u8::from(expiration_ms.is_some());
    let mut properties = vec![flags, 0];
    properties.extend(priority);
    if let Some(digits) = expiration_ms.map(|ms| ms.to_string()) {
        properties.push(digits.len() as u8);
        properties.extend(digits.as_bytes());
    }
    let mut address = vec![0, name.len() as u8];
    address.extend(name.as_bytes());
    let mut builder = MessageBuilder::default();
    builder.address(&address);
    builder.header(&properties, name.len() as u64).unwrap();
    builder.push(Chunk::Borrowed(name.as_bytes()));
    builder.finish(Moment(arrived))
}

/// Where a message is in [`Rig::stored`], counted from 1.
pub fn place(message: &Message) -> Option<Place> {
    let slot = message.store_slot().load(Ordering::Relaxed);
    (slot > 0).then_some(Place { unit: slot as u32, units: 1, ..Place::default() })
}

fn name(message: &Message) -> String {
    String::from_utf8(message.routing_key().to_vec()).unwrap()
}

impl Rig {
    pub fn new(settings: Settings) -> Rig {
        let queue = Queue::new(&settings, true, Seq(1), Moment(0));
        Rig {
            queue,
            now: 0,
            effects: Vec::new(),
            words: Vec::new(),
            unacked: HashMap::new(),
            letters: HashMap::new(),
            stored: Vec::new(),
            settled: 0,
            asked: Vec::new(),
        }
    }

    /// Leaves to the store what is behind the first `head` messages, in pages of as many, until as many are left
    /// behind these.
    pub fn page_out(&mut self, head: u64) {
        self.page_out_but(Residency { messages: 4 * head, bytes: 1 << 20 });
    }

    /// Leaves to the store what is more than that.
    pub fn page_out_but(&mut self, keep: Residency) {
        // The store has each page when it is tried again.
        for _ in 0..10 {
            self.queue.page_out(keep, &mut place, &mut self.effects);
            self.listen();
        }
    }

    /// The store brings the pages that were asked for, until no more are.
    pub fn fetch(&mut self) {
        while !self.asked.is_empty() {
            let page = self.asked.remove(0);
            self.fetched(&page, |_| true);
        }
    }

    /// The store brings messages of a page, those that it can read.
    pub fn fetched(&mut self, page: &Arc<Page>, can_read: impl Fn(&str) -> bool) {
        let read = |entry: PagedEntry| self.stored[entry.place.unit as usize - 1].clone();
        let messages =
            page.entries().map(|entry| Some(read(entry)).filter(|message| can_read(&name(message))));
        self.queue.fetched(page, messages.collect(), Moment(self.now), &mut self.effects);
        self.listen();
    }

    /// Empties the queue; says how many messages that was.
    pub fn purge(&mut self) -> usize {
        let purged = self.queue.purge(&mut self.effects);
        self.listen();
        purged
    }

    /// Publishes a message with its name as its body.
    pub fn publish(&mut self, name: &str) -> Result<(), Full> {
        self.publish_with(name, None, None)
    }

    pub fn publish_all(&mut self, names: &[&str]) {
        names.iter().for_each(|name| self.publish(name).unwrap());
    }

    pub fn publish_with(
        &mut self,
        name: &str,
        priority: Option<u8>,
        expiration: Option<u64>,
    ) -> Result<(), Full> {
        let message = message(name, priority, expiration, self.now);
        let result = self.queue.publish(message, Moment(self.now), &mut self.effects);
        self.listen();
        result.map(|_| ())
    }

    pub fn consume(&mut self, spec: ConsumerSpec) -> ConsumerKey {
        let key = self.queue.consume(spec).unwrap();
        self.deliver();
        key
    }

    pub fn cancel(&mut self, key: ConsumerKey) {
        assert!(self.queue.cancel(key, Moment(self.now)));
        self.deliver();
    }

    /// Takes a message with `basic.get`.
    pub fn get(&mut self) -> Option<String> {
        let delivery = self.queue.get(false, Moment(self.now), &mut self.effects);
        self.listen();
        let delivery = delivery?;
        let name = name(&delivery.message);
        self.unacked.insert(name.clone(), delivery.id.unwrap());
        Some(name)
    }

    pub fn answer(&mut self, name: &str, outcome: Outcome) {
        self.answer_all(&[(name, outcome)]);
    }

    /// Gives several answers before the queue may deliver again.
    pub fn answer_all(&mut self, answers: &[(&str, Outcome)]) {
        for (name, outcome) in answers {
            let id = self.unacked.remove(*name).expect("it was delivered");
            self.queue.answer(id, *outcome, Moment(self.now), &mut self.effects);
        }
        self.deliver();
    }

    pub fn carried(&mut self, name: &str, carried: Carried) {
        let id = self.letters.remove(name).expect("it is on its way");
        self.queue.carried(id, carried, Moment(self.now), &mut self.effects);
        self.listen();
    }

    pub fn deliver(&mut self) {
        self.queue.deliver(Moment(self.now), &mut self.effects);
        self.listen();
    }

    /// Lets time pass up to that moment, and what is due on the way happen when it is.
    pub fn until(&mut self, then: u64) {
        while let Some(due) =
            self.queue.deadline().filter(|due| due.0 <= then && Some(*due) != self.queue.unused_at())
        {
            self.now = due.0.max(self.now);
            self.queue.tick(Moment(self.now), &mut self.effects);
            self.listen();
            assert_ne!(self.queue.deadline(), Some(due), "what is due is done");
        }
        self.now = then;
    }

    /// What was said since the last time.
    pub fn words(&mut self) -> Vec<String> {
        std::mem::take(&mut self.words)
    }

    /// The names of the ready messages, in their order.
    pub fn ready(&self) -> Vec<String> {
        let ready =
            self.queue.browse(Browse::Ready, 0, 100).into_iter().map(|browsed| match browsed.message {
                Where::Here(message) => name(&message),
                Where::Stored(place) => name(&self.stored[place.unit as usize - 1]),
            });
        ready.collect()
    }

    /// When each delayed message is ready again.
    pub fn delayed(&self) -> Vec<(String, u64)> {
        let delayed = self.queue.browse(Browse::Delayed, 0, 100);
        let due = |position| match position {
            Position::Delayed { due } => due.0,
            other => panic!("{other:?}"),
        };
        delayed.iter().map(|browsed| (name(browsed.message.here().unwrap()), due(browsed.position))).collect()
    }

    fn listen(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            if let Some(effect) = self.keep(effect) {
                let word = self.word(effect);
                self.words.push(word);
            }
        }
    }

    /// Does what the store has to do.
    fn keep(&mut self, effect: Effect) -> Option<Effect> {
        match effect {
            Effect::Spill { message, .. } => {
                assert_eq!(message.store_slot().load(Ordering::Relaxed), 0, "it is stored once");
                self.stored.push(message.clone());
                message.store_slot().store(self.stored.len() as u64, Ordering::Relaxed);
            }
            Effect::Settled { message, .. } => {
                assert_ne!(message.store_slot().load(Ordering::Relaxed), 0, "it is stored");
                self.settled += 1;
            }
            Effect::SettledPaged { page, which } => {
                self.settled += which.map_or(page.len(), |which| which.len());
            }
            Effect::Fetch { page } => self.asked.push(page),
            other => return Some(other),
        }
        None
    }

    fn word(&mut self, effect: Effect) -> String {
        match effect {
            Effect::Deliver { consumer: ConsumerKey(consumer), delivery } => {
                let name = name(&delivery.message);
                delivery.id.and_then(|id| self.unacked.insert(name.clone(), id));
                let again = if delivery.history.is_redelivered() { " again" } else { "" };
                format!("{consumer} gets {name}{again}")
            }
            Effect::Died { letter, message, reason } => {
                self.letters.insert(name(&message), letter);
                format!("{} died: {reason:?}", name(&message))
            }
            Effect::Dropped { message, history } => {
                format!("{} failed {} times", name(&message), history.failed)
            }
            Effect::TimedOut { consumer: ConsumerKey(consumer), timeout_ms } => {
                format!("{consumer} had {timeout_ms} ms")
            }
            other => panic!("{other:?} of a transient message"),
        }
    }
}
