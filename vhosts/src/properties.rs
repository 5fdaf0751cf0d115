//! Basic properties, read in place and written anew.
//!
//! A content header is kept as the bytes that the publisher sent and is sent on as such; this module finds
//! single fields in it. It does not decode header tables: that is [`Properties::headers`]' caller's choice.
//!
//! Invariant: a [`Properties`] was walked to its end once, so its fields are where the flags say.

/// The basic class's property flags, first property in the highest bit (AMQP 0-9-1, section 4.2.6.1).
mod flag {
    pub const CONTENT_TYPE: u16 = 1 << 15;
    pub const CONTENT_ENCODING: u16 = 1 << 14;
    pub const HEADERS: u16 = 1 << 13;
    pub const DELIVERY_MODE: u16 = 1 << 12;
    pub const PRIORITY: u16 = 1 << 11;
    pub const CORRELATION_ID: u16 = 1 << 10;
    pub const REPLY_TO: u16 = 1 << 9;
    pub const EXPIRATION: u16 = 1 << 8;
    pub const MESSAGE_ID: u16 = 1 << 7;
    pub const TIMESTAMP: u16 = 1 << 6;
    pub const TYPE: u16 = 1 << 5;
    pub const USER_ID: u16 = 1 << 4;
    pub const APP_ID: u16 = 1 << 3;
    pub const CLUSTER_ID: u16 = 1 << 2;
    /// Another flag word follows. The basic class has no property for it.
    pub const CONTINUATION: u16 = 1;
}

/// The property list of a content header is not what its flags promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The fields of a property list that the broker itself acts on, borrowed from its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties<'a> {
    /// The header table with its four-byte length, as on the wire.
    pub headers: Option<&'a [u8]>,
    /// 2 is persistent.
    pub delivery_mode: Option<u8>,
    /// 0 to 255.
    pub priority: Option<u8>,
    /// The address for replies.
    pub reply_to: Option<&'a [u8]>,
    /// Time to live in milliseconds, as decimal digits.
    pub expiration: Option<&'a [u8]>,
    /// The user that claims to publish.
    pub user_id: Option<&'a [u8]>,
}

impl<'a> Properties<'a> {
    /// Walks the whole list, flags included.
    ///
    /// # Errors
    /// [`Malformed`] when a field is cut off, bytes are left over, or a flag word has no meaning.
    pub fn parse(bytes: &'a [u8]) -> Result<Properties<'a>, Malformed> {
        let mut cursor = Cursor(bytes);
        let flags = u16::from_be_bytes(cursor.array()?);
        if flags & flag::CONTINUATION != 0 {
            return Err(Malformed);
        }
        let has = |bit| flags & bit != 0;
        let mut properties = Properties::default();
        cursor.skip_short(has(flag::CONTENT_TYPE))?;
        cursor.skip_short(has(flag::CONTENT_ENCODING))?;
        if has(flag::HEADERS) {
            properties.headers = Some(cursor.table()?);
        }
        if has(flag::DELIVERY_MODE) {
            properties.delivery_mode = Some(cursor.array::<1>()?[0]);
        }
        if has(flag::PRIORITY) {
            properties.priority = Some(cursor.array::<1>()?[0]);
        }
        cursor.skip_short(has(flag::CORRELATION_ID))?;
        if has(flag::REPLY_TO) {
            properties.reply_to = Some(cursor.short()?);
        }
        if has(flag::EXPIRATION) {
            properties.expiration = Some(cursor.short()?);
        }
        cursor.skip_short(has(flag::MESSAGE_ID))?;
        if has(flag::TIMESTAMP) {
            cursor.take(8)?;
        }
        cursor.skip_short(has(flag::TYPE))?;
        if has(flag::USER_ID) {
            properties.user_id = Some(cursor.short()?);
        }
        cursor.skip_short(has(flag::APP_ID))?;
        cursor.skip_short(has(flag::CLUSTER_ID))?;
        if cursor.0.is_empty() { Ok(properties) } else { Err(Malformed) }
    }

    /// Its own time to live in milliseconds; none for what is no number, which nobody lets in.
    #[must_use]
    pub fn expiration_ms(&self) -> Option<u64> {
        // Signed: RabbitMQ takes `-0` for 0.
        let number: i64 = std::str::from_utf8(self.expiration?).ok()?.parse().ok()?;
        u64::try_from(number).ok()
    }

    /// Whether the message is to survive a restart in a durable queue.
    #[must_use]
    pub fn persistent(&self) -> bool {
        self.delivery_mode == Some(2)
    }
}

/// What is to be different in a new property list made from an old one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edit<'a> {
    /// This header table, its length octets included, instead of the old one or none.
    pub headers: Option<&'a [u8]>,
    /// This address for replies, of at most 255 bytes, instead of the old one or none.
    pub reply_to: Option<&'a [u8]>,
    /// No `expiration`.
    pub without_expiration: bool,
}

