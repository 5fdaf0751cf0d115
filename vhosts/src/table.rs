//! Checking field tables before anything decodes them (AMQP 0-9-1, section 4.2.5.5).
//!
//! A decoder that calls itself for each nested table can be made to run out of stack by a peer; this walk
//! does not, and what it passed is safe to decode.

use crate::properties::Malformed;

/// How deep tables and arrays may be nested.
pub const DEPTH_MAX: usize = 64;

/// Walks a field table, its four length octets included, that must fill `bytes`.
///
/// # Errors
/// [`Malformed`]: lengths that do not fit, an unknown field type, or deeper nesting than [`DEPTH_MAX`].
pub fn check(bytes: &[u8]) -> Result<(), Malformed> {
    let length = u32::from_be_bytes(*bytes.first_chunk().ok_or(Malformed)?);
    if bytes.len() - 4 != length as usize {
        return Err(Malformed);
    }
    check_fields(&bytes[4..])
}

/// Walks the fields of a table that has no length in front.
///
/// # Errors
/// As [`check`].
pub fn check_fields(bytes: &[u8]) -> Result<(), Malformed> {
    let mut at = 0;
    // The ends of the tables and arrays that the walk is inside of, and whether their items have names.
    let mut inside = vec![(bytes.len(), true)];
    while let Some(&(end, named)) = inside.last() {
        if at == end {
            inside.pop();
            continue;
        }
        if named {
            at += 1 + usize::from(bytes[at]);
        }
        let value = bytes.get(at..end).ok_or(Malformed)?;
        let len = value_len(value)?;
        match value[0] {
            nested @ (b'F' | b'A') if inside.len() < DEPTH_MAX => {
                inside.push((at + len, nested == b'F'));
                at += 5;
            }
            b'F' | b'A' => return Err(Malformed),
            _ => at += len,
        }
    }
    Ok(())
}

/// Octets of the value at the start of `bytes`: its type octet and all that is nested in it included.
///
/// # Errors
/// [`Malformed`] when it is cut off, or of an unknown type. What is nested in it is not looked at.
pub(crate) fn value_len(bytes: &[u8]) -> Result<usize, Malformed> {
    let (kind, rest) = bytes.split_first().ok_or(Malformed)?;
    let len = match kind {
        b'V' => 0,
        b't' | b'b' | b'B' => 1,
        b's' | b'u' | b'U' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'l' | b'L' | b'd' | b'T' => 8,
        b'S' | b'x' | b'F' | b'A' => 4 + u32::from_be_bytes(*rest.first_chunk().ok_or(Malformed)?) as usize,
        _ => return Err(Malformed),
    };
    if len <= rest.len() { Ok(1 + len) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nested(depth: usize) -> Vec<u8> {
        (0..depth).fold(Vec::new(), |inner, _| {
            let mut table = vec![0, b'F'];
            table.extend((inner.len() as u32).to_be_bytes());
            table.extend(inner);
            table
        })
    }

    #[test]
    fn nesting_is_limited() {
        assert_eq!(check_fields(&nested(DEPTH_MAX - 1)), Ok(()));
        assert_eq!(check_fields(&nested(DEPTH_MAX)), Err(Malformed));
        assert_eq!(check_fields(&nested(20_000)), Err(Malformed));
    }

    #[test]
    fn an_inner_table_ends_inside_the_outer_one() {
        // Outer of 6 octets, inner said to have 3, with only 2 left in the outer.
        assert_eq!(check_fields(&[0, b'F', 0, 0, 0, 3, 0, b'V']), Err(Malformed));
        assert_eq!(check_fields(&[0, b'F', 0, 0, 0, 2, 0, b'V']), Ok(()));
        assert_eq!(check_fields(&[0, b'z']), Err(Malformed));
    }

    proptest! {
        #[test]
        fn what_passes_can_be_decoded(mut fields in prop::collection::vec(any::<u8>(), 0..40)) {
            fields.splice(0..0, (fields.len() as u32).to_be_bytes());
            if check(&fields).is_ok() {
                // Not so when a name is not UTF-8, which is the decoder's own business.
                if let Ok((rest, _)) = amq_protocol_types::parsing::parse_field_table(&fields[..]) {
                    prop_assert!(rest.is_empty());
                }
            }
        }
    }
}
