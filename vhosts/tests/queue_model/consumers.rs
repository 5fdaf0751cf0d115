//! Who is served next, in the model.

use crate::model::Model;
use vhosts::queue::{ConsumerKey, ConsumerSpec};

#[derive(Clone, Debug)]
pub struct Consumer {
    pub key: ConsumerKey,
    pub spec: ConsumerSpec,
    pub unacked: u16,
}

impl Model {
    pub fn is_refused(&self, spec: ConsumerSpec) -> bool {
        self.consumers.iter().any(|other| other.spec.exclusive)
            || spec.exclusive && (self.settings.single_active_consumer || !self.consumers.is_empty())
    }

    pub fn consume(&mut self, key: ConsumerKey, spec: ConsumerSpec) {
        self.consumers.push(Consumer { key, spec, unacked: 0 });
        self.line_up();
    }

    pub fn cancel(&mut self, key: ConsumerKey, now: u64) {
        self.consumers.retain(|consumer| consumer.key != key);
        self.used = now;
        self.line_up();
    }

    pub fn grant(&mut self, key: ConsumerKey, credit: u32) {
        self.consumer(key).unwrap().spec.credit += credit;
        self.line_up();
    }

    /// Whether that consumer is served.
    pub fn is_active(&self, key: ConsumerKey) -> bool {
        !self.settings.single_active_consumer
            || (self.holder == Some(key) && self.first_in_rank() == Some(key))
    }

    pub fn consumer(&mut self, key: ConsumerKey) -> Option<&mut Consumer> {
        self.consumers.iter_mut().find(|consumer| consumer.key == key)
    }

    /// Of those with the highest priority that may take a message, the one that waits longest.
    pub fn next_consumer(&self) -> Option<ConsumerKey> {
        let priority = |key: &ConsumerKey| {
            self.consumers.iter().find(|consumer| consumer.key == *key).unwrap().spec.priority
        };
        let highest = self.line.iter().map(priority).max()?;
        self.line.iter().find(|key| priority(key) == highest).copied()
    }

    /// The one with the highest priority, and of these the one that came first.
    fn first_in_rank(&self) -> Option<ConsumerKey> {
        let highest = self.consumers.iter().map(|consumer| consumer.spec.priority).max()?;
        self.consumers.iter().find(|consumer| consumer.spec.priority == highest).map(|consumer| consumer.key)
    }

    /// Who may take a message stands in the line; who did not stand there is the last.
    pub fn line_up(&mut self) {
        let holds = |consumer: &Consumer| Some(consumer.key) == self.holder && consumer.unacked > 0;
        if !self.consumers.iter().any(holds) {
            self.holder = self.first_in_rank();
        }
        let may_take = |consumer: &&Consumer| {
            let ConsumerSpec { no_ack, prefetch, credit, .. } = consumer.spec;
            let is_full = !no_ack && prefetch > 0 && consumer.unacked >= prefetch;
            credit > 0 && !is_full && self.is_active(consumer.key)
        };
        let able: Vec<_> = self.consumers.iter().filter(may_take).map(|consumer| consumer.key).collect();
        self.line.retain(|key| able.contains(key));
        for key in able {
            if !self.line.contains(&key) {
                self.line.push(key);
            }
        }
    }
}
