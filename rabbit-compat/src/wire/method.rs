//! Methods, from and to their frames.
//!
//! The four that come by the million (`basic.publish`, `ack`, `nack`, `reject`) are taken apart here and
//! borrow from the frame; all others are decoded by `amq-protocol` into its own types.

use super::frame::{END, kind};
use amq_protocol::protocol::{AMQPClass, gen_class, parse_class};
use amq_protocol::types::generation::SerializeFn;
use bytes::{BufMut, BytesMut};
use nom::bytes::complete::take;
use nom::combinator::{map, recognize};
use nom::multi::length_data;
use nom::number::complete::{be_u8, be_u16, be_u64};
use nom::{IResult, Parser};
use vhosts::table;

/// A method that a client may send.
#[derive(Clone, Debug, PartialEq)]
pub enum Method<'a> {
    /// `basic.publish`.
    Publish {
        /// Exchange and routing key, as two short strings.
        address: &'a [u8],
        /// Return it if no queue takes it.
        mandatory: bool,
        /// Not supported by any RabbitMQ since 3.0.
        immediate: bool,
    },
    /// `basic.ack`.
    Ack {
        /// Which delivery.
        delivery_tag: u64,
        /// And all before it.
        multiple: bool,
    },
    /// `basic.nack`.
    Nack {
        /// Which delivery.
        delivery_tag: u64,
        /// And all before it.
        multiple: bool,
        /// To be delivered again.
        requeue: bool,
    },
    /// `basic.reject`.
    Reject {
        /// Which delivery.
        delivery_tag: u64,
        /// To be delivered again.
        requeue: bool,
    },
    /// `basic.qos`, of which `amq-protocol` leaves out the size.
    Qos {
        /// Not supported unless 0.
        prefetch_size: u32,
        /// Most unacked messages.
        prefetch_count: u16,
        /// For the channel, not for each consumer.
        global: bool,
    },
    /// Any other.
    Other(Box<AMQPClass>),
}

/// A payload that is no method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodError {
    /// There is no method of that number.
    Unknown,
    /// There is, but its arguments are not well-formed.
    Arguments,
}

/// Class id and method id of a method payload, which has at least four octets.
#[must_use]
pub fn ids(payload: &[u8]) -> (u16, u16) {
    match *payload {
        [c1, c0, m1, m0, ..] => (u16::from_be_bytes([c1, c0]), u16::from_be_bytes([m1, m0])),
        _ => (0, 0),
    }
}

/// Decodes the payload of a method frame.
///
/// # Errors
/// Unknown numbers and malformed arguments, those with octets left over among them.
pub fn decode(payload: &[u8]) -> Result<Method<'_>, MethodError> {
    let ids = ids(payload);
    let arguments = payload.get(4..).unwrap_or_default();
    let hot = match ids {
        (60, 40) => publish(arguments),
        (60, 80) => {
            map((be_u64, be_u8), |(delivery_tag, bits)| Method::Ack { delivery_tag, multiple: bits & 1 != 0 })
                .parse(arguments)
        }
        (60, 90) => map((be_u64, be_u8), |(delivery_tag, bits)| Method::Reject {
            delivery_tag,
            requeue: bits & 1 != 0,
        })
        .parse(arguments),
        (60, 120) => map((be_u64, be_u8), |(delivery_tag, bits)| Method::Nack {
            delivery_tag,
            multiple: bits & 1 != 0,
            requeue: bits & 2 != 0,
        })
        .parse(arguments),
        (60, 10) => qos(arguments),
        _ => return other(ids, payload, arguments),
    };
    match hot {
        Ok(([], method)) => Ok(method),
        _ => Err(MethodError::Arguments),
    }
}

fn short(input: &[u8]) -> IResult<&[u8], &[u8]> {
    length_data(be_u8).parse(input)
}

fn publish(arguments: &[u8]) -> IResult<&[u8], Method<'_>> {
    let parts = (be_u16, recognize((short, short)), be_u8);
    map(parts, |(_, address, bits)| Method::Publish {
        address,
        mandatory: bits & 1 != 0,
        immediate: bits & 2 != 0,
    })
    .parse(arguments)
}

