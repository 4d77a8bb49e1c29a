//! `cargo xtask js-engine`: builds the JavaScript engine of `js-engine/` to the one asset that the gateway has inside,
//! or with `--check` compares what it built with that asset. It needs a clang that targets WebAssembly, for QuickJS is
//! written in C; nobody else does.
//!
//! Paths are kept out of what is built, so that the directory should not matter. Another clang or rustc makes other
//! bytes, so the asset says what built it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest as _, Sha256};

use crate::cargo::{cargo, output, run as run_command};
use crate::error::Failure;
use crate::plugins;
use crate::workspace::Workspace;

const SOURCES: &str = "js-engine";
const ASSET: &str = "gateway/assets/js-engine.wasm";
/// As `sha256sum -c` reads it.
const DIGEST: &str = "gateway/assets/js-engine.wasm.sha256";
const BUILT_WITH: &str = "gateway/assets/js-engine.wasm.built-with";

/// Bytes of the stack of C and Rust. What recurses meets the sandbox's own bound at about the same depth.
const STACK: &str = "-Clink-arg=-zstack-size=262144";

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Change nothing: build it and compare it with what is checked in
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<(), Failure> {
    if options.check {
        return check(workspace);
    }
    let Some(built_with) = compilers()? else {
        return Err(Failure::NoClang);
    };
    let engine = build(workspace)?;
    write(&workspace.path(ASSET), &engine)?;
    write(&workspace.path(DIGEST), digest_line(&engine).as_bytes())?;
    write(&workspace.path(BUILT_WITH), built_with.as_bytes())?;
    print!("{}", digest_line(&engine));
    Ok(())
}

/// What is checked in is what the sources make, as far as this machine can tell.
pub(crate) fn check(workspace: &Workspace) -> Result<(), Failure> {
    let asset = workspace.path(ASSET);
    let checked_in = fs::read(&asset).map_err(Failure::file("read", &asset))?;
    if read(&workspace.path(DIGEST))? != digest_line(&checked_in) {
        return Err(Failure::EngineChanged(
            "its SHA-256 is not the one beside it",
        ));
    }
    let Some(here) = compilers()? else {
        eprintln!(
            "!! NOT CHECKED: there is no clang for wasm32 here, so the JavaScript engine is not built again"
        );
        return Ok(());
    };
    let there = read(&workspace.path(BUILT_WITH))?;
    if here != there {
        eprintln!(
            "!! NOT CHECKED: other compilers make another JavaScript engine\n   here: {here}   its own: {there}"
        );
        return Ok(());
    }
    if build(workspace)? != checked_in {
        return Err(Failure::EngineChanged("its sources make another one"));
    }
    println!("{}", digest_line(&checked_in).trim_end());
    Ok(())
}

/// The compilers of C and Rust, a line each; none: no clang that targets WebAssembly.
fn compilers() -> Result<Option<String>, Failure> {
    let asked = |argument: &str| {
        let answer = Command::new("clang")
            .arg(argument)
            .stdin(Stdio::null())
            .output();
        let answer = answer.ok().filter(|answer| answer.status.success())?;
        Some(String::from_utf8_lossy(&answer.stdout).into_owned())
    };
    let targets = asked("-print-targets").unwrap_or_default();
    let version = asked("--version").unwrap_or_default();
    let clang = version.lines().next().unwrap_or_default();
    if !targets.contains("wasm32") || clang.is_empty() {
        return Ok(None);
    }
    let rustc = output(Command::new("rustc").arg("--version"))?;
    Ok(Some(format!("{clang}\n{rustc}\n")))
}

/// The started engine.
fn build(workspace: &Workspace) -> Result<Vec<u8>, Failure> {
    plugins::add_target()?;
    let (sources, folder) = (
        workspace.path(SOURCES),
        workspace.target().join("js-engine"),
    );
    run_command(
        cargo(
            workspace,
            ["build", "--release", "--locked", "--target", plugins::WASM],
        )
        .arg("--target-dir")
        .arg(&folder)
        .arg("--config")
        .arg(rust_flags(&sources, &folder))
        .env("CC_wasm32_unknown_unknown", "clang")
        .env("CFLAGS_wasm32_unknown_unknown", c_flags(&folder))
        .current_dir(&sources),
    )?;
    run_command(&mut cargo(
        workspace,
        ["build", "-p", "hookmill", "--bin", "hookmill"],
    ))?;
    let built = folder
        .join(plugins::WASM)
        .join("release")
        .join("hookmill_js_engine.wasm");
    let started = folder.join("started.wasm");
    run_command(
        Command::new(workspace.program("debug", "hookmill"))
            .args(["plugin", "start-js-engine"])
            .args([&built, &started]),
    )?;
    fs::read(&started).map_err(Failure::file("read", &started))
}

/// Paths that end up in the module, in messages of panics, replaced by names that are the same everywhere.
fn replaced(sources: &Path, folder: &Path) -> Vec<(PathBuf, String)> {
    let mut replaced = vec![
        (sources.to_path_buf(), "js-engine".to_owned()),
        (folder.to_path_buf(), "build".to_owned()),
    ];
    // The registry's own folder is named after its host.
    let registries = cargo_home().join("registry").join("src");
    if let Ok(entries) = fs::read_dir(&registries) {
        replaced.extend(
            entries
                .flatten()
                .map(|entry| (entry.path(), "registry".to_owned())),
        );
    }
    replaced
}

fn cargo_home() -> PathBuf {
    let home = || std::env::home_dir().unwrap_or_default().join(".cargo");
    std::env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}

fn rust_flags(sources: &Path, folder: &Path) -> String {
    let mut flags = vec![STACK.to_owned()];
    for (path, name) in replaced(sources, folder) {
        flags.push(format!("--remap-path-prefix={}={name}", path.display()));
    }
    format!("target.{}.rustflags={flags:?}", plugins::WASM)
}

fn c_flags(folder: &Path) -> String {
    format!("-ffile-prefix-map={}=build", folder.display())
}

fn digest_line(engine: &[u8]) -> String {
    let digest: String = Sha256::digest(engine)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{digest}  js-engine.wasm\n")
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(Failure::file("read", path))
}

fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    fs::write(path, content).map_err(Failure::file("write", path))
}
