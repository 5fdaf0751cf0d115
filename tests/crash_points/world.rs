//! The world of a scenario: a disk, a clock, a broker and its client, up to the moment when the power goes.
//!
//! Nothing happens by itself. Publishes and answers reach the broker at once, but the store only works when
//! something waits for it or time passes: so what a scenario does in a row is one batch of the log.

use super::acts::Declaration;
use super::conversation::{Conversation, PUBLISHING};
use super::ledger::Ledger;
use super::setup::setup;
use super::wire::Event;
use amq_protocol::protocol::{AMQPClass, basic, channel};
use amq_protocol::types::AMQPValue;
use haremq::broker::{Broker, Setup, Vhost};
use haremq::clock::Clock;
use haremq::store::testing::MemoryDisk;
use haremq::store::{Stepper, Store};
use std::collections::VecDeque;
use std::sync::Arc;
use vhosts::Moment;
use vhosts::queue::Residency;

/// What follows the text of a body.
pub const PADDING: u8 = 0;

/// The power is gone.
#[derive(Debug)]
pub struct PowerLost;

/// What a scenario gives as long as there is power.
pub type Alive<T = ()> = Result<T, PowerLost>;

/// How large things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Bytes that follow the text of each body.
    pub padding: usize,
    /// Bytes of a segment of the log.
    pub segment_bytes: u64,
    /// What a queue keeps in memory.
    pub resident: Residency,
}

pub struct World {
    pub ledger: Ledger,
    pub scale: Scale,
    /// What was declared and bound, to be done again after the crash.
    pub declared: Vec<Declaration>,
    disk: MemoryDisk,
    broker: Arc<Broker>,
    stepper: Stepper,
    pub client: Conversation,
    heard: VecDeque<Event>,
}

/// A delivery that waits for an answer.
#[derive(Clone, Debug)]
pub struct Got {
    pub channel: u16,
    pub tag: u64,
    pub queue: String,
    pub body: String,
    pub acquired: u32,
    pub failed: u32,
}

impl World {
    /// A broker on what the disk holds, and a client of it.
    pub fn begin(disk: &MemoryDisk, scale: Scale, now: Moment) -> Alive<World> {
        let opened = Store::manual_with(Box::new(disk.clone()), scale.segment_bytes);
        if disk.faults().is_crashed() {
            return Err(PowerLost);
        }
        let (store, stepper, recovery) = opened.expect("a log that was written by a broker");
        assert_eq!(recovery.torn, None, "no crash damages what is on the disk");
        let setup = Setup { resident: scale.resident, ..setup(0) };
        let broker = Broker::new(setup, store, recovery, Clock::manual(now)).expect("readable definitions");
        let broker = Arc::new(broker);
        let client = Conversation::open(&broker);
        let (ledger, declared, heard) = Default::default();
        Ok(World { ledger, scale, declared, disk: disk.clone(), broker, stepper, client, heard })
    }

    pub fn now(&self) -> Moment {
        self.broker.clock.now()
    }

    pub fn vhost(&self) -> Arc<Vhost> {
        self.broker.vhost("/").expect("the first virtual host")
    }

    /// The broker stops in order, which writes everything, and starts again.
    pub fn stop_and_start(&mut self) -> Alive {
        // Nobody waits for a store that is stepped by hand; whether it failed is seen after the step.
        let _ = self.broker.store.close();
        self.step()?;
        self.ledger.stopped();
        let next = World::begin(&self.disk, self.scale, self.now())?;
        let before = std::mem::replace(self, next);
        (self.ledger, self.declared) = (before.ledger, before.declared);
        Ok(())
    }

    /// Time passes; what is due on the way happens on time.
    pub fn pass(&mut self, ms: u64) -> Alive {
        let end = self.now().after_ms(ms);
        self.pass_until(end, |_| {})
    }

    /// The same, with a look at the world at each moment at which something may have happened.
    pub fn pass_until(&mut self, end: Moment, mut look: impl FnMut(&World)) -> Alive {
        loop {
            let alarm = self.broker.tick();
            self.rest()?;
            look(self);
            let due = [alarm, self.broker.alarms.next(), self.stepper.deadline()].into_iter().flatten().min();
            let now = self.now();
            if now >= end {
                return Ok(());
            }
            self.broker.clock.set(due.unwrap_or(end).clamp(now.after_ms(1), end));
        }
    }

