//! Publishes ten messages and knows that they are safe.
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};

#[tokio::main]
async fn main() -> lapin::Result<()> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672/%2f".into());
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.queue_declare("greetings".into(), QueueDeclareOptions::durable(), FieldTable::default()).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;

    let persistent = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let mut confirms = Vec::new();
    for number in 0..10 {
        let (body, properties) = (format!("Hello {number}"), persistent.clone());
        let publish =
            channel.basic_publish("".into(), "greetings".into(), options, body.as_bytes(), properties);
        confirms.push(publish.await?);
    }
    for confirm in confirms {
        // It comes when the broker has the message on its disk.
        assert!(confirm.await?.is_ack(), "the broker could not take a message");
    }
    println!("10 messages are safe");
    connection.close(200, "".into()).await
}
