//! Reads what `cargo test` prints and keeps what a person wants at the end: a line a suite, the failed tests, and the
//! tests that could not run here. Pure.

use std::collections::BTreeSet;
use std::fmt;

/// What a test prints, on a line of its own, when this machine lacks what it needs: `SKIPPED name: reason`.
const SKIPPED: &str = "SKIPPED ";

#[derive(Debug, Default)]
pub(super) struct Summary {
    suites: Vec<Suite>,
    failed_tests: BTreeSet<String>,
    skipped: BTreeSet<String>,
    /// Cargo itself said that something failed.
    cargo_failed: bool,
}

#[derive(Debug)]
struct Suite {
    name: String,
    /// None while it runs; a suite that dies, say by a signal, never gets one.
    result: Option<String>,
}

impl Summary {
    /// Takes in the next line of output.
    pub(super) fn read(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(name) = suite_name(line.trim_start()) {
            self.suites.push(Suite { name, result: None });
        } else if let Some(result) = line.strip_prefix("test result: ") {
            if let Some(suite) = self.suites.last_mut() {
                suite.result = Some(result.to_owned());
            }
        } else if let Some(start) = line.find(SKIPPED) {
            // Anywhere in the line: libtest may have begun it with `test name ... `.
            self.skipped
                .insert(line[start + SKIPPED.len()..].to_owned());
        } else if let Some(test) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failed_tests.insert(test.to_owned());
        }
    }

    /// Takes in how `cargo test` ended.
    pub(super) fn ended(&mut self, well: bool) {
        self.cargo_failed = !well;
    }

    pub(super) fn failed(&self) -> bool {
        self.cargo_failed || self.suites.iter().any(|suite| !suite.passed())
    }
}

impl Suite {
    fn passed(&self) -> bool {
        self.result
            .as_deref()
            .is_some_and(|result| result.starts_with("ok"))
    }

    /// A target without a single test, which would only fill the list.
    fn is_empty(&self) -> bool {
        self.result
            .as_deref()
            .is_some_and(|result| result.starts_with("ok. 0 passed; 0 failed; 0 ignored"))
    }
}

/// `Running unittests src/lib.rs (target/debug/deps/hookmill-0123)` is `hookmill src/lib.rs`.
fn suite_name(line: &str) -> Option<String> {
    if let Some(package) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{package} doc tests"));
    }
    let (source, program) = line
        .strip_prefix("Running ")?
        .strip_suffix(')')?
        .rsplit_once(" (")?;
    let source = source.strip_prefix("unittests ").unwrap_or(source);
    let program = program.rsplit(['/', '\\']).next()?;
    let package = program
        .rsplit_once('-')
        .map_or(program, |(package, _hash)| package);
    Some(format!("{package} {source}"))
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n== suites")?;
        for suite in self.suites.iter().filter(|suite| !suite.is_empty()) {
            let result = suite.result.as_deref().unwrap_or("DIED before its result");
            writeln!(f, "{:<44} {result}", suite.name)?;
        }
        if !self.failed_tests.is_empty() {
            writeln!(f, "\n== failed")?;
            for test in &self.failed_tests {
                writeln!(f, "{test}")?;
            }
        }
        if !self.skipped.is_empty() {
            writeln!(f, "\n== skipped here")?;
            for skipped in &self.skipped {
                writeln!(f, "{SKIPPED}{skipped}")?;
            }
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::Summary;

    fn summary(output: &str, ended_well: bool) -> Summary {
        let mut summary = Summary::default();
        output.lines().for_each(|line| summary.read(line));
        summary.ended(ended_well);
        summary
    }

    #[test]
    fn lists_each_suite_and_leaves_out_the_empty() {
        let output = "\
     Running unittests src/lib.rs (target/debug/deps/hookmill-0a1b2c)
test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.52s
     Running unittests src/main.rs (target/debug/deps/xtask-77)
test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
   Doc-tests hookmill_plugin
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.2s
";
        let summary = summary(output, true);
        assert!(!summary.failed());
        let text = summary.to_string();
        assert!(text.contains("hookmill src/lib.rs"), "{text}");
        assert!(text.contains("12 passed"), "{text}");
        assert!(text.contains("hookmill_plugin doc tests"), "{text}");
        assert!(!text.contains("xtask"), "{text}");
    }

    #[test]
    fn names_failed_and_skipped_tests() {
        let output = "\
     Running blackbox/main.rs (target/debug/deps/blackbox-0a1b2c)
SKIPPED power_cut: needs root
test crash::kill ... FAILED
test crash::power_cut ... SKIPPED power_cut: needs root
test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 9.00s
";
        let summary = summary(output, false);
        assert!(summary.failed());
        let text = summary.to_string();
        assert!(text.contains("\ncrash::kill\n"), "{text}");
        assert_eq!(
            text.matches("SKIPPED power_cut: needs root").count(),
            1,
            "{text}"
        );
    }

    #[test]
    fn a_suite_that_dies_has_failed() {
        let summary = summary(
            "     Running blackbox/main.rs (target/debug/deps/blackbox-0a1b2c)\n",
            true,
        );
        assert!(summary.failed());
        assert!(summary.to_string().contains("DIED"));
    }
}
