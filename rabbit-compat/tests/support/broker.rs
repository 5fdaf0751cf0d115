//! A broker that does as the transcript says: commands as text, and answers from text.

use super::notation::{number, octets, table, table_text, value, words};
use amq_protocol::types::{AMQPValue, FieldTable};
use exchanges::BindError;
use rabbit_compat::Violation;
use rabbit_compat::session::{Command, Done, Operation, Publishing};
use vhosts::queue::{ConsumerKey, Delivery, History};
use vhosts::refusal::Flaw;
use vhosts::{
    Binding, ConnectionId, DeliveryId, Message, Name, QueueDefinition, QueueId, Refusal, Resource,
    consumer_arguments,
};

/// What the session asks, in words.
pub fn asked(command: &Command) -> String {
    match command {
        Command::Authenticate { user, password } => {
            format!("authenticate {user} {}", password.escape_ascii())
        }
        Command::Open { vhost } => format!("open {vhost}"),
        Command::Publish { channel, message, mandatory, how } => {
            let [exchange, key] = [message.exchange(), message.routing_key()].map(<[u8]>::escape_ascii);
            let flags = [(*mandatory, " mandatory"), (message.persistent(), " persistent")];
            let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
            let how = match how {
                Publishing::Plain => String::new(),
                Publishing::Confirmed(number) => format!(", number {number}"),
                Publishing::Enlisted => ", enlisted".into(),
            };
            let reply_to = message.properties().reply_to;
            let reply_to = reply_to.map(|to| format!(" reply-to={}", to.escape_ascii())).unwrap_or_default();
            format!(
                "publish on {channel}: exchange=\"{exchange}\" key=\"{key}\" {} octets{flags}{reply_to}{how}",
                message.body_len()
            )
        }
        Command::Operate(Operation::Bind(binding)) => format!("bind {}", bound(binding)),
        Command::Operate(Operation::Unbind(binding)) => format!("unbind {}", bound(binding)),
        Command::Operate(operation) => {
            let text = format!("{operation:?}");
            match operation {
                Operation::DeclareQueue { arguments, .. }
                | Operation::DeclareExchange { arguments, .. }
                | Operation::Consume { arguments, .. } => {
                    let (before, _) = text.split_once(", arguments").unwrap();
                    format!("{before} }}{}", with(arguments))
                }
                _ => text,
            }
        }
        Command::Release { channel, consumers, replies } => {
            let replies = replies.map(|id| format!(" and the replies to {}", id.0)).unwrap_or_default();
            format!("release channel {channel}, cancel {consumers:?}{replies}")
        }
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
        Operation::ConsumeReplies { .. } => "replies address=amq.rabbitmq.reply-to.token".into(),
        Operation::Get { .. } => "empty".into(),
        _ => "ok".into(),
    }
}

/// The answer to an operation. `judged` is that of a broker which has no queue yet, or one that was declared
/// with the arguments behind it.
pub fn answer(line: &str, operation: &Operation) -> Result<Done, Violation> {
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
        "replies" => Done::Replies { address: value(&words, "address").unwrap().into() },
        "got" => Done::Got {
            queue: QueueId(number(&words, "queue")),
            delivery: delivery(&words),
            left: number(&words, "left"),
        },
        "empty" => Done::Empty,
        "refused" => return Err(refused(line)),
        "judged" => {
            let judged = judge(operation, words.get(1).map(|arguments| table(arguments)));
            return judged.map_err(|refusal| Violation::refused(&refusal, "/", "guest"));
        }
        other => panic!("no answer '{other}'"),
    })
}

fn judge(operation: &Operation, current: Option<FieldTable>) -> Result<Done, Refusal> {
    let current = current.map(|arguments| queue("q".into(), arguments));
    match operation {
        Operation::DeclareQueue { name, durable, auto_delete, exclusive, arguments, .. } => {
            if name.is_empty() {
                QueueDefinition::check_server_named(arguments)?;
            }
            let (durable, auto_delete) = (*durable, *auto_delete);
            let owner = exclusive.then_some(ConnectionId(1));
            let wanted =
                QueueDefinition { durable, auto_delete, owner, ..queue(name.clone(), arguments.clone()) };
            match current {
                Some(current) => current.check_equivalent(&wanted)?,
                None => wanted.validate()?,
            }
            Ok(Done::Queue { name: name.clone(), messages: 0, consumers: 0 })
        }
        Operation::Consume { arguments, .. } => {
            consumer_arguments(&current.unwrap(), arguments)?;
            Ok(Done::Consuming { queue: QueueId(1), key: ConsumerKey(0) })
        }
        other => panic!("nothing to judge in {other:?}"),
    }
}

fn queue(name: Name, arguments: FieldTable) -> QueueDefinition {
    QueueDefinition { id: QueueId(1), name, durable: true, auto_delete: false, owner: None, arguments }
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
        history: History { acquired: u32::from(value(words, "redelivered").is_some()), ..History::default() },
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
