//! Which units of a segment are settled: one bit for each.
//!
//! The bits are in blocks; only blocks that are neither empty nor full take memory, and only those that changed
//! are written. So acks in order cost next to nothing, and random ones one bit for each unit.

/// Units of a block.
pub(super) const BLOCK: u32 = 1 << 15;
const WORDS: usize = BLOCK as usize / 64;

/// A set of units.
#[derive(Debug, Default)]
pub(super) struct Settled {
    blocks: Vec<Block>,
    count: u32,
}

#[derive(Debug, Default)]
struct Block {
    bits: Bits,
    /// It is not written as it is.
    changed: bool,
    /// Something of it is written.
    kept: bool,
}

#[derive(Debug, Default)]
enum Bits {
    #[default]
    None,
    Some(Box<[u64; WORDS]>, u32),
    All,
}

impl Bits {
    fn count(&self) -> u32 {
        match self {
            Bits::None => 0,
            Bits::Some(_, count) => *count,
            Bits::All => BLOCK,
        }
    }
}

impl Settled {
    /// Adds so many units from `first` on; says how many were not there.
    pub(super) fn insert(&mut self, first: u32, units: u32) -> u32 {
        let (mut at, end) = (first, first.saturating_add(units));
        let before = self.count;
        while at < end {
            let number = (at / BLOCK) as usize;
            let until = end.min((at / BLOCK + 1).saturating_mul(BLOCK));
            if number >= self.blocks.len() {
                self.blocks.resize_with(number + 1, Block::default);
            }
            self.count += self.blocks[number].insert(at % BLOCK, until - at);
            at = until;
        }
        self.count - before
    }

    /// Forgets everything from that unit on.
    pub(super) fn truncate(&mut self, unit: u32) {
        let (number, first) = ((unit / BLOCK) as usize, unit % BLOCK);
        for block in self.blocks.iter_mut().skip(number + 1) {
            block.truncate(0);
        }
        if let Some(block) = self.blocks.get_mut(number) {
            block.truncate(first);
        }
        self.count = self.blocks.iter().map(|block| block.bits.count()).sum();
    }

    pub(super) fn contains(&self, unit: u32) -> bool {
        match self.blocks.get((unit / BLOCK) as usize).map(|block| &block.bits) {
            None | Some(Bits::None) => false,
            Some(Bits::All) => true,
            Some(Bits::Some(words, _)) => words[(unit % BLOCK) as usize / 64] & 1 << (unit % 64) != 0,
        }
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Shows the blocks that changed, and how they are written.
    pub(super) fn changes(&self, mut show: impl FnMut(u32, Vec<u8>)) {
        for (number, block) in (0..).zip(&self.blocks).filter(|(_, block)| block.changed) {
            show(number, block.encode());
        }
    }

    /// Shows all blocks in which something is set, and how they are written.
    pub(super) fn all(&self, mut show: impl FnMut(u32, Vec<u8>)) {
        for (number, block) in (0..).zip(&self.blocks).filter(|(_, block)| !matches!(block.bits, Bits::None))
        {
            show(number, block.encode());
        }
    }

    /// What changed was written.
    pub(super) fn saved(&mut self) {
        for block in &mut self.blocks {
            block.kept |= std::mem::take(&mut block.changed);
        }
    }

    /// The blocks that are written.
    pub(super) fn kept(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.blocks).filter(|(_, block)| block.kept).map(|(number, _)| number)
    }

    /// Takes a block as it was written; nothing if it is something else.
    pub(super) fn recover(&mut self, number: u32, value: &[u8]) -> Option<()> {
        let (full, rest) = value.split_first_chunk::<2>()?;
        let full = usize::from(u16::from_le_bytes(*full));
        let (words, odd) = rest.as_chunks::<8>();
        if !odd.is_empty() || full + words.len() > WORDS || number > u32::MAX / BLOCK {
            return None;
        }
        self.insert(number * BLOCK, full as u32 * 64);
        for (at, word) in (full as u32..).zip(words) {
            let word = u64::from_le_bytes(*word);
            (0..64)
                .filter(|bit| word & 1 << bit != 0)
                .for_each(|bit| _ = self.insert(number * BLOCK + at * 64 + bit, 1));
        }
        if let Some(block) = self.blocks.get_mut(number as usize) {
            (block.changed, block.kept) = (false, true);
        }
        Some(())
    }
}

impl Block {
    /// Sets bits; says how many were not set.
    fn insert(&mut self, first: u32, count: u32) -> u32 {
        if matches!(self.bits, Bits::None) {
            self.bits = Bits::Some(Box::new([0; WORDS]), 0);
        }
        let Bits::Some(words, set) = &mut self.bits else { return 0 };
        let before = *set;
        let (mut at, end) = (first, first + count);
        while at < end {
            let until = end.min((at / 64 + 1) * 64);
            let mask = u64::MAX >> (64 - (until - at)) << (at % 64);
            let word = &mut words[at as usize / 64];
            *set += (mask & !*word).count_ones();
            *word |= mask;
            at = until;
        }
        let (new, is_full) = (*set - before, *set == BLOCK);
        if is_full {
            self.bits = Bits::All;
        }
        self.changed |= new > 0;
        new
    }

