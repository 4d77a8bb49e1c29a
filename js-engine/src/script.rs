//! A plugin's own script: `function transform(event, config)`, which returns `pass()`, `deliver(request)`,
//! `drop(reason)` or `reject(reason)`.

use std::mem::ManuallyDrop;

use rquickjs::{Ctx, Function, Object, Persistent, Value};

use crate::bindings::exports::hookmill::plugin::transformer::{Event, Manifest, Outcome};
use crate::bindings::hookmill::plugin::types::Request;
use crate::engine::{function, settled};
use crate::error::{Catch, Error, Result};
use crate::payload::{from_js, headers_from_js, headers_into_js, into_js};

/// A script that is part of the snapshot.
pub(crate) struct Script {
    pub(crate) manifest: Manifest,
    transform: Persistent<Function<'static>>,
}

impl Script {
    /// Reads `{"name", "version", "summary", "configSchema", "script"}` and runs the script.
    pub(crate) fn load(ctx: &Ctx<'_>, project: &str) -> Result<Self> {
        let project: Object = ctx
            .json_parse(project)
            .and_then(|value| value.get())
            .caught(ctx)?;
        let text = |name: &str| project.get::<_, String>(name).caught(ctx);
        let schema: Value = project.get("configSchema").caught(ctx)?;
        let schema = ctx.json_stringify(schema).caught(ctx)?;
        let manifest = Manifest {
            name: text("name")?,
            version: text("version")?,
            summary: text("summary")?,
            config_schema: schema
                .map_or(Ok("true".to_owned()), |schema| schema.to_string())
                .caught(ctx)?,
        };
        let transform = function(ctx, &text("script")?, "transform").caught(ctx)?;
        Ok(Self {
            manifest,
            transform: Persistent::save(ctx, transform),
        })
    }

    pub(crate) fn transform(&self, ctx: &Ctx<'_>, event: Event, config: &str) -> Result<Outcome> {
        let transform = self.transform.clone().restore(ctx).caught(ctx)?;
        let config: Value = ctx.json_parse(config).caught(ctx)?;
        let given = given(ctx, &event).caught(ctx)?;
        let returned = transform.call((given, config)).map_err(Error::from);
        // What the instance holds goes with it: freeing each value would only take time.
        let returned = ManuallyDrop::new(returned.and_then(settled).caught(ctx)?);
        outcome(ctx, event, &returned).caught(ctx)
    }
}

/// The event as scripts see it: the fields of the contract in camelCase.
fn given<'js>(ctx: &Ctx<'js>, event: &Event) -> Result<Object<'js>> {
    let given = Object::new(ctx.clone())?;
    given.set("id", event.id.as_str())?;
    given.set("eventType", event.event_type.as_str())?;
    given.set("timestampMs", event.timestamp_ms as f64)?;
    given.set("channels", event.channels.clone())?;
    given.set("applicationId", event.application_id.as_str())?;
    given.set("applicationUid", event.application_uid.as_deref())?;
    given.set("endpointId", event.endpoint_id.as_deref())?;
    given.set("headers", headers_into_js(ctx, &event.headers)?)?;
    given.set("contentType", event.content_type.as_str())?;
    given.set(
        "payload",
        into_js(ctx, &event.content_type, &event.payload)?,
    )?;
    Ok(given)
}

fn outcome<'js>(ctx: &Ctx<'js>, event: Event, returned: &Value<'js>) -> Result<Outcome> {
    let unknown = || {
        Error::said(
            "transform must return pass(), deliver(request), drop(reason) or reject(reason)",
        )
    };
    let object = returned.as_object().ok_or_else(unknown)?;
    let outcome: Option<String> = object.get("outcome").ok();
    match outcome.as_deref() {
        Some("pass") => Ok(Outcome::Pass),
        Some("deliver") => Ok(Outcome::Deliver(request(ctx, event, object)?)),
        Some("drop") => Ok(Outcome::Drop(reason(object)?)),
        Some("reject") => Ok(Outcome::Reject(reason(object)?)),
        _ => Err(unknown()),
    }
}

fn reason(object: &Object<'_>) -> Result<String> {
    let reason: Value = object.get("reason")?;
    match reason.as_string() {
        Some(text) => Ok(text.to_string()?),
        None => Err(Error::said("drop and reject need a text that says why")),
    }
}

/// What is not given stays as the event has it.
fn request<'js>(ctx: &Ctx<'js>, event: Event, given: &Object<'js>) -> Result<Request> {
    let content_type: Option<String> = given.get("contentType")?;
    let content_type = content_type.unwrap_or(event.content_type);
    let headers: Value = given.get("headers")?;
    let headers = if headers.is_undefined() {
        event.headers
    } else {
        headers_from_js(&headers)?
    };
    let payload: Value = given.get("payload")?;
    let (content_type, payload) = if payload.is_undefined() {
        (content_type, event.payload)
    } else {
        from_js(ctx, &content_type, &payload)?
    };
    Ok(Request {
        content_type,
        headers,
        payload,
    })
}
