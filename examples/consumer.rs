//! Prints what comes, and acknowledges it.
use futures_lite::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};

#[tokio::main]
async fn main() -> lapin::Result<()> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672/%2f".into());
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.queue_declare("greetings".into(), QueueDeclareOptions::durable(), FieldTable::default()).await?;
    // Up to 50 messages wait here for their acknowledgement; the rest wait in the queue.
    channel.basic_qos(50, BasicQosOptions::default()).await?;

    let options = BasicConsumeOptions::default();
    let mut consumer =
        channel.basic_consume("greetings".into(), "".into(), options, FieldTable::default()).await?;
    while let Some(delivery) = consumer.next().await.transpose()? {
        println!("{}", String::from_utf8_lossy(&delivery.data));
        delivery.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}
