//! What the author reads when the function has another shape.

use quote::quote;

use super::*;

fn message(arguments: TokenStream, item: TokenStream) -> String {
    match plugin(arguments, item) {
        Ok(tokens) => panic!("it was taken: {tokens}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn both_shapes_are_taken() {
    let with = quote!(
        fn transform(event: &Event, config: &Config) -> Result<Outcome> {
            todo!()
        }
    );
    let without = quote!(
        pub fn anything(event: &Event) -> Result<Outcome> {
            todo!()
        }
    );
    assert!(
        plugin(quote!(), with)
            .unwrap()
            .to_string()
            .contains("struct Plugin")
    );
    assert!(
        plugin(quote!(), without)
            .unwrap()
            .to_string()
            .contains("pub struct Plugin")
    );
}

#[test]
fn a_wrong_shape_is_named() {
    let cases = [
        (
            quote!(
                struct A;
            ),
            "belongs on a function",
        ),
        (
            quote!(
                async fn t(e: &Event) -> Result<Outcome> {}
            ),
            "can not be async",
        ),
        (
            quote!(
                unsafe fn t(e: &Event) -> Result<Outcome> {}
            ),
            "can not be unsafe",
        ),
        (
            quote!(
                fn t<T>(e: &Event, c: &T) -> Result<Outcome> {}
            ),
            "can not be generic",
        ),
        (
            quote!(
                fn t() -> Result<Outcome> {}
            ),
            "the event is missing",
        ),
        (
            quote!(
                fn t(e: Event) -> Result<Outcome> {}
            ),
            "must be `event: &Event`",
        ),
        (
            quote!(
                fn t(e: &mut Event) -> Result<Outcome> {}
            ),
            "must be `event: &Event`",
        ),
        (
            quote!(
                fn t(&self) -> Result<Outcome> {}
            ),
            "must be `event: &Event`",
        ),
        (
            quote!(
                fn t(e: &Event, c: Config) -> Result<Outcome> {}
            ),
            "must be `config: &Config`",
        ),
        (
            quote!(
                fn t(e: &Event, c: &impl Any) -> Result<Outcome> {}
            ),
            "must be `config: &Config`",
        ),
        (
            quote!(
                fn t(e: &Event, c: &C, d: &D) -> Result<Outcome> {}
            ),
            "nothing else",
        ),
        (
            quote!(
                fn t(e: &Event) {}
            ),
            "the outcome is missing",
        ),
    ];
    for (item, expected) in cases {
        let shown = item.to_string();
        let message = message(quote!(), item);
        assert!(message.contains(expected), "{shown}: {message}");
    }
}

#[test]
fn a_wrong_argument_is_named() {
    let function = quote!(
        fn t(e: &Event) -> Result<Outcome> {}
    );
    let cases = [
        (quote!(title = "a"), "unknown argument"),
        (quote!(name = "a", name = "b"), "given twice"),
        (quote!(name = 5), "a string literal"),
    ];
    for (arguments, expected) in cases {
        let message = message(arguments, function.clone());
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn the_summary_falls_back_to_the_first_paragraph() {
    let function: ItemFn = syn::parse_quote! {
        /// Drops what is
        /// not for main.
        ///
        /// More.
        fn t() {}
    };
    assert_eq!(
        first_paragraph(&function.attrs),
        "Drops what is not for main."
    );
}
