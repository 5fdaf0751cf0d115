//! What is due when: an index from moments to whatever has a deadline.
//!
//! One tree for all, no timer for each: entering, leaving and falling due take O(log n), and an entry costs
//! some 35 bytes. Who leaves early is taken out, so the index is as large as what waits.

use crate::Moment;
use std::collections::BTreeSet;

/// Things with deadlines.
#[derive(Debug)]
pub struct Deadlines<K>(BTreeSet<(Moment, K)>);

impl<K> Default for Deadlines<K> {
    fn default() -> Deadlines<K> {
        Deadlines(BTreeSet::new())
    }
}

impl<K: Copy + Ord> Deadlines<K> {
    /// Whether nothing has a deadline.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first deadline.
    #[must_use]
    pub fn first(&self) -> Option<Moment> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Enters a deadline.
    pub fn insert(&mut self, at: Moment, key: K) {
        self.0.insert((at, key));
    }

    /// Takes a deadline out, if it is there.
    pub fn remove(&mut self, at: Moment, key: K) {
        self.0.remove(&(at, key));
    }

    /// Takes out the first deadline that is due, the older key first.
    pub fn pop_due(&mut self, now: Moment) -> Option<K> {
        let first = self.0.first().filter(|(at, _)| *at <= now)?.1;
        self.0.pop_first();
        Some(first)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
