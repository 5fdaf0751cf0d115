//! What is known of a message without looking into its properties, and how it is kept in two octets: every
//! message that waits has them.

/// What is known of a message without looking into its properties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Asks to survive a restart (delivery mode 2).
    pub persistent: bool,
    /// Has an `expiration`.
    pub expires: bool,
    /// Has a `priority`, and which.
    pub priority: Option<u8>,
    /// Goes to the keys of its `CC` and `BCC` headers too.
    pub has_copies: bool,
    /// Has a `BCC` header, which nobody may see.
    pub has_bcc: bool,
    /// Was dead-lettered: its `x-death` header was written by this broker, not by a client.
    pub died: bool,
}

/// The same in two octets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed {
    flags: u8,
    priority: u8,
}

const PERSISTENT: u8 = 1;
const EXPIRES: u8 = 1 << 1;
const PRIORITY: u8 = 1 << 2;
const COPIES: u8 = 1 << 3;
const BCC: u8 = 1 << 4;
const DIED: u8 = 1 << 5;

impl From<Marks> for Packed {
    fn from(marks: Marks) -> Packed {
        let flags = [
            (marks.persistent, PERSISTENT),
            (marks.expires, EXPIRES),
            (marks.priority.is_some(), PRIORITY),
            (marks.has_copies, COPIES),
            (marks.has_bcc, BCC),
            (marks.died, DIED),
        ];
        let flags = flags.into_iter().map(|(is_set, flag)| u8::from(is_set) * flag).sum();
        Packed { flags, priority: marks.priority.unwrap_or_default() }
    }
}

impl From<Packed> for Marks {
    #[inline]
    fn from(Packed { flags, priority }: Packed) -> Marks {
        let has = |flag| flags & flag != 0;
        Marks {
            persistent: has(PERSISTENT),
            expires: has(EXPIRES),
            priority: has(PRIORITY).then_some(priority),
            has_copies: has(COPIES),
            has_bcc: has(BCC),
            died: has(DIED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_what_was_packed() {
        for bits in 0..64_u8 {
            let has = |bit: u8| bits & 1 << bit != 0;
            let marks = Marks {
                persistent: has(0),
                expires: has(1),
                priority: has(2).then_some(bits),
                has_copies: has(3),
                has_bcc: has(4),
                died: has(5),
            };
            assert_eq!(Marks::from(Packed::from(marks)), marks);
        }
    }
}
