//! What the state must be: a checksum of all of it that a write changes without reading the rest.

const LEN: usize = 3 * 8;

/// Kept in the state itself and written with each change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seal {
    /// Writes so far.
    pub(super) writes: u64,
    entries: u64,
    /// Of the checksums of the entries, so that their order does not matter.
    sum: u64,
}

impl Seal {
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.entries += 1;
        self.sum = self.sum.wrapping_add(checksum(key, value));
    }

    pub(super) fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.entries = self.entries.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(checksum(key, value));
    }

    /// Whether both are of the same entries.
    pub(super) fn covers(&self, found: &Seal) -> bool {
        (self.entries, self.sum) == (found.entries, found.sum)
    }

    pub(super) fn to_bytes(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        for (bytes, number) in bytes.chunks_exact_mut(8).zip([self.writes, self.entries, self.sum]) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Seal> {
        let (numbers, []) = bytes.as_chunks() else { return None };
        let [writes, entries, sum] = <[[u8; 8]; 3]>::try_from(numbers).ok()?.map(u64::from_le_bytes);
        Some(Seal { writes, entries, sum })
    }
}

fn checksum(key: &[u8], value: &[u8]) -> u64 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&key.len().to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.finalize().into()
}
