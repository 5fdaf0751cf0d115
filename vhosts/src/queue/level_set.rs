//! A set of levels of priority. Its ends are found in a few instructions, however many there are.

/// A set of levels.
#[derive(Clone, Copy, Debug, Default)]
pub struct LevelSet([u64; 4]);

impl LevelSet {
    /// Adds a level, if it is not there.
    pub fn insert(&mut self, level: u8) {
        self.0[usize::from(level / 64)] |= 1 << (level % 64);
    }

    /// Removes a level, if it is there.
    pub fn remove(&mut self, level: u8) {
        self.0[usize::from(level / 64)] &= !(1 << (level % 64));
    }

    /// The highest one.
    #[must_use]
    pub fn highest(self) -> Option<u8> {
        let word = self.0.iter().rposition(|word| *word != 0)?;
        Some(word as u8 * 64 + 63 - self.0[word].leading_zeros() as u8)
    }

    /// The lowest one.
    #[must_use]
    pub fn lowest(self) -> Option<u8> {
        let word = self.0.iter().position(|word| *word != 0)?;
        Some(word as u8 * 64 + self.0[word].trailing_zeros() as u8)
    }

    /// Whether that level is there.
    #[must_use]
    pub fn has(self, level: u8) -> bool {
        self.0[usize::from(level / 64)] & 1 << (level % 64) != 0
    }

    /// All of them, the highest first.
    pub fn descending(mut self) -> impl Iterator<Item = u8> {
        std::iter::from_fn(move || {
            let level = self.highest()?;
            self.remove(level);
            Some(level)
        })
    }
}
