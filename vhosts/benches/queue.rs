//! What a message costs on its way through a queue: published, delivered to one consumer, acknowledged; in a
//! queue that does nothing else, and in one that does everything. Then what a million messages cost that wait
//! for a moment: for their time to be up, or for another attempt.
//!
//! Memory is the growth of the process's resident pages, divided by the messages; so it includes what the
//! allocator wastes. Messages exist before, and all queues until the end, so that no page is used twice.

use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use std::hint::black_box;
use vhosts::queue::settings::{DeadLetterTo, Delayed, Limits, Priorities, Retry, Schedule};
use vhosts::queue::{ConsumerKey, ConsumerSpec, Effect, Outcome, Settings};
use vhosts::{DeliveryId, Message, Moment, Name, Queue, Seq};

/// Messages that wait.
const MANY: u64 = 1_000_000;
const HOUR_MS: u64 = 3_600_000;
const PAGE_BYTES: f64 = 4096.0;

/// A queue with one consumer, and what is used again for every batch.
struct Bench {
    queue: Queue,
    consumer: ConsumerKey,
    message: Message,
    now: Moment,
    effects: Vec<Effect>,
    unacked: Vec<DeliveryId>,
}

impl Bench {
    fn new(settings: &Settings, no_ack: bool, prefetch: u16) -> Bench {
        let mut queue = Queue::new(settings, true, Seq(1), Moment(0));
        let spec = ConsumerSpec { no_ack, prefetch, credit: 1024, ..ConsumerSpec::default() };
        let Ok(consumer) = queue.consume(spec) else { unreachable!("the first consumer") };
        let message = message(&[0x10, 0, 2]);
        Bench { queue, consumer, message, now: Moment(0), effects: Vec::new(), unacked: Vec::new() }
    }

    /// A batch through the queue: a message is cloned for it, as for any queue that it goes to.
    fn pass(&mut self, batch: u32) {
        for _ in 0..batch {
            let refused = self.queue.publish(self.message.clone(), self.now, &mut self.effects).is_err();
            debug_assert!(!refused);
        }
        self.take_in();
        for id in self.unacked.drain(..) {
            self.queue.answer(id, Outcome::Settle, self.now, &mut self.effects);
        }
        self.queue.grant(self.consumer, batch);
        self.queue.deliver(self.now, &mut self.effects);
        self.take_in();
    }

    fn take_in(&mut self) {
        for effect in self.effects.drain(..) {
            if let Effect::Deliver { delivery, .. } = &effect {
                self.unacked.extend(delivery.id);
            }
            black_box(effect);
        }
    }
}

fn message(properties: &[u8]) -> Message {
    let Ok(message) = Message::new("", b"bench", properties, &[b'x'; 16]) else {
        unreachable!("a property list")
    };
    message
}

fn all_features() -> Settings {
    let schedule = Schedule::Exponential { min_ms: 1_000, multiplier: 2.0, max_ms: HOUR_MS };
    Settings {
        sync_mode: Default::default(),
        message_ttl_ms: Some(HOUR_MS),
        expires_ms: Some(HOUR_MS),
        dead_letter: Some(DeadLetterTo {
            exchange: Name::from("dead"),
            routing_key: None,
            at_least_once: true,
        }),
        limits: Limits { max_length: Some(MANY), max_length_bytes: Some(1 << 40), ..Limits::default() },
        priorities: Priorities { max: 9, default: 4 },
        single_active_consumer: true,
        retry: Retry { delivery_limit: Some(20), delayed: Delayed::All, schedule },
        consumer_timeout_ms: Some(HOUR_MS),
    }
}

fn pass(criterion: &mut Criterion) {
    for (group, settings) in [("queue", Settings::default()), ("all features", all_features())] {
        let mut group = criterion.benchmark_group(group);
        for (name, no_ack, prefetch) in
            [("prefetch 0", false, 0), ("prefetch 250", false, 250), ("no_ack", true, 0)]
        {
            for batch in [1, 100] {
                let mut bench = Bench::new(&settings, no_ack, prefetch);
                group.throughput(Throughput::Elements(u64::from(batch)));
                group.bench_function(BenchmarkId::new(name, batch), |bencher| {
                    bencher.iter(|| bench.pass(batch));
                });
            }
        }
        group.finish();
    }
}

/// Random enough to come in no order.
fn scattered(number: u64) -> u64 {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
}

