//! Card numbers: ISO/IEC 7812, whose last digit checks the others (Luhn).

use crate::{Found, SHOWN};

/// How issuers' numbers begin, and how long they are. Not every number with a right check digit is a card's: one in ten
/// identifiers or times in milliseconds has one by chance.
const ISSUERS: [(&str, &str, &[usize]); 16] = [
    ("4", "4", &[13, 16, 18, 19]),               // Visa
    ("51", "55", &[16]),                         // Mastercard
    ("2221", "2720", &[16]),                     // Mastercard
    ("34", "34", &[15]),                         // American Express
    ("37", "37", &[15]),                         // American Express
    ("300", "305", &[14, 16, 17, 18, 19]),       // Diners Club
    ("36", "36", &[14, 15, 16, 17, 18, 19]),     // Diners Club
    ("38", "39", &[14, 16, 17, 18, 19]),         // Diners Club
    ("3528", "3589", &[16, 17, 18, 19]),         // JCB
    ("6011", "6011", &[16, 17, 18, 19]),         // Discover
    ("644", "659", &[16, 17, 18, 19]),           // Discover
    ("62", "62", &[16, 17, 18, 19]),             // UnionPay
    ("50", "50", &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    ("56", "58", &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    ("63", "67", &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    ("2200", "2204", &[16, 17, 18, 19]),         // Mir
];

const SHORTEST: usize = 13;
const LONGEST: usize = 19;

/// A digit and where it stands.
type Digit = (usize, u8);

pub(crate) fn find(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    for run in runs(text) {
        let mut first = 0;
        while first < run.len() {
            match longest_card(&run, first) {
                Some(length) => {
                    let shown = run[first + length - SHOWN].0;
                    found.push(Found {
                        from: run[first].0,
                        to: shown,
                    });
                    first += length;
                }
                None => first += group(&run, first),
            }
        }
    }
    found
}

/// The digits that stand together, with a single space, hyphen or dot between two at most.
fn runs(text: &str) -> Vec<Vec<Digit>> {
    let mut runs: Vec<Vec<Digit>> = Vec::new();
    for (at, byte) in text
        .bytes()
        .enumerate()
        .filter(|(_, byte)| byte.is_ascii_digit())
    {
        let digit = (at, byte - b'0');
        match runs.last_mut() {
            Some(run) if follows(text, run, at) => run.push(digit),
            _ => runs.push(vec![digit]),
        }
    }
    runs.retain(|run| run.len() >= SHORTEST);
    runs
}

fn follows(text: &str, run: &[Digit], at: usize) -> bool {
    let Some((last, _)) = run.last() else {
        return false;
    };
    match &text.as_bytes()[last + 1..at] {
        [] => true,
        [between] => matches!(between, b' ' | b'-' | b'.'),
        _ => false,
    }
}

/// How many digits from here on stand without anything between.
fn group(run: &[Digit], first: usize) -> usize {
    let apart = |pair: &[Digit]| pair[1].0 != pair[0].0 + 1;
    let digits = &run[first..];
    digits
        .windows(2)
        .position(apart)
        .map_or(digits.len(), |last| last + 1)
}

/// The length of the longest card number that begins here, and does not end inside of a group.
fn longest_card(run: &[Digit], first: usize) -> Option<usize> {
    let most = LONGEST.min(run.len() - first);
    (SHORTEST..=most).rev().find(|length| {
        let digits = &run[first..first + length];
        let ends = run
            .get(first + length)
            .is_none_or(|next| next.0 != digits[length - 1].0 + 1);
        ends && is_issued(digits) && is_checked(digits)
    })
}

fn is_issued(digits: &[Digit]) -> bool {
    ISSUERS.iter().any(|(from, to, lengths)| {
        let beginning: Vec<u8> = digits
            .iter()
            .take(from.len())
            .map(|(_, d)| d + b'0')
            .collect();
        lengths.contains(&digits.len())
            && (from.as_bytes()..=to.as_bytes()).contains(&&beginning[..])
    })
}

/// Luhn: every second digit from the right is doubled, and the sum of all digits ends in zero.
fn is_checked(digits: &[Digit]) -> bool {
    let value = |(index, (_, digit)): (usize, &Digit)| {
        let digit = u32::from(*digit);
        match index % 2 {
            0 => digit,
            _ => digit * 2 / 10 + digit * 2 % 10,
        }
    };
    digits.iter().rev().enumerate().map(value).sum::<u32>() % 10 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of the text that are hidden.
    fn hidden(text: &str) -> Vec<&str> {
        find(text)
            .iter()
            .map(|found| &text[found.from..found.to])
            .collect()
    }

    #[test]
    fn test_numbers_of_the_networks_are_found() {
        // As the networks and payment providers publish them for tests.
        for number in [
            "4111111111111111",
            "4222222222222",
            "5555555555554444",
            "2223003122003222",
            "378282246310005",
            "30569309025904",
            "36227206271667",
            "3566002020360505",
            "6011111111111117",
            "6205500000000000004",
        ] {
            assert_eq!(hidden(number), [&number[..number.len() - 4]], "{number}");
            let other = number.replace(&number[number.len() - 1..], "9");
            assert!(hidden(&other).is_empty() || other == number, "{other}");
        }
    }

    #[test]
    fn separators_and_neighbours_do_not_matter() {
        assert_eq!(hidden("4111 1111 1111 1111"), ["4111 1111 1111 "]);
        assert_eq!(hidden("card:4111-1111-1111-1111."), ["4111-1111-1111-"]);
        assert_eq!(hidden("paid 12 4111111111111111 05/29"), ["411111111111"]);
        assert_eq!(
            hidden("378282246310005, 5555555555554444"),
            ["37828224631", "555555555555"]
        );
    }

    #[test]
    fn other_numbers_stay() {
        for text in [
            "1772442911412",
            "820982911946154508",
            "411111111111111",
            "41111111111111111111",
            "94111111111111111",
            "4111  1111 1111 1111",
            "+49 30 123456789",
            "0000000000000000",
        ] {
            assert!(hidden(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_long_row_of_digits_takes_no_more_than_its_length() {
        assert!(hidden(&"4 ".repeat(100_000)).len() < 100_000);
        assert!(hidden(&"4".repeat(100_000)).is_empty());
    }
}
