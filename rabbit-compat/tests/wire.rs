//! What holds for all bytes: any chunking decodes alike, decode∘encode is the identity, and nothing makes a
//! parser panic.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

#[path = "support/random.rs"]
mod random;

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, parse_frame};
use amq_protocol::protocol::{AMQPClass, basic, basic::gen_properties, gen_class};
use amq_protocol::types::AMQPValue;
use bytes::Bytes;
use proptest::prelude::*;
use rabbit_compat::session::handshake;
use rabbit_compat::wire::method::{self, Method};
use rabbit_compat::wire::{Decoder, Frame, Output, content};
use random::Sent;
use vhosts::message::Chunk;
use vhosts::properties::Properties;
use vhosts::queue::{Delivery, History};
use vhosts::{Message, MessageBuilder, table};

const FRAME_MAX: u32 = 131_072;

/// Cuts frames until more octets are needed, and puts the pieces of a body together again.
fn drain(decoder: &mut Decoder, frames: &mut Vec<Sent>, left: &mut usize) {
    while let Some(frame) = decoder.next_frame().unwrap() {
        let (kind, channel, payload, to_come) = match frame {
            Frame::Method(channel, payload) => (1, channel, payload.to_vec(), 0),
            Frame::Header(channel, payload) => (2, channel, payload.to_vec(), 0),
            Frame::Body { channel, chunk, left } => (3, channel, octets(&chunk).to_vec(), left),
            Frame::Heartbeat(channel, payload) => (8, channel, payload.to_vec(), 0),
        };
        if *left == 0 {
            frames.push(Sent { kind, channel, payload });
        } else {
            let first = frames.last_mut().unwrap();
            assert_eq!((first.kind, first.channel), (kind, channel));
            first.payload.extend(payload);
        }
        *left = to_come;
    }
}

fn octets<'a>(chunk: &'a Chunk<'_>) -> &'a [u8] {
    match chunk {
        Chunk::Borrowed(octets) => octets,
        Chunk::Shared(octets) => octets,
    }
}

/// Cuts `bytes` into pieces of these lengths, again and again.
fn cut<'a>(mut bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at((*length).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1..20usize, 1..5_000usize, 1..200_000usize], 1..8)
}

fn message() -> impl Strategy<Value = (random_message::Parts, Message)> {
    (random::short_string(), random::short_string(), random::properties(), random::body(), lengths())
        .prop_map(|(exchange, routing_key, properties, body, lengths)| {
            let mut builder = MessageBuilder::default();
            let mut address = Vec::new();
            for part in [&exchange, &routing_key] {
                address.push(part.as_str().len() as u8);
                address.extend(part.as_str().as_bytes());
            }
            builder.address(&address);
            let raw = gen_properties(&properties)(Vec::new().into()).unwrap().write;
            builder.header(&raw, body.len() as u64).unwrap();
            cut(&body, &lengths).into_iter().for_each(|piece| {
                builder.push(Chunk::Shared(Bytes::copy_from_slice(piece)));
            });
            (
                random_message::Parts { exchange, routing_key, properties, body },
                builder.finish(vhosts::Moment(0)),
            )
        })
}

mod random_message {
    use amq_protocol::protocol::basic::AMQPProperties;
    use amq_protocol::types::ShortString;

    /// What a message was made of.
    #[derive(Clone, Debug)]
    pub struct Parts {
        pub exchange: ShortString,
        pub routing_key: ShortString,
        pub properties: AMQPProperties,
        pub body: Vec<u8>,
    }
}

/// The frames in an output, none of them larger than `frame_max`, by the parser of `amq-protocol`.
fn parsed(output: &mut Output, frame_max: u32) -> Vec<AMQPFrame> {
    let mut bytes = Vec::new();
    while !output.is_empty() {
        let mut slices = [std::io::IoSlice::new(&[]); 1];
        output.slices(&mut slices);
        bytes.extend_from_slice(&slices[0]);
        let len = slices[0].len();
        output.advance(len);
    }
    let (mut frames, mut rest) = (Vec::new(), &bytes[..]);
    while !rest.is_empty() {
        let (behind, frame) = parse_frame(rest).unwrap();
        assert!(rest.len() - behind.len() <= frame_max as usize);
        frames.push(frame);
        rest = behind;
    }
    frames
}

/// The method in front, and what the frames behind it say about the message.
fn content_of(frames: Vec<AMQPFrame>) -> (basic::AMQPMethod, AMQPContentHeader, Vec<u8>) {
    let mut frames = frames.into_iter();
    let Some(AMQPFrame::Method(5, AMQPClass::Basic(method))) = frames.next() else { panic!("no method") };
    let Some(AMQPFrame::Header(5, header)) = frames.next() else { panic!("no header") };
    let body = frames.flat_map(|frame| match frame {
        AMQPFrame::Body(5, octets) => octets,
        other => panic!("{other:?} in a body"),
    });
    (method, header, body.collect())
}

