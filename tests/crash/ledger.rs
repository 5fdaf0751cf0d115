//! What was promised and what came: the judge of the crash test.
//!
//! It knows no broker. It is told of publishes before they are sent, of confirms after they came and of
//! deliveries in the order of one queue, and finds the [`faults`](Ledger::faults).

use super::body::Body;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The books of a run.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Mutex<Entries>,
    confirmed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Entries {
    by_publisher: HashMap<u32, Entry>,
    corrupted: u64,
    redelivered: u64,
    /// Faults that are known as soon as the delivery comes.
    seen: Vec<String>,
}

#[derive(Debug, Default)]
struct Entry {
    published: u64,
    confirmed: HashSet<u64>,
    delivered: HashSet<u64>,
    last_first: Option<u64>,
}

impl Ledger {
    /// A number for the next message of a publisher; to be called before it is sent.
    pub fn publish(&self, publisher: u32) -> Body {
        let mut entries = self.entries();
        let entry = entries.by_publisher.entry(publisher).or_default();
        let number = entry.published;
        entry.published += 1;
        Body { publisher, number }
    }

    /// The broker confirmed the message.
    pub fn confirm(&self, body: Body) {
        self.entries().by_publisher.entry(body.publisher).or_default().confirmed.insert(body.number);
        self.confirmed.send_modify(|count| *count += 1);
    }

    /// The broker delivered these bytes, perhaps not for the first time.
    pub fn deliver(&self, bytes: &[u8]) {
        let mut entries = self.entries();
        let Some(body) = Body::decode(bytes) else {
            entries.corrupted += 1;
            return;
        };
        let entry = entries.by_publisher.entry(body.publisher).or_default();
        if body.number >= entry.published {
            return entries.seen.push(format!("{body:?} was delivered and never published"));
        }
        if !entry.delivered.insert(body.number) {
            entries.redelivered += 1;
            return;
        }
        let overtaken_by = entry.last_first.replace(body.number).filter(|last| *last > body.number);
        if let Some(last) = overtaken_by {
            entries.seen.push(format!("{body:?} came first after number {last}"));
        }
    }

    /// The number of confirmed messages, to wait for.
    pub fn confirmed(&self) -> watch::Receiver<u64> {
        self.confirmed.subscribe()
    }

    /// All broken promises, in words. To be asked when the queues are drained.
    pub fn faults(&self) -> Vec<String> {
        let entries = self.entries();
        let mut faults = entries.seen.clone();
        if entries.corrupted > 0 {
            faults.push(format!("{} bodies were corrupted", entries.corrupted));
        }
        for (publisher, entry) in &entries.by_publisher {
            let mut lost: Vec<_> = entry.confirmed.difference(&entry.delivered).collect();
            lost.sort_unstable();
            if !lost.is_empty() {
                faults.push(format!("publisher {publisher}: confirmed and lost: {lost:?}"));
            }
        }
        faults
    }

    /// The figures of a run, for people.
    pub fn summary(&self) -> String {
        let entries = self.entries();
        let sum = |count: fn(&Entry) -> u64| entries.by_publisher.values().map(count).sum::<u64>();
        format!(
            "{} published, {} confirmed, {} delivered, {} redelivered",
            sum(|entry| entry.published),
            sum(|entry| entry.confirmed.len() as u64),
            sum(|entry| entry.delivered.len() as u64),
            entries.redelivered,
        )
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ledger with three confirmed messages of publisher 7.
    fn three_confirmed() -> (Ledger, [Body; 3]) {
        let ledger = Ledger::default();
        let bodies = [7, 7, 7].map(|publisher| ledger.publish(publisher));
        bodies.into_iter().for_each(|body| ledger.confirm(body));
        (ledger, bodies)
    }

    #[test]
    fn repeats_are_no_fault() {
        let (ledger, [a, b, c]) = three_confirmed();
        [a, b, a, b, c].into_iter().for_each(|body| ledger.deliver(&body.encode()));
        assert_eq!(ledger.faults(), Vec::<String>::new());
        assert_eq!(ledger.summary(), "3 published, 3 confirmed, 3 delivered, 2 redelivered");
    }

    #[test]
    fn each_fault_is_found() {
        let (ledger, [a, b, c]) = three_confirmed();
        [c, b].into_iter().for_each(|body| ledger.deliver(&body.encode()));
        ledger.deliver(&Body { publisher: 7, number: 3 }.encode());
        ledger.deliver(&a.encode()[1..]);
        let faults = ledger.faults();
        for (fault, words) in faults.iter().zip([
            "came first after number 2",
            "never published",
            "1 bodies were corrupted",
            "lost: [0]",
        ]) {
            assert!(fault.contains(words), "{fault}");
        }
        assert_eq!(faults.len(), 4);
    }
}
