//! The log takes little more room than what it is kept for, and a large one is read back in little time.

use super::super::testing::{Committer, MemoryDisk, recover};
use super::{SMALL, Target, append, message, opened, read, recovered, settle, settle_down, targets};
use ::vhosts::{Message, Moment};
use std::collections::BTreeMap;

/// What is live, and the queue that it is in.
struct Load {
    disk: MemoryDisk,
    committer: Committer,
    now: Moment,
    live: BTreeMap<Target, Message>,
    seq: u64,
}

impl Load {
    fn new(seed: u64) -> Load {
        let disk = MemoryDisk::new(seed);
        let (committer, _) = opened(&disk);
        Load { disk, committer, now: Moment(0), live: BTreeMap::new(), seq: 0 }
    }

    fn publish(&mut self) {
        self.seq += 1;
        let fan_out = [(1, self.seq), (2, self.seq)];
        let at = if self.seq.is_multiple_of(5) { &fan_out[..] } else { &fan_out[..1] };
        let message = message(at, 300);
        self.committer.commit(&mut vec![append(&message, at)], self.now);
        self.live.extend(at.iter().map(|at| (*at, message.clone())));
    }

    fn ack(&mut self, target: Target) {
        if let Some(message) = self.live.remove(&target) {
            self.committer.commit(&mut vec![settle(&message, target)], self.now);
            self.now = self.now.after_ms(1);
        }
    }

    /// A minute without anything new.
    fn rest(&mut self) {
        let end = self.now.after_ms(60_000);
        assert!(settle_down(&mut self.committer, self.now) < end, "it takes too long");
        self.now = end;
        let live: u64 = self.live.values().map(|message| 96 + message.body_len()).sum();
        let used = self.disk.used();
        assert!(used <= 2 * live + 3 * SMALL, "{used} bytes for {live}");
        let reader = self.committer.reader();
        for (target, message) in &self.live {
            let place = reader.place(message).unwrap();
            assert!(read(&reader, place).is_some(), "{target:?} cannot be read any more");
        }
    }

    fn restart(&mut self) {
        self.disk = self.disk.power_loss(self.seq);
        let (committer, recovery) = opened(&self.disk);
        let found = recovered(&recovery, &committer.reader());
        assert!(found.keys().eq(self.live.keys()));
        self.live = found.into_iter().map(|(target, (message, _))| (target, message)).collect();
        (self.committer, self.now) = (committer, Moment(0));
    }
}

#[test]
fn acks_in_order_leave_nothing() {
    let mut load = Load::new(1);
    for _ in 0..20 {
        (0..100).for_each(|_| load.publish());
        let goes: Vec<_> = load.live.keys().copied().filter(|(_, seq)| seq + 50 < load.seq).collect();
        goes.into_iter().for_each(|target| load.ack(target));
        load.rest();
    }
    load.live.keys().copied().collect::<Vec<_>>().into_iter().for_each(|target| load.ack(target));
    load.rest();
    assert!(load.disk.used() <= 3 * SMALL);
}

#[test]
fn random_acks_leave_little() {
    let mut load = Load::new(2);
    for round in 0..20_u64 {
        (0..100).for_each(|_| load.publish());
        let goes = |(queue, seq): &Target| (seq * 7_919 + queue * 31 + round * 104_729) % 10 < 4;
        let goes: Vec<_> = load.live.keys().copied().filter(goes).collect();
        goes.into_iter().for_each(|target| load.ack(target));
        load.rest();
        if round % 4 == 0 {
            load.restart();
            load.rest();
        }
    }
    assert!(load.live.len() > 100 && load.committer.figures().moved > 0);
}

#[test]
fn stragglers_do_not_keep_their_segments() {
    let mut load = Load::new(3);
    for round in 0..30_u64 {
        (0..60).for_each(|_| load.publish());
        let goes: Vec<_> = load.live.keys().copied().filter(|(_, seq)| seq % 60 != 0).collect();
        goes.into_iter().for_each(|target| load.ack(target));
        load.rest();
        if round % 10 == 9 {
            load.restart();
        }
    }
    let left: Vec<Target> = targets(&opened(&load.disk.killed()).1);
    assert!(left.iter().all(|(_, seq)| seq % 60 == 0) && left.len() == 60, "{left:?}");
}

#[test]
fn many_messages_are_recovered_in_time() {
    const MANY: u64 = 100_000;
    let disk = MemoryDisk::new(1);
    let (mut committer, _) = recover(Box::new(disk.clone())).unwrap();
    for first in (0..MANY).step_by(1_000) {
        let mut ops =
            (first..first + 1_000).map(|seq| append(&message(&[(1, seq)], 100), &[(1, seq)])).collect();
        assert!(committer.commit(&mut ops, Moment(first)));
    }
    committer.close().unwrap();
    drop(committer);
    let begun = std::time::Instant::now();
    let (_, recovery) = recover(Box::new(disk.killed())).unwrap();
    let took = begun.elapsed();
    assert_eq!((recovery.messages, targets(&recovery).len() as u64), (MANY, MANY));
    println!("{MANY} messages are recovered in {took:?}");
    assert!(took.as_secs() < 20, "{took:?}");
}