impl Edit<'_> {
    /// The new list. What is not to be different keeps its bytes.
    ///
    /// # Errors
    /// [`Malformed`] when the old list is cut off; it was not if [`Properties::parse`] took it.
    ///
    /// # Panics
    /// When `reply_to` is longer than 255 bytes.
    pub fn apply(&self, list: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut cursor = Cursor(list);
        let old_flags = u16::from_be_bytes(cursor.array()?);
        let before = cursor.fields(old_flags, &BEFORE_HEADERS)?;
        let headers = cursor.fields(old_flags, &[(flag::HEADERS, Shape::Table)])?;
        let between = cursor.fields(old_flags, &AFTER_HEADERS)?;
        let reply_to = cursor.fields(old_flags, &[(flag::REPLY_TO, Shape::Short)])?;
        let expiration = cursor.fields(old_flags, &[(flag::EXPIRATION, Shape::Short)])?;

        let mut new = Vec::with_capacity(list.len() + self.added_len());
        new.extend_from_slice(&self.flags(old_flags).to_be_bytes());
        new.extend_from_slice(before);
        new.extend_from_slice(self.headers.unwrap_or(headers));
        new.extend_from_slice(between);
        match self.reply_to {
            Some(address) => push_short(&mut new, address),
            None => new.extend_from_slice(reply_to),
        }
        if !self.without_expiration {
            new.extend_from_slice(expiration);
        }
        new.extend_from_slice(cursor.0);
        Ok(new)
    }

    fn flags(&self, old: u16) -> u16 {
        let set = |flag, wanted: bool| if wanted { flag } else { 0 };
        let cleared = set(flag::EXPIRATION, self.without_expiration);
        let added = set(flag::HEADERS, self.headers.is_some()) | set(flag::REPLY_TO, self.reply_to.is_some());
        (old & !cleared) | added
    }

    fn added_len(&self) -> usize {
        self.headers.map_or(0, <[u8]>::len) + self.reply_to.map_or(0, |address| 1 + address.len())
    }
}

/// Appends a short string.
///
/// # Panics
/// When it is longer than 255 bytes.
pub(crate) fn push_short(out: &mut Vec<u8>, bytes: &[u8]) {
    assert!(bytes.len() <= 255, "a short string has at most 255 bytes");
    out.push(bytes.len() as u8);
    out.extend_from_slice(bytes);
}

/// How long a field is.
#[derive(Clone, Copy)]
enum Shape {
    Octet,
    Short,
    Table,
}

const BEFORE_HEADERS: [(u16, Shape); 2] =
    [(flag::CONTENT_TYPE, Shape::Short), (flag::CONTENT_ENCODING, Shape::Short)];

