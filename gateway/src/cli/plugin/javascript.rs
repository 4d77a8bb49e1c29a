//! Projects in JavaScript: what the plugin says of itself in `plugin.json`, its script in `plugin.js`. No compiler is
//! needed, since the engine is part of this program.

use std::path::{Path, PathBuf};

use super::Failure;
use super::build::strip;
use crate::sandbox::{Project, plugin_of};

const MANIFEST: &str = "plugin.json";
const SCRIPT: &str = "plugin.js";

/// Whether a directory holds such a project.
pub(super) fn is_project(dir: &Path) -> bool {
    dir.join(MANIFEST).is_file()
}

/// The plugin's name and module.
pub(super) fn build(dir: &Path) -> Result<(String, Vec<u8>), Failure> {
    let project = read(dir)?;
    let mut said = Vec::new();
    let made = plugin_of(&project, &mut said);
    // What the script writes while it is loaded is for its author.
    for line in said {
        eprintln!("{line}");
    }
    let module = made.map_err(|error| in_file(&dir.join(SCRIPT), &error))?;
    Ok((project.name, strip(&module).map_err(Failure::other)?))
}

fn read(dir: &Path) -> Result<Project, Failure> {
    let text =
        |file: &PathBuf| std::fs::read_to_string(file).map_err(|error| in_file(file, &error));
    let manifest = dir.join(MANIFEST);
    let mut project: Project =
        serde_json::from_str(&text(&manifest)?).map_err(|error| in_file(&manifest, &error))?;
    super::new::check(&project.name)?;
    project.script = text(&dir.join(SCRIPT))?;
    Ok(project)
}

fn in_file(file: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::Refused(format!(
        "{}: {}",
        file.display(),
        super::inspect::with_causes(error)
    ))
}
