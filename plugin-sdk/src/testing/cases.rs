//! Case files: an event, a config and what has to come of them, as JSON that people can read and other tools run.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Transformer;
use file::Case;

mod expect;
mod file;

/// Why a folder of cases does not hold.
#[derive(Debug)]
enum CaseError {
    /// The folder can not be read.
    Folder(PathBuf, std::io::Error),
    /// There is no case in it: a test over nothing would always pass.
    Empty(PathBuf),
    /// The file can not be read or is no case.
    Broken(PathBuf, String),
    /// Something else came out than expected; the text shows the difference.
    Differs(PathBuf, String),
}

impl std::error::Error for CaseError {}

impl fmt::Display for CaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Empty(path) => write!(f, "{}: no case in it", path.display()),
            Self::Broken(path, text) => write!(f, "{}: no case: {text}", path.display()),
            Self::Differs(path, text) => write!(f, "{}: {text}", path.display()),
        }
    }
}

/// Runs every `*.json` of a folder through the plugin, natively and with the gateway's default limits.
///
/// A relative folder is below the package, where cargo runs its tests: `run_cases(Plugin, "cases")`. A case is an object:
///
/// | member | meaning |
/// |---|---|
/// | `name` | what the case shows |
/// | `event` | the event's fields in camel case; what is left out is as in [`event`](super::event), with the type `test`. The payload is one of `payload` (any JSON; the plugin sees it without white space, members by name), `payloadText` and `payloadBase64`. `"endpointId": null` is an application's chain. |
/// | `config` | the plugin's config; `{}` unless given |
/// | `expect` | `outcome` (`pass`, `deliver`, `drop`, `reject`, `error`); for `deliver` any of `contentType`, `headers` and one payload as above, for the last three `reason` |
///
/// What `expect` leaves out is not compared. A `payload` is compared as JSON, everything else byte for byte.
///
/// # Panics
/// When a case does not come out as expected (with the file's name and a diff), a file is no case, or the folder holds none.
/// All files are run before.
pub fn run_cases<P: Transformer>(plugin: P, folder: impl AsRef<Path>) {
    let failed = failures(plugin, folder.as_ref());
    if !failed.is_empty() {
        let texts: Vec<String> = failed.iter().map(ToString::to_string).collect();
        panic!("{} of the cases:\n\n{}", failed.len(), texts.join("\n\n"));
    }
}

fn failures<P: Transformer>(_plugin: P, folder: &Path) -> Vec<CaseError> {
    match files(folder) {
        Err(error) => vec![error],
        Ok(files) if files.is_empty() => vec![CaseError::Empty(folder.to_owned())],
        Ok(files) => files
            .into_iter()
            .filter_map(|path| check::<P>(path).err())
            .collect(),
    }
}

/// The case files, by name, so that a failure stands in the same place in every run.
fn files(folder: &Path) -> Result<Vec<PathBuf>, CaseError> {
    let failure = |error| CaseError::Folder(folder.to_owned(), error);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failure)? {
        let path = entry.map_err(failure)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn check<P: Transformer>(path: PathBuf) -> Result<(), CaseError> {
    let broken = |text| CaseError::Broken(path.clone(), text);
    let text = fs::read(&path).map_err(|error| broken(error.to_string()))?;
    let case = Case::parse(&text).map_err(broken)?;
    let run = super::run_as::<P>(&case.event, &case.config);
    case.expect
        .compare(&run.result)
        .map_err(|text| CaseError::Differs(path.clone(), format!("{}\n{text}", case.name)))
}

#[cfg(test)]
mod tests;
