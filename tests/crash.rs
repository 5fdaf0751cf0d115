//! Kills the broker, `kill -9`, under load, and asks whether it kept its word.
//!
//! Publishers send persistent messages with confirms to durable queues, one consumer per queue acknowledges
//! in batches, and the broker dies at seeded moments. Afterwards the queues are drained and the
//! [`ledger`](crash::ledger) says whether every confirmed message arrived, in order and unharmed.
//!
//! `make crash` is the long form, with more rounds, more load, and a judge of its own.
//!
//! `CRASH_SEED` repeats the moments and sizes of an earlier run, as far as real processes repeat anything.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod broker;
mod crash {
    pub mod body;
    pub mod consumer;
    pub mod ledger;
    pub mod publisher;
}

use broker::{Broker, PATIENCE};
use crash::{consumer, ledger::Ledger, publisher};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

const QUEUES: [&str; 2] = ["crash.0", "crash.1"];
const PUBLISHERS: u32 = 4;
const KILLS: u32 = 5;

/// Where the run is. Clients that lose their connection wait for the next life.
#[derive(Clone, Copy, Debug, Default)]
pub struct Phase {
    /// How many times the broker was started again.
    life: u32,
    /// No more kills: publishers end when all is confirmed.
    finishing: bool,
}

/// Runs `work` while the broker's life lasts. A client whose broker dies in the middle of the handshake may
/// never hear of it; the next life is its end too. None then.
pub async fn while_it_lives<T>(
    phases: &watch::Receiver<Phase>,
    life: u32,
    work: impl Future<Output = lapin::Result<T>>,
) -> Option<lapin::Result<T>> {
    let mut next = phases.clone();
    tokio::select! {
        result = work => Some(result),
        _ = next.wait_for(|phase| phase.life > life) => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirmed_messages_survive_kill_9() {
    let seed = std::env::var("CRASH_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("CRASH_SEED={seed}");
    let mut moments = StdRng::seed_from_u64(seed);
    let mut broker = Broker::own().await;
    declare_queues(&broker).await;

    let ledger = Arc::new(Ledger::default());
    let (phase, phases) = watch::channel(Phase::default());
    let mut publishers = JoinSet::new();
    for number in 0..PUBLISHERS {
        let queue = QUEUES[number as usize % QUEUES.len()];
        publishers.spawn(publisher::run(
            number,
            queue,
            broker.url().into(),
            Arc::clone(&ledger),
            phases.clone(),
        ));
    }
    let mut consumers = JoinSet::new();
    for queue in QUEUES {
        consumers.spawn(consumer::run(queue, broker.url().into(), Arc::clone(&ledger), phases.clone()));
    }

    for life in 1..=KILLS {
        more_confirms(&ledger, moments.random_range(200..3_000)).await;
        broker.kill9().await;
        broker.restart().await;
        phase.send_replace(Phase { life, finishing: false });
    }
    more_confirms(&ledger, 500).await;
    phase.send_replace(Phase { life: KILLS, finishing: true });
    join(publishers).await;
    for queue in QUEUES {
        publisher::publish_end(queue, &broker).await;
    }
    join(consumers).await;

    assert_eq!(ledger.faults(), Vec::<String>::new(), "CRASH_SEED={seed}");
    println!("{}", ledger.summary());
    expect_empty(&broker).await;
    assert!(broker.terminate().await.success());
}

async fn declare_queues(broker: &Broker) {
    let (_connection, channel) = broker.channel().await;
    for queue in QUEUES {
        let durable = QueueDeclareOptions::durable();
        channel.queue_declare(queue.into(), durable, FieldTable::default()).await.unwrap();
    }
}

/// Waits until so many more messages are confirmed.
async fn more_confirms(ledger: &Ledger, count: u64) {
    let mut confirmed = ledger.confirmed();
    let target = *confirmed.borrow() + count;
    timeout(PATIENCE, confirmed.wait_for(|confirmed| *confirmed >= target))
        .await
        .expect("confirms in time")
        .unwrap();
}

/// Waits for all tasks, and fails with the first that fails.
async fn join(mut tasks: JoinSet<()>) {
    while let Some(ended) = timeout(2 * PATIENCE, tasks.join_next()).await.expect("an end in time") {
        ended.unwrap();
    }
}

/// What was acknowledged is gone.
async fn expect_empty(broker: &Broker) {
    let (_connection, channel) = broker.channel().await;
    for queue in QUEUES {
        let left = channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
        assert_eq!(left, 0, "messages left in {queue}");
    }
}
