//! A heap of things that are due at some time, for times that only go forward.
//!
//! What is due at the *floor*, the last time that something fell due, is in bucket 0; what is due later is in
//! the bucket of the highest bit in which its time differs from the floor. When bucket 0 is empty, the floor
//! rises to the first time of the first other bucket, and what was in that one moves to lower ones. So each
//! thing moves a few times, whole buckets at once, and nothing is searched; a tree of as many would miss the
//! cache at every step, and take half as much memory again.
//!
//! The floor is never later than the time of the last thing that fell due, so whoever pushes later pushes for
//! a time behind it, but for what is overdue already.
//!
//! Invariants: a bucket has no times of a lower or a higher one; `first` of a bucket is its least time;
//! bucket 0 is sorted, the least key last.

use std::cmp::Reverse;
use std::mem;

const BUCKETS: usize = u64::BITS as usize + 1;

/// A heap ordered by time, and by key where times are the same.
#[derive(Debug)]
pub struct RadixHeap<K, V> {
    floor: u64,
    buckets: Vec<Bucket<K, V>>,
    len: usize,
}

#[derive(Debug)]
struct Bucket<K, V> {
    first: u64,
    items: Vec<Item<K, V>>,
}

#[derive(Debug)]
struct Item<K, V> {
    due: u64,
    key: K,
    value: V,
}

impl<K, V> Default for RadixHeap<K, V> {
    fn default() -> RadixHeap<K, V> {
        RadixHeap { floor: 0, buckets: Vec::new(), len: 0 }
    }
}

impl<K: Ord + Copy, V> RadixHeap<K, V> {
    /// How much there is.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// When the first is due.
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        self.buckets.iter().find(|bucket| !bucket.items.is_empty()).map(|bucket| bucket.first)
    }

    /// Adds something. What is due before the floor counts as due then.
    pub fn push(&mut self, due: u64, key: K, value: V) {
        if self.buckets.is_empty() {
            self.buckets.resize_with(BUCKETS, || Bucket { first: u64::MAX, items: Vec::new() });
        }
        self.len += 1;
        self.place(Item { due, key, value });
    }

    /// Takes out the first thing that is due, the least key first.
    pub fn pop_due(&mut self, now: u64) -> Option<(u64, K, V)> {
        let first = self.first().filter(|first| *first <= now)?;
        if self.buckets[0].items.is_empty() {
            self.rise(first);
        }
        let Item { due, key, value } = self.buckets[0].items.pop()?;
        self.len -= 1;
        if self.len == 0 {
            // What was full once does not keep the room for it.
            self.buckets = Vec::new();
        }
        Some((due, key, value))
    }

    /// Takes everything out, in the order in which it would have fallen due. The floor stays.
    pub fn drain(&mut self) -> impl Iterator<Item = V> + use<K, V> {
        self.len = 0;
        let mut items: Vec<_> =
            mem::take(&mut self.buckets).into_iter().flat_map(|bucket| bucket.items).collect();
        items.sort_unstable_by_key(|item| (item.due, item.key));
        items.into_iter().map(|item| item.value)
    }

    /// At most `count` things in the order in which they will fall due, without the first `skip`.
    #[must_use]
    pub fn page(&self, mut skip: usize, count: usize) -> Vec<(u64, &V)> {
        let mut page = Vec::new();
        for bucket in &self.buckets {
            if skip >= bucket.items.len() {
                skip -= bucket.items.len();
                continue;
            }
            let mut items: Vec<_> = bucket.items.iter().collect();
            items.sort_unstable_by_key(|item| (item.due, item.key));
            let left = count - page.len();
            page.extend(items[skip..].iter().take(left).map(|item| (item.due, &item.value)));
            skip = 0;
            if page.len() == count {
                break;
            }
        }
        page
    }

    /// The floor rises to the first time of the first bucket that is not empty.
    fn rise(&mut self, floor: u64) {
        let Some(bucket) = self.buckets.iter_mut().find(|bucket| !bucket.items.is_empty()) else { return };
        bucket.first = u64::MAX;
        let items = mem::take(&mut bucket.items);
        self.floor = floor;
        let (due, later): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| item.due <= floor);
        self.buckets[0] = Bucket { first: floor, items: due };
        self.buckets[0].items.sort_unstable_by_key(|item| Reverse(item.key));
        later.into_iter().for_each(|item| self.place(item));
    }

    fn place(&mut self, item: Item<K, V>) {
        let due = item.due.max(self.floor);
        let at = (u64::BITS - (due ^ self.floor).leading_zeros()) as usize;
        let bucket = &mut self.buckets[at];
        bucket.first = bucket.first.min(due);
        if at == 0 {
            bucket.first = self.floor;
            let place = bucket.items.partition_point(|other| other.key > item.key);
            bucket.items.insert(place, item);
        } else {
            bucket.items.push(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn equals_a_sorted_set(ops in prop::collection::vec((any::<bool>(), 0..64_u64, 0..2000_u64), 0..400)) {
            let (mut heap, mut set, mut now) = (RadixHeap::default(), BTreeSet::new(), 1_000_u64);
            for (number, (push, ahead, step)) in (0_u64..).zip(ops) {
                if push {
                    // Far and near, and now and then in the past.
                    let due = (now + ahead.pow(3)).saturating_sub(step / 10);
                    heap.push(due, number, due);
                    // The floor is not known here: what is overdue comes first, in any order.
                    set.insert((due, number));
                } else {
                    now += step;
                    let mut due = Vec::new();
                    while let Some((_, key, value)) = heap.pop_due(now) {
                        due.push((value, key));
                    }
                    let rest = set.split_off(&(now + 1, 0));
                    let expected: Vec<_> = mem::replace(&mut set, rest).into_iter().collect();
                    due.sort_unstable();
                    prop_assert_eq!(due, expected);
                }
                prop_assert_eq!(heap.len(), set.len());
                let all: Vec<u64> = heap.page(0, usize::MAX).into_iter().map(|(_, value)| *value).collect();
                prop_assert_eq!(all.len(), set.len());
                prop_assert_eq!(heap.page(1, 2).len(), set.len().saturating_sub(1).min(2));
            }
        }

        #[test]
        fn what_is_not_overdue_comes_in_order(dues in prop::collection::vec(0..100_000_u64, 0..200)) {
            let mut heap = RadixHeap::default();
            for (number, due) in (0_u64..).zip(&dues) {
                heap.push(*due, number, ());
            }
            let mut expected: Vec<_> = dues.into_iter().zip(0_u64..).collect();
            expected.sort_unstable();
            let page: Vec<u64> = heap.page(0, usize::MAX).into_iter().map(|(due, ())| due).collect();
            prop_assert!(page.iter().eq(expected.iter().map(|(due, _)| due)));
            let mut popped = Vec::new();
            while let Some((due, key, ())) = heap.pop_due(u64::MAX) {
                popped.push((due, key));
            }
            prop_assert_eq!(popped, expected);
        }
    }
}