fn payload(method: AMQPClass) -> Vec<u8> {
    gen_class(&method)(Vec::new().into()).unwrap().write
}

/// The properties as a consumer sees them; one that gets a message for the second time is told so.
fn shown(properties: &basic::AMQPProperties, counted: bool) -> basic::AMQPProperties {
    if !counted {
        return properties.clone();
    }
    let mut headers = properties.headers().clone().unwrap_or_default();
    headers.insert("x-acquired-count".into(), AMQPValue::LongLongInt(1));
    properties.clone().with_headers(headers)
}

proptest! {
    #[test]
    fn any_chunking_decodes_alike(
        sent in prop::collection::vec(random::frame(), 0..12),
        lengths in lengths(),
    ) {
        let bytes: Vec<u8> = sent.iter().flat_map(Sent::bytes).collect();
        let mut decoder = Decoder::new(FRAME_MAX);
        let (mut frames, mut left) = (Vec::new(), 0);
        for piece in cut(&bytes, &lengths) {
            decoder.buffer().extend_from_slice(piece);
            drain(&mut decoder, &mut frames, &mut left);
        }
        prop_assert_eq!(left, 0);
        prop_assert!(decoder.buffer().is_empty());
        prop_assert!(frames == sent);
    }

    #[test]
    fn a_delivery_is_what_was_published(
        (parts, message) in message(),
        frame_max in 4096..=FRAME_MAX,
        tag in random::short_string(),
        delivery_tag: u64,
        redelivered: bool,
        message_count: u32,
    ) {
        let mut output = Output::default();
        let (exchange, routing_key) = (parts.exchange.clone(), parts.routing_key.clone());
        let history = History { acquired: redelivered.into(), ..History::default() };
        let delivery = Delivery { id: None, message: message.clone(), history };
        content::deliver(&mut output, 5, tag.as_str(), delivery_tag, &delivery, frame_max);
        let delivered = parsed(&mut output, frame_max);
        content::get_ok(&mut output, 5, delivery_tag, &delivery, message_count, frame_max);
        let got = parsed(&mut output, frame_max);
        content::return_unroutable(&mut output, 5, &message, frame_max);
        let returned = parsed(&mut output, frame_max);

        let deliver = basic::Deliver {
            consumer_tag: tag,
            delivery_tag,
            redelivered,
            exchange: exchange.clone(),
            routing_key: routing_key.clone(),
        };
        let get_ok = basic::GetOk {
            delivery_tag,
            redelivered,
            exchange: exchange.clone(),
            routing_key: routing_key.clone(),
            message_count,
        };
        let reply_text = "NO_ROUTE".into();
        let unroutable = basic::Return { reply_code: 312, reply_text, exchange, routing_key };
        let expected = [
            (delivered, basic::AMQPMethod::Deliver(deliver), redelivered),
            (got, basic::AMQPMethod::GetOk(get_ok), redelivered),
            (returned, basic::AMQPMethod::Return(unroutable), false),
        ];
        for (frames, expected, counted) in expected {
            let (method, header, body) = content_of(frames);
            prop_assert_eq!(method, expected);
            prop_assert_eq!(header.body_size, parts.body.len() as u64);
            prop_assert_eq!(&header.properties, &shown(&parts.properties, counted));
            prop_assert!(body == parts.body);
        }
    }

    #[test]
    fn a_publish_is_what_was_sent(
        exchange in random::short_string(),
        routing_key in random::short_string(),
        mandatory: bool,
        immediate: bool,
    ) {
        let address: Vec<u8> = [&exchange, &routing_key]
            .iter()
            .flat_map(|part| [&[part.as_str().len() as u8], part.as_str().as_bytes()].concat())
            .collect();
        let publish = basic::Publish { exchange, routing_key, mandatory, immediate };
        let bytes = payload(AMQPClass::Basic(basic::AMQPMethod::Publish(publish)));
        let expected = Method::Publish { address: &address, mandatory, immediate };
        prop_assert_eq!(method::decode(&bytes), Ok(expected));
    }

    #[test]
    fn answers_are_what_was_sent(delivery_tag: u64, multiple: bool, requeue: bool, prefetch_count: u16) {
        let global = multiple;
        for (sent, expected) in [
            (
                basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple }),
                Method::Ack { delivery_tag, multiple },
            ),
            (
                basic::AMQPMethod::Nack(basic::Nack { delivery_tag, multiple, requeue }),
                Method::Nack { delivery_tag, multiple, requeue },
            ),
            (
                basic::AMQPMethod::Reject(basic::Reject { delivery_tag, requeue }),
                Method::Reject { delivery_tag, requeue },
            ),
            (
                basic::AMQPMethod::Qos(basic::Qos { prefetch_count, global }),
                Method::Qos { prefetch_size: 0, prefetch_count, global },
            ),
        ] {
            let bytes = payload(AMQPClass::Basic(sent));
            prop_assert_eq!(method::decode(&bytes), Ok(expected));
        }
    }

    #[test]
    fn every_other_method_is_what_was_sent(parts in random::parts()) {
        for sent in random::methods(&parts) {
            let bytes = payload(sent.clone());
            prop_assert_eq!(method::decode(&bytes), Ok(Method::Other(Box::new(sent))));
            // One octet less or more is noticed.
            prop_assert!(method::decode(&bytes[..bytes.len() - 1]).is_err());
            prop_assert!(method::decode(&[&bytes[..], b"\0"].concat()).is_err());
        }
    }

    #[test]
    fn properties_are_what_was_sent(properties in random::properties()) {
        let bytes = gen_properties(&properties)(Vec::new().into()).unwrap().write;
        let parsed = Properties::parse(&bytes).unwrap();
        prop_assert_eq!(parsed.delivery_mode, *properties.delivery_mode());
        prop_assert_eq!(parsed.priority, *properties.priority());
        let user = properties.user_id().as_ref().map(|user| user.as_str().as_bytes());
        prop_assert_eq!(parsed.user_id, user);
        let expiration = properties.expiration().as_ref().map(|text| text.as_str().as_bytes());
        prop_assert_eq!(parsed.expiration, expiration);
        prop_assert_eq!(parsed.headers.map(table::check), properties.headers().as_ref().map(|_| Ok(())));
    }

    #[test]
    fn no_bytes_make_the_decoder_hold_more_than_a_frame(
        bytes in damaged(),
        lengths in lengths(),
        frame_max in 4096..=FRAME_MAX,
    ) {
        let mut decoder = Decoder::new(frame_max);
        for piece in cut(&bytes, &lengths) {
            decoder.buffer().extend_from_slice(piece);
            loop {
                match decoder.next_frame() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => return Ok(()),
                }
            }
            prop_assert!(decoder.buffer().len() <= frame_max as usize + 8);
        }
    }

    #[test]
    fn no_bytes_make_a_parser_panic(
        bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..80), damaged()],
        class in prop::sample::select(vec![10u16, 20, 30, 40, 50, 60, 85, 90]),
        number in 0..125u16,
    ) {
        let ids = [class.to_be_bytes(), number.to_be_bytes()].concat();
        let _ = method::decode(&bytes);
        let _ = method::decode(&[&ids, &bytes[..]].concat());
        let _ = table::check(&bytes);
        let _ = table::check_fields(&bytes);
        for mechanism in ["PLAIN", "AMQPLAIN", "OTHER"] {
            let _ = handshake::credentials(mechanism, &bytes);
        }
        if Properties::parse(&bytes).is_ok() {
            let message = Message::new("", b"", &bytes, b"").unwrap();
            prop_assert_eq!(message.raw_properties(), &bytes[..]);
        }
    }
}

