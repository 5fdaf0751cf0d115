//! The words of the handshake: what the server offers, how credentials are read, what is agreed on
//! (AMQP 0-9-1, section 2.2.4; RabbitMQ, "Authentication").

use amq_protocol::types::parsing::parse_value;
use amq_protocol::types::{AMQPValue, FieldTable};
use vhosts::table;

/// Protocol headers that open a connection: 0-9-1, and 0-9 as very old clients write it.
pub const ACCEPTED: [[u8; 8]; 2] = [*b"AMQP\x00\x00\x09\x01", *b"AMQP\x01\x01\x00\x09"];

/// What the server answers to any other header: the protocol that it would take. RabbitMQ names its newest
/// one, AMQP 1.0, unless the header was a later 0-x; this server has no AMQP 1.0 to offer.
pub const OFFERED: [u8; 8] = ACCEPTED[0];

/// How clients may log in.
pub const MECHANISMS: &str = "PLAIN AMQPLAIN";

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Most channels open at once.
    pub channel_max: u16,
    /// Octets of the largest frame.
    pub frame_max: u32,
    /// Seconds between signs of life; 0 for none.
    pub heartbeat_s: u16,
}

impl Tuning {
    /// What the client chose, if it stays within what the server `offered`. 0 for channels or frames means
    /// no limit, which is more than the server offers.
    ///
    /// # Errors
    /// In words for the log, as RabbitMQ's.
    pub fn agree(offered: Tuning, chosen: Tuning, min_frame_max: u32) -> Result<Tuning, String> {
        let Tuning { channel_max, frame_max, .. } = chosen;
        let too_high = |name: &str, value: u64, max: u64| match value {
            0 => Err(format!(
                "negotiated {name} = 0 (no limit) is higher than the maximum allowed value ({max})"
            )),
            value if value > max => {
                Err(format!("negotiated {name} = {value} is higher than the maximum allowed value ({max})"))
            }
            _ => Ok(()),
        };
        too_high("channel_max", channel_max.into(), offered.channel_max.into())?;
        too_high("frame_max", frame_max.into(), offered.frame_max.into())?;
        if frame_max < min_frame_max {
            return Err(format!(
                "negotiated frame_max = {frame_max} is lower than the minimum allowed value ({min_frame_max})"
            ));
        }
        Ok(chosen)
    }
}

/// The properties that `connection.start` shows. Clients choose what they do by product and version, so these
/// are those of the RabbitMQ whose behaviour is offered; `platform` says what it really is.
#[must_use]
pub fn server_properties(rabbitmq_version: &str, platform: &str, cluster_name: &str) -> FieldTable {
    let mut capabilities = FieldTable::default();
    for capability in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "authentication_failure_close",
        "per_consumer_qos",
    ] {
        capabilities.insert(capability.into(), AMQPValue::Boolean(true));
    }
    let mut properties = FieldTable::default();
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    for (key, value) in [
        ("cluster_name", cluster_name),
        ("copyright", "Copyright (c) 2026 the HareMQ authors"),
        ("information", "Licensed under the Apache License 2.0"),
        ("platform", platform),
        ("product", "RabbitMQ"),
        ("version", rabbitmq_version),
    ] {
        properties.insert(key.into(), AMQPValue::LongString(value.into()));
    }
    properties
}

/// User name and password from a SASL response; none if it is malformed or the mechanism is not offered.
#[must_use]
pub fn credentials(mechanism: &str, response: &[u8]) -> Option<(String, Vec<u8>)> {
    match mechanism {
        "PLAIN" => plain(response),
        "AMQPLAIN" => amqplain(response),
        _ => None,
    }
}

/// `authzid NUL user NUL password` (RFC 4616). The identity to act as is not looked at, as in RabbitMQ.
fn plain(response: &[u8]) -> Option<(String, Vec<u8>)> {
    let mut parts = response.splitn(3, |octet| *octet == 0);
    let (_authzid, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    Some((String::from_utf8(user.to_vec()).ok()?, password.to_vec()))
}

/// A field table without its length, with `LOGIN` and `PASSWORD`.
fn amqplain(response: &[u8]) -> Option<(String, Vec<u8>)> {
    table::check_fields(response).ok()?;
    let (mut user, mut password) = (None, None);
    let mut rest = response;
    while let [length, behind @ ..] = rest {
        let (name, value) = behind.split_at_checked((*length).into())?;
        let (after, value) = parse_value(value).ok()?;
        match (name, value) {
            (b"LOGIN", AMQPValue::LongString(value)) => {
                user = String::from_utf8(value.as_bytes().to_vec()).ok()
            }
            (b"PASSWORD", AMQPValue::LongString(value)) => password = Some(value.as_bytes().to_vec()),
            _ => {}
        }
        rest = after;
    }
    Some((user?, password?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_responses() {
        let guest = Some(("guest".to_owned(), b"gu\0est".to_vec()));
        assert_eq!(credentials("PLAIN", b"\0guest\0gu\0est"), guest);
        assert_eq!(credentials("PLAIN", b"other\0guest\0gu\0est"), guest);
        assert_eq!(credentials("PLAIN", b"\0guest"), None);
        assert_eq!(credentials("PLAIN", b""), None);
        assert_eq!(credentials("NOPE", b"\0guest\0guest"), None);
    }

    #[test]
    fn amqplain_responses() {
        let response = b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x01p";
        assert_eq!(credentials("AMQPLAIN", response), Some(("guest".to_owned(), b"p".to_vec())));
        assert_eq!(credentials("AMQPLAIN", &response[..20]), None);
        assert_eq!(credentials("AMQPLAIN", b""), None);
    }

    #[test]
    fn a_client_chooses_within_what_is_offered() {
        let offered = Tuning { channel_max: 2047, frame_max: 131_072, heartbeat_s: 60 };
        let agree = |channel_max, frame_max| {
            Tuning::agree(offered, Tuning { channel_max, frame_max, heartbeat_s: 0 }, 4096)
        };
        assert!(agree(2047, 131_072).is_ok());
        assert!(agree(1, 4096).is_ok());
        assert!(agree(0, 4096).is_err());
        assert!(agree(1, 0).is_err());
        assert!(agree(2048, 4096).is_err());
        assert!(agree(1, 4095).is_err());
        assert!(agree(1, 131_073).is_err());
    }
}
