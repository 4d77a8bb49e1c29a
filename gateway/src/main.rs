use std::process::ExitCode;

use hookmill::sandbox::{COMPILE_SUBCOMMAND, compile_child_main};

fn main() -> ExitCode {
    // Before anything else: the compile child has neither settings nor a runtime.
    if std::env::args().nth(1).as_deref() == Some(COMPILE_SUBCOMMAND) {
        return compile_child_main();
    }
    ExitCode::SUCCESS
}
