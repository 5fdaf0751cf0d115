//! Values under consecutive numbers, which are mostly taken out in the order in which they went in.
//!
//! What waits for an acknowledgement is such a thing: numbers grow by one, the oldest goes first, now and
//! then one stays behind. A ring of slots serves that without hashing; a value that stays behind while many
//! pass moves to a tree, so that it does not hold on to the slots of those that are gone.
//!
//! Invariant: `stragglers` has only numbers below `first`; the slot at the front is never empty.

use std::collections::{BTreeMap, VecDeque};

/// Slots that may be empty before stragglers are moved out of the way.
const SLACK: usize = 64;
/// Slots that an empty window keeps room for.
const KEPT: usize = 4096;

/// A map from consecutive numbers, first in mostly first out.
#[derive(Clone, Debug)]
pub struct Window<T> {
    stragglers: BTreeMap<u64, T>,
    /// The number of the slot at the front.
    first: u64,
    slots: VecDeque<Option<T>>,
    /// Slots that are not empty.
    live: usize,
}

impl<T> Window<T> {
    /// Numbers will begin with `first`.
    #[must_use]
    pub fn starting_at(first: u64) -> Window<T> {
        Window { stragglers: BTreeMap::new(), first, slots: VecDeque::new(), live: 0 }
    }

    /// Values in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live + self.stragglers.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number that the next value will have.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// Puts a value in and says under which number.
    pub fn push(&mut self, value: T) -> u64 {
        let number = self.next();
        self.slots.push_back(Some(value));
        self.live += 1;
        number
    }

    /// Gives out a number for nothing; nobody will ask for it.
    pub fn skip(&mut self) -> u64 {
        let number = self.next();
        if self.slots.is_empty() {
            self.first += 1;
        } else {
            self.slots.push_back(None);
            self.tidy();
        }
        number
    }

    /// Puts a value that was taken out back under its number.
    ///
    /// # Panics
    /// When that number was never given out.
    pub fn put_back(&mut self, number: u64, value: T) {
        assert!(number < self.next(), "no place for number {number}");
        self.insert(number, value);
    }

    /// Puts a value in under a number that nothing is under, whether it was given out here or not. Numbers
    /// that are given out from now on are higher.
    pub fn insert(&mut self, number: u64, value: T) {
        if number >= self.next() {
            self.advance(number);
            self.push(value);
        } else if let Some(at) = number.checked_sub(self.first) {
            self.slots[at as usize] = Some(value);
            self.live += 1;
        } else if self.first - number <= SLACK as u64 && self.is_behind_stragglers(number) {
            (number + 1..self.first).for_each(|_| self.slots.push_front(None));
            self.slots.push_front(Some(value));
            self.first = number;
            self.live += 1;
        } else {
            self.stragglers.insert(number, value);
        }
    }

    /// Takes the values with that number and higher ones out. The window that they make gives out the numbers
    /// that this one would have.
    #[must_use]
    pub fn split_off(&mut self, number: u64) -> Window<T> {
        let stragglers = self.stragglers.split_off(&number);
        let at = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let slots = self.slots.split_off(at.min(self.slots.len()));
        let live = slots.iter().flatten().count();
        self.live -= live;
        let mut rest = Window { stragglers, first: self.next(), slots, live };
        rest.drop_empty_front();
        rest
    }

    /// Takes the value with that number out.
    pub fn remove(&mut self, number: u64) -> Option<T> {
        let Some(at) = number.checked_sub(self.first) else { return self.stragglers.remove(&number) };
        let value = self.slots.get_mut(usize::try_from(at).ok()?)?.take()?;
        self.live -= 1;
        self.tidy();
        Some(value)
    }