    pub fn get_on(&mut self, channel: u16, queue: &str) -> Alive<Option<Got>> {
        let get = basic::Get { queue: queue.into(), no_ack: false };
        self.client.send(channel, AMQPClass::Basic(basic::AMQPMethod::Get(get)));
        loop {
            self.hear();
            match self.heard.pop_front() {
                None => assert!(self.step()?, "basic.get of {queue} has no answer"),
                Some(Event::Content { channel: on, method, properties, body }) => {
                    assert_eq!(on, channel);
                    return Ok(Some(got(channel, queue, &method, &properties, body)));
                }
                Some(Event::Method(on, method)) => {
                    assert!(
                        matches!(*method, AMQPClass::Basic(basic::AMQPMethod::GetEmpty(_))),
                        "{method:?}"
                    );
                    assert_eq!(on, channel);
                    return Ok(None);
                }
                Some(event) => unreachable!("the ledger has {event:?}"),
            }
        }
    }

    /// Sends a method and waits for its answer.
    pub fn ask(&mut self, channel: u16, method: AMQPClass) -> Alive {
        let asked = format!("{method:?}");
        self.client.send(channel, method);
        loop {
            self.hear();
            match self.heard.pop_front() {
                None => assert!(self.step()?, "{asked} has no answer"),
                Some(Event::Method(on, answer)) => {
                    let is_close = matches!(*answer, AMQPClass::Channel(channel::AMQPMethod::Close(_)));
                    assert!(on == channel && !is_close, "{asked}: {answer:?}");
                    return Ok(());
                }
                Some(event) => panic!("{asked}: {event:?}"),
            }
        }
    }

    /// Until nothing moves any more.
    fn rest(&mut self) -> Alive {
        self.hear();
        while self.step()? {}
        assert!(self.heard.is_empty(), "nobody asked: {:?}", self.heard);
        Ok(())
    }

    /// One batch of the store. False if there was none.
    pub fn step(&mut self) -> Alive<bool> {
        let moved = self.stepper.step(self.now());
        if self.disk.faults().is_crashed() {
            return Err(PowerLost);
        }
        let progress = self.broker.store.progress().borrow().clone();
        assert_eq!(progress.stalled, None, "nothing failed");
        self.ledger.stepped(self.now());
        self.client.safe(progress.durable);
        self.hear();
        Ok(moved)
    }

    /// The broker works, and what it says about publishes goes to the ledger.
    pub fn hear(&mut self) {
        for event in self.client.work() {
            match event {
                Event::Confirm { channel, tag, multiple } => {
                    assert_eq!(channel, PUBLISHING);
                    self.ledger.confirmed(tag, multiple);
                }
                Event::Refused { channel, tag, multiple } => {
                    assert_eq!(channel, PUBLISHING);
                    self.ledger.refused(tag, multiple);
                }
                event => self.heard.push_back(event),
            }
        }
    }
}

fn got(channel: u16, queue: &str, method: &AMQPClass, properties: &[u8], body: Vec<u8>) -> Got {
    let AMQPClass::Basic(basic::AMQPMethod::GetOk(ok)) = method else { panic!("{method:?}") };
    let (_, properties) = basic::parse_properties(properties).expect("properties");
    let count = |name: &str| match properties.headers().as_ref().and_then(|table| table.inner().get(name)) {
        None => 0,
        Some(AMQPValue::LongLongInt(count)) => *count as u32,
        Some(other) => panic!("{name} is {other:?}"),
    };
    Got {
        channel,
        tag: ok.delivery_tag,
        queue: queue.to_owned(),
        body: text(&body),
        acquired: count("x-acquired-count"),
        failed: count("x-delivery-count"),
    }
}

/// A body without its padding.
pub fn text(body: &[u8]) -> String {
    let text = body.split(|byte| *byte == PADDING).next().unwrap_or_default();
    String::from_utf8(text.to_vec()).expect("a text")
}
