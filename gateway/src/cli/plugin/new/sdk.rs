//! The SDK, as new projects get it: the sources that this program was built beside, so that both speak the same
//! contract, with manifests that stand without our workspace.

use include_dir::{Dir, DirEntry, include_dir};
use std::path::PathBuf;
use toml::{Table, Value};

static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../plugin-sdk");

/// What the SDK's manifests take their versions from.
const WORKSPACE: &str = include_str!("../../../../../Cargo.toml");

/// Where the SDK lies in the workspace.
const HERE: &str = "plugin-sdk/";

/// The tests compare the SDK with the rest of the repository.
const LEFT_OUT: &str = "tests";

/// Why the SDK can not be written. The sources are part of this program, so none of it is anybody's input.
#[derive(Debug, thiserror::Error)]
pub(super) enum SdkError {
    #[error("the SDK's {path} is no manifest")]
    Manifest {
        path: String,
        source: toml::de::Error,
    },
    #[error("the SDK's manifest takes {0} from a workspace that does not have it")]
    NotInherited(String),
}

/// All files by their paths below the SDK.
pub(super) fn files() -> Result<Vec<(PathBuf, Vec<u8>)>, SdkError> {
    let mut files = Vec::new();
    gather(&SDK, &mut files)?;
    Ok(files)
}

fn gather(dir: &Dir<'_>, files: &mut Vec<(PathBuf, Vec<u8>)>) -> Result<(), SdkError> {
    for entry in dir.entries() {
        match entry {
            DirEntry::Dir(inner) if inner.path().as_os_str() == LEFT_OUT => {}
            DirEntry::Dir(inner) => gather(inner, files)?,
            DirEntry::File(file) => {
                let is_manifest = file.path().ends_with("Cargo.toml");
                let content = match file.contents_utf8().filter(|_| is_manifest) {
                    Some(manifest) => alone(&file.path().to_string_lossy(), manifest)?.into(),
                    None => file.contents().to_vec(),
                };
                files.push((file.path().to_owned(), content));
            }
        }
    }
    Ok(())
}

/// A manifest with everything in it that it took from the workspace.
fn alone(path: &str, manifest: &str) -> Result<String, SdkError> {
    let parsed = |text: &str| {
        toml::from_str::<Table>(text).map_err(|source| SdkError::Manifest {
            path: path.to_owned(),
            source,
        })
    };
    let workspace = parsed(WORKSPACE)?;
    let mut manifest = parsed(manifest)?;
    // Its tests stay here.
    manifest.remove("dev-dependencies");
    let of_workspace = |place: &[&str]| {
        let root = workspace.get("workspace");
        let found = place.iter().fold(root, |at, key| at?.get(*key));
        found
            .cloned()
            .ok_or_else(|| SdkError::NotInherited(place.join(".")))
    };
    if let Some(Value::Table(package)) = manifest.get_mut("package") {
        package.remove("exclude");
        for (name, value) in package.iter_mut().filter(|(_, value)| is_inherited(value)) {
            *value = of_workspace(&["package", name])?;
        }
    }
    if let Some(lints) = manifest.get_mut("lints") {
        *lints = of_workspace(&["lints"])?;
    }
    for dependencies in dependencies(&mut manifest) {
        for (name, value) in dependencies
            .iter_mut()
            .filter(|(_, value)| is_inherited(value))
        {
            *value = dependency(of_workspace(&["dependencies", name])?, value);
        }
    }
    Ok(manifest.to_string())
}

/// The tables of dependencies, of every target.
fn dependencies(manifest: &mut Table) -> Vec<&mut Table> {
    let mut tables = Vec::new();
    for (name, value) in manifest.iter_mut() {
        match (name.as_str(), value) {
            ("dependencies", Value::Table(table)) => tables.push(table),
            ("target", Value::Table(targets)) => {
                let of_targets = targets.iter_mut().filter_map(|(_, target)| {
                    target
                        .as_table_mut()?
                        .get_mut("dependencies")?
                        .as_table_mut()
                });
                tables.extend(of_targets);
            }
            _ => {}
        }
    }
    tables
}

fn is_inherited(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

/// The workspace's dependency with what the manifest adds to it.
fn dependency(of_workspace: Value, added: &Value) -> Value {
    let mut table = match of_workspace {
        Value::Table(table) => table,
        version => Table::from_iter([("version".to_owned(), version)]),
    };
    if let Some(Value::String(path)) = table.get_mut("path")
        && let Some(below) = path.strip_prefix(HERE)
    {
        *path = below.to_owned();
    }
    for (name, value) in added.as_table().into_iter().flatten() {
        match (table.get_mut(name), value) {
            (Some(Value::Array(have)), Value::Array(more)) => have.extend(more.iter().cloned()),
            _ if name == "workspace" => {}
            _ => {
                table.insert(name.clone(), value.clone());
            }
        }
    }
    Value::Table(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(path: &str) -> Table {
        let files = files().unwrap();
        let (_, content) = files
            .iter()
            .find(|(file, _)| file.as_os_str() == path)
            .unwrap();
        toml::from_str(std::str::from_utf8(content).unwrap()).unwrap()
    }

    #[test]
    fn manifests_stand_alone() {
        for path in ["Cargo.toml", "macros/Cargo.toml"] {
            let text = manifest(path).to_string();
            assert!(!text.contains("workspace"), "{text}");
        }
        let sdk = manifest("Cargo.toml");
        assert_eq!(sdk["package"]["edition"].as_str(), Some("2024"));
        let macros = &sdk["dependencies"]["hookmill-plugin-macros"];
        assert_eq!(macros["path"].as_str(), Some("macros"));
        assert!(
            sdk["dependencies"]["serde"]["features"]
                .to_string()
                .contains("derive")
        );
        let bindgen =
            &sdk["target"]["cfg(target_arch = \"wasm32\")"]["dependencies"]["wit-bindgen"];
        assert_eq!(bindgen["default-features"].as_bool(), Some(false));
    }

    #[test]
    fn a_manifest_adds_to_what_it_takes() {
        let manifest =
            "[dependencies]\nserde = { workspace = true, optional = true, features = [\"alloc\"] }";
        let alone: Table = toml::from_str(&alone("x", manifest).unwrap()).unwrap();
        let serde = &alone["dependencies"]["serde"];
        assert_eq!(serde["optional"].as_bool(), Some(true));
        assert!(
            serde["features"]
                .as_array()
                .unwrap()
                .contains(&Value::from("alloc"))
        );
        assert!(
            serde["features"]
                .as_array()
                .unwrap()
                .contains(&Value::from("derive"))
        );
        let error = super::alone("x", "[dependencies]\nnobody.workspace = true").unwrap_err();
        assert!(error.to_string().contains("dependencies.nobody"), "{error}");
    }

    #[test]
    fn everything_but_the_tests_is_there() {
        let files = files().unwrap();
        let has = |path: &str| files.iter().any(|(file, _)| file.as_os_str() == path);
        assert!(has("src/lib.rs") && has("wit/hookmill.wit") && has("macros/src/lib.rs"));
        assert!(!has("tests/contract.rs"));
    }
}
