//! What scenarios do: requests, publishes and answers, each entered in the ledger before it is sent.

use super::conversation::{CONSUMING, PUBLISHING, TRANSACTING};
use super::ledger::Answer;
use super::plan::Plan;
use super::world::{Alive, Got, PADDING, World};
use amq_protocol::protocol::{AMQPClass, basic, channel, exchange, queue, tx};
use amq_protocol::types::FieldTable;
use vhosts::Moment;

#[derive(Clone, Debug)]
pub enum Declaration {
    Queue(Plan),
    Exchange(&'static str),
    Binding(&'static str, &'static str),
}

/// How a message is published, besides that it is persistent.
#[derive(Clone, Copy, Debug, Default)]
pub struct With {
    pub priority: u8,
    pub expiration_ms: Option<u64>,
}

impl With {
    /// The property list: delivery mode, priority and perhaps the expiration.
    fn properties(self) -> Vec<u8> {
        let mut list = vec![0x18, 0, 2, self.priority];
        if let Some(expiration_ms) = self.expiration_ms {
            let digits = expiration_ms.to_string();
            list[0] |= 1;
            list.push(digits.len() as u8);
            list.extend_from_slice(digits.as_bytes());
        }
        list
    }
}

impl World {
    pub fn has(&self, queue: &str) -> bool {
        self.vhost().topology().load().queue(queue).is_some()
    }

    pub fn declare(&mut self, plan: Plan) -> Alive {
        self.declared.push(Declaration::Queue(plan.clone()));
        let declare = queue::Declare {
            queue: plan.name.into(),
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: false,
            nowait: false,
            arguments: plan.arguments.clone(),
        };
        self.ledger.declaring(plan.clone());
        self.ask(CONSUMING, AMQPClass::Queue(queue::AMQPMethod::Declare(declare)))?;
        self.ledger.declared(plan.name);
        Ok(())
    }

