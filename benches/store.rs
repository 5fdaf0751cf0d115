//! How fast the store takes messages of 100 bytes and lets them go, through a database on disk.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot begin has nothing to measure")]

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use haremq::store::{Lsn, Op, Safety, Store};
use smallvec::smallvec;
use std::hint::black_box;
use vhosts::{Message, QueueId, Seq};

const MESSAGES: u64 = 100_000;
const BATCH: usize = 200;

fn messages(first: u64) -> Vec<(Seq, Message)> {
    let body = Bytes::from(vec![b'x'; 100]);
    let message = |seq| (Seq(seq), Message::new("", b"bench", &[0x10, 0, 2], &body).unwrap());
    (first..first + MESSAGES).map(message).collect()
}

fn append((seq, message): &(Seq, Message)) -> Op {
    Op::Append { message: message.clone(), targets: smallvec![(QueueId(1), *seq)], safety: Safety::Synced }
}

fn settle((seq, message): &(Seq, Message)) -> Op {
    Op::Settle { queue: QueueId(1), seq: *seq, message: message.clone() }
}

fn wait(runtime: &tokio::runtime::Runtime, store: &Store, lsn: Lsn) {
    let mut progress = store.progress();
    let reached =
        runtime.block_on(progress.wait_for(|progress| progress.durable >= lsn || progress.failed.is_some()));
    assert!(reached.is_ok_and(|progress| progress.failed.is_none()));
}

fn submit(store: &Store, messages: &[(Seq, Message)], op: impl Fn(&(Seq, Message)) -> Op) -> Lsn {
    let mut ops = Vec::with_capacity(BATCH);
    for batch in messages.chunks(BATCH) {
        ops.extend(batch.iter().map(&op));
        store.submit(&mut ops);
    }
    store.submit(&mut Vec::new())
}

fn store(criterion: &mut Criterion) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut first = 0;
    let mut next = || {
        first += MESSAGES;
        messages(first)
    };
    let mut group = criterion.benchmark_group("store");
    group.sample_size(20);
    group.throughput(Throughput::Elements(MESSAGES));
    group.bench_function("append, confirm, settle", |bencher| {
        let round = |messages: Vec<_>| {
            wait(&runtime, &store, submit(&store, &messages, append));
            wait(&runtime, &store, submit(&store, &messages, settle));
        };
        bencher.iter_batched(&mut next, round, BatchSize::PerIteration);
    });
    group.bench_function("settled before it is written", |bencher| {
        let round = |messages: Vec<_>| {
            for batch in messages.chunks(BATCH) {
                store.submit(&mut batch.iter().flat_map(|found| [append(found), settle(found)]).collect());
            }
            wait(&runtime, &store, store.submit(&mut Vec::new()));
        };
        bencher.iter_batched(&mut next, round, BatchSize::PerIteration);
    });
    group.throughput(Throughput::Elements(1));
    let mut seq = 0;
    group.bench_function("one message, until it is safe", |bencher| {
        bencher.iter(|| {
            seq += 1;
            let message = (Seq(seq), Message::new("", b"bench", &[0x10, 0, 2], &[b'x'; 100]).unwrap());
            wait(&runtime, &store, store.submit(&mut vec![append(&message)]));
            store.submit(&mut vec![settle(&message)]);
        });
    });
    group.finish();
    store.close().unwrap();
    black_box(store.figures());
}

criterion_group!(benches, store);
criterion_main!(benches);
