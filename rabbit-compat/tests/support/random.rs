//! Random values of the protocol: frames, tables, methods, messages.

use amq_protocol::protocol::{AMQPClass, access, basic, channel, confirm, connection, exchange, queue, tx};
use amq_protocol::types::{AMQPValue, DecimalValue, FieldArray, FieldTable, ShortString};
use proptest::prelude::*;
use vhosts::message::INLINE_BODY_MAX;

/// What a peer may send.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    pub kind: u8,
    pub channel: u16,
    pub payload: Vec<u8>,
}

impl Sent {
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind];
        bytes.extend(self.channel.to_be_bytes());
        bytes.extend((self.payload.len() as u32).to_be_bytes());
        bytes.extend(&self.payload);
        bytes.push(0xCE);
        bytes
    }
}

/// Octets that cost nothing to make.
fn pattern(len: impl Strategy<Value = usize>) -> impl Strategy<Value = Vec<u8>> {
    (len, any::<u8>()).prop_map(|(len, seed)| (0..len).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect())
}

/// Octets of a body: mostly small, or around the limit of what is kept inline, or large.
pub fn body() -> impl Strategy<Value = Vec<u8>> {
    pattern(prop_oneof![
        6 => 0..200usize,
        1 => INLINE_BODY_MAX - 1..INLINE_BODY_MAX + 2,
        1 => INLINE_BODY_MAX..4 * INLINE_BODY_MAX - 8,
    ])
}

pub fn frame() -> impl Strategy<Value = Sent> {
    let payload = prop_oneof![
        (Just(1), pattern(4..300usize)),
        (Just(2), pattern(0..300usize)),
        (Just(3), body()),
        (Just(8), pattern(0..4usize)),
    ];
    (payload, any::<u16>()).prop_map(|((kind, payload), channel)| Sent { kind, channel, payload })
}

pub fn short_string() -> impl Strategy<Value = ShortString> {
    prop_oneof![4 => "[a-z.*#]{0,12}", 1 => "\\PC{0,60}", 1 => "x{255}"].prop_map(ShortString::from)
}

fn value() -> impl Strategy<Value = AMQPValue> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(AMQPValue::Boolean),
        any::<i8>().prop_map(AMQPValue::ShortShortInt),
        any::<u8>().prop_map(AMQPValue::ShortShortUInt),
        any::<i16>().prop_map(AMQPValue::ShortInt),
        any::<u16>().prop_map(AMQPValue::ShortUInt),
        any::<i32>().prop_map(AMQPValue::LongInt),
        any::<u32>().prop_map(AMQPValue::LongUInt),
        any::<i64>().prop_map(AMQPValue::LongLongInt),
        // Not a number equals nothing, itself included.
        prop::num::f32::NORMAL.prop_map(AMQPValue::Float),
        prop::num::f64::NORMAL.prop_map(AMQPValue::Double),
        any::<(u8, u32)>().prop_map(|(scale, value)| AMQPValue::DecimalValue(DecimalValue { scale, value })),
        any::<u64>().prop_map(AMQPValue::Timestamp),
        any::<Vec<u8>>().prop_map(|octets| AMQPValue::LongString(octets.into())),
        any::<Vec<u8>>().prop_map(|octets| AMQPValue::ByteArray(octets.into())),
        Just(AMQPValue::Void),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|values| AMQPValue::FieldArray(FieldArray::from(values))),
            fields(inner).prop_map(AMQPValue::FieldTable),
        ]
    })
}

fn fields(value: impl Strategy<Value = AMQPValue>) -> impl Strategy<Value = FieldTable> {
    prop::collection::btree_map(short_string(), value, 0..4).prop_map(FieldTable::from)
}

pub fn table() -> impl Strategy<Value = FieldTable> {
    fields(value())
}

