//! What a queue is declared with, as the broker is told it and as the ledger needs it.

use amq_protocol::types::{AMQPValue, FieldTable};

/// A durable queue.
#[derive(Clone, Debug)]
pub struct Plan {
    pub name: &'static str,
    pub arguments: FieldTable,
    /// Where what dies in it comes to.
    pub letters_to: Option<&'static str>,
    /// A letter stays until it comes there.
    pub insists: bool,
    pub ttl_ms: Option<u64>,
    pub max_length: Option<usize>,
    /// It refuses what is too much.
    pub refuses: bool,
    /// It goes when nobody uses it.
    pub expires: bool,
}

/// A queue that can nothing yet.
pub fn queue(name: &'static str) -> Plan {
    Plan {
        name,
        arguments: FieldTable::default(),
        letters_to: None,
        insists: false,
        ttl_ms: None,
        max_length: None,
        refuses: false,
        expires: false,
    }
}

impl Plan {
    pub fn letters_to(self, queue: &'static str) -> Plan {
        let plan = self.text("x-dead-letter-exchange", "").text("x-dead-letter-routing-key", queue);
        Plan { letters_to: Some(queue), ..plan }
    }

    /// What dies goes through an exchange, and is kept until it finds that queue.
    pub fn letters_insisting_through(self, exchange: &'static str, queue: &'static str) -> Plan {
        let plan =
            self.text("x-dead-letter-exchange", exchange).text("x-dead-letter-strategy", "at-least-once");
        Plan { letters_to: Some(queue), insists: true, ..plan }
    }

    pub fn ttl_ms(self, ms: u32) -> Plan {
        Plan { ttl_ms: Some(ms.into()), ..self.number("x-message-ttl", ms) }
    }

    pub fn max_length(self, length: u32) -> Plan {
        Plan { max_length: Some(length as usize), ..self.number("x-max-length", length) }
    }

    pub fn refusing(self) -> Plan {
        Plan { refuses: true, ..self.text("x-overflow", "reject-publish") }
    }

    /// What is refused becomes a letter.
    pub fn refusing_as_letters(self) -> Plan {
        Plan { refuses: true, ..self.text("x-overflow", "reject-publish-dlx") }
    }

    pub fn delivery_limit(self, limit: u32) -> Plan {
        self.number("x-delivery-limit", limit)
    }

    pub fn retry_levels(self, levels: &str) -> Plan {
        self.text("x-delayed-retry-type", "all").text("x-delayed-retry-levels", levels)
    }

    pub fn priorities(self, max: u32) -> Plan {
        self.number("x-max-priority", max)
    }

    pub fn expires_ms(self, ms: u32) -> Plan {
        Plan { expires: true, ..self.number("x-expires", ms) }
    }

    fn number(mut self, argument: &str, value: u32) -> Plan {
        self.arguments.insert(argument.into(), AMQPValue::LongUInt(value));
        self
    }

    fn text(mut self, argument: &str, value: &str) -> Plan {
        self.arguments.insert(argument.into(), AMQPValue::LongString(value.into()));
        self
    }
}
