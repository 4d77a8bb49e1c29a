//! Twenty bytes as 27 digits of base 62 and back, as KSUIDs are written. Of our own because identifiers are written and
//! read as text a dozen times an event, and the KSUID crate's encoder, made for any base, stood among the first lines
//! of a profile of accepting.

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Digits of a text: the most that twenty bytes need.
pub(super) const LEN: usize = 27;

/// Digits that are cut off at a time.
const PART: usize = 5;

/// 62 to the power of [`PART`], which fits into a word of 32 bits.
const PART_VALUE: u64 = 62_u64.pow(5);

pub(super) fn encode(bytes: [u8; 20]) -> [u8; LEN] {
    let mut words = words(bytes);
    let mut text = [DIGITS[0]; LEN];
    let mut end = LEN;
    while end > 0 {
        let mut part = 0;
        for word in &mut words {
            let value = part << 32 | u64::from(*word);
            *word = u32::try_from(value / PART_VALUE).unwrap_or(u32::MAX);
            part = value % PART_VALUE;
        }
        let start = end.saturating_sub(PART);
        for digit in text[start..end].iter_mut().rev() {
            *digit = DIGITS[(part % 62) as usize];
            part /= 62;
        }
        end = start;
    }
    text
}

/// None unless all are digits and the number fits into twenty bytes.
pub(super) fn decode(text: &[u8; LEN]) -> Option<[u8; 20]> {
    let mut words = [0_u32; 5];
    for &digit in text {
        let mut carry = u64::from(value(digit)?);
        for word in words.iter_mut().rev() {
            let sum = u64::from(*word) * 62 + carry;
            *word = sum as u32;
            carry = sum >> 32;
        }
        if carry > 0 {
            return None;
        }
    }
    let mut bytes = [0; 20];
    for (bytes, word) in bytes.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    Some(bytes)
}

fn words(bytes: [u8; 20]) -> [u32; 5] {
    let (chunks, _) = bytes.as_chunks::<4>();
    std::array::from_fn(|n| u32::from_be_bytes(chunks[n]))
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'Z' => Some(digit - b'A' + 10),
        b'a'..=b'z' => Some(digit - b'a' + 36),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use svix_ksuid::{KsuidLike, KsuidMs};

    #[test]
    fn writes_what_the_ksuid_crate_writes() {
        let edges = [[0; 20], [0xff; 20], [1; 20]];
        let random = (0..1_000).map(|_| rand::random::<[u8; 20]>());
        for bytes in edges.into_iter().chain(random) {
            let text = encode(bytes);
            let theirs = KsuidMs::from_bytes(bytes).to_base62();
            assert_eq!(std::str::from_utf8(&text).unwrap(), theirs);
            assert_eq!(decode(&text), Some(bytes));
        }
    }

    #[test]
    fn refuses_what_is_no_digit_and_what_does_not_fit() {
        assert_eq!(decode(b"aWgEPTl1tmebfsQzFP4bxwgy80V"), Some([0xff; 20]));
        assert_eq!(decode(b"aWgEPTl1tmebfsQzFP4bxwgy80W"), None);
        assert_eq!(decode(b"zzzzzzzzzzzzzzzzzzzzzzzzzzz"), None);
        assert_eq!(decode(b"00000000000000000000000000-"), None);
    }
}
