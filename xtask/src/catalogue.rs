//! `cargo xtask catalogue`: makes the table and the cases of `plugins/README.md` from the plugins' own files, so that what
//! is shown there is what the tests run. The words between are written by hand. `cargo xtask check` compares.

mod case;
mod table;

use std::fs;
use std::path::PathBuf;

use crate::error::Failure;
use crate::plugins::{self, Which};
use crate::workspace::Workspace;
use table::Sizes;

const PAGE: &str = "plugins/README.md";

/// What stands around a part that is made: `<!-- table -->` or `<!-- case redact/push -->`, and at its end `<!-- end -->`.
const OPENS: &str = "<!-- ";
const CLOSES: &str = " -->\n";
const END: &str = "<!-- end -->";

/// Builds every plugin and writes the page anew.
pub(crate) fn write(workspace: &Workspace) -> Result<(), Failure> {
    let files = plugins::build(workspace, Which::All)?;
    let page = Page::read(workspace)?;
    let text = page.made(workspace, &Sizes::of_files(&files)?)?;
    fs::write(&page.path, text).map_err(Failure::file("write", &page.path))
}

/// Whether the page is what `write` would write. Sizes are taken as they stand there: they are another toolchain's
/// somewhere else.
pub(crate) fn check(workspace: &Workspace) -> Result<(), Failure> {
    let page = Page::read(workspace)?;
    if page.made(workspace, &Sizes::of_page(&page.text))? == page.text {
        println!("{PAGE} shows what the cases say");
        Ok(())
    } else {
        Err(page
            .wrong("its table or cases are not those of the plugins; run `cargo xtask catalogue`"))
    }
}

struct Page {
    path: PathBuf,
    text: String,
}

impl Page {
    fn read(workspace: &Workspace) -> Result<Self, Failure> {
        let path = workspace.path(PAGE);
        let text = fs::read_to_string(&path).map_err(Failure::file("read", &path))?;
        Ok(Self { path, text })
    }

    /// The page with all its made parts made anew.
    fn made(&self, workspace: &Workspace, sizes: &Sizes) -> Result<String, Failure> {
        let packages = plugins::packages(workspace)?;
        let mut shown = Vec::new();
        let text = fill(&self.text, |what| match what.split_once(' ') {
            None if what == "table" => table::render(workspace, &packages, sizes).map(Some),
            Some(("case", name)) => {
                shown.push(name.split('/').next().unwrap_or(name).to_owned());
                case::render(workspace, name).map(Some)
            }
            _ => Ok(None),
        })?;
        let text = text.ok_or_else(|| self.wrong("a made part is not closed"))?;
        match packages.iter().find(|package| !shown.contains(package)) {
            Some(package) => Err(self.wrong(&format!("no case of {package} is shown"))),
            None => Ok(text),
        }
    }

    fn wrong(&self, problem: &str) -> Failure {
        Failure::Catalogue {
            file: self.path.clone(),
            problem: problem.to_owned(),
        }
    }
}

/// The text with each part between marks replaced by what `make` makes of the mark; a mark for which it makes nothing
/// is an ordinary comment. None when a part is not closed.
fn fill(
    text: &str,
    mut make: impl FnMut(&str) -> Result<Option<String>, Failure>,
) -> Result<Option<String>, Failure> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPENS) {
        filled.push_str(before);
        filled.push_str(OPENS);
        rest = after;
        let Some((what, inside)) = after.split_once(CLOSES) else {
            break;
        };
        if let Some(part) = make(what)? {
            let Some(end) = inside.find(END) else {
                return Ok(None);
            };
            filled.push_str(&format!("{what}{CLOSES}{part}{END}"));
            rest = &inside[end + END.len()..];
        }
    }
    filled.push_str(rest);
    Ok(Some(filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_what_the_cases_say() {
        check(&Workspace::new()).unwrap();
    }

    #[test]
    fn parts_are_replaced_and_everything_else_stays() {
        let fill = |text: &str| {
            let make = |what: &str| Ok((what != "note").then(|| format!("[{what}]\n")));
            super::fill(text, make).unwrap()
        };
        let text = "a\n<!-- x -->\nold\n<!-- end -->\n<!-- note -->\nb\n<!-- y z -->\n<!-- end -->\nc <!-- d";
        let made = "a\n<!-- x -->\n[x]\n<!-- end -->\n<!-- note -->\nb\n<!-- y z -->\n[y z]\n<!-- end -->\nc <!-- d";
        assert_eq!(fill(text).unwrap(), made);
        assert_eq!(fill(made).unwrap(), made);
        assert_eq!(fill("<!-- x -->\nold"), None);
    }
}
