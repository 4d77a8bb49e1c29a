//! What the environment tells the tests, and where the files are. The only place of this crate that reads
//! the environment.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Resource, getrlimit};
use tokio::process::Command;

/// The value of an environment variable, if it is set and not empty.
#[expect(
    clippy::disallowed_methods,
    reason = "the ban keeps the gateway's rooms honest; a test program has only the environment to be told by"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A shell for this script, as a newcomer has it: without what tells the tests something, which a gateway or cargo
/// would take for settings.
pub fn newcomers_shell(script: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-eu", "-c", script]).stdin(Stdio::null());
    for name in [
        "CARGO_TARGET_DIR",
        "HOOKMILL_BIN",
        "HOOKMILL_TEST_PLUGINS",
        "HOOKMILL_ROUNDS",
        "HOOKMILL_FAULT_TABLE",
    ] {
        shell.env_remove(name);
    }
    shell
}

/// The gateway's binary: `HOOKMILL_BIN`, or what `cargo build -p hookmill` left beside the test program.
///
/// # Panics
/// When there is none, saying what to do.
pub fn hookmill_bin() -> PathBuf {
    let path = variable("HOOKMILL_BIN").map_or_else(
        || target_directory().join("debug").join("hookmill"),
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "no gateway at {}: run `cargo build -p hookmill`, or `cargo xtask test`, which does",
        path.display()
    );
    path
}

/// The directory with the plugins' wasm files, if the caller has built them (`HOOKMILL_TEST_PLUGINS`).
pub fn plugin_directory() -> Option<PathBuf> {
    variable("HOOKMILL_TEST_PLUGINS").map(PathBuf::from)
}

/// The file that collects the rows of the fault table (`HOOKMILL_FAULT_TABLE`), if the caller wants them.
pub(crate) fn fault_table() -> Option<PathBuf> {
    variable("HOOKMILL_FAULT_TABLE").map(PathBuf::from)
}

/// How many rounds of a fault to play: `few`, or with `HOOKMILL_ROUNDS=full` the long form; a number there
/// stands for itself.
///
/// # Panics
/// When the variable is set and is neither.
pub fn rounds(few: u32, full: u32) -> u32 {
    match variable("HOOKMILL_ROUNDS").as_deref() {
        None => few,
        Some("full") => full,
        Some(text) => text.parse().unwrap_or_else(|_| {
            panic!("HOOKMILL_ROUNDS is `{text}`, neither `full` nor a number of rounds")
        }),
    }
}

/// How many descriptors this program may have open, and a gateway that it starts.
pub fn open_files() -> usize {
    getrlimit(Resource::Nofile)
        .current
        .map_or(usize::MAX, |most| {
            usize::try_from(most).unwrap_or(usize::MAX)
        })
}

/// The repository's root.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests' crate lies one below the root")
}

/// A file of `tests/fixtures`.
///
/// # Panics
/// When it can not be read.
pub fn fixture(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `target/` of the running test program, which lies in `target/<profile>/deps/`.
pub(crate) fn target_directory() -> PathBuf {
    let program = std::env::current_exe().expect("a running program has a path");
    program
        .ancestors()
        .nth(3)
        .expect("cargo puts test programs three levels into the target directory")
        .to_path_buf()
}

/// Says that a test was left out, past libtest's capture, so that the summary can list it.
pub fn skipped(name: &str, reason: &str) {
    say(&format!("SKIPPED {name}: {reason}"));
}

/// Prints a line past libtest's capture: for counts that a reader wants from a passing test.
pub fn say(line: &str) {
    // A closed stdout is the reader's choice; the test goes on.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
