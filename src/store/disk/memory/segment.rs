//! A segment of a simulated disk: what is seen of it, what is safe, and what was done to it in between.

use super::random::Random;

/// What a medium writes whole or not at all.
const SECTOR: u64 = 512;

#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// What a loss of power leaves at least, unless something later overwrites it.
    synced: Content,
    /// What readers see.
    seen: Content,
    /// In the order of time. What a failed sync lost is not among it, although it may be seen.
    unsynced: Vec<Edit>,
}

#[derive(Clone, Debug)]
enum Edit {
    Write { offset: u64, bytes: Vec<u8> },
    Truncate(u64),
}

/// The bytes of a file. The zeros behind the last write are not kept in memory.
#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    len: u64,
}

impl Segment {
    pub(super) fn new(len: u64) -> Segment {
        Segment::safe(Content { bytes: Vec::new(), len })
    }

    fn safe(content: Content) -> Segment {
        Segment { synced: content.clone(), seen: content, unsynced: Vec::new() }
    }

    pub(super) fn len(&self) -> u64 {
        self.seen.len
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        self.seen.read(buffer, offset)
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        self.edit(Edit::Write { offset, bytes: bytes.to_vec() });
    }

    pub(super) fn truncate(&mut self, len: u64) {
        self.edit(Edit::Truncate(len));
    }

    fn edit(&mut self, edit: Edit) {
        self.seen.apply(&edit);
        self.unsynced.push(edit);
    }

    pub(super) fn sync(&mut self) {
        self.unsynced.drain(..).for_each(|edit| self.synced.apply(&edit));
    }

    /// Any part of it was written.
    pub(super) fn write_failed(&mut self, bytes: &[u8], offset: u64, random: &mut Random) {
        let write = Edit::Write { offset, bytes: bytes.to_vec() };
        write.survivors(random).into_iter().for_each(|part| self.edit(part));
    }

    /// Each edit may be safe, or still unsynced, or forgotten, which readers notice sooner or later.
    pub(super) fn sync_failed(&mut self, random: &mut Random) {
        for edit in std::mem::take(&mut self.unsynced) {
            match random.up_to(2) {
                0 => self.unsynced.push(edit),
                _ => edit.survivors(random).iter().for_each(|part| self.synced.apply(part)),
            }
        }
        if random.coin() {
            self.seen = self.synced.clone();
            self.unsynced.iter().for_each(|edit| self.seen.apply(edit));
        }
    }

    pub(super) fn after_power_loss(&self, random: &mut Random) -> Segment {
        let mut left = self.synced.clone();
        let survivors = self.unsynced.iter().flat_map(|edit| edit.survivors(random));
        survivors.for_each(|edit| left.apply(&edit));
        Segment::safe(left)
    }

    /// Damages a byte; false if there is none.
    pub(super) fn flip(&mut self, offset: u64, mask: u8) -> bool {
        let is_there = offset < self.synced.len && offset < self.seen.len;
        for content in [&mut self.synced, &mut self.seen].into_iter().filter(|_| is_there) {
            let byte = content.at(offset) ^ mask;
            content.write(&[byte], offset);
        }
        is_there
    }
}

impl Edit {
    /// What is left of it on the medium: all, nothing, or some of its sectors.
    fn survivors(&self, random: &mut Random) -> Vec<Edit> {
        match (random.up_to(3), self) {
            (0, _) => Vec::new(),
            (1, _) | (_, Edit::Truncate(_)) => vec![self.clone()],
            (_, Edit::Write { offset, bytes }) => torn(*offset, bytes, random),
        }
    }
}

/// The first sectors, or the last, or any.
fn torn(mut offset: u64, mut bytes: &[u8], random: &mut Random) -> Vec<Edit> {
    let mut sectors = Vec::new();
    while !bytes.is_empty() {
        let room = SECTOR - offset % SECTOR;
        let (sector, rest) = bytes.split_at(bytes.len().min(room as usize));
        sectors.push(Edit::Write { offset, bytes: sector.to_vec() });
        (offset, bytes) = (offset + room, rest);
    }
    let cut = random.up_to(sectors.len());
    match random.up_to(2) {
        0 => sectors.truncate(cut),
        1 => _ = sectors.drain(..cut),
        _ => sectors.retain(|_| random.coin()),
    }
    sectors
}

impl Content {
    fn apply(&mut self, edit: &Edit) {
        match edit {
            Edit::Write { offset, bytes } => self.write(bytes, *offset),
            Edit::Truncate(len) => {
                self.bytes.truncate(*len as usize);
                self.len = *len;
            }
        }
    }

    fn write(&mut self, bytes: &[u8], offset: u64) {
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[start..end].copy_from_slice(bytes);
        self.len = self.len.max(end as u64);
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let there = self.len.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let written = self.bytes.get(offset as usize..).unwrap_or_default();
        let written = &written[..written.len().min(there)];
        buffer[..written.len()].copy_from_slice(written);
        buffer[written.len()..there].fill(0);
        there
    }

    fn at(&self, offset: u64) -> u8 {
        self.bytes.get(offset as usize).copied().unwrap_or_default()
    }
}
