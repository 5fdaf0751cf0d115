//! A queue under test that speaks in words. As its shell does, it delivers after each answer and consumer.

use std::collections::HashMap;
use vhosts::message::Chunk;
use vhosts::queue::settings::DeadLetterTo;
use vhosts::queue::{
    Browse, Carried, ConsumerKey, ConsumerSpec, Effect, Full, LetterId, Outcome, Position, Settings,
};
use vhosts::{DeliveryId, Message, MessageBuilder, Moment, Name, Queue, Seq};

pub struct Rig {
    pub queue: Queue,
    pub now: u64,
    effects: Vec<Effect>,
    words: Vec<String>,
    unacked: HashMap<String, DeliveryId>,
    letters: HashMap<String, LetterId>,
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

fn name(message: &Message) -> String {
    String::from_utf8(message.routing_key().to_vec()).unwrap()
}

impl Rig {
    pub fn new(settings: Settings) -> Rig {
        let queue = Queue::new(&settings, true, Seq(1), Moment(0));
        let (effects, words) = (Vec::new(), Vec::new());
        Rig { queue, now: 0, effects, words, unacked: HashMap::new(), letters: HashMap::new() }
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
        self.queue.browse(Browse::Ready, 0, 100).iter().map(|browsed| name(&browsed.message)).collect()
    }

    /// When each delayed message is ready again.
    pub fn delayed(&self) -> Vec<(String, u64)> {
        let delayed = self.queue.browse(Browse::Delayed, 0, 100);
        let due = |position| match position {
            Position::Delayed { due } => due.0,
            other => panic!("{other:?}"),
        };
        delayed.iter().map(|browsed| (name(&browsed.message), due(browsed.position))).collect()
    }

    fn listen(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            let word = self.word(effect);
            self.words.push(word);
        }
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
            Effect::Settled { .. } | Effect::Noted { .. } => panic!("a transient message is not stored"),
        }
    }
}
