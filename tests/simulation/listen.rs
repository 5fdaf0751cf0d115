//! What the broker wrote to a peer, taken in: every promise about a channel is checked here.

use super::models::ConsumerModel;
use super::oracle::{Delivered, Oracle};
use super::peer::{Channel, Held, Peer, Waited};
use super::wire::Event;
use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::basic::{AMQPMethod as Basic, Cancel, Deliver, GetOk, Return};
use amq_protocol::protocol::channel::{AMQPMethod as ChannelMethod, CloseOk};
use amq_protocol::protocol::connection::AMQPMethod as Connection;
use amq_protocol::protocol::queue::AMQPMethod as QueueMethod;

impl Peer {
    /// Takes an event in.
    pub fn hear(&mut self, event: Event, oracle: &mut Oracle) {
        match event {
            Event::Confirm { channel, tag, multiple } => self.hear_confirm(channel, tag, multiple, oracle),
            Event::Refused { channel, tag, multiple } => {
                panic!("no queue is limited here, and channel {channel} got a nack: {tag}, {multiple}")
            }
            Event::Content { channel, method, properties, body } => match *method {
                AMQPClass::Basic(Basic::Deliver(deliver)) => {
                    self.hear_delivery(channel, &deliver, &properties, &body, oracle);
                }
                AMQPClass::Basic(Basic::GetOk(got)) => {
                    self.hear_got(channel, &got, &properties, &body, oracle)
                }
                AMQPClass::Basic(Basic::Return(returned)) => {
                    let Return { reply_code, exchange, routing_key, .. } = returned;
                    assert_eq!(reply_code, 312);
                    self.channel(channel);
                    let id = oracle.identify(exchange.as_str(), routing_key.as_str(), &properties, &body);
                    let published = &mut oracle.published[id as usize];
                    assert!(published.mandatory && !published.returned, "message {id} was returned");
                    published.returned = true;
                }
                other => panic!("not with content: {other:?}"),
            },
            Event::Method(0, class) => match *class {
                AMQPClass::Connection(Connection::Blocked(_)) => self.hear_blocked(true, oracle),
                AMQPClass::Connection(Connection::Unblocked(_)) => self.hear_blocked(false, oracle),
                class => panic!("the broker ended the conversation: {class:?}"),
            },
            Event::Method(channel, class) => self.hear_method(channel, *class, oracle),
        }
    }

    fn hear_blocked(&mut self, is_blocked: bool, oracle: &mut Oracle) {
        assert!(self.told, "not asked for");
        assert_ne!(std::mem::replace(&mut self.is_blocked, is_blocked), is_blocked, "told twice");
        oracle.tally.blocked += u64::from(is_blocked);
    }

    /// The channel that a frame came for.
    fn channel(&mut self, number: u16) -> &mut Channel {
        self.channels
            .get_mut(&number)
            .unwrap_or_else(|| panic!("a frame for channel {number}, which is closed"))
    }

    fn hear_confirm(&mut self, channel: u16, tag: u64, multiple: bool, oracle: &mut Oracle) {
        let of = self.channel(channel);
        assert!(of.confirms, "a confirm on a channel without confirms");
        let mut confirmed = Vec::new();
        while let Some((_, id)) = of.unconfirmed.pop_front_if(|(number, _)| *number <= tag) {
            confirmed.push(id);
        }
        assert!(
            !confirmed.is_empty(),
            "publish {tag} of channel {channel} was confirmed twice, or never sent"
        );
        assert!(multiple || confirmed.len() == 1, "publish {tag} was confirmed before older ones");
        confirmed.into_iter().for_each(|id| self.confirmed(id, oracle));
    }

    fn hear_delivery(
        &mut self,
        number: u16,
        deliver: &Deliver,
        properties: &[u8],
        body: &[u8],
        oracle: &mut Oracle,
    ) {
        let tag = deliver.consumer_tag.to_string();
        let connection = self.number;
        let channel = self.channel(number);
        channel.last_tag += 1;
        assert_eq!(deliver.delivery_tag, channel.last_tag, "delivery tags of channel {number}");
        let consumer = channel.consumers.get(&tag).expect("a delivery to a consumer that is there").clone();
        let (id, delivery) = oracle.delivered(&Delivered {
            queue: consumer.queue,
            connection,
            channel: number,
            get: false,
            no_ack: consumer.no_ack,
            redelivered: deliver.redelivered,
            exchange: deliver.exchange.as_str(),
            routing_key: deliver.routing_key.as_str(),
            properties,
            body,
        });
        if consumer.no_ack {
            return;
        }
        let held = Held { queue: consumer.queue, id, delivery, consumer: Some(tag.clone()) };
        channel.unacked.insert(deliver.delivery_tag, held);
        let (unacked, consumed) = (channel.unacked_of(&tag), channel.consumed());
        let prefetch = consumer.prefetch.into();
        assert!(prefetch == 0 || unacked <= prefetch, "{unacked} unacked with a prefetch of {prefetch}");
        let global = channel.global.into();
        assert!(global == 0 || consumed <= global, "{consumed} unacked with a global prefetch of {global}");
    }

