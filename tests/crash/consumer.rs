//! Consumes one queue over any number of lives of the broker, until the message that ends it.
//!
//! There is one consumer for a queue, since only then is the order of deliveries the order of the queue.
//! It acknowledges in batches: some messages are always unacked when the broker dies.

use super::body::{Body, END};
use super::ledger::Ledger;
use crate::broker::PATIENCE;
use crate::{Phase, while_it_lives};
use futures_lite::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::timeout;

const PREFETCH: u16 = 50;
const ACK_EVERY: u64 = 17;

/// Consumes until the end of the queue.
pub async fn run(queue: &'static str, url: String, ledger: Arc<Ledger>, mut phases: watch::Receiver<Phase>) {
    loop {
        let life = phases.borrow().life;
        let work = consume_for_a_life(queue, &url, &ledger);
        let error = match while_it_lives(&phases, life, work).await {
            Some(Ok(())) => return,
            Some(Err(error)) => error,
            None => continue,
        };
        let reborn = timeout(PATIENCE, phases.wait_for(|phase| phase.life > life)).await;
        reborn.unwrap_or_else(|_| panic!("an error while the broker lived: {error}")).unwrap();
    }
}

/// Consumes on one connection until it breaks or the queue ends.
async fn consume_for_a_life(queue: &str, url: &str, ledger: &Ledger) -> lapin::Result<()> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut consumer = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
    loop {
        let delivery = timeout(PATIENCE, consumer.next()).await.expect("a delivery or an error in time");
        let Some(delivery) = delivery.transpose()? else { panic!("{queue}: the consumer was cancelled") };
        let ended = Body::decode(&delivery.data).is_some_and(|body| body.publisher == END);
        if !ended {
            ledger.deliver(&delivery.data);
        }
        if ended || delivery.delivery_tag.is_multiple_of(ACK_EVERY) {
            delivery.ack(BasicAckOptions { multiple: true }).await?;
        }
        if ended {
            return connection.close(200, "done".into()).await;
        }
    }
}