    /// A durable exchange that sends everything to all.
    pub fn exchange(&mut self, name: &'static str) -> Alive {
        self.declared.push(Declaration::Exchange(name));
        let declare = exchange::Declare {
            exchange: name.into(),
            kind: "fanout".into(),
            passive: false,
            durable: true,
            auto_delete: false,
            internal: false,
            nowait: false,
            arguments: FieldTable::default(),
        };
        self.ask(CONSUMING, AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare)))
    }

    pub fn bind(&mut self, exchange: &'static str, queue: &'static str) -> Alive {
        self.declared.push(Declaration::Binding(exchange, queue));
        let bind = queue::Bind {
            queue: queue.into(),
            exchange: exchange.into(),
            routing_key: "".into(),
            nowait: false,
            arguments: FieldTable::default(),
        };
        self.ask(CONSUMING, AMQPClass::Queue(queue::AMQPMethod::Bind(bind)))?;
        self.ledger.bound(exchange, queue);
        Ok(())
    }

    pub fn again(&mut self, declaration: &Declaration) -> Alive {
        match declaration {
            Declaration::Queue(plan) => self.declare(plan.clone()),
            Declaration::Exchange(name) => self.exchange(name),
            Declaration::Binding(exchange, queue) => self.bind(exchange, queue),
        }
    }

    pub fn delete(&mut self, name: &'static str) -> Alive {
        self.ledger.deleting(name);
        let delete = queue::Delete { queue: name.into(), if_unused: false, if_empty: false, nowait: false };
        self.ask(CONSUMING, AMQPClass::Queue(queue::AMQPMethod::Delete(delete)))?;
        self.ledger.deleted(name);
        Ok(())
    }

    pub fn purge(&mut self, name: &'static str) -> Alive {
        self.ledger.purging(name);
        let purge = queue::Purge { queue: name.into(), nowait: false };
        self.ask(CONSUMING, AMQPClass::Queue(queue::AMQPMethod::Purge(purge)))
    }

    pub fn publish(&mut self, queue: &'static str, body: &'static str) {
        self.publish_with(queue, body, With::default());
    }

    pub fn publish_all(&mut self, queue: &'static str, bodies: &[&'static str]) {
        bodies.iter().for_each(|body| self.publish(queue, body));
    }

    pub fn publish_with(&mut self, queue: &'static str, body: &'static str, with: With) {
        self.ledger.published(body, &[queue], with, self.now());
        self.send(PUBLISHING, "", queue, body, with);
    }

    /// Publishes to an exchange that leads to these queues.
    pub fn publish_to(&mut self, exchange: &str, queues: &[&'static str], body: &'static str) {
        self.ledger.published(body, queues, With::default(), self.now());
        self.send(PUBLISHING, exchange, "", body, With::default());
    }

    /// Waits until the broker said of every publish what became of it.
    pub fn confirmed(&mut self) -> Alive {
        while self.ledger.awaits_confirms() {
            assert!(self.step()?, "a publish is neither confirmed nor refused");
        }
        Ok(())
    }

    /// Takes the next message of a queue, which there is.
    pub fn get(&mut self, queue: &str) -> Alive<Got> {
        Ok(self.get_on(CONSUMING, queue)?.unwrap_or_else(|| panic!("queue {queue} is empty")))
    }

    pub fn try_get(&mut self, queue: &str) -> Alive<Option<Got>> {
        self.get_on(CONSUMING, queue)
    }

    pub fn ack(&mut self, got: &Got) {
        self.ledger.answered(got, Answer::Ack);
        self.send_answer(got, Answer::Ack);
    }

    /// Acks a message that the ledger does not know.
    pub fn done_with(&mut self, got: &Got) {
        self.send_answer(got, Answer::Ack);
    }

    /// Refuses a message for good.
    pub fn reject(&mut self, got: &Got) {
        self.ledger.answered(got, Answer::Dies);
        self.send_answer(got, Answer::Dies);
    }

    /// Gives a message back; it is ready again after that time.
    pub fn nack(&mut self, got: &Got, delay_ms: u64) {
        self.ledger.came_back(got, false, self.due(delay_ms));
        self.send_answer(got, Answer::Nack);
    }

    /// Gives a message back to a queue that is full, where it is the one that is missed least.
    pub fn nack_one_too_many(&mut self, got: &Got) {
        self.ledger.answered(got, Answer::Dies);
        self.send_answer(got, Answer::Nack);
    }

    /// Lets a message fail; it is ready again after that time.
    pub fn fail(&mut self, got: &Got, delay_ms: u64) {
        self.ledger.came_back(got, true, self.due(delay_ms));
        self.send_answer(got, Answer::Fail);
    }

    /// Lets a message fail once too often.
    pub fn fail_for_good(&mut self, got: &Got) {
        self.ledger.answered(got, Answer::Dies);
        self.send_answer(got, Answer::Fail);
    }

    /// Closes the channel that consumes, while it has one message, and opens it again.
    pub fn close_channel(&mut self, held: &Got) -> Alive {
        self.ledger.came_back(held, true, None);
        let close = channel::Close { reply_code: 200, reply_text: "".into(), class_id: 0, method_id: 0 };
        self.ask(CONSUMING, AMQPClass::Channel(channel::AMQPMethod::Close(close)))?;
        self.ask(CONSUMING, AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})))
    }

    pub fn tx_publish(&mut self, queue: &'static str, body: &'static str) {
        self.ledger.enlisted(body, queue, self.now());
        self.send(TRANSACTING, "", queue, body, With::default());
    }

    pub fn tx_get(&mut self, queue: &str) -> Alive<Got> {
        Ok(self.get_on(TRANSACTING, queue)?.unwrap_or_else(|| panic!("queue {queue} is empty")))
    }

    pub fn tx_ack(&mut self, got: &Got) {
        self.ledger.enlisted_answer(got, Answer::Ack);
        self.send_answer(got, Answer::Ack);
    }

    pub fn tx_reject(&mut self, got: &Got) {
        self.ledger.enlisted_answer(got, Answer::Dies);
        self.send_answer(got, Answer::Dies);
    }

    pub fn commit(&mut self) -> Alive {
        self.ledger.committing();
        self.ask(TRANSACTING, AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {})))?;
        self.ledger.committed();
        Ok(())
    }

    pub fn roll_back(&mut self) -> Alive {
        self.ask(TRANSACTING, AMQPClass::Tx(tx::AMQPMethod::Rollback(tx::Rollback {})))?;
        self.ledger.rolled_back();
        Ok(())
    }

    fn send(&mut self, channel: u16, exchange: &str, key: &str, text: &str, with: With) {
        let mut body = vec![PADDING; text.len() + self.scale.padding];
        body[..text.len()].copy_from_slice(text.as_bytes());
        self.client.publish(channel, exchange, key, &with.properties(), &body);
        self.hear();
    }

    fn due(&self, delay_ms: u64) -> Option<Moment> {
        (delay_ms > 0).then(|| self.now().after_ms(delay_ms))
    }

    fn send_answer(&mut self, got: &Got, answer: Answer) {
        let (delivery_tag, multiple) = (got.tag, false);
        let method = match answer {
            Answer::Ack => basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple }),
            Answer::Dies => basic::AMQPMethod::Reject(basic::Reject { delivery_tag, requeue: false }),
            Answer::Fail => basic::AMQPMethod::Reject(basic::Reject { delivery_tag, requeue: true }),
            Answer::Nack => basic::AMQPMethod::Nack(basic::Nack { delivery_tag, multiple, requeue: true }),
        };
        self.client.send(got.channel, AMQPClass::Basic(method));
        self.hear();
    }
}
