//! Builds the plugins and the hostile fixture to WebAssembly, and brings the finished files together in
//! `target/plugins/`, where tests, demo and bench look for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wasmparser::{Parser, Payload};

use crate::cargo::{cargo, output, run};
use crate::error::Failure;
use crate::workspace::Workspace;

pub(crate) const WASM: &str = "wasm32-unknown-unknown";

/// Where each folder is the package of a plugin.
const FOLDER: &str = "plugins";

/// Those that the demo, the benchmark and most tests use.
const FEW: [&str; 3] = ["github-filter", "slack-message", "redact"];

/// What a plugin may import: the contract's own.
const CONTRACT: &str = "hookmill:plugin/";

/// Not a member of the workspace: it must be built as a plugin only, since it does what it should not.
const HOSTILE: &str = "tests/fixtures/plugins/hostile";

/// Which plugins are built.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which {
    /// All that there are; minutes, the first time.
    All,
    /// The few that most of the repository's commands can do with.
    Few,
}

/// Builds them and returns the finished files. Each imports nothing but what the contract gives it.
pub(crate) fn build(workspace: &Workspace, which: Which) -> Result<Vec<PathBuf>, Failure> {
    add_target()?;
    let packages = match which {
        Which::All => packages(workspace)?,
        Which::Few => FEW.map(str::to_owned).into(),
    };
    run(&mut members(workspace, "build", &packages))?;

    let folder = folder(workspace);
    let hostile = workspace.path(HOSTILE);
    run(cargo(
        workspace,
        ["build", "--release", "--target", WASM, "--target-dir"],
    )
    .arg(&folder)
    .current_dir(&hostile))?;

    let finished = workspace.plugins();
    fs::create_dir_all(&finished).map_err(Failure::file("create", &finished))?;
    let built = folder.join(WASM);
    let mut files = Vec::new();
    for package in &packages {
        let name = file_name(package);
        let file = finish(&built.join("plugin").join(&name), &finished.join(&name))?;
        check_imports(&file)?;
        files.push(file);
    }
    files.push(finish(
        &built.join("release").join("hostile.wasm"),
        &finished.join("hostile.wasm"),
    )?);
    Ok(files)
}

/// The packages under `plugins/`, by name.
pub(crate) fn packages(workspace: &Workspace) -> Result<Vec<String>, Failure> {
    let folder = workspace.path(FOLDER);
    let mut packages = Vec::new();
    for entry in fs::read_dir(&folder).map_err(Failure::file("list", &folder))? {
        let path = entry.map_err(Failure::file("list", &folder))?.path();
        if path.join("Cargo.toml").is_file() {
            packages.extend(
                path.file_name()
                    .map(|name| name.to_string_lossy().into_owned()),
            );
        }
    }
    packages.sort();
    Ok(packages)
}

/// The name of a plugin's finished file: cargo's, with underscores.
pub(crate) fn file_name(package: &str) -> String {
    format!("{}.wasm", package.replace('-', "_"))
}

/// A cargo command over plugins of the workspace, as they are shipped.
pub(crate) fn members(workspace: &Workspace, subcommand: &str, packages: &[String]) -> Command {
    let mut command = cargo(
        workspace,
        [
            subcommand,
            "--profile",
            "plugin",
            "--target",
            WASM,
            "--target-dir",
        ],
    );
    command.arg(folder(workspace));
    for package in packages {
        command.args(["-p", package]);
    }
    command
}

/// A build folder of its own: the gateway's build must not wait for this one, nor build its macros again for it.
fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target().join("plugins-build")
}

/// Adds the target the plugins are compiled for, unless the toolchain has it.
pub(crate) fn add_target() -> Result<(), Failure> {
    let libraries =
        output(Command::new("rustc").args(["--print", "target-libdir", "--target", WASM]))?;
    if Path::new(&libraries).is_dir() {
        return Ok(());
    }
    run(Command::new("rustup").args(["target", "add", WASM])).map_err(|source| {
        Failure::MissingTarget {
            target: WASM,
            source: Box::new(source),
        }
    })
}

fn finish(built: &Path, finished: &Path) -> Result<PathBuf, Failure> {
    fs::copy(built, finished).map_err(Failure::file("copy the built plugin", built))?;
    Ok(finished.to_path_buf())
}

/// A crate that wants a clock or randomness of JavaScript would be refused at upload; here it is named at once.
fn check_imports(file: &Path) -> Result<(), Failure> {
    let wasm = fs::read(file).map_err(Failure::file("read", file))?;
    let foreign = foreign_import(&wasm).map_err(|source| Failure::Wasm {
        file: file.to_path_buf(),
        source,
    })?;
    match foreign {
        None => Ok(()),
        Some(import) => Err(Failure::Import {
            file: file.to_path_buf(),
            import,
        }),
    }
}

/// The first import that is not the contract's.
fn foreign_import(wasm: &[u8]) -> Result<Option<String>, wasmparser::BinaryReaderError> {
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ImportSection(imports) = payload? {
            for import in imports.into_imports() {
                let import = import?;
                if !import.module.starts_with(CONTRACT) {
                    return Ok(Some(format!("{} {}", import.module, import.name)));
                }
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module that imports one function of this name.
    fn module(name: &str) -> Vec<u8> {
        let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
        let mut import = vec![1, length(name.as_bytes())];
        import.extend(name.bytes());
        import.extend([1, b'f', 0, 0]);
        let mut module = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02".to_vec();
        module.push(length(&import));
        module.extend(import);
        module
    }

    #[test]
    fn what_the_contract_does_not_give_is_found() {
        let found = |name: &str| foreign_import(&module(name)).unwrap();
        assert_eq!(found("hookmill:plugin/log@0.1.0"), None);
        assert_eq!(
            found("__wbindgen_placeholder__").unwrap(),
            "__wbindgen_placeholder__ f"
        );
        assert_eq!(found("env").unwrap(), "env f");
        assert!(foreign_import(b"no wasm").is_err());
    }

    #[test]
    fn every_folder_with_a_manifest_is_a_plugin() {
        let packages = packages(&Workspace::new()).unwrap();
        assert!(
            FEW.iter()
                .all(|few| packages.iter().any(|package| package == few))
        );
        assert!(packages.is_sorted() && !packages.iter().any(|package| package == "README.md"));
    }
}
