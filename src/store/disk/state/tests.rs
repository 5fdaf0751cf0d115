//! The state survives what it must, and says so when it did not.

use super::*;
use crate::store::disk::memory::Random;
use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, ErrorKind};
use std::process::{Command, Stdio};
use tempfile::{TempDir, tempdir};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn open(dir: &Path) -> State {
    State::open(dir).unwrap()
}

fn content(state: &State) -> Map {
    let mut map = Map::new();
    state.read(&mut |key, value| _ = map.insert(key.to_vec(), value.to_vec())).unwrap();
    map
}

fn put(key: &[u8], value: &[u8]) -> Assignment {
    (key.to_vec(), Some(value.to_vec()))
}

fn remove(key: &[u8]) -> Assignment {
    (key.to_vec(), None)
}

fn apply(map: &mut Map, changes: &[Assignment]) {
    for (key, value) in changes.iter().cloned() {
        match value {
            Some(value) => _ = map.insert(key, value),
            None => _ = map.remove(&key),
        }
    }
}

/// Some changes of a few hundred keys, some of them removals.
fn some_changes(random: &mut Random) -> Vec<Assignment> {
    (0..=random.up_to(40))
        .map(|_| {
            let key = (random.up_to(300) as u64 * 1000).to_be_bytes().to_vec();
            let value = vec![random.up_to(255) as u8; random.up_to(4096)];
            (key, (random.up_to(4) > 0).then_some(value))
        })
        .collect()
}

/// What a kill leaves: all files as they are now.
fn copy(dir: &Path) -> TempDir {
    let copy = tempdir().unwrap();
    let state = copy.path().join(DIRECTORY);
    fs::create_dir_all(state.join("blobs")).unwrap();
    for file in fs::read_dir(dir.join(DIRECTORY)).unwrap().map(Result::unwrap) {
        if file.file_type().unwrap().is_file() {
            fs::copy(file.path(), state.join(file.file_name())).unwrap();
        }
    }
    copy
}

fn db(dir: &Path) -> PathBuf {
    dir.join(DIRECTORY).join("db")
}

#[test]
fn what_was_written_is_there_when_it_is_opened_again() {
    let dir = tempdir().unwrap();
    let mut state = open(dir.path());
    assert!(content(&state).is_empty() && state.put_aside().is_none());
    state.write(&[put(b"a", b"1"), put(b"b", b""), put(b"a", b"2")]).unwrap();
    state.write(&[remove(b"b"), remove(b"never"), put(b"c", b"3"), remove(b"c")]).unwrap();
    state.write(&[]).unwrap();
    for _ in 0..2 {
        assert_eq!(content(&state), [(b"a".to_vec(), b"2".to_vec())].into());
        drop(state);
        state = open(dir.path());
    }
    assert!(state.bytes() > 0 && state.put_aside().is_none());
}

