//! JavaScript inside the sandbox: QuickJS behind the contract of `wit/hookmill.wit`.
//!
//! As it is, it runs the transformation of an endpoint, whose code comes with each call in the config (`handler`). With
//! a script put into it before it is snapshotted (`preparing`) it is a plugin of its own (`script`). Either way it is
//! started once, when it is built, and every call begins with that memory.
//!
//! It imports the contract's `log` and nothing else: `ambient` answers what JavaScript asks of a machine.

mod ambient;
mod canonical;
mod engine;
mod error;
mod handler;
mod payload;
mod preparing;
mod script;

/// Made by wit-bindgen from the contract.
mod bindings {
    wit_bindgen::generate!({ path: "../wit", world: "plugin" });
}

use bindings::exports::hookmill::plugin::transformer::{Event, Guest, Manifest, Outcome};

struct Plugin;

impl Guest for Plugin {
    fn describe() -> Manifest {
        engine::with(|engine| match &engine.script {
            Some(script) => script.manifest.clone(),
            None => handler::manifest(),
        })
    }

    fn transform(event: Event, config: String) -> Result<Outcome, String> {
        ambient::set(event.timestamp_ms, &event.id);
        engine::with(|engine| {
            engine.context.with(|ctx| match &engine.script {
                Some(script) => script.transform(&ctx, event, &config),
                None => handler::transform(&ctx, event, &config),
            })
        })
        .map_err(|error| error.to_string())
    }
}

bindings::export!(Plugin with_types_in bindings);