fn qos(arguments: &[u8]) -> IResult<&[u8], Method<'_>> {
    let parts = (nom::number::complete::be_u32, be_u16, be_u8);
    map(parts, |(prefetch_size, prefetch_count, bits)| Method::Qos {
        prefetch_size,
        prefetch_count,
        global: bits & 1 != 0,
    })
    .parse(arguments)
}

fn other(ids: (u16, u16), payload: &[u8], arguments: &[u8]) -> Result<Method<'static>, MethodError> {
    if let Some((shorts, octets)) = before_table(ids) {
        let table = table_after(arguments, shorts, octets).map_err(|_| MethodError::Arguments)?;
        let length = table.first_chunk().map_or(usize::MAX, |length| u32::from_be_bytes(*length) as usize);
        let table =
            length.checked_add(4).and_then(|whole| table.get(..whole)).ok_or(MethodError::Arguments)?;
        table::check(table).map_err(|_| MethodError::Arguments)?;
    }
    match parse_class(payload) {
        Ok(([], class)) => Ok(Method::Other(Box::new(class))),
        Ok(_) => Err(MethodError::Arguments),
        Err(_) if is_known(ids) => Err(MethodError::Arguments),
        Err(_) => Err(MethodError::Unknown),
    }
}

/// How many short strings stand before a method's field table, and how many octets before and behind those: a
/// version or a reserved number, and flags. Of every method that the parser knows, those of servers too.
fn before_table(ids: (u16, u16)) -> Option<(usize, (usize, usize))> {
    Some(match ids {
        (10, 10) => (0, (2, 0)),
        (10, 11) => (0, (0, 0)),
        (40, 10) | (60, 20) => (2, (2, 1)),
        (40, 30 | 40) | (50, 20) => (3, (2, 1)),
        (50, 50) => (3, (2, 0)),
        (50, 10) => (1, (2, 1)),
        _ => return None,
    })
}

fn table_after(
    arguments: &[u8],
    shorts: usize,
    (before, after): (usize, usize),
) -> Result<&[u8], nom::Err<nom::error::Error<&[u8]>>> {
    let (mut rest, _) = take(before)(arguments)?;
    for _ in 0..shorts {
        (rest, _) = short(rest)?;
    }
    let (rest, _) = take(after)(rest)?;
    Ok(rest)
}

fn is_known((class, method): (u16, u16)) -> bool {
    match class {
        10 => matches!(method, 10 | 11 | 20 | 21 | 30 | 31 | 40 | 41 | 50 | 51 | 60 | 61 | 70 | 71),
        20 => matches!(method, 10 | 11 | 20 | 21 | 40 | 41),
        30 | 85 => matches!(method, 10 | 11),
        40 => matches!(method, 10 | 11 | 20 | 21 | 30 | 31 | 40 | 51),
        50 => matches!(method, 10 | 11 | 20 | 21 | 30 | 31 | 40 | 41 | 50 | 51),
        60 => matches!(
            method,
            10 | 11 | 20 | 21 | 30 | 31 | 40 | 50 | 60 | 70 | 71 | 72 | 80 | 90 | 100 | 110 | 111 | 120
        ),
        90 => matches!(method, 10 | 11 | 20 | 21 | 30 | 31),
        _ => false,
    }
}

/// Appends a method frame.
pub fn encode(out: &mut BytesMut, channel: u16, method: &AMQPClass) {
    frame(out, channel, |payload| write(payload, gen_class(method)));
}

/// Appends a method frame whose payload `fill` writes.
pub fn frame(out: &mut BytesMut, channel: u16, fill: impl FnOnce(&mut BytesMut)) {
    out.put_u8(kind::METHOD);
    out.put_u16(channel);
    let size_at = out.len();
    out.put_u32(0);
    fill(out);
    let size = (out.len() - size_at - 4) as u32;
    out[size_at..size_at + 4].copy_from_slice(&size.to_be_bytes());
    out.put_u8(END);
}

/// Appends what `amq-protocol` generates.
pub fn write(out: &mut BytesMut, generator: impl SerializeFn<Vec<u8>>) {
    // Writing into a vector fails only for a short string over 255 octets, and ours are cut before.
    let context = amq_protocol::frame::WriteContext::from(Vec::new());
    if let Ok(written) = generator(context) {
        out.extend_from_slice(&written.write);
    }
}
