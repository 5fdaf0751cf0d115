//! A broker that does as the transcript says: commands as text, and answers from text.

use super::notation::{number, octets, table_text, value, words};
use amq_protocol::types::{AMQPValue, FieldTable};
use exchanges::BindError;
use rabbit_compat::Violation;
use rabbit_compat::session::{Command, Done, Operation};
use vhosts::queue::{ConsumerKey, Delivery};
use vhosts::refusal::Flaw;
use vhosts::{Binding, DeliveryId, Message, Name, QueueId, Refusal, Resource};

/// What the session asks, in words.
pub fn asked(command: &Command) -> String {
    match command {
        Command::Authenticate { user, password } => {
            format!("authenticate {user} {}", password.escape_ascii())
        }
        Command::Open { vhost } => format!("open {vhost}"),
        Command::Publish { channel, message, mandatory } => {
            let [exchange, key] = [message.exchange(), message.routing_key()].map(<[u8]>::escape_ascii);
            let flags = [(*mandatory, " mandatory"), (message.persistent(), " persistent")];
            let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
            format!(
                "publish on {channel}: exchange=\"{exchange}\" key=\"{key}\" {} octets{flags}",
                message.body_len()
            )
        }
        Command::Operate(Operation::Bind(binding)) => format!("bind {}", bound(binding)),
        Command::Operate(Operation::Unbind(binding)) => format!("unbind {}", bound(binding)),
        Command::Operate(operation) => {
            let text = format!("{operation:?}");
            match operation {
                Operation::DeclareQueue { arguments, .. } | Operation::DeclareExchange { arguments, .. } => {
                    let (before, _) = text.split_once(", arguments").unwrap();
                    format!("{before} }}{}", with(arguments))
                }
                _ => text,
            }
        }
        Command::Release { channel, consumers } => format!("release channel {channel}, cancel {consumers:?}"),
    }
}

fn bound(Binding { source, destination_kind, destination, routing_key, arguments }: &Binding) -> String {
    let (key, arguments) = (routing_key.escape_ascii(), with(arguments));
    format!("exchange \"{source}\" to {destination_kind} \"{destination}\" key=\"{key}\"{arguments}")
}

fn with(arguments: &FieldTable) -> String {
    if arguments.inner().is_empty() { String::new() } else { format!(" with {}", table_text(arguments)) }
}

/// What a broker says when the transcript does not.
pub fn good_answer(operation: &Operation) -> String {
    match operation {
        Operation::DeclareQueue { name, .. } => format!("queue name={name}"),
        Operation::DeleteQueue { .. } | Operation::Purge { .. } => "messages count=3".into(),
        Operation::Consume { .. } => "consuming queue=1 key=0".into(),
        Operation::Get { .. } => "empty".into(),
        _ => "ok".into(),
    }
}

/// The answer to an operation.
pub fn answer(line: &str) -> Result<Done, Violation> {
    let words = words(line);
    Ok(match words[0].as_str() {
        "ok" => Done::Plain,
        "queue" => Done::Queue {
            name: value(&words, "name").unwrap().into(),
            messages: number(&words, "messages"),
            consumers: number(&words, "consumers"),
        },
        "messages" => Done::Messages(number(&words, "count")),
        "consuming" => Done::Consuming {
            queue: QueueId(number(&words, "queue")),
            key: ConsumerKey(number(&words, "key")),
        },
        "got" => Done::Got {
            queue: QueueId(number(&words, "queue")),
            delivery: delivery(&words),
            left: number(&words, "left"),
        },
        "empty" => Done::Empty,
        "refused" => return Err(refused(line)),
        other => panic!("no answer '{other}'"),
    })
}

/// A message out of a queue: `id=` (none: it need not be answered), `redelivered`, `exchange=`, `key=`,
/// `properties=`, `body=`.
pub fn delivery(words: &[String]) -> Delivery {
    let part = |name| value(words, name).map(octets).unwrap_or_default();
    let properties = value(words, "properties").map_or(vec![0, 0], octets);
    let exchange = String::from_utf8(part("exchange")).unwrap();
    Delivery {
        id: value(words, "id").map(|id| DeliveryId(id.parse().unwrap())),
        message: Message::new(&exchange, &part("key"), &properties, &part("body")).unwrap(),
        redelivered: value(words, "redelivered").is_some(),
    }
}