    /// Clears the bits from there on.
    fn truncate(&mut self, first: u32) {
        let (first, before) = (first as usize, self.bits.count());
        let mut words = match std::mem::take(&mut self.bits) {
            Bits::None => return,
            Bits::Some(words, _) => words,
            Bits::All => Box::new([u64::MAX; WORDS]),
        };
        words[first / 64] &= !(u64::MAX << (first % 64));
        words[first / 64 + 1..].fill(0);
        let count = words.iter().map(|word| word.count_ones()).sum();
        if count > 0 {
            self.bits = Bits::Some(words, count);
        }
        self.changed |= count != before;
    }

    /// How many words at the beginning are full (u16), and the words behind them up to the last bit.
    fn encode(&self) -> Vec<u8> {
        let words: &[u64] = match &self.bits {
            Bits::None => &[],
            Bits::Some(words, _) => &words[..],
            Bits::All => return (WORDS as u16).to_le_bytes().to_vec(),
        };
        let full = words.iter().take_while(|word| **word == u64::MAX).count();
        let end = words.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
        let mut out = (full as u16).to_le_bytes().to_vec();
        words[full.min(end)..end].iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn prop_assert_eq_units(one: &Settled, other: &Settled, block: u32) {
        assert!((block * BLOCK..(block + 1) * BLOCK).all(|unit| one.contains(unit) == other.contains(unit)));
    }

    /// As many as take a few seconds; `PROPTEST_CASES=1000` asks for more.
    const CASES: u32 = 24;

    fn config() -> ProptestConfig {
        let asked = std::env::var_os("PROPTEST_CASES").is_some();
        if asked { ProptestConfig::default() } else { ProptestConfig::with_cases(CASES) }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn equals_a_naive_set(runs in prop::collection::vec((0..3 * BLOCK, 1..300_u32), 0..200), fifo in 0..2 * BLOCK) {
            let (mut settled, mut kept) = (Settled::default(), Settled::default());
            let mut naive = BTreeSet::new();
            for (first, units) in std::iter::once((0, fifo)).chain(runs) {
                let new = (first..first + units).filter(|unit| naive.insert(*unit)).count();
                prop_assert_eq!(settled.insert(first, units), new as u32);
            }
            settled.changes(|number, value| kept.recover(number, &value).unwrap());
            settled.saved();
            settled.changes(|_, _| panic!("nothing changed since"));
            kept.changes(|_, _| panic!("nothing changed since"));
            for set in [&settled, &kept] {
                prop_assert_eq!(set.count() as usize, naive.len());
                prop_assert!((0..4 * BLOCK).all(|unit| set.contains(unit) == naive.contains(&unit)));
            }
        }

        #[test]
        fn what_is_behind_the_end_is_forgotten(runs in prop::collection::vec((0..3 * BLOCK, 1..2 * BLOCK), 0..9), end in 0..4 * BLOCK) {
            let (mut settled, mut kept, mut naive) = (Settled::default(), Settled::default(), Settled::default());
            for (first, units) in runs {
                settled.insert(first, units);
                naive.insert(first.min(end), (first + units).min(end) - first.min(end));
            }
            settled.changes(|number, value| kept.recover(number, &value).unwrap());
            settled.saved();
            settled.truncate(end);
            settled.changes(|number, value| {
                let mut changed = Settled::default();
                changed.recover(number, &value).unwrap();
                prop_assert_eq_units(&changed, &naive, number);
            });
            prop_assert_eq!(settled.count(), naive.count());
            prop_assert!((0..5 * BLOCK).all(|unit| settled.contains(unit) == naive.contains(unit)));
            kept.truncate(end);
            prop_assert_eq!(kept.count(), naive.count());
        }

        #[test]
        fn any_bytes_are_a_block_or_not(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut settled = Settled::default();
            if settled.recover(1, &bytes).is_none() {
                prop_assert_eq!(settled.count(), 0);
            }
        }
    }

    #[test]
    fn acks_in_order_take_a_few_bytes() {
        let mut settled = Settled::default();
        (0..100_000).for_each(|unit| assert_eq!(settled.insert(unit, 1), 1));
        let mut written = 0;
        settled.changes(|_, value| written += value.len());
        assert!(written <= 32, "{written}");
        assert_eq!(settled.blocks.iter().filter(|block| matches!(block.bits, Bits::Some(..))).count(), 1);
        assert_eq!(settled.count(), 100_000);
    }
}
