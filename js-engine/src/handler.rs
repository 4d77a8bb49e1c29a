//! The transformation of an endpoint: `function handler(webhook) { …; return webhook }`, the code in the config of each
//! call.

use std::mem::ManuallyDrop;

use rquickjs::{Ctx, Object, Value};

use crate::bindings::exports::hookmill::plugin::transformer::{Event, Manifest, Outcome};
use crate::bindings::hookmill::plugin::types::Request;
use crate::engine::{function, settled};
use crate::error::{Catch, Error, Result};
use crate::payload::{
    are_same_headers, from_js, headers_from_js, headers_into_js, into_js, is_same,
};

/// The members of a webhook that tell where it goes. They are decided before the code runs: the request is signed for
/// its endpoint and sent there.
const FIXED: [&str; 3] = ["url", "method", "eventType"];

/// The reason of a webhook that was canceled.
const CANCELED: &str = "the transformation canceled the webhook";

pub(crate) fn manifest() -> Manifest {
    Manifest {
        name: "transformation".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        summary: "Runs the JavaScript of an endpoint's transformation".to_owned(),
        config_schema: include_str!("config.schema.json").to_owned(),
    }
}

pub(crate) fn transform(ctx: &Ctx<'_>, event: Event, config: &str) -> Result<Outcome> {
    let config: Object = ctx
        .json_parse(config)
        .and_then(|value| value.get())
        .caught(ctx)?;
    let handler = config.get::<_, String>("code").map_err(Error::from);
    let handler = handler
        .and_then(|code| function(ctx, &code, "handler"))
        .caught(ctx)?;
    let dry_run: Option<bool> = config.get("dryRun").caught(ctx)?;
    let dry_run = dry_run.unwrap_or(false);
    let webhook = webhook(ctx, &event, &config).caught(ctx)?;
    let returned = handler.call((webhook,)).map_err(Error::from);
    let returned = returned
        .and_then(settled)
        .and_then(returned_webhook)
        .caught(ctx);
    if dry_run {
        // What comes of an example says nothing about real events, but for where it goes.
        return returned
            .map_or(Ok(()), |webhook| {
                check_fixed(&event, &config, &webhook).caught(ctx)
            })
            .map(|()| Outcome::Pass);
    }
    // What the instance holds goes with it: freeing each value would only take time.
    let webhook = ManuallyDrop::new(returned?);
    check_fixed(&event, &config, &webhook).caught(ctx)?;
    outcome(ctx, event, &webhook).caught(ctx)
}

fn returned_webhook(returned: Value<'_>) -> Result<Object<'_>> {
    match returned.into_object() {
        Some(webhook) if !webhook.is_array() => Ok(webhook),
        _ => Err(Error::said("the handler must return the webhook")),
    }
}

fn webhook<'js>(ctx: &Ctx<'js>, event: &Event, config: &Object<'js>) -> Result<Object<'js>> {
    let webhook = Object::new(ctx.clone())?;
    webhook.set("method", config.get::<_, Value>("method")?)?;
    webhook.set("url", config.get::<_, Value>("url")?)?;
    webhook.set("eventType", event.event_type.as_str())?;
    webhook.set(
        "payload",
        into_js(ctx, &event.content_type, &event.payload)?,
    )?;
    webhook.set("headers", headers_into_js(ctx, &event.headers)?)?;
    webhook.set("variables", config.get::<_, Value>("variables")?)?;
    webhook.set("cancel", false)?;
    Ok(webhook)
}

fn check_fixed(event: &Event, config: &Object<'_>, webhook: &Object<'_>) -> Result<()> {
    for name in FIXED {
        let before: String = match name {
            "eventType" => event.event_type.clone(),
            name => config.get(name)?,
        };
        let after: Value = webhook.get(name)?;
        // Who returns an object of his own need not name them.
        let same = after.is_undefined()
            || after
                .as_string()
                .is_some_and(|after| after.to_string().is_ok_and(|after| after == before));
        if !same {
            return Err(Error::said(format!(
                "webhook.{name} may not be changed: it is the endpoint's, not the transformation's"
            )));
        }
    }
    Ok(())
}

fn outcome<'js>(ctx: &Ctx<'js>, event: Event, webhook: &Object<'js>) -> Result<Outcome> {
    let cancel: Value = webhook.get("cancel")?;
    if cancel.as_bool() == Some(true) {
        return Ok(Outcome::Drop(CANCELED.to_owned()));
    }
    let payload: Value = webhook.get("payload")?;
    let (content_type, bytes) = from_js(ctx, &event.content_type, &payload)?;
    let headers: Value = webhook.get("headers")?;
    let headers = if headers.is_undefined() || headers.is_null() {
        event.headers.clone()
    } else {
        headers_from_js(&headers)?
    };
    if content_type == event.content_type
        && are_same_headers(&event.headers, &headers)
        && is_same(ctx, &content_type, &event.payload, &bytes)?
    {
        return Ok(Outcome::Pass);
    }
    Ok(Outcome::Deliver(Request {
        content_type,
        headers,
        payload: bytes,
    }))
}
