//! `hookmill plugin new`: a project that builds, with a test and a case that pass.

mod sdk;

use std::fs;
use std::io;
use std::path::Path;

use clap::{Args, ValueEnum};

use super::Failure;

/// Taken by dependencies of the project: cargo tells two packages of one name apart, but an author does not.
const TAKEN: [&str; 6] = [
    "hookmill-plugin",
    "hookmill-plugin-macros",
    "schemars",
    "serde",
    "serde_json",
    "test",
];

/// The versions that this program was tested with, so that a new project gets no others; cargo leaves out of it what
/// the project does not use.
const LOCK: &str = include_str!("../../../../Cargo.lock");

#[derive(Debug, Args)]
pub(in crate::cli) struct NewArgs {
    /// The plugin's name, and that of its new directory.
    name: String,
    /// What it is written in.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    Rust,
    Javascript,
    C,
}

pub(super) fn run(args: &NewArgs) -> Result<(), Failure> {
    if args.lang == Language::C {
        let name = args.lang.to_possible_value();
        return Err(Failure::Refused(format!(
            "projects in {} are not offered yet; --lang rust and --lang javascript are",
            name.as_ref()
                .map_or("this language", |name| name.get_name())
        )));
    }
    check(&args.name)?;
    let dir = Path::new(&args.name);
    fs::create_dir(dir).map_err(|error| not_made(dir, &error))?;
    let language = match args.lang {
        Language::Javascript => {
            write_script(dir, &args.name)?;
            "JavaScript"
        }
        Language::Rust | Language::C => {
            write_project(dir, &args.name)?;
            "Rust"
        }
    };
    println!(
        "{name}: a plugin in {language}\n\n  cd {name}\n  hookmill plugin build\n  hookmill plugin test target/plugin/{name}.wasm",
        name = args.name
    );
    Ok(())
}

/// A plugin's name that is one of a package too.
pub(super) fn check(name: &str) -> Result<(), Failure> {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    let is_name = (1..=64).contains(&name.len())
        && name
            .bytes()
            .next()
            .is_some_and(|first| first.is_ascii_lowercase())
        && name.bytes().all(fits);
    if !is_name {
        return Err(Failure::Refused(format!(
            "{name:?} is no name: 1 to 64 lower-case letters, digits, dashes and underscores, a letter first"
        )));
    }
    if TAKEN.contains(&name) {
        return Err(Failure::Refused(format!(
            "{name} is the name of a package that plugins are made with"
        )));
    }
    Ok(())
}

fn write_project(dir: &Path, name: &str) -> Result<(), Failure> {
    let manifest = include_str!("templates/rust/manifest.toml").replace("NAME", name);
    for (path, text) in [
        ("Cargo.toml", manifest.as_str()),
        ("Cargo.lock", LOCK),
        (".gitignore", include_str!("templates/rust/gitignore")),
        ("src/lib.rs", include_str!("templates/rust/lib.rs")),
        (
            "cases/only-the-named-fields.json",
            include_str!("templates/rust/case.json"),
        ),
    ] {
        write(&dir.join(path), text.as_bytes())?;
    }
    let sdk = dir.join("hookmill-plugin");
    for (path, content) in sdk::files().map_err(Failure::other)? {
        write(&sdk.join(path), &content)?;
    }
    Ok(())
}

fn write_script(dir: &Path, name: &str) -> Result<(), Failure> {
    let manifest = include_str!("templates/javascript/plugin.json").replace("NAME", name);
    for (path, text) in [
        ("plugin.json", manifest.as_str()),
        ("plugin.js", include_str!("templates/javascript/plugin.js")),
        (".gitignore", include_str!("templates/rust/gitignore")),
        (
            "cases/only-the-named-fields.json",
            include_str!("templates/rust/case.json"),
        ),
        (
            "cases/none-of-the-fields.json",
            include_str!("templates/javascript/dropped.json"),
        ),
    ] {
        write(&dir.join(path), text.as_bytes())?;
    }
    Ok(())
}

fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let written = path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(path, content));
    written.map_err(|error| not_made(path, &error))
}

fn not_made(path: &Path, error: &io::Error) -> Failure {
    Failure::Refused(format!("{} can not be made: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_plugins_and_packages() {
        for name in ["a", "only-main", "a_1"] {
            check(name).unwrap();
        }
        for name in [
            "",
            "Only",
            "1a",
            "a/b",
            "../a",
            "a.b",
            "-a",
            &"a".repeat(65),
            "serde",
        ] {
            assert!(check(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_project_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        write_project(dir.path(), "only-main").unwrap();
        let text = |path: &str| fs::read_to_string(dir.path().join(path)).unwrap();
        let manifest: toml::Table = toml::from_str(&text("Cargo.toml")).unwrap();
        assert_eq!(manifest["package"]["name"].as_str(), Some("only-main"));
        let cases = super::super::case::read_folder(&dir.path().join("cases")).unwrap();
        assert_eq!(cases.len(), 1);
        assert!(text("hookmill-plugin/wit/hookmill.wit").contains("package hookmill:plugin@0.1.0"));
        assert!(text("src/lib.rs").contains("#[hookmill_plugin::plugin]"));
    }

    #[test]
    fn languages_to_come_say_so() {
        let args = NewArgs {
            name: "a".to_owned(),
            lang: Language::C,
        };
        let error = run(&args).unwrap_err().to_string();
        assert!(error.contains("in c are not offered yet"), "{error}");
    }
}
