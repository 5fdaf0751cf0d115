//! The disk of tests and of the simulation: it is in memory, and loses what a real one may lose.
//!
//! Nothing that [`Disk`] promises is broken, and everything that it leaves open happens for some seed. What a
//! loss of power or the end of the process leaves is another disk, and the one before stays as it was, so one
//! history can end in many ways. When its operations fail is up to its [`Faults`].

mod faults;
mod random;
mod segment;
mod state;
#[cfg(test)]
mod tests;

pub use faults::{Fault, Faults};

use super::{Assignment, Disk, Mark, SegmentFile, SegmentNumber};
pub(super) use random::Random;
use segment::Segment;
use state::State;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A disk; a clone is the same disk.
#[derive(Clone, Debug)]
pub struct MemoryDisk {
    platters: Arc<Mutex<Platters>>,
    faults: Faults,
    put_aside: Arc<OnceLock<&'static str>>,
}

#[derive(Clone, Debug)]
struct Platters {
    segments: Segments,
    /// Removed by a call that failed: a loss of power may bring them back.
    half_removed: Segments,
    state: State,
    /// All that were made: none of them is synced.
    marks: Vec<Mark>,
    /// Bytes that segments and state may take together.
    limit: u64,
}

/// Those who have one open share it; the lock of [`Platters`] is taken before that of a segment.
type Segments = BTreeMap<SegmentNumber, Arc<Mutex<Segment>>>;

impl MemoryDisk {
    /// An empty disk. The seed decides what an operation that fails has done.
    #[must_use]
    pub fn new(seed: u64) -> MemoryDisk {
        let (segments, half_removed, state, marks) = Default::default();
        MemoryDisk::of(Platters { segments, half_removed, state, marks, limit: u64::MAX }, seed)
    }

    fn of(platters: Platters, seed: u64) -> MemoryDisk {
        let platters = Arc::new(Mutex::new(platters));
        MemoryDisk { platters, faults: Faults::new(seed), put_aside: Arc::default() }
    }

    /// When its operations fail.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// What a loss of power leaves, one of the many possibilities per seed. It has no faults.
    #[must_use]
    pub fn power_loss(&self, seed: u64) -> MemoryDisk {
        let mut random = Random::new(seed);
        let platters = lock(&self.platters);
        let returned = platters.half_removed.iter().filter(|_| random.coin()).collect::<Vec<_>>();
        let segments = returned.into_iter().chain(&platters.segments);
        let segments =
            segments.map(|(number, segment)| (*number, lock(segment).after_power_loss(&mut random)));
        let segments = segments.map(|(number, segment)| (number, Arc::new(Mutex::new(segment)))).collect();
        let state = platters.state.after_power_loss(&mut random);
        let marks = platters.marks[..random.up_to(platters.marks.len())].to_vec();
        let left = Platters { segments, half_removed: Segments::new(), state, marks, limit: platters.limit };
        MemoryDisk::of(left, random.next())
    }

    /// What the next process finds when this one is killed: every write that returned is there, although it may
    /// not be safe yet. It has no faults.
    #[must_use]
    pub fn killed(&self) -> MemoryDisk {
        let mut platters = lock(&self.platters).clone();
        for segment in platters.segments.values_mut().chain(platters.half_removed.values_mut()) {
            let copy = lock(segment).clone();
            *segment = Arc::new(Mutex::new(copy));
        }
        MemoryDisk::of(platters, self.faults.operations())
    }

    /// From now on, segments and state may take so many bytes together. What would take more fails with
    /// [`io::ErrorKind::StorageFull`]; every change of the state needs some.
    pub fn limit(&self, bytes: u64) {
        lock(&self.platters).limit = bytes;
    }

    /// Bytes that segments and state take.
    #[must_use]
    pub fn used(&self) -> u64 {
        lock(&self.platters).used()
    }

    /// Damages a byte of a segment; false if there is none.
    pub fn flip(&self, segment: SegmentNumber, offset: u64, mask: u8) -> bool {
        let platters = lock(&self.platters);
        platters.segments.get(&segment).is_some_and(|segment| lock(segment).flip(offset, mask))
    }

    /// The state cannot be read and was put aside; it is empty from now on.
    pub fn lose_state(&self) {
        lock(&self.platters).state = State::default();
        // Told once is enough.
        let _ = self.put_aside.set("the state was damaged");
    }
}

impl Platters {
    fn used(&self) -> u64 {
        let segments: u64 = self.segments.values().map(|segment| lock(segment).len()).sum();
        segments + self.state.bytes()
    }