pub fn properties() -> impl Strategy<Value = basic::AMQPProperties> {
    let strings = prop::collection::vec(prop::option::of(short_string()), 9);
    let rest = any::<(Option<u8>, Option<u8>, Option<u64>)>();
    (strings, rest, prop::option::of(table())).prop_map(|(strings, (mode, priority, timestamp), headers)| {
        type Properties = basic::AMQPProperties;
        let set: [fn(Properties, ShortString) -> Properties; 9] = [
            Properties::with_content_type,
            Properties::with_content_encoding,
            Properties::with_correlation_id,
            Properties::with_reply_to,
            Properties::with_expiration,
            Properties::with_message_id,
            Properties::with_type,
            Properties::with_user_id,
            Properties::with_app_id,
        ];
        let some = strings.into_iter().zip(set).filter_map(|(string, set)| Some((string?, set)));
        let mut properties = some.fold(Properties::default(), |all, (string, set)| set(all, string));
        properties = mode.into_iter().fold(properties, Properties::with_delivery_mode);
        properties = priority.into_iter().fold(properties, Properties::with_priority);
        properties = timestamp.into_iter().fold(properties, Properties::with_timestamp);
        headers.into_iter().fold(properties, Properties::with_headers)
    })
}

/// What methods are made of.
#[derive(Clone, Debug)]
pub struct Parts {
    names: [ShortString; 3],
    bits: [bool; 5],
    table: FieldTable,
    numbers: [u16; 3],
    long: u32,
}

pub fn parts() -> impl Strategy<Value = Parts> {
    let names = [short_string(), short_string(), short_string()];
    (names, any::<[bool; 5]>(), table(), any::<[u16; 3]>(), any::<u32>())
        .prop_map(|(names, bits, table, numbers, long)| Parts { names, bits, table, numbers, long })
}

/// Every method that a client may send, but for those of which `wire::method` makes its own.
pub fn methods(parts: &Parts) -> Vec<AMQPClass> {
    let Parts { names: [a, b, c], bits, table, .. } = parts;
    let [exclusive, passive, active, write, read] = *bits;
    let request = access::Request { realm: a.clone(), exclusive, passive, active, write, read };
    let mut methods = vec![
        AMQPClass::Access(access::AMQPMethod::Request(request)),
        AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: exclusive })),
        AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {})),
        AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {})),
        AMQPClass::Tx(tx::AMQPMethod::Rollback(tx::Rollback {})),
    ];
    methods.extend(connections(parts).map(AMQPClass::Connection));
    methods.extend(channels(parts).map(AMQPClass::Channel));
    methods.extend(exchanges(a, b, c, *bits, table).map(AMQPClass::Exchange));
    methods.extend(queues(a, b, c, *bits, table).map(AMQPClass::Queue));
    methods.extend(basics(parts).map(AMQPClass::Basic));
    methods
}

fn connections(parts: &Parts) -> [connection::AMQPMethod; 6] {
    let Parts { names: [a, b, c], table, numbers: [x, y, z], long, .. } = parts.clone();
    let response = a.as_str().into();
    let start_ok =
        connection::StartOk { client_properties: table, mechanism: b.clone(), response, locale: c };
    let tune_ok = connection::TuneOk { channel_max: x, frame_max: long, heartbeat: y };
    let open = connection::Open { virtual_host: a.clone() };
    let update_secret = connection::UpdateSecret { new_secret: a.as_str().into(), reason: b };
    let close = connection::Close { reply_code: x, reply_text: a, class_id: y, method_id: z };
    [
        connection::AMQPMethod::StartOk(start_ok),
        connection::AMQPMethod::TuneOk(tune_ok),
        connection::AMQPMethod::Open(open),
        connection::AMQPMethod::Close(close),
        connection::AMQPMethod::CloseOk(connection::CloseOk {}),
        connection::AMQPMethod::UpdateSecret(update_secret),
    ]
}

