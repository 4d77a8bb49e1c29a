//! The guest `hostile`: built once for all tests of a run, or taken from the directory in `HOOKMILL_TEST_PLUGINS`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use bytes::Bytes;

/// Its core module.
pub(crate) fn hostile() -> Bytes {
    static WASM: OnceLock<Bytes> = OnceLock::new();
    WASM.get_or_init(|| std::fs::read(path_of("hostile")).unwrap().into())
        .clone()
}

fn path_of(name: &str) -> PathBuf {
    if let Some(dir) = std::env::var_os("HOOKMILL_TEST_PLUGINS") {
        return Path::new(&dir).join(format!("{name}.wasm"));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = root.join("target/plugins");
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--release",
            "--target",
            "wasm32-unknown-unknown",
            "--target-dir",
        ])
        .arg(&target)
        .current_dir(root.join("tests/fixtures/plugins").join(name))
        // A coverage or lint run's flags are for the host.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .unwrap();
    assert!(
        built.success(),
        "the guest {name} does not build; is the target wasm32-unknown-unknown installed?"
    );
    target.join(format!("wasm32-unknown-unknown/release/{name}.wasm"))
}