/// `refused` and the name of a refusal.
pub fn refused(line: &str) -> Violation {
    Violation::refused(&refusal(line.strip_prefix("refused ").unwrap()), "/", "guest")
}

fn refusal(name: &str) -> Refusal {
    let [x, q] = ["x", "q"].map(Name::from);
    let string = |text: &str| AMQPValue::LongString(text.into());
    let inequivalent = |resource, property, received: &str, current: &str| Refusal::Inequivalent {
        resource,
        name: if resource == Resource::Queue { q.clone() } else { x.clone() },
        property,
        received: received.into(),
        current: current.into(),
    };
    let argument = |received, current| {
        let (resource, name, argument) = (Resource::Queue, q.clone(), "x-message-ttl");
        Refusal::InequivalentArgument { resource, name, argument, received, current }
    };
    let invalid = |argument, flaw| Refusal::InvalidArgument { queue: q.clone(), argument, flaw };
    let number = |value| Some(AMQPValue::LongInt(value));
    match name {
        "not-found exchange" => Refusal::NotFound(Resource::Exchange, x),
        "not-found queue" => Refusal::NotFound(Resource::Queue, q),
        "locked" => Refusal::Locked(q),
        "inequivalent durable queue" => inequivalent(Resource::Queue, "durable", "false", "true"),
        "inequivalent type exchange" => inequivalent(Resource::Exchange, "type", "fanout", "direct"),
        "argument added" => argument(number(1000), None),
        "argument removed" => argument(None, number(1000)),
        "argument changed" => argument(number(2000), number(1000)),
        "argument of another type" => argument(Some(string("2000")), number(1000)),
        "unacceptable type" => invalid("x-overflow", Flaw::UnacceptableType(AMQPValue::LongInt(5))),
        "unsupported queue type" => invalid("x-queue-type", Flaw::UnsupportedQueueType("nope".into())),
        "not a string" => Refusal::NotAString {
            resource: Resource::Exchange,
            name: x,
            argument: "alternate-exchange",
            value: AMQPValue::LongInt(5),
        },
        "not implemented" => Refusal::NotImplemented("queue type 'stream'".into()),
        "unknown exchange type" => Refusal::UnknownExchangeType("nope".into()),
        "empty exchange type" => Refusal::UnknownExchangeType(String::new()),
        "reserved exchange" => Refusal::Reserved(Resource::Exchange, "amq.x".into()),
        "reserved queue" => Refusal::Reserved(Resource::Queue, "amq.q".into()),
        "default exchange" => Refusal::DefaultExchange,
        "system exchange" => Refusal::SystemExchange("amq.direct".into()),
        "internal" => Refusal::Internal(x),
        "in use exchange" => Refusal::InUse(Resource::Exchange, x),
        "in use queue" => Refusal::InUse(Resource::Queue, q),
        "not empty" => Refusal::NotEmpty(q),
        "exclusive use" => Refusal::ExclusiveUse(q),
        "too many wildcards" => {
            Refusal::Binding(BindError::TooManyWildcards { binding_key: b"#.a.#.b.#".to_vec(), count: 3 })
        }
        "x-match" => Refusal::Binding(BindError::InvalidXMatch { value: "x".into() }),
        "x-match type" => Refusal::Binding(BindError::InvalidXMatchType { value: AMQPValue::LongInt(5) }),
        "access exchange" => access("write", Resource::Exchange, "x"),
        "access queue" => access("configure", Resource::Queue, "q"),
        "long name" => Refusal::NotFound(Resource::Queue, "ü".repeat(127).into()),
        other => panic!("no refusal '{other}'"),
    }
}

fn access(permission: &'static str, resource: Resource, name: &str) -> Refusal {
    Refusal::AccessRefused { permission, resource, name: name.into() }
}

/// What `connection.start` shows.
pub fn server_properties() -> FieldTable {
    rabbit_compat::session::handshake::server_properties("4.3.6", "HareMQ", "hare")
}
