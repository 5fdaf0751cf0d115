//! A data directory keeps what the contract says.

use super::*;
use std::io::ErrorKind;
use tempfile::tempdir;

fn open(dir: &Path) -> RealDisk {
    RealDisk::open(dir).unwrap()
}

fn state(disk: &RealDisk) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut state = Vec::new();
    disk.read_state(&mut |key, value| state.push((key.to_vec(), value.to_vec()))).unwrap();
    state
}

#[test]
fn everything_is_there_when_it_is_opened_again() {
    let dir = tempdir().unwrap();
    let dir = dir.path().join("made/with/its/parents");
    let mut disk = open(&dir);
    assert_eq!((disk.segments().unwrap(), disk.marked()), (vec![], Mark::default()));
    let segment = disk.create(0x2a, 10_000).unwrap();
    segment.write_at(b"hello", 9_000).unwrap();
    segment.sync().unwrap();
    disk.write_state(&[(b"b".to_vec(), Some(b"2".to_vec())), (b"a".to_vec(), Some(b"1".to_vec()))]).unwrap();
    disk.mark(Mark { segment: 0x2a, end: 9_005 }).unwrap();
    drop(disk);
    assert!(dir.join("segments/000000000000002a.segment").is_file());

    let disk = open(&dir);
    assert_eq!((disk.segments().unwrap(), disk.marked()), (vec![0x2a], Mark { segment: 0x2a, end: 9_005 }));
    assert_eq!(state(&disk), [(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"2".to_vec())]);
    assert!(disk.put_aside().is_none() && disk.state_bytes() > 0);
    let segment = disk.open(0x2a).unwrap();
    let mut bytes = [1; 2000];
    assert_eq!((segment.len().unwrap(), segment.read_at(&mut bytes, 8_999).unwrap()), (10_000, 1001));
    assert_eq!(&bytes[..7], b"\0hello\0");
    assert_eq!(segment.read_at(&mut bytes, 10_000).unwrap(), 0);
    segment.truncate(9_002).unwrap();
    assert_eq!(segment.read_at(&mut bytes, 9_000).unwrap(), 2);
}

#[test]
fn a_segment_has_its_room_from_the_start() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempdir().unwrap();
    let mut disk = open(dir.path());
    disk.create(1, 1 << 20).unwrap();
    let file = fs::metadata(disk.path(1)).unwrap();
    assert_eq!((file.len(), file.blocks() >= 2048), (1 << 20, true));
    let file = File::create(dir.path().join("zeros")).unwrap();
    write_zeros(&file, 100_000).unwrap();
    let file = file.metadata().unwrap();
    assert_eq!((file.len(), file.blocks() * 512 >= 100_000), (100_000, true));
}

#[test]
fn a_segment_that_has_no_room_is_not_left_behind() {
    let dir = tempdir().unwrap();
    let mut disk = open(dir.path());
    // More than a file may be long.
    disk.create(1, u64::MAX / 2).unwrap_err();
    assert!(disk.segments().unwrap().is_empty());
    disk.create(1, 0).unwrap();
    assert_eq!(disk.create(1, 0).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(disk.segments().unwrap(), [1]);
}

#[test]
fn removed_segments_are_gone_but_for_those_who_have_them_open() {
    let dir = tempdir().unwrap();
    let mut disk = open(dir.path());
    let segments = [3, 1, u64::MAX].map(|number| disk.create(number, 100).unwrap());
    segments[0].write_at(b"still", 0).unwrap();
    assert_eq!(disk.segments().unwrap(), [1, 3, u64::MAX]);
    disk.remove(&[3, 2, u64::MAX]).unwrap();
    assert_eq!(disk.segments().unwrap(), [1]);
    assert_eq!(disk.open(3).unwrap_err().kind(), ErrorKind::NotFound);
    let mut bytes = [0; 5];
    segments[0].read_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"still");
}

#[test]
fn other_files_are_left_alone() {
    let dir = tempdir().unwrap();
    let mut disk = open(dir.path());
    disk.create(7, 0).unwrap();
    for name in
        ["7.segment", "000000000000002A.segment", "+00000000000002a.segment", "000000000000002a", "notes"]
    {
        fs::write(disk.segments.join(name), b"").unwrap();
    }
    assert_eq!(disk.segments().unwrap(), [7]);
}

#[test]
fn a_directory_that_is_in_use_says_by_whom() {
    let dir = tempdir().unwrap();
    let disk = open(dir.path());
    let Err(StoreError::Locked { pid, .. }) = RealDisk::open(dir.path()) else { panic!("not locked") };
    assert_eq!(pid, std::process::id());
    drop(disk);
    (0..20).for_each(|_| drop(open(dir.path())));
}

#[test]
fn what_cannot_be_opened_says_where() {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("segments"), b"").unwrap();
    let told = RealDisk::open(dir.path()).unwrap_err().to_string();
    assert!(told.contains(dir.path().join("segments").to_str().unwrap()), "{told}");
}

#[test]
fn readers_and_the_writer_share_a_segment() {
    let dir = tempdir().unwrap();
    let mut disk = open(dir.path());
    let segment = disk.create(1, 1 << 20).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| (0..256).for_each(|page| segment.write_at(&[7; 4096], page * 4096).unwrap()));
        scope.spawn(|| {
            let mut bytes = vec![0; 1 << 20];
            assert_eq!(segment.read_at(&mut bytes, 0).unwrap(), 1 << 20);
            assert!(bytes.iter().all(|byte| [0, 7].contains(byte)));
        });
    });
    let mut bytes = [0; 10];
    segment.read_at(&mut bytes, (1 << 20) - 10).unwrap();
    assert_eq!(bytes, [7; 10]);
}
