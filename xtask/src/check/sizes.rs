//! Lists the source files that have outgrown one reading. A list to look at, never a failure: where the longer file is
//! the clearer one, it stays.

use std::fs;
use std::path::Path;

use crate::error::Failure;
use crate::workspace::Workspace;

/// Lines without tests; chosen: under it a file is read in one sitting, and nine of ten already are.
const LONG: usize = 400;

const FOLDERS: [&str; 6] = [
    "gateway/src",
    "plugin-sdk",
    "plugins",
    "tests/src",
    "xtask/src",
    "bench/src",
];

pub(super) fn list(workspace: &Workspace) -> Result<(), Failure> {
    let mut long = Vec::new();
    for folder in FOLDERS {
        visit(&workspace.path(folder), &mut |path, text| {
            let lines = code_lines(text);
            if lines > LONG {
                let relative = path.strip_prefix(workspace.root()).unwrap_or(path);
                long.push((lines, relative.display().to_string()));
            }
        })?;
    }
    long.sort_unstable_by(|a, b| b.cmp(a));
    println!("{} files over {LONG} lines without their tests", long.len());
    for (lines, path) in long {
        println!("{lines:6} {path}");
    }
    Ok(())
}

/// Calls `found` with every Rust file below the folder but those that hold tests only.
fn visit(folder: &Path, found: &mut impl FnMut(&Path, &str)) -> Result<(), Failure> {
    for entry in fs::read_dir(folder).map_err(Failure::file("list", folder))? {
        let path = entry.map_err(Failure::file("list", folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if name != "tests" && name != "conformance" {
                visit(&path, found)?;
            }
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            let text = fs::read_to_string(&path).map_err(Failure::file("read", &path))?;
            found(&path, &text);
        }
    }
    Ok(())
}

/// Lines before the inline tests, which close a file. A test module in a file of its own ends nothing.
fn code_lines(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let inline = |pair: &[&str]| pair[0].trim() == "#[cfg(test)]" && pair[1].ends_with('{');
    lines.windows(2).position(inline).unwrap_or(lines.len())
}

#[cfg(test)]
mod tests {
    use super::code_lines;

    #[test]
    fn inline_tests_do_not_count() {
        assert_eq!(
            code_lines("//! Doc.\nfn a() {}\n\n#[cfg(test)]\nmod tests {\n}\n"),
            3
        );
        assert_eq!(code_lines("#[cfg(test)]\nmod tests;\n\nfn a() {}\n"), 4);
    }
}