/// Frames, methods and properties of which some octets were changed.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let frames = prop::collection::vec(random::frame(), 1..6)
        .prop_map(|frames| frames.iter().flat_map(Sent::bytes).collect::<Vec<u8>>());
    let methods = random::parts().prop_map(|parts| {
        let frame = |method| Sent { kind: 1, channel: 1, payload: payload(method) }.bytes();
        random::methods(&parts).into_iter().flat_map(frame).collect()
    });
    let properties = random::properties()
        .prop_map(|properties| gen_properties(&properties)(Vec::new().into()).unwrap().write);
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    (prop_oneof![frames, methods, properties], damage).prop_map(|(mut bytes, damage)| {
        for (at, octet) in damage {
            let at = at.index(bytes.len());
            bytes[at] = octet;
        }
        bytes
    })
}

/// A table in a table in a table: whatever calls itself for each runs out of stack.
#[test]
fn no_method_takes_a_deep_table() {
    let deep = (0..20_000).fold(Vec::new(), |mut outside, depth: u32| {
        outside.extend([0, b'F']);
        outside.extend((6 * (19_999 - depth)).to_be_bytes());
        outside
    });
    let table = [&(deep.len() as u32).to_be_bytes(), &deep[..]].concat();
    assert!(table::check(&table).is_err());
    for class in [10u16, 20, 30, 40, 50, 60, 85, 90] {
        for number in 0..125u16 {
            for before in 0..10 {
                let ids = [class.to_be_bytes(), number.to_be_bytes()].concat();
                // Some take it for a string.
                let _ = method::decode(&[&ids, &vec![0; before], &table[..]].concat());
            }
        }
    }
}
