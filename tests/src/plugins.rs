//! The plugins as bytes: those of the caller's directory, or built once by cargo.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use bytes::Bytes;

use crate::settings::{plugin_directory, repository, target_directory};

/// The target that every plugin is built for.
const TARGET: &str = "wasm32-unknown-unknown";

/// The names under which the plugins are uploaded, their packages, and the manifests that they are built from.
const PLUGINS: [(&str, &str, &str); 4] = [
    ("redact", "redact", "Cargo.toml"),
    ("github-filter", "github-filter", "Cargo.toml"),
    ("slack-message", "slack-message", "Cargo.toml"),
    (
        "hostile",
        "hostile",
        "tests/fixtures/plugins/hostile/Cargo.toml",
    ),
];

/// A plugin's wasm file by the plugin's name.
///
/// # Panics
/// When there is no such plugin, or it can not be built.
pub fn wasm(plugin: &str) -> Bytes {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let directory = plugin_directory().unwrap_or_else(|| BUILT.get_or_init(build).clone());
    let file = directory.join(file_name(plugin));
    match std::fs::read(&file) {
        Ok(bytes) => Bytes::from(bytes),
        Err(error) => panic!("{}: {error}", file.display()),
    }
}

/// Cargo's name of the file, which the caller's directory shares: a library's, with underscores.
fn file_name(plugin: &str) -> String {
    format!("{}.wasm", plugin.replace('-', "_"))
}

/// Builds all plugins and brings them together below the target directory, where `cargo xtask` does too.
fn build() -> PathBuf {
    let target = target_directory().join("plugins-build");
    let ready = target_directory().join("plugins");
    std::fs::create_dir_all(&ready).expect("the target directory can be written");
    for (plugin, package, manifest) in PLUGINS {
        let own_workspace = manifest != "Cargo.toml";
        // The root's profile for plugins; a fixture outside the workspace has its own release profile.
        let profile = if own_workspace { "release" } else { "plugin" };
        let status = Command::new("cargo")
            .args(["build", "--quiet", "--target", TARGET, "--profile", profile])
            .args(["--package", package, "--manifest-path"])
            .arg(repository().join(manifest))
            .arg("--target-dir")
            .arg(&target)
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the plugin {plugin} does not build");
        install(
            &target.join(TARGET).join(profile).join(file_name(package)),
            &ready.join(file_name(plugin)),
        );
    }
    ready
}

fn install(from: &Path, to: &Path) {
    std::fs::copy(from, to)
        .unwrap_or_else(|error| panic!("{} to {}: {error}", from.display(), to.display()));
}
