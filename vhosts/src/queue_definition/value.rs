//! Reading field values, with the flaws that RabbitMQ finds in them, in its order.

use crate::refusal::Flaw;
use amq_protocol_types::AMQPValue;

/// The longest time that an argument can ask for, in milliseconds: ten years.
pub const DURATION_MAX_MS: u64 = 315_360_000_000;

/// The most bytes of an AMQP short string, such as a name or a routing key.
const SHORT_STRING_MAX: usize = 255;

/// The bytes of a string.
pub fn text(value: &AMQPValue) -> Result<&[u8], Flaw> {
    match value {
        AMQPValue::LongString(text) => Ok(text.as_bytes()),
        other => Err(Flaw::UnacceptableType(other.clone())),
    }
}

/// A string that a message can carry as its exchange or routing key.
pub fn short_text(value: &AMQPValue) -> Result<&[u8], Flaw> {
    let text = text(value)?;
    if text.len() <= SHORT_STRING_MAX { Ok(text) } else { Err(Flaw::NotAShortString) }
}

/// A name: a short string of UTF-8.
pub fn name(value: &AMQPValue) -> Result<&str, Flaw> {
    std::str::from_utf8(short_text(value)?).map_err(|_| Flaw::NotAShortString)
}

pub fn boolean(value: &AMQPValue) -> Result<bool, Flaw> {
    match value {
        AMQPValue::Boolean(value) => Ok(*value),
        other => Err(Flaw::UnacceptableType(other.clone())),
    }
}

/// An integer of any width and sign.
pub fn integer(value: &AMQPValue) -> Result<i64, Flaw> {
    match value {
        AMQPValue::ShortShortInt(value) => Ok((*value).into()),
        AMQPValue::ShortShortUInt(value) => Ok((*value).into()),
        AMQPValue::ShortInt(value) => Ok((*value).into()),
        AMQPValue::ShortUInt(value) => Ok((*value).into()),
        AMQPValue::LongInt(value) => Ok((*value).into()),
        AMQPValue::LongUInt(value) => Ok((*value).into()),
        AMQPValue::LongLongInt(value) => Ok(*value),
        other => Err(Flaw::NotAnInteger(other.clone())),
    }
}

/// An integer that is not negative.
pub fn natural(value: &AMQPValue) -> Result<u64, Flaw> {
    let value = integer(value)?;
    u64::try_from(value).map_err(|_| Flaw::Negative(value))
}

/// A size of which there must be some.
pub fn size(value: &AMQPValue) -> Result<u64, Flaw> {
    match natural(value)? {
        0 => Err(Flaw::Zero),
        size => Ok(size),
    }
}

/// Milliseconds, up to [`DURATION_MAX_MS`].
pub fn duration_ms(value: &AMQPValue) -> Result<u64, Flaw> {
    match natural(value)? {
        ms if ms > DURATION_MAX_MS => Err(Flaw::TooLarge(ms)),
        ms => Ok(ms),
    }
}

/// Milliseconds that a consumer may take; 0 is no limit. RabbitMQ lets every delivery time out at once at 0,
/// which is of use to nobody.
pub fn timeout_ms(value: &AMQPValue) -> Result<Option<u64>, Flaw> {
    let ms = natural(value)?;
    Ok((ms != 0).then_some(ms.min(DURATION_MAX_MS)))
}
