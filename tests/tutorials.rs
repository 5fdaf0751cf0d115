//! RabbitMQ's tutorials with the `lapin` client, against the real binary: what a newcomer tries first.
//!
//! What each tutorial prints is asserted here. Corner cases are not for this file; the transcripts and
//! simulations have those.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod broker;

use broker::{Broker, PATIENCE};
use futures_lite::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Consumer, ExchangeKind};
use tokio::time::timeout;

/// Unique, since a broker named by `AMQP_URL` may keep queues of earlier runs.
fn unique(name: &str) -> String {
    format!("{name}-{:016x}", rand::random::<u64>())
}

/// An exclusive queue; the name empty for one that the broker picks.
async fn exclusive_queue(channel: &Channel, name: &str) -> String {
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare(name.into(), options, FieldTable::default()).await.unwrap();
    queue.name().to_string()
}

async fn consume(channel: &Channel, queue: &str, no_ack: bool) -> Consumer {
    let options = BasicConsumeOptions { no_ack, ..BasicConsumeOptions::default() };
    channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await.unwrap()
}

async fn publish(channel: &Channel, exchange: &str, key: &str, body: &str) {
    publish_with(channel, exchange, key, body, BasicProperties::default()).await;
}

async fn publish_with(channel: &Channel, exchange: &str, key: &str, body: &str, properties: BasicProperties) {
    let options = BasicPublishOptions::default();
    channel
        .basic_publish(exchange.into(), key.into(), options, body.as_bytes(), properties)
        .await
        .expect("a publish");
}

async fn next(consumer: &mut Consumer) -> Delivery {
    timeout(PATIENCE, consumer.next())
        .await
        .expect("a delivery in time")
        .expect("no cancel")
        .expect("a delivery")
}

async fn next_text(consumer: &mut Consumer) -> String {
    String::from_utf8(next(consumer).await.data).unwrap()
}

