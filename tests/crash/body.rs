//! What is in a message: who sent it as which, noise, and a checksum over all of it.

/// A message of the run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Body {
    pub publisher: u32,
    /// Counts from 0 for each publisher.
    pub number: u64,
}

/// The publisher of the message that ends a queue.
pub const END: u32 = u32::MAX;

const HEAD_LEN: usize = 4 + 8;
const CHECKSUM_LEN: usize = 8;
/// Now and then a body is larger than a frame, so that bodies in several frames are killed as well.
const LARGE_LEN: usize = 200_000;

impl Body {
    /// The bytes to publish. The same body gives the same bytes.
    pub fn encode(self) -> Vec<u8> {
        let mix = checksum(&[self.publisher.to_be_bytes(), (self.number as u32).to_be_bytes()].concat());
        let noise_len = if mix.is_multiple_of(97) { LARGE_LEN } else { mix as usize % 300 };
        let mut bytes = self.publisher.to_be_bytes().to_vec();
        bytes.extend(self.number.to_be_bytes());
        bytes.extend((0..noise_len).map(|at| (mix >> (at % 57)) as u8));
        bytes.extend(checksum(&bytes).to_be_bytes());
        bytes
    }

    /// What was encoded; `None` when a byte is not as it was.
    pub fn decode(bytes: &[u8]) -> Option<Body> {
        let (content, sum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM_LEN)?)?;
        let (head, _noise) = content.split_at_checked(HEAD_LEN)?;
        let (publisher, number) = head.split_at(4);
        let body = Body {
            publisher: u32::from_be_bytes(publisher.try_into().ok()?),
            number: u64::from_be_bytes(number.try_into().ok()?),
        };
        (checksum(content).to_be_bytes() == sum).then_some(body)
    }
}

/// FNV-1a: short, and enough against accidents.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn every_changed_byte_is_noticed() {
    let body = Body { publisher: 3, number: 70_000 };
    let bytes = body.encode();
    assert_eq!(Body::decode(&bytes), Some(body));
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert_eq!(Body::decode(&changed), None, "byte {at}");
    }
    assert_eq!(Body::decode(&bytes[..bytes.len() - 1]), None);
    assert_eq!(Body::decode(b""), None);
}
