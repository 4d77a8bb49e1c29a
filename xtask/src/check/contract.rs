//! The plugin contract is frozen once shipped: uploaded plugins are never compiled again, so a byte that changes in
//! `wit/hookmill.wit` under an old version number would strand them.

use std::fs;

use crate::error::Failure;
use crate::workspace::Workspace;

const CONTRACT: &str = "wit/hookmill.wit";
const GOLDEN: &str = "xtask/golden/hookmill-plugin-0.1.0.wit";

pub(super) fn check(workspace: &Workspace) -> Result<(), Failure> {
    let read = |relative: &str| {
        let path = workspace.path(relative);
        fs::read(&path).map_err(Failure::file("read", &path))
    };
    if read(CONTRACT)? == read(GOLDEN)? {
        println!("{CONTRACT} is what was shipped");
        Ok(())
    } else {
        Err(Failure::ContractChanged {
            golden: GOLDEN.into(),
        })
    }
}
