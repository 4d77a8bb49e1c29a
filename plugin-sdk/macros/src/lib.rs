//! The attribute macro of `hookmill-plugin`; use it through that crate. This file is the entry only: what is made of a
//! function is decided in `expand.rs`, which works on `proc_macro2` tokens and so can be tested.

use proc_macro::TokenStream;

mod expand;

/// Makes a function the plugin of this crate.
///
/// The function takes the event and, if it has one, the config, and returns the outcome:
///
/// ```text
/// fn transform(event: &Event, config: &Config) -> Result<Outcome>
/// fn transform(event: &Event) -> Result<Outcome>
/// ```
///
/// Beside it appears a unit struct `Plugin`, as visible as the function, that implements `Transformer` and that native
/// tests run. For `wasm32` it is exported as the contract asks, so a crate has one plugin.
///
/// Name, version and summary are those of the package (without a description the summary is the first
/// paragraph of the function's doc comment); `#[plugin(name = "…", version = "…", summary = "…")]` sets them.
///
/// Another shape of function does not compile, and the message says what is wrong.
#[proc_macro_attribute]
pub fn plugin(arguments: TokenStream, function: TokenStream) -> TokenStream {
    expand::plugin(arguments.into(), function.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
