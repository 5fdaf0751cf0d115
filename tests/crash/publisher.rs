//! Publishes with confirms as fast as a window allows, over any number of lives of the broker.
//!
//! What was not confirmed when the connection broke is never sent again: the broker may have kept it or
//! not, and the numbers that do arrive must still arrive in order.

use super::body::{Body, END};
use super::ledger::Ledger;
use crate::broker::{Broker, PATIENCE};
use crate::{Phase, while_it_lives};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, PublisherConfirm};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::timeout;

/// Messages under way per publisher.
const WINDOW: usize = 64;

type Outstanding = VecDeque<(Body, PublisherConfirm)>;

/// Publishes until the phase is finishing and everything of the last life is confirmed.
pub async fn run(
    number: u32,
    queue: &'static str,
    url: String,
    ledger: Arc<Ledger>,
    mut phases: watch::Receiver<Phase>,
) {
    loop {
        let life = phases.borrow().life;
        let mut outstanding = Outstanding::new();
        let work = publish_for_a_life(number, queue, &url, &ledger, &phases, &mut outstanding);
        let ended = while_it_lives(&phases, life, work).await;
        // Confirms that had come before the connection broke count: the broker gave its word.
        while let Some((body, confirm)) = outstanding.pop_front() {
            if settle(&ledger, body, confirm).await.is_err() && matches!(ended, Some(Ok(()))) {
                panic!("{body:?} was not confirmed by a broker that was not killed");
            }
        }
        let error = match ended {
            Some(Ok(())) => return,
            Some(Err(error)) => error,
            None => continue,
        };
        let reborn = timeout(PATIENCE, phases.wait_for(|phase| phase.life > life)).await;
        reborn.unwrap_or_else(|_| panic!("an error while the broker lived: {error}")).unwrap();
    }
}

/// Publishes on one connection until it breaks or the phase is finishing.
async fn publish_for_a_life(
    number: u32,
    queue: &str,
    url: &str,
    ledger: &Ledger,
    phases: &watch::Receiver<Phase>,
    outstanding: &mut Outstanding,
) -> lapin::Result<()> {
    let (_connection, channel) = confirming_channel(url).await?;
    while !phases.borrow().finishing {
        let body = ledger.publish(number);
        outstanding.push_back((body, publish(&channel, queue, body).await?));
        if outstanding.len() >= WINDOW
            && let Some((body, confirm)) = outstanding.pop_front()
        {
            settle(ledger, body, confirm).await?;
        }
    }
    while let Some((body, confirm)) = outstanding.pop_front() {
        settle(ledger, body, confirm).await?;
    }
    Ok(())
}

/// Publishes the message that tells the consumer of a queue that nothing follows.
pub async fn publish_end(queue: &str, broker: &Broker) {
    let (_connection, channel) = confirming_channel(broker.url()).await.unwrap();
    let confirm = publish(&channel, queue, Body { publisher: END, number: 0 }).await.unwrap();
    assert_eq!(confirm.await.unwrap(), Confirmation::Ack(None));
}

async fn confirming_channel(url: &str) -> lapin::Result<(Connection, Channel)> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

async fn publish(channel: &Channel, queue: &str, body: Body) -> lapin::Result<PublisherConfirm> {
    let persistent = BasicProperties::default().with_delivery_mode(2);
    channel
        .basic_publish("".into(), queue.into(), BasicPublishOptions::default(), &body.encode(), persistent)
        .await
}

/// Waits for one confirm.
async fn settle(ledger: &Ledger, body: Body, confirm: PublisherConfirm) -> lapin::Result<()> {
    match timeout(PATIENCE, confirm).await.expect("a confirm or an error in time")? {
        Confirmation::Ack(None) => ledger.confirm(body),
        other => panic!("{body:?}: {other:?}"),
    }
    Ok(())
}
