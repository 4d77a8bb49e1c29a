//! `hookmill plugin build`: cargo, with the settings that make a plugin small, and without what only tools read; or the
//! JavaScript engine with a script in it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde::Deserialize;
use wasm_encoder::{Module, RawSection};
use wasmparser::{BinaryReaderError, Parser, Payload};

use super::Failure;
use super::figures::bytes;
use super::inspect::{listed, with_causes};
use super::javascript;
use super::local::{self, Local, Rules};
use crate::cli::peer::block_on;

const TARGET: &str = "wasm32-unknown-unknown";

/// Given to cargo over the project's own. A plugin needs no unwinding, since a panic ends its instance, and 128 KiB
/// of stack hold 128 levels of JSON: with the linker's 1 MiB every call would start with a larger memory.
const SETTINGS: [&str; 6] = [
    "profile.release.lto=true",
    "profile.release.codegen-units=1",
    "profile.release.panic=\"abort\"",
    "profile.release.strip=true",
    "profile.release.debug=false",
    "target.wasm32-unknown-unknown.rustflags=[\"-Clink-arg=-zstack-size=131072\"]",
];

/// Custom sections whose names begin so hold the contract: from them the component is made.
const CONTRACT: &str = "component-type";

#[derive(Debug, Args)]
pub(in crate::cli) struct BuildArgs {
    /// The project; its `Cargo.toml` or `plugin.json` lies there.
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    #[command(flatten)]
    rules: Rules,
}

/// The part of a line of cargo's that is read.
#[derive(Debug, Deserialize)]
struct Line {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// The part of a manifest that is read.
#[derive(Debug, Deserialize)]
struct Manifest {
    package: Package,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
}

pub(super) fn run(args: &BuildArgs) -> Result<(), Failure> {
    let rules = args.rules.read()?;
    let manifest = args.dir.join("Cargo.toml");
    let made = if javascript::is_project(&args.dir) && !manifest.is_file() {
        from_javascript(&args.dir)?
    } else {
        from_rust(&args.dir, &manifest)?
    };
    write(&made.file, &made.module)?;

    println!("{}", shown(&made.file).display());
    println!(
        "size      {} ({})",
        bytes(made.module.len() as u64),
        made.note
    );
    let small = made.module;
    let inspection = block_on(async { Local::open(rules)?.inspect(small.into()).await })??;
    println!("imports   {}", listed(&inspection.imports));
    match &inspection.refusal {
        None => Ok(()),
        Some(refusal) => Err(Failure::Refused(format!(
            "it is built, and a gateway would refuse it: {}",
            with_causes(refusal)
        ))),
    }
}

/// A plugin that is about to be written.
struct Made {
    file: PathBuf,
    module: Vec<u8>,
    /// What there is to say of its size.
    note: String,
}

fn from_javascript(dir: &Path) -> Result<Made, Failure> {
    let (name, module) = javascript::build(dir)?;
    Ok(Made {
        file: finished(
            &dir.canonicalize().map_err(Failure::other)?.join("target"),
            &name,
        ),
        module,
        note: "with the JavaScript engine".to_owned(),
    })
}

fn from_rust(dir: &Path, manifest: &Path) -> Result<Made, Failure> {
    let name = package_of(manifest)?;
    add_target(dir)?;
    let built = build(dir, manifest)?;
    let wasm = local::read(&built)?;
    Ok(Made {
        file: finished(target_of(&built), &name),
        module: strip(&wasm).map_err(Failure::other)?,
        note: format!("{} before it was stripped", bytes(wasm.len() as u64)),
    })
}

fn package_of(manifest: &Path) -> Result<String, Failure> {
    let refused = |error: &dyn std::fmt::Display| {
        Failure::Refused(format!("{}: {error}", manifest.display()))
    };
    let text = std::fs::read_to_string(manifest).map_err(|error| refused(&error))?;
    let parsed: Manifest = toml::from_str(&text).map_err(|error| refused(&error))?;
    Ok(parsed.package.name)
}

/// Adds the target to the toolchain that the project is built with, unless it is there.
fn add_target(dir: &Path) -> Result<(), Failure> {
    let asked = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(dir)
        .output()
        .map_err(|error| no_rust("rustc", &error))?;
    let libraries = String::from_utf8_lossy(&asked.stdout);
    if Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }
    eprintln!("adding the target {TARGET}");
    let added = Command::new("rustup")
        .args(["target", "add", TARGET])
        .current_dir(dir)
        .status();
    if added.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    Err(Failure::Refused(format!(
        "Rust's target {TARGET} is missing, and rustup could not add it; run `rustup target add {TARGET}` \
         with a network, or install your distribution's package of that target"
    )))
}

fn no_rust(program: &str, error: &std::io::Error) -> Failure {
    Failure::Refused(format!(
        "{program} can not be run ({error}); a plugin in Rust needs Rust's tools: https://rustup.rs"
    ))
}

