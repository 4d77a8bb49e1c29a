//! The `hookmill` program: one user of the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    hookmill::cli::main()
}