/// Up to the address for replies.
const AFTER_HEADERS: [(u16, Shape); 3] = [
    (flag::DELIVERY_MODE, Shape::Octet),
    (flag::PRIORITY, Shape::Octet),
    (flag::CORRELATION_ID, Shape::Short),
];

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn short(&mut self) -> Result<&'a [u8], Malformed> {
        let [len] = self.array()?;
        self.take(len.into())
    }

    fn skip_short(&mut self, present: bool) -> Result<(), Malformed> {
        if present {
            self.short()?;
        }
        Ok(())
    }

    fn table(&mut self) -> Result<&'a [u8], Malformed> {
        let len = u32::from_be_bytes(*self.0.first_chunk().ok_or(Malformed)?);
        self.take(4 + len as usize)
    }

    /// The bytes of those of these fields that are there.
    fn fields(&mut self, flags: u16, fields: &[(u16, Shape)]) -> Result<&'a [u8], Malformed> {
        let start = self.0;
        for (_, shape) in fields.iter().filter(|(flag, _)| flags & flag != 0) {
            match shape {
                Shape::Octet => self.take(1)?,
                Shape::Short => self.short()?,
                Shape::Table => self.table()?,
            };
        }
        Ok(&start[..start.len() - self.0.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The fields of the basic class in their order, each there or not, and with their flags in front.
    fn any_list() -> impl Strategy<Value = (u16, Vec<Vec<u8>>)> {
        let short = || {
            prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| {
                let mut field = Vec::new();
                push_short(&mut field, &bytes);
                field
            })
        };
        let octet = || prop::collection::vec(any::<u8>(), 1);
        let table = Just(vec![0, 0, 0, 3, 1, b'h', b'V']);
        let time = prop::collection::vec(any::<u8>(), 8);
        let fields = (
            (short(), short(), table, octet(), octet(), short(), short()),
            (short(), short(), time, short(), short(), short(), short()),
        );
        (any::<u16>(), fields).prop_map(|(flags, ((a, b, c, d, e, f, g), (h, i, j, k, l, m, n)))| {
            (flags & !3, vec![a, b, c, d, e, f, g, h, i, j, k, l, m, n])
        })
    }

    fn write(flags: u16, fields: &[Vec<u8>]) -> Vec<u8> {
        let there = fields.iter().enumerate().filter(|(place, _)| flags & (1 << (15 - place)) != 0);
        flags.to_be_bytes().into_iter().chain(there.flat_map(|(_, field)| field.clone())).collect()
    }

    proptest! {
        #[test]
        fn an_edit_changes_what_it_names((flags, fields) in any_list(), which in 0..8u8) {
            let headers = (which & 1 != 0).then_some(&[0, 0, 0, 0][..]);
            let reply_to = (which & 2 != 0).then_some(&b"there"[..]);
            let edit = Edit { headers, reply_to, without_expiration: which & 4 != 0 };

            let (mut new_flags, mut new_fields) = (flags, fields.clone());
            if let Some(headers) = headers {
                new_flags |= flag::HEADERS;
                new_fields[2] = headers.to_vec();
            }
            if reply_to.is_some() {
                new_flags |= flag::REPLY_TO;
                new_fields[6] = b"\x05there".to_vec();
            }
            if edit.without_expiration {
                new_flags &= !flag::EXPIRATION;
            }
            let new = edit.apply(&write(flags, &fields)).unwrap();
            prop_assert_eq!(&new, &write(new_flags, &new_fields));
            prop_assert!(Properties::parse(&new).is_ok());
        }

        #[test]
        fn what_is_parsed_can_be_edited(list in prop::collection::vec(any::<u8>(), 0..30)) {
            let edit = Edit { headers: Some(&[0; 4]), reply_to: Some(b"a"), without_expiration: true };
            if Properties::parse(&list).is_ok() {
                prop_assert!(Properties::parse(&edit.apply(&list).unwrap()).is_ok());
                prop_assert_eq!(Edit::default().apply(&list), Ok(list));
            } else {
                _ = edit.apply(&list);
            }
        }
    }

    #[test]
    fn fields_are_found_behind_others() {
        // content-type "a", headers {}, delivery-mode 2, priority 7, expiration "60".
        let bytes = [
            0b1011_1001,
            0, // flags
            1,
            b'a',
            0,
            0,
            0,
            0,
            2,
            7,
            2,
            b'6',
            b'0',
        ];
        let properties = Properties::parse(&bytes).unwrap();
        assert!(properties.persistent());
        assert_eq!(properties.priority, Some(7));
        assert_eq!(properties.expiration, Some(&b"60"[..]));
        assert_eq!(properties.headers, Some(&[0, 0, 0, 0][..]));
        assert_eq!(properties.user_id, None);
    }

    #[test]
    fn cut_lists_and_left_over_bytes_are_refused() {
        assert_eq!(Properties::parse(&[]), Err(Malformed));
        assert_eq!(Properties::parse(&[0x10, 0]), Err(Malformed));
        assert_eq!(Properties::parse(&[0, 0, 1]), Err(Malformed));
        assert_eq!(Properties::parse(&[0, 1, 0, 0]), Err(Malformed));
        assert_eq!(Properties::parse(&[0x20, 0, 0, 0, 0, 9, 1]), Err(Malformed));
    }
}