fn channels(parts: &Parts) -> [channel::AMQPMethod; 5] {
    let Parts { names: [reply_text, ..], bits: [active, ..], numbers, .. } = parts.clone();
    let [reply_code, class_id, method_id] = numbers;
    [
        channel::AMQPMethod::Open(channel::Open {}),
        channel::AMQPMethod::Flow(channel::Flow { active }),
        channel::AMQPMethod::FlowOk(channel::FlowOk { active }),
        channel::AMQPMethod::Close(channel::Close { reply_code, reply_text, class_id, method_id }),
        channel::AMQPMethod::CloseOk(channel::CloseOk {}),
    ]
}

fn basics(parts: &Parts) -> [basic::AMQPMethod; 5] {
    let Parts { names: [queue, consumer_tag, _], bits, table: arguments, .. } = parts.clone();
    let [no_local, no_ack, exclusive, nowait, requeue] = bits;
    let consume = basic::Consume {
        queue: queue.clone(),
        consumer_tag: consumer_tag.clone(),
        no_local,
        no_ack,
        exclusive,
        nowait,
        arguments,
    };
    [
        basic::AMQPMethod::Consume(consume),
        basic::AMQPMethod::Cancel(basic::Cancel { consumer_tag, nowait }),
        basic::AMQPMethod::Get(basic::Get { queue, no_ack }),
        basic::AMQPMethod::Recover(basic::Recover { requeue }),
        basic::AMQPMethod::RecoverAsync(basic::RecoverAsync { requeue }),
    ]
}

fn exchanges(
    a: &ShortString,
    b: &ShortString,
    c: &ShortString,
    [passive, durable, auto_delete, internal, nowait]: [bool; 5],
    arguments: &FieldTable,
) -> [exchange::AMQPMethod; 4] {
    let (exchange, kind, arguments) = (a.clone(), b.clone(), arguments.clone());
    let (destination, source, routing_key) = (a.clone(), b.clone(), c.clone());
    let declare = exchange::Declare {
        exchange: exchange.clone(),
        kind,
        passive,
        durable,
        auto_delete,
        internal,
        nowait,
        arguments: arguments.clone(),
    };
    let bind = exchange::Bind {
        destination: destination.clone(),
        source: source.clone(),
        routing_key: routing_key.clone(),
        nowait,
        arguments: arguments.clone(),
    };
    [
        exchange::AMQPMethod::Declare(declare),
        exchange::AMQPMethod::Delete(exchange::Delete { exchange, if_unused: passive, nowait }),
        exchange::AMQPMethod::Bind(bind),
        exchange::AMQPMethod::Unbind(exchange::Unbind {
            destination,
            source,
            routing_key,
            nowait,
            arguments,
        }),
    ]
}

fn queues(
    a: &ShortString,
    b: &ShortString,
    c: &ShortString,
    [passive, durable, exclusive, auto_delete, nowait]: [bool; 5],
    arguments: &FieldTable,
) -> [queue::AMQPMethod; 5] {
    let (queue, exchange, routing_key, arguments) = (a.clone(), b.clone(), c.clone(), arguments.clone());
    let declare = queue::Declare {
        queue: queue.clone(),
        passive,
        durable,
        exclusive,
        auto_delete,
        nowait,
        arguments: arguments.clone(),
    };
    let bind = queue::Bind {
        queue: queue.clone(),
        exchange: exchange.clone(),
        routing_key: routing_key.clone(),
        nowait,
        arguments: arguments.clone(),
    };
    let (if_unused, if_empty) = (passive, durable);
    [
        queue::AMQPMethod::Declare(declare),
        queue::AMQPMethod::Bind(bind),
        queue::AMQPMethod::Purge(queue::Purge { queue: queue.clone(), nowait }),
        queue::AMQPMethod::Delete(queue::Delete { queue: queue.clone(), if_unused, if_empty, nowait }),
        queue::AMQPMethod::Unbind(queue::Unbind { queue, exchange, routing_key, arguments }),
    ]
}
