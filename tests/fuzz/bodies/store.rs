//! Bytes as what a store finds on its disk.

use haremq::store::Store;
use haremq::store::testing::{Disk, MemoryDisk};
use vhosts::Moment;

const UNIT: usize = 16;

/// Bytes as blocks of a kind, a length and so many octets: values of the state, records of segments, and their
/// indexes. What the store checks before it looks at the rest, headers and checksums, is as it expects it.
/// Whatever comes back can be read, settled and moved.
pub fn store(bytes: &[u8]) {
    let mut disk = MemoryDisk::new(0);
    let mut segments = [1, 2, 3].map(Segment::new);
    let mut rest = bytes;
    while let [kind, length, behind @ ..] = rest {
        let (block, behind) = behind.split_at(behind.len().min(usize::from(*length) * 8));
        rest = behind;
        let segment = &mut segments[usize::from(kind / 4 % 3)];
        match kind % 4 {
            0 => assert!(disk.write_state(&[state(block)]).is_ok()),
            1 | 2 => segment.record(block),
            _ => segment.index(block),
        }
    }
    for segment in segments.iter().filter(|segment| segment.bytes.len() > 2 * UNIT) {
        let file = disk.create(segment.number, segment.bytes.len() as u64).expect("a disk without faults");
        assert!(file.write_at(&segment.bytes, 0).and_then(|()| file.sync()).is_ok());
    }
    // Only a format may be refused, of which there is none.
    let (store, mut stepper, recovery) =
        Store::manual_with(Box::new(disk), 4096).expect("nothing is refused");
    let places = recovery.queues.iter().flat_map(|queue| queue.messages()).map(|message| message.place);
    let places: Vec<_> = places.take(100).collect();
    let read = store.reader().map(|reader| reader.read(&places));
    assert!(read.is_some_and(|read| read.is_ok_and(|messages| messages.len() == places.len())));
    (1..5).for_each(|round| _ = stepper.step(Moment(round * 1_000)));
}

fn state(block: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    let [kind, segment, part, value @ ..] = block else { return (block.to_vec(), Some(Vec::new())) };
    let (kind, segment, part) = (b"sn"[usize::from(kind % 2)], u64::from(segment % 5), u32::from(part % 4));
    let key = [&[kind][..], &segment.to_be_bytes(), &part.to_be_bytes()].concat();
    (key, Some(value.to_vec()))
}

struct Segment {
    number: u64,
    bytes: Vec<u8>,
}

impl Segment {
    /// With its header, which says that the one before has 64 units.
    fn new(number: u64) -> Segment {
        let mut bytes = b"HareMQ\0\x03".to_vec();
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&(number - 1).to_le_bytes());
        bytes.extend_from_slice(&64_u32.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        Segment { number, bytes }
    }

    /// A block as the kind of a record, its marks, lengths of its parts, and all of them.
    fn record(&mut self, block: &[u8]) {
        let [kind, marks, address, properties, targets, rest @ ..] = block else { return };
        let lens = [address, properties, targets].map(|len| usize::from(len % 16));
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0, 0, 0, 1 + kind % 4, *marks]);
        self.bytes.extend_from_slice(&(lens[0] as u16).to_le_bytes());
        self.bytes.extend_from_slice(&(lens[1] as u32).to_le_bytes());
        self.bytes.extend_from_slice(&(lens[2] as u32).to_le_bytes());
        let body_len = rest.len().saturating_sub(lens.iter().sum()) as u64;
        self.bytes.extend_from_slice(&body_len.to_le_bytes());
        self.bytes.extend_from_slice(&0u64.to_le_bytes());
        self.bytes.extend_from_slice(rest);
        let len = start + 32 + lens.iter().sum::<usize>() + body_len as usize;
        self.bytes.resize(len, 0);
        let seed = (self.number as u32).rotate_left(16) ^ (start / UNIT) as u32;
        let mut checksum = crc32fast::Hasher::new_with_initial(seed);
        checksum.update(&self.bytes[start + 4..]);
        self.bytes[start..start + 4].copy_from_slice(&checksum.finalize().to_le_bytes());
        self.bytes.resize(len.next_multiple_of(UNIT), 0);
    }

    /// A block as the index of what is there. Records may follow, and then it is none.
    fn index(&mut self, block: &[u8]) {
        let end = (self.bytes.len() / UNIT) as u32;
        self.bytes.extend_from_slice(block);
        let covered = [&self.number.to_le_bytes()[..], &end.to_le_bytes(), block].concat();
        self.bytes.extend_from_slice(&crc32fast::hash(&covered).to_le_bytes());
        self.bytes.extend_from_slice(&(block.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(&end.to_le_bytes());
        self.bytes.extend_from_slice(b"HQix");
    }
}
