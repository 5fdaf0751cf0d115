//! Random numbers that are the same for the same seed, for ever: a failing seed is kept in a test.

/// SplitMix64.
#[derive(Clone, Debug)]
pub(in crate::store::disk) struct Random(u64);

impl Random {
    pub(in crate::store::disk) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(in crate::store::disk) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `most`, both included.
    pub(in crate::store::disk) fn up_to(&mut self, most: usize) -> usize {
        (self.next() % (most as u64 + 1)) as usize
    }

    pub(in crate::store::disk) fn coin(&mut self) -> bool {
        self.next().is_multiple_of(2)
    }
}