/// Builds the project and gives the module that cargo made of it.
fn build(dir: &Path, manifest: &Path) -> Result<PathBuf, Failure> {
    let manifest = manifest.canonicalize().map_err(Failure::other)?;
    let mut command = Command::new("cargo");
    command.args(["build", "--lib", "--release", "--target", TARGET]);
    command.arg("--message-format=json-render-diagnostics");
    for setting in SETTINGS {
        command.args(["--config", setting]);
    }
    let mut cargo = command
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| no_rust("cargo", &error))?;
    let mut module = None;
    if let Some(stdout) = cargo.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            module = module_in(&line.map_err(Failure::other)?, &manifest).or(module);
        }
    }
    let status = cargo.wait().map_err(Failure::other)?;
    if !status.success() {
        return Err(Failure::Refused(format!("cargo build: {status}")));
    }
    module.ok_or_else(|| {
        Failure::Refused(format!(
            "{} builds no module: it needs a [lib] with crate-type = [\"cdylib\", \"rlib\"]",
            manifest.display()
        ))
    })
}

/// The module that a line of cargo's tells of, if it was built from this manifest.
fn module_in(line: &str, manifest: &Path) -> Option<PathBuf> {
    // Lines of other kinds have other fields.
    let line: Line = serde_json::from_str(line).ok()?;
    if line.reason != "compiler-artifact" || line.manifest_path != manifest {
        return None;
    }
    let is_module = |file: &PathBuf| file.extension().is_some_and(|end| end == "wasm");
    line.filenames.into_iter().find(is_module)
}

/// A module without names, producers and whatever else only tools read.
pub(super) fn strip(wasm: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        if matches!(&payload, Payload::CustomSection(section) if !section.name().starts_with(CONTRACT))
        {
            continue;
        }
        let Some((id, range)) = payload.as_section() else {
            continue;
        };
        let inside = |at| usize::try_from(at).ok();
        let data = inside(range.start).zip(inside(range.end));
        // What was parsed lies inside.
        if let Some(data) = data.and_then(|(start, end)| wasm.get(start..end)) {
            module.section(&RawSection { id, data });
        }
    }
    Ok(module.finish())
}

/// The target directory in which cargo put `wasm32-unknown-unknown/release/NAME.wasm`.
fn target_of(built: &Path) -> &Path {
    built.ancestors().nth(3).unwrap_or(Path::new("target"))
}

/// `target/plugin/NAME.wasm`.
fn finished(target: &Path, name: &str) -> PathBuf {
    target.join("plugin").join(format!("{name}.wasm"))
}

pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let written = path
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(path, content));
    written.map_err(|error| Failure::Refused(format!("{}: {error}", path.display())))
}

/// The path as seen from here, where it lies below.
fn shown(path: &Path) -> &Path {
    match std::env::current_dir() {
        Ok(here) => path.strip_prefix(here).unwrap_or(path),
        Err(_) => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::plugin::local::tests::rules;
    use crate::sandbox::tests::hostile;

    fn custom_sections(wasm: &[u8]) -> Vec<String> {
        let payloads = Parser::new(0).parse_all(wasm).map(Result::unwrap);
        payloads
            .filter_map(|payload| match payload {
                Payload::CustomSection(section) => Some(section.name().to_owned()),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn stripping_leaves_the_contract_and_the_code() {
        let mut wasm = hostile().to_vec();
        // As a module has that was not stripped: a custom section `name` of one byte.
        wasm.extend([0, 6, 4, b'n', b'a', b'm', b'e', 0]);
        let small = strip(&wasm).unwrap();
        assert!(custom_sections(&wasm).contains(&"name".to_owned()));
        let left = custom_sections(&small);
        assert!(
            !left.is_empty() && left.iter().all(|name| name.starts_with(CONTRACT)),
            "{left:?}"
        );
        assert!(small.len() < wasm.len());
        let plugin = block_on(async { Local::open(rules()).unwrap().take(small.into()).await });
        assert_eq!(plugin.unwrap().unwrap().manifest.name, "hostile");
    }

    #[test]
    fn the_module_of_the_project_is_found_among_cargos_lines() {
        let ours = Path::new("/p/Cargo.toml");
        let line = |manifest: &str, file: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"{manifest}","target":{{"name":"p"}},"filenames":["/t/libp.rlib","{file}"]}}"#
            )
        };
        let found = module_in(&line("/p/Cargo.toml", "/t/p.wasm"), ours);
        assert_eq!(found, Some(PathBuf::from("/t/p.wasm")));
        assert_eq!(module_in(&line("/q/Cargo.toml", "/t/q.wasm"), ours), None);
        assert_eq!(module_in(&line("/p/Cargo.toml", "/t/p.d"), ours), None);
        assert_eq!(
            module_in(r#"{"reason":"build-finished","success":true}"#, ours),
            None
        );
    }

    #[test]
    fn the_finished_file_lies_in_the_target_directory() {
        let built = Path::new("/w/target/wasm32-unknown-unknown/release/only_main.wasm");
        assert_eq!(
            finished(target_of(built), "only-main"),
            Path::new("/w/target/plugin/only-main.wasm")
        );
    }
}