    fn hear_got(&mut self, number: u16, got: &GetOk, properties: &[u8], body: &[u8], oracle: &mut Oracle) {
        let Some(awaiting) = self.awaiting.take() else { panic!("nothing was asked for: {got:?}") };
        let Waited::Get { queue, no_ack } = awaiting.what else { panic!("not asked for: {got:?}") };
        self.resolve(awaiting.end, oracle);
        let queue = oracle.queue_named(&queue).expect("a message of a queue that is there");
        let connection = self.number;
        let channel = self.channel(number);
        channel.last_tag += 1;
        assert_eq!(got.delivery_tag, channel.last_tag, "delivery tags of channel {number}");
        let (id, delivery) = oracle.delivered(&Delivered {
            queue,
            connection,
            channel: number,
            get: true,
            no_ack,
            redelivered: got.redelivered,
            exchange: got.exchange.as_str(),
            routing_key: got.routing_key.as_str(),
            properties,
            body,
        });
        if !no_ack {
            channel.unacked.insert(got.delivery_tag, Held { queue, id, delivery, consumer: None });
        }
    }

    fn hear_method(&mut self, number: u16, class: AMQPClass, oracle: &mut Oracle) {
        match class {
            AMQPClass::Channel(ChannelMethod::Close(close)) => {
                let code = close.reply_code;
                assert!(matches!(code, 403..=406), "channel closed: {close:?}");
                self.channel(number);
                self.channel_went(number, oracle);
                if let Some(awaiting) = self.awaiting.take_if(|awaiting| awaiting.channel == number)
                    && matches!(awaiting.what, Waited::Close)
                {
                    self.stray_close_oks.push(number);
                }
                self.send(number, AMQPClass::Channel(ChannelMethod::CloseOk(CloseOk {})));
            }
            AMQPClass::Basic(Basic::Cancel(Cancel { consumer_tag, .. })) => {
                let name = self.name(number, consumer_tag.as_str());
                if let Some(consumer) = self.channel(number).consumers.remove(consumer_tag.as_str()) {
                    assert!(oracle.queue(consumer.queue).deleted, "{name:?} was cancelled without a reason");
                    oracle.consumer_went(consumer.queue, &name, true);
                }
            }
            AMQPClass::Channel(ChannelMethod::CloseOk(_)) if self.stray_close_oks.contains(&number) => {
                self.stray_close_oks.retain(|stray| *stray != number);
            }
            answer => self.hear_answer(number, &answer, oracle),
        }
    }

    fn hear_answer(&mut self, number: u16, answer: &AMQPClass, oracle: &mut Oracle) {
        let Some(awaiting) = self.awaiting.take() else { panic!("nothing was asked for: {answer:?}") };
        assert_eq!(awaiting.channel, number, "{answer:?}");
        self.resolve(awaiting.end, oracle);
        match (awaiting.what, answer) {
            (Waited::Open, _) => {}
            (Waited::Close, AMQPClass::Channel(ChannelMethod::CloseOk(_))) => {
                return self.channel_went(number, oracle);
            }
            (Waited::Select, AMQPClass::Confirm(_)) => self.channel(number).confirms = true,
            (Waited::Qos { count, global }, _) if global => self.set_global(number, count, oracle),
            (Waited::Qos { .. }, _) => {}
            (Waited::DeclareQueue, AMQPClass::Queue(QueueMethod::DeclareOk(declared))) => {
                // Another client may have deleted it before it was safe.
                if let Some(queue) = oracle.queue_named(declared.queue.as_str()) {
                    oracle.queue(queue).known = true;
                }
            }
            (Waited::Consume { queue, consumer }, AMQPClass::Basic(Basic::ConsumeOk(ok))) => {
                let queue = oracle.queue_named(&queue).expect("a queue that can be consumed");
                let name = self.name(number, ok.consumer_tag.as_str());
                let limited = self.channel(number).limited;
                let consumer = super::peer::Consumer { queue, ..consumer };
                let no_ack = consumer.no_ack;
                self.channel(number).consumers.insert(ok.consumer_tag.to_string(), consumer);
                oracle.consumer_came(queue, name, ConsumerModel { limited, no_ack });
            }
            (Waited::Cancel, AMQPClass::Basic(Basic::CancelOk(ok))) => {
                let tag = ok.consumer_tag.as_str();
                let limited = self.channel(number).limited;
                if let Some(consumer) = self.channel(number).consumers.remove(tag) {
                    oracle.consumer_went(consumer.queue, &self.name(number, tag), limited);
                }
            }
            (Waited::Recover, _) => {
                let held = std::mem::take(&mut self.channel(number).unacked);
                held.values().for_each(|held| oracle.requeued(held.queue, held.id, held.delivery));
            }
            (Waited::Purge(queue), AMQPClass::Queue(QueueMethod::PurgeOk(_))) => {
                let queue = oracle.queue_named(&queue).expect("a queue that can be purged");
                oracle.purged(queue);
            }
            (Waited::DeleteQueue(name), AMQPClass::Queue(QueueMethod::DeleteOk(_))) => {
                let gone = oracle.queues.values_mut().filter(|queue| queue.deleted && queue.name == name);
                gone.for_each(|queue| queue.deletion_known = true);
            }
            (Waited::Get { queue, .. }, _) => {
                if let Some(queue) = oracle.queue_named(&queue) {
                    oracle.found_nothing(queue);
                }
            }
            (Waited::Plain, _) => {}
            (what, answer) => panic!("{what:?} was answered with {answer:?}"),
        }
        self.channel(number);
    }

    fn set_global(&mut self, number: u16, count: u16, oracle: &mut Oracle) {
        let connection = self.number;
        let channel = self.channel(number);
        channel.global = count;
        channel.limited = true;
        for (tag, consumer) in &channel.consumers {
            let model = ConsumerModel { limited: true, no_ack: consumer.no_ack };
            oracle.consumer_came(consumer.queue, (connection, number, tag.clone()), model);
        }
    }
}
