//! `CC` and `BCC`: more routing keys for one message (RabbitMQ, "Sender-selected Distribution").
//!
//! Both are arrays; of their items only the strings are keys. A `BCC` header is for the broker alone: it
//! stays with the message, so that a dead letter goes that way again, and no consumer sees it.

use crate::headers;

/// The header whose keys everybody may see.
pub const CC: &str = "CC";
/// The header whose keys nobody may see.
pub const BCC: &str = "BCC";

/// Which of the two headers a message has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// It has a `CC`.
    pub cc: bool,
    /// It has a `BCC`.
    pub bcc: bool,
}

impl Copies {
    /// Whether there is one of them.
    #[must_use]
    pub fn any(self) -> bool {
        self.cc || self.bcc
    }
}

/// One of the two headers is not an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnacceptableHeader {
    /// Its name, [`CC`] or [`BCC`].
    pub name: &'static str,
    /// The type octet that it has, as on the wire.
    pub type_octet: u8,
}

/// Looks at a header table when its message comes in; the builder is told what came out
/// ([`MessageBuilder::mark_copies`](crate::MessageBuilder::mark_copies)).
///
/// # Errors
/// [`UnacceptableHeader`] for the first that is not an array.
pub fn check_copies(headers: &[u8]) -> Result<Copies, UnacceptableHeader> {
    let (mut cc, mut bcc) = (None, None);
    for field in headers::fields(headers) {
        match field.name {
            b"CC" => _ = cc.get_or_insert(field.value),
            b"BCC" => _ = bcc.get_or_insert(field.value),
            _ => {}
        }
    }
    Ok(Copies { cc: is_there(CC, cc)?, bcc: is_there(BCC, bcc)? })
}

fn is_there(name: &'static str, value: Option<&[u8]>) -> Result<bool, UnacceptableHeader> {
    match value.and_then(<[u8]>::first) {
        None => Ok(false),
        Some(b'A') => Ok(true),
        Some(&type_octet) => Err(UnacceptableHeader { name, type_octet }),
    }
}

/// The keys in the header of that name.
pub(crate) fn keys<'a>(headers: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    headers::find(headers, name).into_iter().flat_map(headers::items).filter_map(headers::text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::{TableWriter, Value};

    fn with(name: &str, value: Value<'_>) -> Vec<u8> {
        let mut table = TableWriter::default();
        table.add(b"h", Value::Long(1));
        table.add(name.as_bytes(), value);
        table.finish()
    }

    #[test]
    fn arrays_are_accepted_whatever_is_in_them() {
        // Seen on 4.3.6: ['b'], [1], ['a', 1] and [] pass, and the integers are no keys.
        let integer = Value::Raw(&[b'I', 0, 0, 0, 1]);
        for items in [&[Value::Text(b"b")][..], &[integer], &[Value::Text(b"a"), integer], &[]] {
            let cc = with(CC, Value::Array(items));
            assert_eq!(check_copies(&cc), Ok(Copies { cc: true, bcc: false }));
            let bcc = with(BCC, Value::Array(items));
            assert_eq!(check_copies(&bcc), Ok(Copies { cc: false, bcc: true }));
        }
        let mixed = with(CC, Value::Array(&[Value::Text(b"a"), integer, Value::Text(b"")]));
        assert_eq!(keys(&mixed, CC).collect::<Vec<_>>(), [&b"a"[..], b""]);
        assert_eq!(keys(&mixed, BCC).count(), 0);
        assert!(!check_copies(&with("cc", Value::Text(b"x"))).unwrap().any());

        let mut twice = TableWriter::keeping(&mixed, |_| true);
        twice.add(b"CC", Value::Text(b"not looked at"));
        let twice = twice.finish();
        assert_eq!(check_copies(&twice), check_copies(&mixed));
        assert_eq!(keys(&twice, CC).count(), 2);
    }

    #[test]
    fn other_types_are_refused() {
        // Seen on 4.3.6: {unacceptable_type_in_header,"CC",longstr}, signedint, void.
        let refused = |name, type_octet| Err(UnacceptableHeader { name, type_octet });
        assert_eq!(check_copies(&with(CC, Value::Text(b"x"))), refused(CC, b'S'));
        assert_eq!(check_copies(&with(CC, Value::Raw(&[b'I', 0, 0, 0, 5]))), refused(CC, b'I'));
        assert_eq!(check_copies(&with(CC, Value::Raw(b"V"))), refused(CC, b'V'));
        assert_eq!(check_copies(&with(BCC, Value::Text(b"x"))), refused(BCC, b'S'));
    }
}
