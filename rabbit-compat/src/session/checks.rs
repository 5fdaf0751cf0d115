//! What a published message must keep to, as far as its content header tells.
//!
//! RabbitMQ looks at all this when the body is there; here it is done at once, so that nothing of a body is
//! kept which nobody may publish. Faults are found in RabbitMQ's order, except that a broken header table is
//! found when it is the turn of the headers.

use super::channel::PUBLISH;
use super::replies;
use crate::erlang;
use crate::violation::{Code, Violation};
use amq_protocol::types::AMQPType;
use vhosts::copies::{Copies, UnacceptableHeader, check_copies};
use vhosts::properties::Properties;
use vhosts::{Moment, table};

/// The longest time to live in milliseconds, ten years, as its significant digits.
const EXPIRATION_MAX: &[u8] = b"315360000000";

/// What a message must keep to.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// Octets of the largest body.
    pub max_message_size: u64,
    /// Who the client is.
    pub user: &'a str,
    /// When it comes.
    pub now: Moment,
}

impl Limits<'_> {
    /// Whether a message with such a header may be published, and whether it has other keys to be routed by.
    /// `reply_consumer`: whether its channel consumes replies.
    ///
    /// # Errors
    /// 406, or 541 for headers that are no table.
    pub fn check(
        &self,
        properties: &Properties<'_>,
        body_len: u64,
        reply_consumer: bool,
    ) -> Result<Copies, Violation> {
        if body_len > self.max_message_size {
            let max = self.max_message_size;
            return Err(refused(format!("message size {body_len} is larger than configured max size {max}")));
        }
        if properties.reply_to == Some(replies::NAME.as_bytes()) && !reply_consumer {
            return Err(refused("fast reply consumer does not exist".to_owned()));
        }
        properties.expiration.map_or(Ok(()), check_expiration)?;
        let copies = properties.headers.map_or(Ok(Copies::default()), check_headers)?;
        self.check_user(properties.user_id)?;
        Ok(copies)
    }

    fn check_user(&self, claimed: Option<&[u8]>) -> Result<(), Violation> {
        match claimed {
            Some(claimed) if claimed != self.user.as_bytes() => {
                let claimed = String::from_utf8_lossy(claimed);
                let text =
                    format!("user_id property set to '{claimed}' but authenticated user was '{}'", self.user);
                Err(refused(text))
            }
            _ => Ok(()),
        }
    }
}

/// The headers of a message, a table with its length in front.
fn check_headers(headers: &[u8]) -> Result<Copies, Violation> {
    table::check(headers).map_err(|_| Violation::new(Code::InternalError, ""))?;
    check_copies(headers).map_err(|UnacceptableHeader { name, type_octet }| {
        let kind = AMQPType::from_id(char::from(type_octet)).map_or("undefined", erlang::name_of_type);
        refused(format!(
            "invalid message: {{unacceptable_type_in_header,{},{kind}}}",
            erlang::string(name.as_bytes())
        ))
    })
}

/// A time to live is a number as Erlang reads it: with a sign or without, as long as one likes.
fn check_expiration(expiration: &[u8]) -> Result<(), Violation> {
    let (negative, unsigned) = match expiration {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, expiration),
    };
    let end = unsigned.iter().position(|octet| !octet.is_ascii_digit()).unwrap_or(unsigned.len());
    let (digits, leftover) = unsigned.split_at(end);
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    let significant = &digits[zeros..];
    let number = significant.escape_ascii();
    let flaw = if digits.is_empty() {
        "no_integer".to_owned()
    } else if !leftover.is_empty() {
        format!("{{leftover_string,{}}}", erlang::string(leftover))
    } else if negative && !significant.is_empty() {
        format!("{{value_negative,-{number}}}")
    } else if (significant.len(), significant) > (EXPIRATION_MAX.len(), EXPIRATION_MAX) {
        format!("{{value_too_large,{number}}}")
    } else {
        return Ok(());
    };
    let expiration = String::from_utf8_lossy(expiration);
    Err(refused(format!("invalid expiration '{expiration}': {flaw}")))
}

fn refused(text: String) -> Violation {
    Violation::new(Code::PreconditionFailed, text).by(PUBLISH)
}
