//! What `#[plugin]` makes of a function. Works on `proc_macro2` tokens; every error points at the token that is wrong.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, Expr, ExprLit, FnArg, ItemFn, Lit, LitStr, Meta, MetaNameValue, Result,
    ReturnType, Token, Type,
};

const SHAPE: &str = "a plugin is `fn transform(event: &Event, config: &Config) -> Result<Outcome>`";

/// What the author sets in the attribute.
#[derive(Default)]
struct Arguments {
    name: Option<LitStr>,
    version: Option<LitStr>,
    summary: Option<LitStr>,
}

/// The types in the function's signature.
struct Signature<'a> {
    event: &'a Type,
    config: Option<&'a Type>,
    output: &'a Type,
}

pub(crate) fn plugin(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let arguments = parse_arguments(arguments)?;
    let span = item.span();
    let function: ItemFn = syn::parse2(item)
        .map_err(|_| Error::new(span, format!("#[plugin] belongs on a function: {SHAPE}")))?;
    let signature = check_signature(&function)?;
    let glue = glue(&function, &signature, &arguments);
    Ok(quote! { #function #glue })
}

fn parse_arguments(arguments: TokenStream) -> Result<Arguments> {
    let mut parsed = Arguments::default();
    let list = Punctuated::<MetaNameValue, Token![,]>::parse_terminated.parse2(arguments)?;
    for argument in list {
        let slot = match argument
            .path
            .get_ident()
            .map(ToString::to_string)
            .as_deref()
        {
            Some("name") => &mut parsed.name,
            Some("version") => &mut parsed.version,
            Some("summary") => &mut parsed.summary,
            _ => {
                let message = "unknown argument: there are `name`, `version` and `summary`";
                return Err(Error::new(argument.path.span(), message));
            }
        };
        if slot.is_some() {
            return Err(Error::new(argument.path.span(), "given twice"));
        }
        let Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) = argument.value
        else {
            return Err(Error::new(
                argument.value.span(),
                "a string literal is needed here",
            ));
        };
        *slot = Some(text);
    }
    Ok(parsed)
}

fn check_signature(function: &ItemFn) -> Result<Signature<'_>> {
    let signature = &function.sig;
    if let Some(token) = &signature.asyncness {
        let message = "a plugin can not be async: it computes and has nothing to wait for";
        return Err(Error::new(token.span(), message));
    }
    if let Some(token) = &signature.unsafety {
        return Err(Error::new(
            token.span(),
            "a plugin's function can not be unsafe",
        ));
    }
    let generics = &signature.generics;
    if !generics.params.is_empty() || generics.where_clause.is_some() {
        let message = "a plugin's function can not be generic: it is exported once";
        return Err(Error::new(generics.span(), message));
    }
    let mut inputs = signature.inputs.iter();
    let Some(first) = inputs.next() else {
        let message = format!("the event is missing: {SHAPE}");
        return Err(Error::new(signature.paren_token.span.join(), message));
    };
    let event = referenced(first, "the first argument must be `event: &Event`")?;
    let config = inputs
        .next()
        .map(|second| {
            referenced(
                second,
                "the second argument must be `config: &Config`, a shared reference",
            )
        })
        .transpose()?;
    if let Some(third) = inputs.next() {
        let message = format!("a plugin takes an event and a config, nothing else: {SHAPE}");
        return Err(Error::new(third.span(), message));
    }
    let ReturnType::Type(_, output) = &signature.output else {
        let message = format!("the outcome is missing: {SHAPE}");
        return Err(Error::new(signature.span(), message));
    };
    Ok(Signature {
        event,
        config,
        output,
    })
}

/// The `T` of an argument `name: &T`.
fn referenced<'a>(argument: &'a FnArg, message: &str) -> Result<&'a Type> {
    if let FnArg::Typed(typed) = argument
        && let Type::Reference(reference) = &*typed.ty
        && reference.mutability.is_none()
        && !matches!(&*reference.elem, Type::ImplTrait(_) | Type::TraitObject(_))
    {
        return Ok(&reference.elem);
    }
    Err(Error::new(argument.span(), message))
}

