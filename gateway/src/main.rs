//! The `hookmill` program: one user of the library.

use std::process::ExitCode;

/// An event's life is a few hundred small allocations that one thread makes and another frees.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hookmill::cli::main()
}
