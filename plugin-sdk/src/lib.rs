//! Write plugins for the Hookmill webhook gateway: a config, a function, and tests that need no gateway.
//!
//! A plugin sees every event on its way to an endpoint and decides what becomes of it: on unchanged, on with
//! another request, dropped or rejected. This is a complete one:
//!
//! ```
//! use hookmill_plugin::{Event, Outcome, Request, Result, info};
//! use serde_json::{Value, json};
//!
//! /// What a chain configures. The gateway checks it against the schema made from this struct.
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     /// Smaller invoices are not delivered.
//!     minimum: u64,
//!     /// Tells the receiver where the event came from.
//!     #[serde(default)]
//!     origin: Option<String>,
//! }
//!
//! /// Sends on the big invoices, without their notes.
//! #[hookmill_plugin::plugin]
//! fn transform(event: &Event, config: &Config) -> Result<Outcome> {
//!     if !event.event_type.starts_with("invoice.") {
//!         return Ok(Outcome::pass());
//!     }
//!     let mut invoice = event.json::<Value>()?;
//!     let Some(total) = invoice["total"].as_u64() else {
//!         return Ok(Outcome::reject("an invoice without a total"));
//!     };
//!     if total < config.minimum {
//!         return Ok(Outcome::drop(format!("{total} is below {}", config.minimum)));
//!     }
//!     if let Some(members) = invoice.as_object_mut() {
//!         members.remove("notes");
//!     }
//!     info!("a big one: {total}");
//!     let mut request = Request::json(&invoice)?;
//!     if let Some(origin) = &config.origin {
//!         request = request.header("x-origin", origin);
//!     }
//!     Ok(Outcome::deliver(request))
//! }
//!
//! // The rest belongs into a `#[test]`.
//! use hookmill_plugin::testing::{describe, event, run};
//!
//! let config = json!({ "minimum": 100, "origin": "shop" });
//! let big = event("invoice.paid").json(&json!({ "total": 250, "notes": "call first" }));
//! let big = run(Plugin, big, &config);
//! assert_eq!(big.json::<Value>(), json!({ "total": 250 }));
//! assert_eq!(big.delivered().headers[0].value, "shop");
//! assert_eq!(big.logs[0].text, "a big one: 250");
//!
//! let small = event("invoice.paid").json(&json!({ "total": 3 }));
//! assert_eq!(run(Plugin, small, &config).dropped(), "3 is below 100");
//! let none = event("invoice.paid").json(&json!({}));
//! assert_eq!(run(Plugin, none, &config).rejected(), "an invoice without a total");
//! assert!(run(Plugin, event("user.created"), &config).passed());
//!
//! let typo = run(Plugin, event("invoice.paid"), json!({ "minimum": "100" }));
//! assert!(typo.error().starts_with("the config does not fit at \"/minimum\""));
//! assert!(describe(Plugin).config_schema.contains("Smaller invoices"));
//! ```
//!
//! # The crate around it
//! A library with `crate-type = ["cdylib", "rlib"]` that depends on `hookmill-plugin`, `serde` (feature `derive`),
//! `schemars` and what else it needs; `serde_json` for values of unknown shape. It is built with
//! `cargo build --release --target wasm32-unknown-unknown`, and the `.wasm` file is what is uploaded. Natively it is an
//! ordinary library, so `cargo test` runs its tests.
//!
//! # What a plugin can do
//! Compute. There is no clock, randomness, file, network or environment, and one call knows nothing of the
//! one before: every call has a fresh instance. That is why it can be repeated, previewed and cached.
//!
//! # Memory
//! With the feature `arena` (default) a plugin allocates from 2 MiB that are there from the start, and beyond them from
//! the standard library's allocator. Linking with `-C link-arg=-zstack-size=131072` makes the initial memory smaller by
//! most of a MiB.

#[cfg(test)]
extern crate self as hookmill_plugin;

mod error;
pub mod log;
mod transformer;
pub mod types;

#[cfg(any(test, all(target_arch = "wasm32", feature = "arena")))]
mod arena;

#[cfg(all(target_arch = "wasm32", feature = "arena"))]
mod allocator;
// For the code that `#[plugin]` makes only.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;

#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use error::{Error, Result};
pub use hookmill_plugin_macros::plugin;
pub use transformer::{NoConfig, PluginConfig, Transformer};
pub use types::{Event, Header, Manifest, Outcome, Request};

#[cfg(test)]
mod tests;