    fn has_room(&self, bytes: u64) -> io::Result<()> {
        if self.limit == u64::MAX {
            return Ok(());
        }
        let fits = self.used().checked_add(bytes).is_some_and(|used| used <= self.limit);
        if fits { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn insert(&mut self, number: SegmentNumber, segment: Segment) -> Arc<Mutex<Segment>> {
        // This syncs the directory.
        self.half_removed.clear();
        let segment = Arc::new(Mutex::new(segment));
        self.segments.insert(number, Arc::clone(&segment));
        segment
    }

    /// It is not there, or without some of its room.
    fn make_partly(&mut self, number: SegmentNumber, bytes: u64, random: &mut Random) {
        if random.coin() {
            let some = random.up_to(bytes as usize) as u64;
            self.insert(number, Segment::new([0, some, bytes][random.up_to(2)]));
        }
    }

    /// Some of them are gone, and some of those come back when the power goes.
    fn remove_some(&mut self, numbers: &[SegmentNumber], random: &mut Random) {
        for number in numbers.iter().filter(|_| random.coin()) {
            if let Some(segment) = self.segments.remove(number) {
                self.half_removed.insert(*number, segment);
            }
        }
    }
}

impl Disk for MemoryDisk {
    fn segments(&self) -> io::Result<Vec<SegmentNumber>> {
        self.faults.read()?;
        Ok(lock(&self.platters).segments.keys().copied().collect())
    }

    fn create(&mut self, number: SegmentNumber, bytes: u64) -> io::Result<Arc<dyn SegmentFile>> {
        let turn = self.faults.operation();
        let mut platters = lock(&self.platters);
        if platters.segments.contains_key(&number) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        turn.map_err(|failed| match failed.is_crash {
            true => failed.after(|random| platters.make_partly(number, bytes, random)),
            false => failed.after(|_| {}),
        })?;
        platters.has_room(bytes)?;
        let segment = platters.insert(number, Segment::new(bytes));
        Ok(Arc::new(OpenSegment { disk: self.clone(), segment }))
    }

    fn open(&self, number: SegmentNumber) -> io::Result<Arc<dyn SegmentFile>> {
        self.faults.read()?;
        let segment = lock(&self.platters).segments.get(&number).cloned();
        let segment = segment.ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(OpenSegment { disk: self.clone(), segment }))
    }

    fn remove(&mut self, numbers: &[SegmentNumber]) -> io::Result<()> {
        let turn = self.faults.operation();
        let mut platters = lock(&self.platters);
        turn.map_err(|failed| failed.after(|random| platters.remove_some(numbers, random)))?;
        platters.half_removed.clear();
        platters.segments.retain(|number, _| !numbers.contains(number));
        Ok(())
    }

    fn read_state(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()> {
        self.faults.read()?;
        let state = lock(&self.platters).state.clone();
        state.each(each);
        Ok(())
    }

    fn write_state(&mut self, changes: &[Assignment]) -> io::Result<()> {
        let turn = self.faults.operation();
        let mut platters = lock(&self.platters);
        turn.map_err(|failed| failed.after(|random| platters.state.write_failed(changes, random)))?;
        platters.has_room(state::bytes_of(changes))?;
        platters.state.write(changes);
        Ok(())
    }

    fn random(&mut self) -> u32 {
        self.faults.seed() as u32
    }

    fn mark(&mut self, synced: Mark) -> io::Result<()> {
        let turn = self.faults.operation();
        let marks = &mut lock(&self.platters).marks;
        turn.map_err(|failed| failed.after(|random| marks.extend(random.coin().then_some(synced))))?;
        marks.push(synced);
        Ok(())
    }

    fn marked(&self) -> Mark {
        lock(&self.platters).marks.last().copied().unwrap_or_default()
    }

    fn put_aside(&self) -> Option<&str> {
        self.put_aside.get().copied()
    }

    fn state_bytes(&self) -> u64 {
        lock(&self.platters).state.bytes()
    }
}

/// A segment that is open; it may be removed in the meantime.
#[derive(Debug)]
struct OpenSegment {
    disk: MemoryDisk,
    segment: Arc<Mutex<Segment>>,
}

impl SegmentFile for OpenSegment {
    fn len(&self) -> io::Result<u64> {
        self.disk.faults.read()?;
        Ok(lock(&self.segment).len())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let turn = self.disk.faults.operation();
        if turn.is_ok() {
            self.grow_to(offset + bytes.len() as u64)?;
        }
        let mut segment = lock(&self.segment);
        turn.map_err(|failed| failed.after(|random| segment.write_failed(bytes, offset, random)))?;
        segment.write(bytes, offset);
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.faults.read()?;
        Ok(lock(&self.segment).read(buffer, offset))
    }

    fn sync(&self) -> io::Result<()> {
        let turn = self.disk.faults.operation();
        let mut segment = lock(&self.segment);
        turn.map_err(|failed| match failed.is_crash {
            true => failed.after(|_| {}),
            false => failed.after(|random| segment.sync_failed(random)),
        })?;
        segment.sync();
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        let turn = self.disk.faults.operation();
        let mut segment = lock(&self.segment);
        turn.map_err(|failed| {
            failed.after(|random| {
                if random.coin() {
                    segment.truncate(bytes)
                }
            })
        })?;
        segment.truncate(bytes);
        Ok(())
    }
}

impl OpenSegment {
    /// Whether there is room for the segment to end there.
    fn grow_to(&self, end: u64) -> io::Result<()> {
        let platters = lock(&self.disk.platters);
        let len = lock(&self.segment).len();
        if end > len { platters.has_room(end - len) } else { Ok(()) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
