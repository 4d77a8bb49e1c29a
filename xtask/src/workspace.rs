//! Where things lie in this repository. Paths only; it touches nothing.

use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    pub(crate) fn new() -> Self {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self {
            root: own
                .parent()
                .expect("this crate is a folder of the workspace")
                .to_path_buf(),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Cargo's build folder. Given to every cargo that is run from here, so that a developer's own setting does not
    /// move a binary away from where the tests look for it.
    pub(crate) fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// A program that the `dev` or `release` profile built.
    pub(crate) fn program(&self, profile: &str, name: &str) -> PathBuf {
        self.target()
            .join(profile)
            .join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }

    /// The folder of the finished `*.wasm` files.
    pub(crate) fn plugins(&self) -> PathBuf {
        self.target().join("plugins")
    }
}