    /// Takes out the oldest value.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<(u64, T)> {
        if !self.stragglers.is_empty() {
            return self.pop_until(u64::MAX);
        }
        let value = self.slots.pop_front()??;
        let number = self.first;
        self.first += 1;
        self.live -= 1;
        self.drop_empty_front();
        Some((number, value))
    }

    /// Takes out the oldest value, if its number is at most `last`.
    pub fn pop_until(&mut self, last: u64) -> Option<(u64, T)> {
        if let Some(oldest) = self.stragglers.first_entry() {
            return (*oldest.key() <= last).then(|| oldest.remove_entry());
        }
        if self.slots.is_empty() || self.first > last {
            return None;
        }
        let number = self.first;
        let value = self.remove(number)?;
        Some((number, value))
    }

    /// The value with that number.
    #[must_use]
    pub fn at(&self, number: u64) -> Option<&T> {
        match number.checked_sub(self.first) {
            None => self.stragglers.get(&number),
            Some(at) => self.slots.get(usize::try_from(at).ok()?)?.as_ref(),
        }
    }

    /// The value with that number, to be changed.
    #[must_use]
    pub fn at_mut(&mut self, number: u64) -> Option<&mut T> {
        match number.checked_sub(self.first) {
            None => self.stragglers.get_mut(&number),
            Some(at) => self.slots.get_mut(usize::try_from(at).ok()?)?.as_mut(),
        }
    }

    /// The values, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &T)> {
        let slots = self.slots.iter().enumerate();
        let slots = slots.filter_map(|(at, slot)| Some((self.first + at as u64, slot.as_ref()?)));
        self.stragglers.iter().map(|(number, value)| (*number, value)).chain(slots)
    }

    /// The values, oldest first, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.stragglers.values_mut().chain(self.slots.iter_mut().flatten())
    }

    /// The next number will be that one, which is not lower than it would be.
    fn advance(&mut self, number: u64) {
        if number - self.next() > SLACK as u64 {
            let slots = std::mem::take(&mut self.slots);
            let straying = (self.first..).zip(slots).filter_map(|(number, slot)| Some((number, slot?)));
            self.stragglers.extend(straying);
            self.live = 0;
        }
        if self.slots.is_empty() {
            self.first = number;
        }
        self.slots.resize_with((number - self.first) as usize, || None);
    }

    fn is_behind_stragglers(&self, number: u64) -> bool {
        self.stragglers.last_key_value().is_none_or(|(last, _)| *last < number)
    }

    fn tidy(&mut self) {
        self.drop_empty_front();
        while self.slots.len() > SLACK + 4 * self.live {
            if let Some(Some(value)) = self.slots.pop_front() {
                self.stragglers.insert(self.first, value);
                self.live -= 1;
            }
            self.first += 1;
            self.drop_empty_front();
        }
    }

    #[inline]
    fn drop_empty_front(&mut self) {
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.first += 1;
        }
        // What was deep once does not keep the room for it.
        if self.slots.is_empty() && self.slots.capacity() > KEPT {
            self.slots.shrink_to(KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Op {
        Push,
        Skip,
        Remove(u64),
        PutBack(u64),
        Insert(u64),
        Pop(u64),
        SplitOff(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![4 => Just(Op::Push), 1 => Just(Op::Skip), 3 => (0..400u64).prop_map(Op::Remove), 2 => (0..400u64).prop_map(Op::PutBack), 1 => (0..400u64).prop_map(Op::Insert), 1 => (0..400u64).prop_map(Op::Pop), 1 => (0..400u64).prop_map(Op::SplitOff)]
    }

    proptest! {
        #[test]
        fn equals_a_map(ops in prop::collection::vec(op(), 0..600)) {
            let mut window = Window::starting_at(1);
            let mut map = BTreeMap::new();
            let mut next = 1;
            for op in ops {
                match op {
                    Op::Push => {
                        let number = window.push("value");
                        prop_assert_eq!(number, next);
                        next += 1;
                        prop_assert_eq!(map.insert(number, "value"), None);
                    }
                    Op::Skip => next = window.skip() + 1,
                    Op::Remove(number) => prop_assert_eq!(window.remove(number), map.remove(&number)),
                    Op::PutBack(number) if number > 0 && number < next && !map.contains_key(&number) => {
                        window.put_back(number, "value");
                        map.insert(number, "value");
                    }
                    Op::Insert(number) if !map.contains_key(&number) => {
                        window.insert(number, "value");
                        map.insert(number, "value");
                        next = next.max(number + 1);
                    }
                    Op::PutBack(_) | Op::Insert(_) => {}
                    Op::SplitOff(number) => {
                        let rest = window.split_off(number);
                        prop_assert!(rest.iter().map(|(n, _)| n).eq(map.split_off(&number).into_keys()));
                        prop_assert_eq!((rest.len(), rest.next()), (rest.iter().count(), next));
                        // What is split off goes on; what is left goes on with it.
                        rest.iter().for_each(|(number, value)| window.insert(number, value));
                        map.extend(rest.iter().map(|(number, value)| (number, *value)));
                        next = window.next();
                    }
                    Op::Pop(last) => {
                        let expected = map.first_key_value().filter(|(n, _)| **n <= last).map(|(n, v)| (*n, *v));
                        prop_assert_eq!(window.pop_until(last), expected);
                        map.retain(|number, _| Some(*number) != expected.map(|taken| taken.0));
                    }
                }
                prop_assert_eq!(window.len(), map.len());
                prop_assert!(window.iter().map(|(n, _)| n).eq(map.keys().copied()));
                prop_assert!(window.iter().rev().map(|(n, _)| n).eq(map.keys().rev().copied()));
                prop_assert_eq!(window.iter_mut().count(), map.len());
                prop_assert_eq!(window.next(), next);
            }
        }
    }

    #[test]
    fn one_straggler_holds_no_slots() {
        let mut window = Window::starting_at(1);
        window.push(());
        for _ in 0..10_000 {
            let number = window.push(());
            window.remove(number);
        }
        assert!(window.at(1).is_some());
        assert!(window.slots.len() <= SLACK + 1, "{}", window.slots.len());
    }
}