#[test]
fn what_sled_would_not_keep_safe_is_refused() {
    let dir = tempdir().unwrap();
    let mut state = open(dir.path());
    for entry in [put(b"", b"1"), put(&[1; KEY_MAX + 1], b""), put(b"key", &[0; VALUE_MAX + 1])] {
        assert_eq!(state.write(&[entry]).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    let large = |number: u64| {
        let mut key = [0; KEY_MAX];
        key[..8].copy_from_slice(&(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes());
        put(&key, &[number as u8; VALUE_MAX])
    };
    for portion in 0..30 {
        state.write(&(portion * 50..portion * 50 + 50).map(large).collect::<Vec<_>>()).unwrap();
    }
    assert_eq!(content(&state).len(), 1500);
    assert_eq!(fs::read_dir(dir.path().join(DIRECTORY).join("blobs")).unwrap().count(), 0);
}

#[test]
fn a_loss_of_power_leaves_a_write_whole_or_not_at_all() {
    let (mut olds, mut news) = (0, 0);
    for seed in 0..8 {
        let mut random = Random::new(seed);
        let dir = tempdir().unwrap();
        let mut state = open(dir.path());
        let mut old = Map::new();
        for _ in 0..12 {
            let left = copy(dir.path());
            let changes = some_changes(&mut random);
            state.write(&changes).unwrap();
            let mut new = old.clone();
            apply(&mut new, &changes);
            mix_sectors(&db(left.path()), &db(dir.path()), &mut random);
            let found = open(left.path());
            assert_eq!(found.put_aside(), None);
            let found = content(&found);
            assert!(found == old || found == new, "seed {seed}");
            *(if found == new { &mut news } else { &mut olds }) += 1;
            assert_eq!(content(&open(copy(dir.path()).path())), new, "after a kill");
            old = new;
        }
    }
    assert!(olds > 0 && news > 0, "{olds} {news}");
}

/// Sectors of the new file reach the old one: the first, any, or all.
fn mix_sectors(old: &Path, new: &Path, random: &mut Random) {
    let mut mixed = fs::read(old).unwrap();
    let new = fs::read(new).unwrap();
    mixed.resize(new.len(), 0);
    let sectors =
        mixed.chunks_mut(512).zip(new.chunks(512)).filter(|(old, new)| old != new).collect::<Vec<_>>();
    let (choice, cut) = (random.up_to(2), random.up_to(sectors.len()));
    for (at, (old, new)) in sectors.into_iter().enumerate() {
        if choice == 0 || choice == 1 && at < cut || choice == 2 && random.coin() {
            old.copy_from_slice(new);
        }
    }
    fs::write(old, mixed).unwrap();
}

#[test]
fn damage_never_passes_unseen() {
    let dir = tempdir().unwrap();
    let mut random = Random::new(1);
    let mut expected = Map::new();
    let mut state = open(dir.path());
    for round in 0..60 {
        let changes = some_changes(&mut random);
        state.write(&changes).unwrap();
        apply(&mut expected, &changes);
        if round % 20 == 0 {
            drop(state);
            state = open(dir.path());
        }
    }
    let (mut sound, mut aside, mut refused) = (0, 0, 0);
    for seed in 0..100 {
        let damaged = copy(dir.path());
        damage(damaged.path(), &mut Random::new(seed));
        match State::open(damaged.path()) {
            Err(_) => refused += 1,
            Ok(mut state) => {
                let found = content(&state);
                if state.put_aside().is_some() {
                    assert!(found.is_empty() && damaged.path().join("state.damaged-1/db").exists());
                    aside += 1;
                } else {
                    assert!(found == expected, "seed {seed}");
                    sound += 1;
                }
                state.write(&[put(b"new", b"1")]).unwrap();
                drop(state);
                assert_eq!(content(&open(damaged.path())).len(), found.len() + 1, "seed {seed}");
            }
        }
    }
    eprintln!("of 100: {sound} sound, {aside} put aside, {refused} refused");
    assert!(sound > 0 && aside > 0 && refused == 0);
}

/// Flips some bytes, overwrites a page, or cuts the end off.
fn damage(dir: &Path, random: &mut Random) {
    let mut bytes = fs::read(db(dir)).unwrap();
    let at = random.up_to(bytes.len() - 1);
    match random.up_to(3) {
        0 => bytes.truncate(at),
        1 => bytes.iter_mut().skip(at).take(4096).for_each(|byte| *byte = 0),
        _ => (0..=random.up_to(7)).for_each(|_| {
            let at = random.up_to(bytes.len() - 1);
            bytes[at] ^= 1 << random.up_to(7);
        }),
    }
    fs::write(db(dir), bytes).unwrap();
}

#[test]
fn a_missing_part_is_damage() {
    for name in ["db", "snap", "conf"] {
        let dir = tempdir().unwrap();
        let mut state = open(dir.path());
        state.write(&[put(b"a", b"1")]).unwrap();
        drop(state);
        drop(open(dir.path()));
        for file in fs::read_dir(dir.path().join(DIRECTORY)).unwrap().map(Result::unwrap) {
            if file.file_name().to_string_lossy().starts_with(name) {
                fs::write(file.path(), b"short").unwrap();
            }
        }
        let state = open(dir.path());
        let is_kept = content(&state).len() == 1;
        assert_eq!(is_kept, state.put_aside().is_none(), "{name}: {:?}", state.put_aside());
        assert_eq!(is_kept, name == "conf", "{name}");
    }
}

#[test]
fn a_snapshot_that_sled_did_not_finish_is_no_damage() {
    let dir = tempdir().unwrap();
    let mut state = open(dir.path());
    state.write(&[put(b"a", b"1")]).unwrap();
    drop(state);
    fs::write(dir.path().join(DIRECTORY).join("snap.0FFFFFFFFFFFFFFF.generating"), b"").unwrap();
    let state = open(dir.path());
    assert_eq!((state.put_aside(), content(&state).len()), (None, 1));
}

#[test]
fn each_damaged_state_has_a_name_of_its_own() {
    let dir = tempdir().unwrap();
    for number in 1..=3 {
        let mut state = open(dir.path());
        state.write(&[put(b"a", b"1")]).unwrap();
        drop(state);
        fs::write(db(dir.path()), b"").unwrap();
        let state = open(dir.path());
        let name = dir.path().join(format!("state.damaged-{number}"));
        assert!(name.is_dir() && state.put_aside().unwrap().contains(name.to_str().unwrap()));
    }
}

const VICTIM: &str = "HAREMQ_TEST_VICTIM";

/// The victim writes the same number under many keys, and says so when it is safe; in the middle of a later
/// write, or of opening, it is killed.
#[test]
fn a_kill_at_any_moment_leaves_a_write_whole_or_not_at_all() {
    let dir = tempdir().unwrap();
    let mut random = Random::new(1);
    let mut said = 0;
    for _ in 0..20 {
        let mut victim = Command::new(env::current_exe().unwrap())
            .args(["--exact", "store::disk::state::tests::a_victim_of_a_kill", "--ignored", "--nocapture"])
            .env(VICTIM, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(victim.stdout.take().unwrap()).lines().map(Result::unwrap);
        let numbers = lines.filter_map(|line| line.parse::<u32>().ok());
        said = numbers.take(1 + random.up_to(30)).last().unwrap();
        victim.kill().unwrap();
        victim.wait().unwrap();
        let state = open(dir.path());
        let found = content(&state);
        let number = u32::from_be_bytes(found.values().next().unwrap()[..4].try_into().unwrap());
        assert!(number >= said && state.put_aside().is_none(), "{said} {number}");
        assert!(found.len() == 100 && found.values().all(|value| value[..4] == number.to_be_bytes()));
    }
    assert!(said >= 20);
}

#[test]
#[ignore = "killed by a_kill_at_any_moment_leaves_a_write_whole_or_not_at_all"]
fn a_victim_of_a_kill() {
    let dir = PathBuf::from(env::var_os(VICTIM).expect("a directory"));
    let mut state = open(&dir);
    let first = content(&state)
        .values()
        .next()
        .map_or(0, |value| value[..4].try_into().map_or(0, u32::from_be_bytes));
    for number in first + 1.. {
        let value = number.to_be_bytes().repeat(1 + number as usize % 500);
        state.write(&(0..100u8).map(|key| put(&[key], &value)).collect::<Vec<_>>()).unwrap();
        println!("\n{number}");
    }
}

const SMALL_DISK: &str = "HAREMQ_TEST_SMALL_DISK";

/// The other half runs in a process of its own that has a small file system mounted.
#[test]
fn after_a_full_disk_it_goes_on() {
    let dir = tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=32m none "$0" && exec "$@""#;
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script])
        .args([dir.path(), &env::current_exe().unwrap()])
        .args(["--exact", "store::disk::state::tests::on_a_small_disk", "--ignored", "--nocapture"])
        .env(SMALL_DISK, dir.path())
        .output();
    let output = output.expect("unshare, to mount a small file system where nobody else sees it");
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

#[test]
#[ignore = "run by after_a_full_disk_it_goes_on"]
fn on_a_small_disk() {
    let dir = PathBuf::from(env::var_os(SMALL_DISK).expect("a small file system"));
    let mut state = open(&dir);
    let mut expected = Map::new();
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let ballast = dir.join("ballast");
        fill(&ballast, random.up_to(400_000));
        let (changes, refused) = write_until_full(&mut state, &mut expected, &mut random);
        assert_eq!(refused.kind(), ErrorKind::StorageFull, "{refused}");
        // Each of these opens the database anew.
        (0..3).for_each(|_| match state.write(&changes) {
            Ok(()) => {}
            Err(refused) => assert_eq!(refused.kind(), ErrorKind::StorageFull, "{refused}"),
        });
        fs::remove_file(&ballast).unwrap();
        state.write(&changes).unwrap();
        apply(&mut expected, &changes);
        assert_eq!(state.put_aside(), None, "seed {seed}");
        assert!(content(&state) == expected, "seed {seed}");
        let half = expected.keys().step_by(2).map(|key| remove(key)).collect::<Vec<_>>();
        state.write(&half).unwrap();
        apply(&mut expected, &half);
        if seed % 4 == 3 {
            drop(state);
            state = open(&dir);
            assert!(content(&state) == expected, "seed {seed}, opened again");
        }
    }
}

/// Takes all the room but so many bytes.
fn fill(path: &Path, left: usize) {
    let mut bytes = 0;
    let file = fs::File::create(path).unwrap();
    while io::Write::write_all(&mut &file, &[1; 4096]).is_ok() {
        bytes += 4096;
    }
    file.set_len((bytes as u64).saturating_sub(left as u64)).unwrap();
}

fn write_until_full(
    state: &mut State,
    expected: &mut Map,
    random: &mut Random,
) -> (Vec<Assignment>, io::Error) {
    for _ in 0..10_000 {
        let changes = (0..10).map(|_| put(&random.next().to_be_bytes(), &[1; 3000])).collect::<Vec<_>>();
        match state.write(&changes) {
            Ok(()) => apply(expected, &changes),
            Err(refused) => return (changes, refused),
        }
    }
    panic!("the disk does not fill up");
}
