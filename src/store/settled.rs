//! Which targets of a group are settled: one bit for each.
//!
//! Acks in order only move `full`, and an encoded set is then a few bytes; a straggler costs the bits between
//! it and the last settled target, at most one bit for each target of the group.

/// A set of ordinals.
#[derive(Clone, Debug, Default)]
pub(super) struct Settled {
    words: Vec<u64>,
    /// All words before this index are full.
    full: usize,
    count: u32,
}

/// More words than a group can have.
const WORDS_MAX: usize = super::slot::ORDINALS_MAX as usize / 64;

impl Settled {
    /// Adds an ordinal; false if it was there.
    pub(super) fn insert(&mut self, ordinal: u32) -> bool {
        let (word, bit) = (ordinal as usize / 64, 1 << (ordinal % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        if self.words[word] & bit != 0 {
            return false;
        }
        self.words[word] |= bit;
        self.count += 1;
        while self.words.get(self.full) == Some(&u64::MAX) {
            self.full += 1;
        }
        true
    }

    pub(super) fn contains(&self, ordinal: u32) -> bool {
        self.words.get(ordinal as usize / 64).is_some_and(|word| word & (1 << (ordinal % 64)) != 0)
    }

    /// The first ordinal in the set that is not below `from`.
    pub(super) fn next(&self, from: u32) -> Option<u32> {
        let first = from as usize / 64;
        let masked = self.words.get(first)? & (u64::MAX << (from % 64));
        let rest = self.words.iter().skip(first + 1).copied();
        let found = std::iter::once(masked).chain(rest).zip(first..).find(|(word, _)| *word != 0);
        found.map(|(word, at)| at as u32 * 64 + word.trailing_zeros())
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Appends the number of full words (u32) and the words behind them up to the last bit, little-endian.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.full as u32).to_le_bytes());
        let end = self.words.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
        for word in &self.words[self.full.min(end)..end] {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// The set that was encoded, or nothing if the bytes are none.
    pub(super) fn decode(bytes: &[u8]) -> Option<Settled> {
        let (full, rest) = bytes.split_first_chunk::<4>()?;
        let full = u32::from_le_bytes(*full) as usize;
        let (words, odd) = rest.as_chunks::<8>();
        if !odd.is_empty() || full + words.len() > WORDS_MAX {
            return None;
        }
        let words: Vec<u64> = std::iter::repeat_n(u64::MAX, full)
            .chain(words.iter().map(|word| u64::from_le_bytes(*word)))
            .collect();
        let count = words.iter().map(|word| word.count_ones()).sum();
        let full = words.iter().take_while(|word| **word == u64::MAX).count();
        Some(Settled { words, full, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn equals_a_naive_set(ordinals in prop::collection::vec(0_u32..700, 0..900), fifo in 0_u32..500) {
            let mut settled = Settled::default();
            let mut naive = BTreeSet::new();
            for ordinal in (0..fifo).chain(ordinals) {
                prop_assert_eq!(settled.insert(ordinal), naive.insert(ordinal));
            }
            let mut bytes = Vec::new();
            settled.encode(&mut bytes);
            let decoded = Settled::decode(&bytes).unwrap();
            for set in [&settled, &decoded] {
                prop_assert_eq!(set.count() as usize, naive.len());
                for ordinal in 0..800 {
                    prop_assert_eq!(set.contains(ordinal), naive.contains(&ordinal));
                    prop_assert_eq!(set.next(ordinal), naive.range(ordinal..).next().copied());
                }
            }
        }

        #[test]
        fn any_bytes_decode_or_do_not(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(settled) = Settled::decode(&bytes) {
                prop_assert!(bytes.len() % 8 == 4 && settled.count() as usize <= settled.words.len() * 64);
            }
        }
    }

    #[test]
    fn acks_in_order_encode_to_a_few_bytes() {
        let mut settled = Settled::default();
        (0..100_000).for_each(|ordinal| assert!(settled.insert(ordinal)));
        let mut bytes = Vec::new();
        settled.encode(&mut bytes);
        assert!(bytes.len() <= 12, "{}", bytes.len());
    }
}
