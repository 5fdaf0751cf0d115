//! Numbers in as few octets as they need: seven bits in each, the lowest first (LEB128).

/// Appends a number.
pub fn push(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The way from one number to another as a number; it is small when they are close.
#[must_use]
pub fn step(from: u64, to: u64) -> u64 {
    let step = to.wrapping_sub(from) as i64;
    (step << 1 ^ step >> 63) as u64
}

/// The number that is that [`step`] away.
#[must_use]
pub fn stepped(from: u64, step: u64) -> u64 {
    from.wrapping_add(step >> 1 ^ (step & 1).wrapping_neg())
}

/// Appends a [`step`].
pub fn push_step(out: &mut Vec<u8>, from: u64, to: u64) {
    push(out, step(from, to));
}

/// Takes a number off the front; nothing if there is none.
#[inline]
pub fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&octet, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(octet & 0x7F) << shift;
        if octet & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Takes the number that is a step away from `from` off the front.
#[inline]
pub fn take_step(bytes: &mut &[u8], from: u64) -> Option<u64> {
    Some(stepped(from, take(bytes)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(numbers in prop::collection::vec(any::<u64>(), 0..20), from: u64) {
            let mut bytes = Vec::new();
            for number in &numbers {
                push(&mut bytes, *number);
                push_step(&mut bytes, from, *number);
            }
            let mut rest = &bytes[..];
            for number in numbers {
                prop_assert_eq!(take(&mut rest), Some(number));
                prop_assert_eq!(take_step(&mut rest, from), Some(number));
            }
            prop_assert!(rest.is_empty() && take(&mut rest).is_none());
        }
    }

    #[test]
    fn what_is_close_is_short() {
        let mut bytes = Vec::new();
        push_step(&mut bytes, 1_000_000, 1_000_001);
        push_step(&mut bytes, 1_000_000, 999_999);
        assert_eq!(bytes.len(), 2);
    }
}
