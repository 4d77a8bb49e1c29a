//! Inside the sandbox: the bindings made from `wit/hookmill.wit` and the step between them and a [`Transformer`].
//! Compiled for `wasm32` only. Its only import is the contract's `log`.

use std::marker::PhantomData;

use crate::log::Level;
use crate::{Event, Manifest, Outcome, Transformer};

/// Made by wit-bindgen. The records are those of [`crate::types`].
#[allow(
    unsafe_code,
    missing_debug_implementations,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    reason = "generated code that lifts and lowers values over the wasm boundary"
)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "plugin",
        with: { "hookmill:plugin/types@0.1.0": crate::types },
        pub_export_macro: true,
        export_macro_name: "export_plugin",
        default_bindings_module: "::hookmill_plugin::guest::bindings",
    });
}

use bindings::hookmill::plugin::log as host;

/// A [`Transformer`] in the shape of the generated trait.
#[derive(Debug)]
pub struct Exported<P>(PhantomData<P>);

impl<P: Transformer> bindings::exports::hookmill::plugin::transformer::Guest for Exported<P> {
    fn describe() -> Manifest {
        log_panics();
        P::describe()
    }

    fn transform(event: Event, config: String) -> Result<Outcome, String> {
        log_panics();
        P::call(&event, &config).map_err(|error| error.to_string())
    }
}

pub(crate) fn write_log(level: Level, text: &str) {
    let level = match level {
        Level::Debug => host::Level::Debug,
        Level::Info => host::Level::Info,
        Level::Warn => host::Level::Warn,
        Level::Error => host::Level::Error,
    };
    host::write(level, text);
}

/// A panic ends in a trap, which says nothing about the cause; the log then still has message and place.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        write_log(Level::Error, &panic.to_string())
    }));
}
