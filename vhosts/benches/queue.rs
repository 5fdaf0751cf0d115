//! What a message costs on its way through a queue: published, delivered to one consumer, acknowledged.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use vhosts::queue::{ConsumerKey, ConsumerSpec, Effect, Outcome};
use vhosts::{DeliveryId, Message, Queue, Seq};

/// A queue with one consumer, and what is used again for every batch.
struct Bench {
    queue: Queue,
    consumer: ConsumerKey,
    message: Message,
    effects: Vec<Effect>,
    unacked: Vec<DeliveryId>,
}

impl Bench {
    fn new(no_ack: bool, prefetch: u16) -> Bench {
        let mut queue = Queue::new(true, Seq(1));
        let spec = ConsumerSpec { no_ack, exclusive: false, prefetch, credit: 1024 };
        let Ok(consumer) = queue.consume(spec) else { unreachable!("the first consumer") };
        let Ok(message) = Message::new("", b"bench", &[0x10, 0, 2], &[b'x'; 16]) else {
            unreachable!("a property list")
        };
        Bench { queue, consumer, message, effects: Vec::new(), unacked: Vec::new() }
    }

    /// A batch through the queue: a message is cloned for it, as for any queue that it goes to.
    fn pass(&mut self, batch: u32) {
        for _ in 0..batch {
            self.queue.publish(self.message.clone(), &mut self.effects);
        }
        self.take_in();
        for id in self.unacked.drain(..) {
            self.queue.answer(id, Outcome::Settle, &mut self.effects);
        }
        self.queue.grant(self.consumer, batch);
        self.queue.deliver(&mut self.effects);
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

fn queue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue");
    for (name, no_ack, prefetch) in
        [("prefetch 0", false, 0), ("prefetch 250", false, 250), ("no_ack", true, 0)]
    {
        for batch in [1, 100] {
            let mut bench = Bench::new(no_ack, prefetch);
            group.throughput(Throughput::Elements(u64::from(batch)));
            group.bench_function(BenchmarkId::new(name, batch), |bencher| bencher.iter(|| bench.pass(batch)));
        }
    }
    group.finish();
}

criterion_group!(benches, queue);
criterion_main!(benches);