/// A transient exchange that goes with its last binding.
async fn exchange(channel: &Channel, kind: ExchangeKind) -> String {
    let name = unique("logs");
    let options = ExchangeDeclareOptions { auto_delete: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(name.as_str().into(), kind, options, FieldTable::default()).await.unwrap();
    name
}

/// A consumer of a queue of its own that is bound with each key.
async fn subscriber(channel: &Channel, exchange: &str, keys: &[&str]) -> Consumer {
    let queue = exclusive_queue(channel, "").await;
    for &key in keys {
        let options = QueueBindOptions::default();
        let bound = channel.queue_bind(
            queue.as_str().into(),
            exchange.into(),
            key.into(),
            options,
            FieldTable::default(),
        );
        bound.await.unwrap();
    }
    consume(channel, &queue, true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_world() {
    let broker = Broker::start().await;
    let (_sender, channel) = broker.channel().await;
    let queue = unique("hello");
    let options = QueueDeclareOptions { auto_delete: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await.unwrap();
    publish(&channel, "", &queue, "Hello World!").await;

    let (_receiver, channel) = broker.channel().await;
    let mut consumer = consume(&channel, &queue, true).await;
    assert_eq!(next_text(&mut consumer).await, "Hello World!");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_queues() {
    let broker = Broker::start().await;
    let (_connection, channel) = broker.channel().await;
    let queue = unique("task_queue");
    channel
        .queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), FieldTable::default())
        .await
        .unwrap();
    let mut workers = Vec::new();
    for _ in 0..2 {
        let (connection, channel) = broker.channel().await;
        channel.basic_qos(1, BasicQosOptions::default()).await.unwrap();
        workers.push((consume(&channel, &queue, false).await, channel, connection));
    }
    for task in ["first", "second", "third"] {
        let persistent = BasicProperties::default().with_delivery_mode(2);
        publish_with(&channel, "", &queue, task, persistent).await;
    }

    let busy = next(&mut workers[0].0).await;
    let quick = next(&mut workers[1].0).await;
    // Only the worker that has acknowledged is given the third task.
    quick.ack(BasicAckOptions::default()).await.unwrap();
    let third = next(&mut workers[1].0).await;
    assert_eq!([&busy.data[..], &quick.data, &third.data], [&b"first"[..], b"second", b"third"]);

    // A worker that dies gives its task back.
    let (dead, _channel, connection) = workers.remove(0);
    drop(dead);
    connection.close(200, "died".into()).await.unwrap();
    third.ack(BasicAckOptions::default()).await.unwrap();
    let again = next(&mut workers[0].0).await;
    assert_eq!((&again.data[..], again.redelivered), (&b"first"[..], true));
    again.ack(BasicAckOptions::default()).await.unwrap();
    channel.queue_delete(queue.as_str().into(), Default::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_subscribe() {
    let broker = Broker::start().await;
    let (_connection, channel) = broker.channel().await;
    let logs = exchange(&channel, ExchangeKind::Fanout).await;
    let mut screen = subscriber(&channel, &logs, &[""]).await;
    let mut file = subscriber(&channel, &logs, &[""]).await;
    publish(&channel, &logs, "ignored", "to everyone").await;
    assert_eq!(next_text(&mut screen).await, "to everyone");
    assert_eq!(next_text(&mut file).await, "to everyone");
}

#[tokio::test(flavor = "multi_thread")]
async fn routing() {
    let broker = Broker::start().await;
    let (_connection, channel) = broker.channel().await;
    let logs = exchange(&channel, ExchangeKind::Direct).await;
    let mut errors = subscriber(&channel, &logs, &["error"]).await;
    let mut all = subscriber(&channel, &logs, &["info", "warning", "error"]).await;
    for severity in ["info", "warning", "error", "debug", "info"] {
        publish(&channel, &logs, severity, severity).await;
    }
    for expected in ["info", "warning", "error", "info"] {
        assert_eq!(next_text(&mut all).await, expected);
    }
    // Queues are in order: had it been given anything else, that would have come first.
    assert_eq!(next_text(&mut errors).await, "error");
    publish(&channel, &logs, "error", "last").await;
    assert_eq!(next_text(&mut errors).await, "last");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics() {
    let broker = Broker::start().await;
    let (_connection, channel) = broker.channel().await;
    let animals = exchange(&channel, ExchangeKind::Topic).await;
    let mut orange = subscriber(&channel, &animals, &["*.orange.*"]).await;
    let mut rabbits = subscriber(&channel, &animals, &["*.*.rabbit", "lazy.#"]).await;
    let keys = [
        "quick.orange.rabbit",
        "lazy.orange.elephant",
        "quick.orange.fox",
        "lazy.brown.fox",
        "lazy.pink.rabbit",
        "quick.brown.fox",
        "orange",
        "lazy",
        "lazy.orange.new.rabbit",
        "end.orange.rabbit",
    ];
    for key in keys {
        publish(&channel, &animals, key, key).await;
    }
    for expected in ["quick.orange.rabbit", "lazy.orange.elephant", "quick.orange.fox", "end.orange.rabbit"] {
        assert_eq!(next_text(&mut orange).await, expected);
    }
    let expected = [
        "quick.orange.rabbit",
        "lazy.orange.elephant",
        "lazy.brown.fox",
        "lazy.pink.rabbit",
        "lazy",
        "lazy.orange.new.rabbit",
        "end.orange.rabbit",
    ];
    for expected in expected {
        assert_eq!(next_text(&mut rabbits).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn remote_procedure_call() {
    let broker = Broker::start().await;
    let (_server, server) = broker.channel().await;
    let rpc_queue = exclusive_queue(&server, &unique("rpc_queue")).await;
    let mut requests = consume(&server, &rpc_queue, false).await;
    let serving = tokio::spawn(async move {
        let request = next(&mut requests).await;
        let number: u64 = std::str::from_utf8(&request.data).unwrap().parse().unwrap();
        let reply_to = request.properties.reply_to().as_ref().unwrap().to_string();
        let id = request.properties.correlation_id().clone().unwrap();
        let reply = BasicProperties::default().with_correlation_id(id);
        publish_with(&server, "", &reply_to, &fibonacci(number).to_string(), reply).await;
        request.ack(BasicAckOptions::default()).await.unwrap();
        server
    });

    let (_client, client) = broker.channel().await;
    let reply_queue = exclusive_queue(&client, "").await;
    assert!(reply_queue.starts_with("amq.gen-"), "{reply_queue}");
    let mut replies = consume(&client, &reply_queue, true).await;
    let request = BasicProperties::default()
        .with_reply_to(reply_queue.as_str().into())
        .with_correlation_id("call-1".into());
    publish_with(&client, "", &rpc_queue, "30", request).await;
    let reply = next(&mut replies).await;
    assert_eq!(reply.data, b"832040");
    assert_eq!(reply.properties.correlation_id().as_ref().unwrap().as_str(), "call-1");
    serving.await.unwrap();
}

fn fibonacci(n: u64) -> u64 {
    (0..n).fold((0, 1), |(current, following), _| (following, current + following)).0
}

#[tokio::test(flavor = "multi_thread")]
async fn publisher_confirms() {
    let broker = Broker::start().await;
    let (_connection, channel) = broker.channel().await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let queue = unique("confirmed");
    channel
        .queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), FieldTable::default())
        .await
        .unwrap();
    let mut outstanding = Vec::new();
    for number in 0..500 {
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let body = format!("message {number}");
        let options = BasicPublishOptions::default();
        let published =
            channel.basic_publish("".into(), queue.as_str().into(), options, body.as_bytes(), persistent);
        outstanding.push(published.await.unwrap());
    }
    for confirm in outstanding {
        let confirmation = timeout(PATIENCE, confirm).await.expect("a confirm in time").unwrap();
        assert_eq!(confirmation, Confirmation::Ack(None));
    }
    // What is confirmed is in the queue.
    let deleted = channel.queue_delete(queue.as_str().into(), Default::default()).await.unwrap();
    assert_eq!(deleted, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn mandatory_messages_come_back() {
    let broker = Broker::start().await;
    let (_connection, channel) = broker.channel().await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let nowhere = unique("no-such-queue");
    let properties = BasicProperties::default();
    let published = channel.basic_publish("".into(), nowhere.as_str().into(), options, b"lost", properties);
    let confirm = published.await.unwrap();
    let Confirmation::Ack(Some(returned)) = timeout(PATIENCE, confirm).await.expect("in time").unwrap()
    else {
        panic!("a return before the confirm")
    };
    assert_eq!((returned.reply_code, returned.reply_text.as_str()), (312, "NO_ROUTE"));
    assert_eq!(returned.delivery.data, b"lost");
}
