//! The macro as an author meets it, natively.

use serde_json::{Value, json};

use crate::log::Level;
use crate::testing::{LogLine, describe, event, run};
use crate::{Event, Header, Outcome, Request, Result, debug, error, info, warn};

mod echo {
    use super::*;

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    pub(super) struct Config {
        say: String,
    }

    /// Says a thing.
    ///
    /// At length.
    #[crate::plugin(name = "echo", version = "7", summary = "Says it back")]
    pub(super) fn transform(event: &Event, config: &Config) -> Result<Outcome> {
        match config.say.as_str() {
            "pass" => Ok(Outcome::pass()),
            "all" => Ok(event.request().header("X-Seen", "yes").into()),
            "bad header" => Ok(Request::text("a").header("x-a", "line\nbreak").into()),
            "huge" => Ok(Request::bytes("a/b", vec![0; 1024 * 1024 + 1]).into()),
            "parse" => {
                let _: u8 = "300".parse()?;
                Ok(Outcome::pass())
            }
            "log" => {
                debug!("one");
                info!("two {}", 2);
                warn!("three {event}", event = event.id);
                error!("four");
                Ok(Outcome::reject("logged"))
            }
            "text" => Ok(Outcome::drop(event.text()?)),
            _ => Ok(Request::json(&event.json::<Value>()?["a"])?.into()),
        }
    }
}

mod plain {
    use super::*;

    /// Takes nothing
    /// to set.
    #[crate::plugin]
    pub(super) fn transform(_event: &Event) -> Result<Outcome> {
        Ok(Outcome::pass())
    }
}

fn say(what: &str) -> Value {
    json!({ "say": what })
}

#[test]
fn arguments_win_over_the_package() {
    let manifest = describe(echo::Plugin);
    assert_eq!(
        (
            manifest.name.as_str(),
            manifest.version.as_str(),
            manifest.summary.as_str()
        ),
        ("echo", "7", "Says it back")
    );
    let manifest = describe(plain::Plugin);
    assert_eq!(manifest.name, "hookmill-plugin");
    assert_eq!(manifest.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(manifest.summary, env!("CARGO_PKG_DESCRIPTION"));
}

#[test]
fn a_plugin_without_config_takes_an_empty_object_only() {
    assert!(run(plain::Plugin, event("a"), json!({})).passed());
    assert!(
        run(plain::Plugin, event("a"), json!({"b": 1}))
            .error()
            .contains("unknown field `b`")
    );
}

#[test]
fn a_request_from_the_event_keeps_what_is_not_changed() {
    let event = event("a")
        .payload("x")
        .content_type("text/csv")
        .header("A-b", "c");
    let run = run(echo::Plugin, event, say("all"));
    let request = run.delivered();
    assert_eq!(request.content_type, "text/csv");
    assert_eq!(request.payload, b"x");
    let header = |name: &str, value: &str| Header {
        name: name.into(),
        value: value.into(),
    };
    assert_eq!(
        request.headers,
        [header("a-b", "c"), header("x-seen", "yes")]
    );
}

#[test]
fn what_the_gateway_would_refuse_fails_natively_too() {
    assert!(
        run(echo::Plugin, event("a"), say("bad header"))
            .error()
            .contains("\"x-a\"")
    );
    assert!(
        run(echo::Plugin, event("a"), say("huge"))
            .error()
            .contains("1048576")
    );
}

#[test]
fn errors_convert_and_say_where() {
    assert_eq!(
        run(echo::Plugin, event("a"), say("parse")).error(),
        "number too large to fit in target type"
    );
    let broken = run(echo::Plugin, event("a").payload("{\"a\":"), say("json"));
    assert!(
        broken.error().contains("line 1 column 5"),
        "{}",
        broken.error()
    );
    let binary = run(echo::Plugin, event("a").payload([0xff]), say("text"));
    assert!(
        binary.error().starts_with("the payload is not text"),
        "{}",
        binary.error()
    );
}

#[test]
fn lines_are_kept_in_order_with_their_level() {
    let run = run(echo::Plugin, event("a").id("msg_1"), say("log"));
    assert_eq!(run.rejected(), "logged");
    let line = |level, text: &str| LogLine {
        level,
        text: text.into(),
    };
    assert_eq!(
        run.logs,
        [
            line(Level::Debug, "one"),
            line(Level::Info, "two 2"),
            line(Level::Warn, "three msg_1"),
            line(Level::Error, "four"),
        ]
    );
}

#[test]
fn headers_are_found_in_any_case_and_replaced_not_doubled() {
    let event = event("a").header("X-A", "1").build();
    assert_eq!(event.header("x-a"), Some("1"));
    let request = event.request().header("X-a", "2");
    assert_eq!(request.headers.len(), 1);
    assert_eq!(request.headers[0].value, "2");
    assert!(request.without_header("X-A").headers.is_empty());
}
