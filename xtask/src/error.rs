//! What can stop one of the repository's commands, in words that say what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("`{command}` ended with {status}")]
    Command { command: String, status: ExitStatus },
    #[error("`{command}` could not be run")]
    Start {
        command: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot {action} {}", .path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "the plugins need Rust's target {target}, and rustup could not add it; \
         run `rustup target add {target}` with a network, or install your distribution's package of that target"
    )]
    MissingTarget {
        target: &'static str,
        #[source]
        source: Box<Failure>,
    },
    #[error(
        "the JavaScript engine is written in C: building it needs a clang that targets wasm32, such as the package `clang` \
         of Debian"
    )]
    NoClang,
    #[error(
        "the checked-in JavaScript engine is not what it should be: {0}; `cargo xtask js-engine` builds it"
    )]
    EngineChanged(&'static str),
    #[error("failed: {}", .0.join(", "))]
    Checks(Vec<&'static str>),
    #[error(
        "wit/hookmill.wit differs from the shipped contract in {}; \
         a changed contract is a new package version with a golden copy of its own",
        .golden.display()
    )]
    ContractChanged { golden: PathBuf },
    #[error("{} is no WebAssembly", .file.display())]
    Wasm {
        file: PathBuf,
        #[source]
        source: wasmparser::BinaryReaderError,
    },
    #[error("{} imports `{import}`, which no gateway has; look for the crate that brings it", .file.display())]
    Import { file: PathBuf, import: String },
    #[error("{}: {problem}", .file.display())]
    Catalogue { file: PathBuf, problem: String },
}

impl Failure {
    /// For `map_err` on a file operation.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
        let path = path.to_path_buf();
        move |source| Failure::File {
            action,
            path,
            source,
        }
    }
}
