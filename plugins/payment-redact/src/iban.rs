//! IBANs: ISO 13616. The registry of countries, with how long each one's are, is the crate's.

use iban::Iban;

use crate::{Found, SHOWN};

/// Of the shortest, Norway's.
const SHORTEST: usize = 15;
/// By the standard.
const LONGEST: usize = 34;

pub(crate) fn find(text: &str) -> Vec<Found> {
    let bytes = text.as_bytes();
    let mut found: Vec<Found> = Vec::new();
    let mut next = 0;
    for at in 0..bytes.len() {
        let begins = at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
        if at < next || !begins || !looks_like_one(&bytes[at..]) {
            continue;
        }
        if let Some(characters) = longest(bytes, at) {
            let end = characters[characters.len() - 1];
            found.push(Found {
                // The country stays too.
                from: characters[2],
                to: characters[characters.len() - SHOWN],
            });
            next = end + 1;
        }
    }
    found
}

fn looks_like_one(bytes: &[u8]) -> bool {
    matches!(bytes, [a, b, c, d, ..] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic()
        && c.is_ascii_digit() && d.is_ascii_digit())
}

/// Where the characters of the longest IBAN that begins here stand.
fn longest(bytes: &[u8], start: usize) -> Option<Vec<usize>> {
    let mut places = Vec::with_capacity(LONGEST);
    let mut text = String::with_capacity(LONGEST);
    let mut at = start;
    while places.len() < LONGEST {
        // A single space between two characters belongs to the spelling.
        let space = !places.is_empty() && bytes.get(at) == Some(&b' ');
        let here = at + usize::from(space);
        let Some(byte) = bytes.get(here).filter(|byte| byte.is_ascii_alphanumeric()) else {
            break;
        };
        places.push(here);
        text.push(char::from(byte.to_ascii_uppercase()));
        at = here + 1;
    }
    let length = (SHORTEST..=places.len()).rev().find(|length| {
        let ends = bytes
            .get(places[length - 1] + 1)
            .is_none_or(|next| !next.is_ascii_alphanumeric());
        ends && text[..*length].parse::<Iban>().is_ok()
    })?;
    places.truncate(length);
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(text: &str) -> Vec<&str> {
        find(text)
            .iter()
            .map(|found| &text[found.from..found.to])
            .collect()
    }

    #[test]
    fn examples_of_the_registry_are_found() {
        assert_eq!(hidden("DE89370400440532013000"), ["8937040044053201"]);
        assert_eq!(hidden("NO9386011117947"), ["938601111"]);
        assert_eq!(
            hidden("MT84MALT011000012345MTLCAST001S"),
            ["84MALT011000012345MTLCAST"]
        );
        assert_eq!(hidden("gb29nwbk60161331926819"), ["29nwbk6016133192"]);
    }

    #[test]
    fn spaces_and_neighbours_do_not_matter() {
        assert_eq!(
            hidden("to DE89 3704 0044 0532 0130 00, thanks"),
            ["89 3704 0044 0532 01"]
        );
        assert_eq!(
            hidden("DE89 3704 0044 0532 0130 00 by NO9386011117947"),
            ["89 3704 0044 0532 01", "938601111"]
        );
    }

    #[test]
    fn what_is_not_right_stays() {
        for text in [
            "DE88370400440532013000",
            "DE8937040044053201300",
            "XX89370400440532013000",
            "XDE89370400440532013000",
            "DE89  370400440532013000",
            "DE89",
            "",
        ] {
            assert!(hidden(text).is_empty(), "{text}");
        }
    }
}