fn glue(function: &ItemFn, signature: &Signature<'_>, arguments: &Arguments) -> TokenStream {
    let name = &function.sig.ident;
    let visibility = &function.vis;
    let sdk = quote!(::hookmill_plugin);
    let config = match signature.config {
        Some(config) => quote!(#config),
        None => quote!(#sdk::NoConfig),
    };
    let call = match signature.config {
        Some(_) => quote!(#name(event, config)),
        None => quote!(#name(event)),
    };
    let checks = type_checks(&sdk, signature);
    let manifest = manifest(function, arguments);
    let doc = format!("The plugin made of [`{name}`].");
    quote! {
        #[doc = #doc]
        #[derive(Debug, Clone, Copy)]
        #visibility struct Plugin;

        const _: () = {
            #checks

            impl #sdk::Transformer for Plugin {
                type Config = #config;

                fn describe() -> #sdk::Manifest {
                    #manifest
                    #sdk::Manifest::of::<#config>(NAME, VERSION, SUMMARY)
                }

                fn transform(event: &#sdk::Event, config: &Self::Config) -> #sdk::Result<#sdk::Outcome> {
                    let _ = config;
                    #call
                }
            }

            // Native builds may never name the struct: it is there for tests.
            let _ = Plugin;
            let _ = <Plugin as #sdk::Transformer>::transform;

            #[cfg(target_arch = "wasm32")]
            type Exported = #sdk::guest::Exported<Plugin>;
            #[cfg(target_arch = "wasm32")]
            #sdk::guest::bindings::export_plugin!(Exported with_types_in #sdk::guest::bindings);
        };
    }
}

/// Compares the types with the contract's where the author wrote them, so that a mismatch is shown there and not
/// inside the code made here.
fn type_checks(sdk: &TokenStream, signature: &Signature<'_>) -> TokenStream {
    let event = signature.event;
    let output = signature.output;
    let event = quote_spanned! {event.span()=>
        let _: fn(&#event) -> &#sdk::Event = |event| event;
    };
    let output = quote_spanned! {output.span()=>
        let _: fn(#output) -> #sdk::Result<#sdk::Outcome> = |outcome| outcome;
    };
    let config = signature.config.map(|config| {
        quote_spanned! {config.span()=>
            const fn is_config<C: #sdk::PluginConfig>() {}
            is_config::<#config>();
        }
    });
    quote! { #event #output #config }
}

/// The constants NAME, VERSION and SUMMARY.
fn manifest(function: &ItemFn, arguments: &Arguments) -> TokenStream {
    let or_package = |argument: &Option<LitStr>, variable: &str| match argument {
        Some(text) => quote!(#text),
        None => quote!(env!(#variable)),
    };
    let name = or_package(&arguments.name, "CARGO_PKG_NAME");
    let version = or_package(&arguments.version, "CARGO_PKG_VERSION");
    let summary = match &arguments.summary {
        Some(text) => quote!(#text),
        None => {
            let doc = first_paragraph(&function.attrs);
            quote! {{
                const DESCRIPTION: &str = env!("CARGO_PKG_DESCRIPTION");
                if DESCRIPTION.is_empty() { #doc } else { DESCRIPTION }
            }}
        }
    };
    quote! {
        const NAME: &str = #name;
        const VERSION: &str = #version;
        const SUMMARY: &str = #summary;
    }
}

/// The first paragraph of a doc comment, on one line.
fn first_paragraph(attributes: &[Attribute]) -> String {
    let lines = attributes
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(MetaNameValue {
                path,
                value:
                    Expr::Lit(ExprLit {
                        lit: Lit::Str(text),
                        ..
                    }),
                ..
            }) if path.is_ident("doc") => Some(text.value().trim().to_owned()),
            _ => None,
        });
    let paragraph: Vec<String> = lines
        .skip_while(String::is_empty)
        .take_while(|line| !line.is_empty())
        .collect();
    paragraph.join(" ")
}

#[cfg(test)]
mod tests;
