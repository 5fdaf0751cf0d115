//! Basic properties, read in place.
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

    /// Whether the message is to survive a restart in a durable queue.
    #[must_use]
    pub fn persistent(&self) -> bool {
        self.delivery_mode == Some(2)
    }
}

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
}

#[cfg(test)]
mod tests {
    use super::*;

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
