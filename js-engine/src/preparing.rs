//! What is called before the snapshot, by whoever makes it, and never in the sandbox: start the engine; put a script
//! into it. Not part of the contract, so a component made of the module does not have it.
#![allow(
    unsafe_code,
    reason = "exports of a module are named by an attribute that is unsafe, since names may clash"
)]

use std::cell::RefCell;

use crate::bindings::hookmill::plugin::log::{self, Level};
use crate::engine;
use crate::script::Script;

thread_local! {
    /// What is being handed in.
    static PROJECT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Starts the engine. 0: it did.
#[unsafe(export_name = "hookmill-js-start")]
extern "C" fn start() -> u32 {
    report(engine::start().map_err(|error| error.to_string()))
}

/// Room for so many bytes of a project, to be filled before `hookmill-js-load`.
#[unsafe(export_name = "hookmill-js-room")]
extern "C" fn room(bytes: usize) -> *mut u8 {
    PROJECT.with_borrow_mut(|project| {
        *project = vec![0; bytes];
        project.as_mut_ptr()
    })
}

/// Makes the engine a plugin of its own, from the JSON in the room. 0: it did; else the log's last line says why not.
#[unsafe(export_name = "hookmill-js-load")]
extern "C" fn load() -> u32 {
    let project = PROJECT.take();
    let loaded = String::from_utf8(project)
        .map_err(|error| error.to_string())
        .and_then(|project| {
            engine::with(|engine| engine.context.with(|ctx| Script::load(&ctx, &project)))
                .map_err(|error| error.to_string())
        });
    let loaded = loaded.map(engine::install);
    engine::reserve();
    report(loaded)
}

fn report(done: Result<(), String>) -> u32 {
    match done {
        Ok(()) => 0,
        Err(error) => {
            log::write(Level::Error, &error);
            1
        }
    }
}
