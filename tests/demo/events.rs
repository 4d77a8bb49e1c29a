//! The GitHub events in `tests/fixtures/github/`, in the order of their names.

use std::path::Path;

use hookmill_tests::settings::{fixture, repository};

const FOLDER: &str = "github";

/// One real payload.
#[derive(Debug)]
pub(crate) struct Event {
    /// The file's name without its ending: `push.master`.
    pub(crate) name: String,
    /// GitHub's name of the event: `push`.
    pub(crate) kind: String,
    /// As GitHub sent it, byte for byte.
    pub(crate) payload: String,
}

pub(crate) fn all() -> Vec<Event> {
    let folder = repository().join("tests/fixtures").join(FOLDER);
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .filter_map(|entry| json_name(&entry.ok()?.path()))
        .collect();
    names.sort_unstable();
    names.into_iter().map(Event::named).collect()
}

fn json_name(path: &Path) -> Option<String> {
    (path.extension()? == "json").then(|| path.file_stem()?.to_str().map(str::to_owned))?
}

impl Event {
    fn named(name: String) -> Self {
        let kind = name.split('.').next().unwrap_or(&name).to_owned();
        let payload = String::from_utf8(fixture(&format!("{FOLDER}/{name}.json")));
        Self {
            name,
            kind,
            payload: payload.expect("GitHub sends UTF-8"),
        }
    }
}
