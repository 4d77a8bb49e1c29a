//! Payloads and headers on their way into JavaScript and back.

use rquickjs::{Array, Ctx, Object, Value};

use crate::bindings::hookmill::plugin::types::Header;
use crate::canonical::is_canonical;
use crate::error::{Error, Result};

const JSON: &str = "application/json";

/// Whether a content type says JSON: `application/json`, or anything that ends in `+json`.
pub(crate) fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let ends = |end: &str| {
        essence
            .len()
            .checked_sub(end.len())
            .and_then(|start| essence.get(start..))
            .is_some_and(|tail| tail.eq_ignore_ascii_case(end))
    };
    essence.eq_ignore_ascii_case(JSON) || ends("+json")
}

/// A payload as scripts see it: the value if it is JSON, else text.
pub(crate) fn into_js<'js>(
    ctx: &Ctx<'js>,
    content_type: &str,
    payload: &[u8],
) -> Result<Value<'js>> {
    if is_json(content_type) {
        match ctx.json_parse(payload) {
            Ok(value) => return Ok(value),
            // It only says that it is JSON: it is text all the same. The exception must not stay pending.
            Err(rquickjs::Error::Exception) => drop(ctx.catch()),
            Err(error) => return Err(error.into()),
        }
    }
    let text = String::from_utf8_lossy(payload);
    Ok(rquickjs::String::from_str(ctx.clone(), &text)?.into_value())
}

/// What a script made of a payload: content type and bytes.
pub(crate) fn from_js<'js>(
    ctx: &Ctx<'js>,
    content_type: &str,
    value: &Value<'js>,
) -> Result<(String, Vec<u8>)> {
    if !is_json(content_type)
        && let Some(text) = value.as_string()
    {
        return Ok((content_type.to_owned(), text.to_string()?.into_bytes()));
    }
    let Some(text) = ctx.json_stringify(value)? else {
        return Err(Error::said(
            "the payload is nothing that JSON has, such as undefined or a function",
        ));
    };
    let content_type = if is_json(content_type) {
        content_type
    } else {
        JSON
    };
    Ok((content_type.to_owned(), text.to_string()?.into_bytes()))
}

/// Whether what a script made of a JSON payload says what the payload said.
pub(crate) fn is_same(
    ctx: &Ctx<'_>,
    content_type: &str,
    before: &[u8],
    after: &[u8],
) -> Result<bool> {
    if before == after || (is_json(content_type) && is_canonical(before)) {
        return Ok(before == after);
    }
    // Spaces, escapes and the like do not count.
    let value = into_js(ctx, content_type, before)?;
    Ok(from_js(ctx, content_type, &value)?.1 == after)
}

/// Headers as scripts see them: an object, with a list where a name comes more than once.
pub(crate) fn headers_into_js<'js>(ctx: &Ctx<'js>, headers: &[Header]) -> Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    for header in headers {
        let name = header.name.as_str();
        let first: Value = object.get(name)?;
        if first.is_undefined() {
            object.set(name, header.value.as_str())?;
            continue;
        }
        let list = match first.into_array() {
            Some(list) => list,
            None => {
                let list = Array::new(ctx.clone())?;
                list.set(0, object.get::<_, Value>(name)?)?;
                object.set(name, list.clone())?;
                list
            }
        };
        list.set(list.len(), header.value.as_str())?;
    }
    Ok(object)
}

/// The headers that a script left; one that is null or undefined is left out.
pub(crate) fn headers_from_js(value: &Value<'_>) -> Result<Vec<Header>> {
    let Some(object) = value.as_object() else {
        return Err(Error::said(
            "the headers must be an object of names and values",
        ));
    };
    let mut headers = Vec::new();
    for member in object.props::<String, Value>() {
        let (name, value) = member?;
        let mut add = |value: &Value| {
            let value = header_value(&name, value)?;
            headers.push(Header {
                name: name.to_ascii_lowercase(),
                value,
            });
            Ok::<_, Error>(())
        };
        if value.is_null() || value.is_undefined() {
            continue;
        }
        match value.as_array() {
            Some(list) => list.iter::<Value>().try_for_each(|value| add(&value?))?,
            None => add(&value)?,
        }
    }
    Ok(headers)
}

fn header_value(name: &str, value: &Value<'_>) -> Result<String> {
    match value.as_string() {
        Some(text) => Ok(text.to_string()?),
        None if value.is_number() || value.is_bool() => {
            Ok(value.get::<rquickjs::Coerced<String>>()?.0)
        }
        None => Err(Error::said(format!(
            "the header {name} must be a text, a number, or a list of them"
        ))),
    }
}

/// Whether both say the same, whatever their order.
pub(crate) fn are_same_headers(before: &[Header], after: &[Header]) -> bool {
    let sorted = |headers: &[Header]| {
        let mut pairs: Vec<(String, String)> = headers
            .iter()
            .map(|header| (header.name.clone(), header.value.clone()))
            .collect();
        // By name only: the order of one name's values counts.
        pairs.sort_by(|one, other| one.0.cmp(&other.0));
        pairs
    };
    before.len() == after.len() && sorted(before) == sorted(after)
}
