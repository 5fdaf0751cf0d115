//! The examples of README.md in Rust do what README.md says: the consumer prints what the publisher sent.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod broker;

use broker::{Broker, PATIENCE};
use lapin::options::QueueDeleteOptions;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn the_consumer_prints_what_the_publisher_sent() {
    let broker = Broker::start().await;
    // A broker named by `AMQP_URL` may hold messages of an earlier run.
    let (_connection, channel) = broker.channel().await;
    channel.queue_delete("greetings".into(), QueueDeleteOptions::default()).await.unwrap();
    let published =
        timeout(PATIENCE, example("publisher", &broker).output()).await.expect("in time").unwrap();
    assert_eq!(String::from_utf8_lossy(&published.stdout), "10 messages are safe\n", "{published:?}");

    let mut consumer = example("consumer", &broker).spawn().unwrap();
    let mut lines = BufReader::new(consumer.stdout.take().unwrap()).lines();
    for number in 0..10 {
        let line = timeout(PATIENCE, lines.next_line()).await.expect("a message in time").unwrap();
        assert_eq!(line, Some(format!("Hello {number}")));
    }
}

/// A program from `examples/`, as cargo built it beside the broker.
fn example(name: &str, broker: &Broker) -> Command {
    let path = Path::new(env!("CARGO_BIN_EXE_haremq")).with_file_name("examples").join(name);
    assert!(path.exists(), "{}: first run cargo build --examples", path.display());
    let mut command = Command::new(path);
    command.env("AMQP_URL", broker.url()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}
