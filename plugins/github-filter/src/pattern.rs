//! Patterns with `*` and `**`, as in GitHub's own branch filters.

/// Whether `pattern` stands for all of `text`. Takes time in the order of pattern times text, whatever the
/// pattern: both come from outside.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    // reachable[i]: the part of the pattern read so far stands for the first i bytes of the text. Stars are ASCII, so
    // bytes do as well as characters.
    let text = text.as_bytes();
    let mut reachable = vec![false; text.len() + 1];
    reachable[0] = true;
    let mut pattern = pattern.as_bytes();
    while let [first, rest @ ..] = pattern {
        pattern = rest;
        if *first == b'*' {
            let any = rest.first() == Some(&b'*');
            if any {
                pattern = &rest[1..];
            }
            for i in 0..text.len() {
                reachable[i + 1] |= reachable[i] && (any || text[i] != b'/');
            }
        } else {
            for i in (0..text.len()).rev() {
                reachable[i + 1] = reachable[i] && text[i] == *first;
            }
            reachable[0] = false;
        }
    }
    reachable[text.len()]
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_stand_for_what_they_should() {
        let cases = [
            ("main", "main", true),
            ("main", "mainly", false),
            ("main", "domain", false),
            ("*", "main", true),
            ("*", "", true),
            ("*", "release/1", false),
            ("**", "release/1", true),
            ("release/*", "release/1.0", true),
            ("release/*", "release/1/fix", false),
            ("release/**", "release/1/fix", true),
            ("*-fix", "a-fix-fix", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("v*.*", "v1.2.3", true),
            ("***", "a/b", true),
            ("", "", true),
            ("", "a", false),
            ("ü*", "über", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_more_than_pattern_times_text() {
        // A backtracking matcher would not come back from this.
        assert!(!matches(&"*a".repeat(200), &"a".repeat(199)));
        assert!(matches(&"*a".repeat(200), &"a".repeat(200)));
    }
}
