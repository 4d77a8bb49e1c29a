//! The table of all plugins.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::error::Failure;
use crate::plugins::file_name;
use crate::workspace::Workspace;

/// Sizes in KiB, by the plugin's file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sizes(BTreeMap<String, u64>);

impl Sizes {
    pub(super) fn of_files(files: &[PathBuf]) -> Result<Self, Failure> {
        let size = |file: &PathBuf| {
            let bytes = fs::metadata(file)
                .map_err(Failure::file("read", file))?
                .len();
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            Ok((name.into_owned(), bytes.div_ceil(1024)))
        };
        files.iter().map(size).collect::<Result<_, _>>().map(Self)
    }

    /// Those that stand in a table already.
    pub(super) fn of_page(text: &str) -> Self {
        let row = |line: &str| {
            let (_, rest) = line.strip_prefix("| [")?.split_once('|')?;
            let package = line.strip_prefix("| [")?.split_once(']')?.0;
            let size = rest
                .rsplit('|')
                .find_map(|cell| cell.trim().strip_suffix(" KiB"))?;
            Some((file_name(package), size.parse().ok()?))
        };
        Self(text.lines().filter_map(row).collect())
    }
}

pub(super) fn render(
    workspace: &Workspace,
    packages: &[String],
    sizes: &Sizes,
) -> Result<String, Failure> {
    let mut table = String::from("| plugin | what for | size |\n|---|---|---|\n");
    for package in packages {
        let what = description(workspace, package)?;
        let size = match sizes.0.get(&file_name(package)) {
            Some(size) => format!("{size} KiB"),
            None => "?".to_owned(),
        };
        table.push_str(&format!("| [{package}](#{package}) | {what} | {size} |\n"));
    }
    Ok(table)
}

/// The description in the package's manifest, which is also what the plugin says of itself at upload.
fn description(workspace: &Workspace, package: &str) -> Result<String, Failure> {
    let path = workspace.path(&format!("plugins/{package}/Cargo.toml"));
    let manifest = fs::read_to_string(&path).map_err(Failure::file("read", &path))?;
    let line = manifest
        .lines()
        .find_map(|line| line.strip_prefix("description = \""));
    let description = line.and_then(|line| line.strip_suffix('"'));
    description
        .map(str::to_owned)
        .ok_or_else(|| Failure::Catalogue {
            file: path,
            problem: "no description".to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_from_the_table() {
        let text = "| [json-to-xml](#json-to-xml) | a, b | 240 KiB |\n| [a](#a) | b | ? |\nno row | 5 KiB |\n";
        let expected = BTreeMap::from([("json_to_xml.wasm".to_owned(), 240)]);
        assert_eq!(Sizes::of_page(text), Sizes(expected));
    }
}