/// Messages that expire in no order within an hour.
fn short_lived() -> Vec<Message> {
    let expiring = |number| {
        let digits = (scattered(number) % HOUR_MS).to_string();
        let mut properties = vec![1, 0, digits.len() as u8];
        properties.extend(digits.as_bytes());
        message(&properties)
    };
    (0..MANY).map(expiring).collect()
}

fn long_lived() -> Vec<Message> {
    (0..MANY).map(|_| message(&[0, 0])).collect()
}

fn filled(settings: &Settings, messages: &[Message]) -> Queue {
    let mut queue = Queue::new(settings, false, Seq(1), Moment(0));
    let mut effects = Vec::new();
    for message in messages {
        let _ = black_box(queue.publish(message.clone(), Moment(0), &mut effects));
    }
    queue
}

fn retrying() -> Settings {
    let schedule = Schedule::Linear { min_ms: HOUR_MS, max_ms: HOUR_MS };
    Settings { retry: Retry { delayed: Delayed::All, schedule, delivery_limit: None }, ..Settings::default() }
}

/// A queue that handed everything out.
fn handed_out(messages: &[Message]) -> Queue {
    let mut queue = filled(&retrying(), messages);
    let mut effects = Vec::new();
    while let Some(delivery) = queue.get(false, Moment(0), &mut effects) {
        black_box(delivery);
    }
    queue
}

/// Everything comes back, in no order, a thousand messages in a millisecond.
fn give_back(queue: &mut Queue) {
    let mut effects = Vec::new();
    for number in 0..MANY {
        // The factor has no divisor in common with their number, so each has its turn.
        let id = DeliveryId(1 + number * 611_953 % MANY);
        queue.answer(id, Outcome::Return, Moment(number / 1000), &mut effects);
    }
    debug_assert_eq!(queue.delayed_len() as u64, MANY);
}

fn tick(queue: &mut Queue) {
    let then = Moment(2 * HOUR_MS);
    while queue.deadline().is_some_and(|at| at <= then) {
        queue.tick(then, &mut Vec::new());
    }
}

fn a_million_waiting(criterion: &mut Criterion) {
    let (short_lived, long_lived) = (short_lived(), long_lived());
    tell_memory(&short_lived, &long_lived);
    let mut group = criterion.benchmark_group("a million waiting");
    group.sample_size(10).throughput(Throughput::Elements(MANY));
    let plain = Settings::default();
    group.bench_function("publish", |bencher| bencher.iter_with_large_drop(|| filled(&plain, &long_lived)));
    group.bench_function("publish with expiration", |bencher| {
        bencher.iter_with_large_drop(|| filled(&plain, &short_lived));
    });
    bench_each(&mut group, "expire", || filled(&plain, &short_lived), tick);
    bench_each(&mut group, "delay", || handed_out(&long_lived), give_back);
    let delayed = || {
        let mut queue = handed_out(&long_lived);
        give_back(&mut queue);
        queue
    };
    bench_each(&mut group, "become ready", delayed, tick);
    group.finish();
}

/// Measures what is done to a queue that was made for it.
fn bench_each(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    make: impl Fn() -> Queue,
    work: impl Fn(&mut Queue),
) {
    group.bench_function(name, |bencher| {
        bencher.iter_batched(
            &make,
            |mut queue| {
                work(&mut queue);
                queue
            },
            BatchSize::PerIteration,
        );
    });
}

fn tell_memory(short_lived: &[Message], long_lived: &[Message]) {
    let plain = Settings::default();
    let (ready, ready_bytes) = with_growth(|| filled(&plain, long_lived));
    let (expiring, expiring_bytes) = with_growth(|| filled(&plain, short_lived));
    let (delayed, delayed_bytes) = with_growth(|| {
        let mut queue = handed_out(long_lived);
        give_back(&mut queue);
        queue
    });
    println!("bytes for each message, above the message itself:");
    println!(
        "  ready: {ready_bytes:.0}, with an expiration: {expiring_bytes:.0}, delayed: {delayed_bytes:.0}"
    );
    black_box((ready, expiring, delayed));
}

/// A value, and by how many bytes for each message the process grew for it.
fn with_growth(make: impl FnOnce() -> Queue) -> (Queue, f64) {
    let before = resident_pages();
    let queue = make();
    let pages = resident_pages() - before;
    (queue, pages * PAGE_BYTES / MANY as f64)
}

/// Where the system does not tell, there is nothing to print.
fn resident_pages() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    pages.and_then(|words| words.split(' ').nth(1)?.parse().ok()).unwrap_or(f64::NAN)
}

criterion_group!(benches, pass, a_million_waiting);
criterion_main!(benches);
