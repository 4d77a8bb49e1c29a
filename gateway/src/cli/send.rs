//! `hookmill send`: one message to a running gateway, for scripts and for trying things out.

use std::io::Read as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::value::RawValue;

use super::Failure;
use super::peer::Peer;

#[derive(Debug, Args)]
pub(super) struct SendArgs {
    #[command(flatten)]
    peer: Peer,
    /// The application, by identifier or uid.
    #[arg(long, value_name = "APP")]
    app: String,
    /// Its event type, such as `invoice.paid`.
    #[arg(long = "type", value_name = "EVENT_TYPE")]
    event_type: String,
    /// A channel it is for; repeatable.
    #[arg(long, value_name = "CHANNEL")]
    channel: Vec<String>,
    /// The sender's own identifier: a second message with it is refused.
    #[arg(long, value_name = "ID")]
    event_id: Option<String>,
    /// Lets the call be repeated: the same key is answered with the first answer.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// File with the JSON payload; `-` or nothing: standard input.
    #[arg(value_name = "FILE")]
    payload: Option<PathBuf>,
}

/// The request body of `POST …/msg`; the payload goes as it came.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    channels: &'a [String],
    payload: &'a RawValue,
}

pub(super) fn run(args: &SendArgs) -> Result<(), Failure> {
    let text = read_payload(args)?;
    let payload: &RawValue = serde_json::from_str(&text)
        .map_err(|error| Failure::Refused(format!("the payload is not JSON: {error}")))?;
    let body = Body {
        event_type: &args.event_type,
        event_id: args.event_id.as_deref(),
        channels: &args.channel,
        payload,
    };
    let path = format!("/api/v1/app/{}/msg?with_content=false", args.app);
    let mut headers = vec![("content-type", "application/json")];
    if let Some(key) = &args.idempotency_key {
        headers.push(("idempotency-key", key));
    }
    let body = serde_json::to_vec(&body).map_err(Failure::other)?;
    println!("{}", args.peer.post(&path, &headers, body)?);
    Ok(())
}

fn read_payload(args: &SendArgs) -> Result<String, Failure> {
    match &args.payload {
        Some(path) if path.as_os_str() != "-" => std::fs::read_to_string(path)
            .map_err(|error| Failure::Refused(format!("{}: {error}", path.display()))),
        _ => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(Failure::other)?;
            Ok(text)
        }
    }
}
