//! A store in a few maps, for what a queue leaves to it. It takes a while until it has a message.

use crate::said::{Said, name};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::Ordering;
use vhosts::queue::{Effect, Page};
use vhosts::{Message, Place, Seq};

/// Messages by their places.
#[derive(Default)]
pub struct Store {
    /// All that the queue is not done with.
    messages: BTreeMap<u64, Message>,
    spilled: BTreeSet<u64>,
    /// What is not written yet: when it will be, and its number.
    pending: VecDeque<(u64, u64)>,
    /// The numbers of what was written, in that order.
    written: Vec<u64>,
    steps: u64,
}

impl Store {
    /// The queue has a message that is to be stored, and will be after so many steps, behind those before it.
    pub fn append(&mut self, seq: Seq, message: &Message, delay: u64) {
        assert!(self.messages.insert(seq.0, message.clone()).is_none(), "stored twice");
        let last = self.pending.back().map_or(0, |(then, _)| *then);
        self.pending.push_back((last.max(self.steps + delay), seq.0));
    }

    /// Writes what is due.
    pub fn step(&mut self) {
        self.steps += 1;
        while let Some((_, seq)) = self.pending.pop_front_if(|(then, _)| *then <= self.steps) {
            // What is settled before is never written.
            if let Some(message) = self.messages.get(&seq) {
                self.written.push(seq);
                message.store_slot().store(self.written.len() as u64, Ordering::Relaxed);
            }
        }
    }

    /// Where a message is. Some lie apart, some have odd sizes.
    pub fn place(message: &Message) -> Option<Place> {
        let slot = message.store_slot().load(Ordering::Relaxed);
        let unit = slot as u32 * 2 + (slot / 8) as u32;
        (slot > 0).then_some(Place { segment: slot / 32, unit, units: 2, shared: slot.is_multiple_of(5) })
    }

    /// The message at that place, and its number.
    pub fn read(&self, place: Place) -> (u64, Message) {
        let slot = (1..=self.written.len() as u64).find(|slot| {
            let unit = *slot as u32 * 2 + (*slot / 8) as u32;
            (slot / 32, unit) == (place.segment, place.unit)
        });
        let slot = slot.expect("something is there");
        let seq = self.written[slot as usize - 1];
        let message = self.messages.get(&seq).expect("the queue is not done with it").detached();
        message.store_slot().store(slot, Ordering::Relaxed);
        (seq, message)
    }

    /// The messages of a page.
    pub fn fetch(&self, page: &Page) -> Vec<Option<Message>> {
        let read = |entry: vhosts::queue::PagedEntry| {
            let (seq, message) = self.read(entry.place);
            assert_eq!(seq, entry.seq.0);
            Some(message)
        };
        page.entries().map(read).collect()
    }

    /// The messages of a page, as far as the queue is not done with them.
    pub fn fetch_what_is_left(&self, page: &Page) -> Vec<Option<Message>> {
        let is_left = |seq: Seq| self.messages.contains_key(&seq.0);
        page.entries().map(|entry| is_left(entry.seq).then(|| self.read(entry.place).1)).collect()
    }

    /// The names of messages of a page that are settled.
    pub fn names(&self, effect: &Effect) -> Vec<u64> {
        let Effect::SettledPaged { page, which } = effect else { return Vec::new() };
        let is_named = |at: u32| which.as_ref().is_none_or(|which| which.contains(&at));
        let entries = (0..).zip(page.entries()).filter(|(at, _)| is_named(*at));
        entries.map(|(_, entry)| name(&self.messages[&entry.seq.0])).collect()
    }

    /// Takes in what an effect says of stored messages. What was settled is said in the words of the model,
    /// which knows nothing of those that were spilled.
    pub fn hear(&mut self, effect: &Effect, delay: u64) -> Vec<Said> {
        match effect {
            Effect::Spill { seq, message } => {
                self.append(*seq, message, delay);
                self.spilled.insert(seq.0);
                Vec::new()
            }
            Effect::Settled { seq, .. } => self.settle(*seq).into_iter().collect(),
            Effect::SettledPaged { page, which } => {
                let is_named = |at: u32| which.as_ref().is_none_or(|which| which.contains(&at));
                let entries = (0..).zip(page.entries()).filter(|(at, _)| is_named(*at));
                entries.filter_map(|(_, entry)| self.settle(entry.seq)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn settle(&mut self, seq: Seq) -> Option<Said> {
        let message = self.messages.remove(&seq.0).expect("the queue settles what is stored, and once");
        (!self.spilled.remove(&seq.0)).then(|| Said::Settled(seq.0, name(&message)))
    }

    /// Whether the queue is done with everything.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}
