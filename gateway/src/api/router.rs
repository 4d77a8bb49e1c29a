//! The table of routes, and what surrounds every request: its id, its span in the log, and an answer in the
//! API's own shape whatever happens to it.

use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use futures_util::FutureExt as _;
use http::header::CACHE_CONTROL;
use http::{HeaderName, HeaderValue};
use tracing::Instrument as _;

use super::error::ApiError;
use super::state::Shared;
use super::{
    application, attempt, backup, destination, drain, endpoint, endpoint_headers, endpoint_secret,
    event_type, health, message, operational, organization, plugin, plugin_chain, plugin_limits,
    plugin_suspension, plugin_upload, recover, resend, session, transformation,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id that is taken over from a caller, in bytes. Chosen: a log line stays readable.
const MAX_REQUEST_ID: usize = 128;

/// Every route of the gateway.
pub fn router(state: Shared) -> Router {
    let mut routes = Routes(Router::new());
    applications(&mut routes);
    endpoints(&mut routes);
    operational_webhooks(&mut routes);
    messages(&mut routes);
    event_types(&mut routes);
    plugins(&mut routes);
    plugin_limits_of_tenants(&mut routes);
    operation(&mut routes);
    routes
        .0
        .fallback(async || ApiError::NotFound("path".to_owned()))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(middleware::from_fn_with_state(state.clone(), surround))
        .with_state(state)
}

fn applications(routes: &mut Routes) {
    routes.add(
        "/api/v1/app",
        get(application::list).post(application::create),
    );
    routes.add(
        "/api/v1/app/{app_id}",
        get(application::get)
            .put(application::put)
            .patch(application::patch)
            .delete(application::delete),
    );
}

fn endpoints(routes: &mut Routes) {
    routes.add(
        "/api/v1/app/{app_id}/endpoint",
        get(endpoint::list).post(endpoint::create),
    );
    let one = "/api/v1/app/{app_id}/endpoint/{endpoint_id}";
    routes.add(
        one,
        get(endpoint::get)
            .put(endpoint::put)
            .patch(endpoint::patch)
            .delete(endpoint::delete),
    );
    routes.add(&format!("{one}/pause"), post(endpoint::pause));
    routes.add(&format!("{one}/resume"), post(endpoint::resume));
    routes.add(&format!("{one}/recover"), post(recover::create));
    routes.add(&format!("{one}/secret"), get(endpoint_secret::get));
    routes.add(
        &format!("{one}/secret/rotate"),
        post(endpoint_secret::rotate),
    );
    routes.add(
        &format!("{one}/headers"),
        get(endpoint_headers::get)
            .put(endpoint_headers::put)
            .patch(endpoint_headers::patch),
    );
}

fn operational_webhooks(routes: &mut Routes) {
    routes.add(
        "/api/v1/operational-webhook/endpoint",
        get(operational::list).post(operational::create),
    );
    let one = "/api/v1/operational-webhook/endpoint/{endpoint_id}";
    routes.add(one, get(operational::get).delete(operational::delete));
    routes.add(&format!("{one}/secret"), get(operational::secret));
}

fn messages(routes: &mut Routes) {
    let app = "/api/v1/app/{app_id}";
    routes.add(
        &format!("{app}/msg"),
        get(message::list).post(message::create),
    );
    routes.add(&format!("{app}/msg/{{msg_id}}"), get(message::get));
    routes.add(
        &format!("{app}/msg/{{msg_id}}/endpoint"),
        get(destination::list),
    );
    routes.add(
        &format!("{app}/msg/{{msg_id}}/attempt/{{attempt_id}}"),
        get(attempt::get),
    );
    routes.add(
        &format!("{app}/attempt/endpoint/{{endpoint_id}}"),
        get(attempt::by_endpoint),
    );
    routes.add(
        &format!("{app}/attempt/msg/{{msg_id}}"),
        get(attempt::by_message),
    );
    routes.add(
        &format!("{app}/msg/{{msg_id}}/endpoint/{{endpoint_id}}/resend"),
        post(resend::create),
    );
}

fn event_types(routes: &mut Routes) {
    routes.add(
        "/api/v1/event-type",
        get(event_type::list).post(event_type::create),
    );
    routes.add(
        "/api/v1/event-type/{event_type_name}",
        get(event_type::get)
            .put(event_type::put)
            .patch(event_type::patch)
            .delete(event_type::delete),
    );
}

fn plugins(routes: &mut Routes) {
    for of in ["/api/v1", "/api/v1/app/{app_id}"] {
        routes.add(
            &format!("{of}/plugin"),
            get(plugin::list).post(plugin_upload::create),
        );
        let one = format!("{of}/plugin/{{plugin_id}}");
        routes.add(&one, get(plugin::get).delete(plugin::delete));
        routes.add(&format!("{one}/version"), get(plugin::versions));
        routes.add(
            &format!("{one}/version/{{version}}/stats"),
            get(plugin::stats),
        );
    }
    routes.add(
        "/api/v1/app/{app_id}/plugin-chain",
        get(plugin_chain::get_application).put(plugin_chain::put_application),
    );
    routes.add(
        "/api/v1/app/{app_id}/endpoint/{endpoint_id}/plugin-chain",
        get(plugin_chain::get_endpoint).put(plugin_chain::put_endpoint),
    );
    routes.add(
        "/api/v1/app/{app_id}/endpoint/{endpoint_id}/transformation",
        get(transformation::get).patch(transformation::patch),
    );
    let chain = "/api/v1/app/{app_id}/plugin-chain";
    routes.add(
        &format!("{chain}/suspensions"),
        get(plugin_suspension::of_application),
    );
    routes.add(
        &format!("{chain}/resume"),
        post(plugin_suspension::resume_application),
    );
    let chain = "/api/v1/app/{app_id}/endpoint/{endpoint_id}/plugin-chain";
    routes.add(
        &format!("{chain}/suspensions"),
        get(plugin_suspension::of_endpoint),
    );
    routes.add(
        &format!("{chain}/resume"),
        post(plugin_suspension::resume_endpoint),
    );
}

fn plugin_limits_of_tenants(routes: &mut Routes) {
    routes.add("/api/v1/plugin-limits", get(plugin_limits::own));
    routes.add(
        "/api/v1/app/{app_id}/plugin-limits",
        get(plugin_limits::own_application),
    );
    let org = "/api/v1/admin/organization/{org_id}";
    routes.add(
        &format!("{org}/plugin-limits"),
        get(plugin_limits::get).patch(plugin_limits::patch),
    );
    routes.add(
        &format!("{org}/app/{{app_id}}/plugin-limits"),
        get(plugin_limits::get_application).patch(plugin_limits::patch_application),
    );
}

fn operation(routes: &mut Routes) {
    routes.add("/livez", get(health::live));
    routes.add("/readyz", get(health::ready));
    routes.add("/metrics", get(health::metrics));
    routes.add("/api/v1/health", get(health::ready));
    routes.add("/api/v1/health/ping", get(health::live));
    routes.add(
        "/api/v1/auth/app-portal-access/{app_id}",
        post(session::portal),
    );
    routes.add(
        "/api/v1/auth/app/{app_id}/expire-all",
        post(session::expire_all),
    );
    routes.add("/api/v1/auth/logout", post(session::logout));
    routes.add("/api/v1/organization", get(organization::own));
    routes.add("/api/v1/admin/organization", get(organization::list));
    routes.add(
        "/api/v1/admin/organization/{org_id}",
        get(organization::get).patch(organization::patch),
    );
    routes.add("/api/v1/admin/backup", get(backup::get));
}

struct Routes(Router<Shared>);

impl Routes {
    /// A route; with a slash at its end it is the same one.
    fn add(&mut self, path: &str, methods: MethodRouter<Shared>) {
        let router = std::mem::take(&mut self.0);
        self.0 = router
            .route(path, methods.clone())
            .route(&format!("{path}/"), methods);
    }
}

/// Gives the request an id and a span; turns a panic into an answer.
async fn surround(State(state): State<Shared>, request: Request, next: Next) -> Response {
    let (request, unread) = drain::lend(request);
    let id = request_id(&request);
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("", MatchedPath::as_str);
    let span = tracing::info_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        method = %request.method(),
        route,
        org = tracing::field::Empty,
        app = tracing::field::Empty,
        endpoint = tracing::field::Empty,
        msg = tracing::field::Empty,
    );
    let answer = async {
        // A panic is a bug; the request it belongs to is the only one that may feel it.
        let caught = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        let response =
            caught.unwrap_or_else(|_| ApiError::Internal(Box::new(Panicked)).into_response());
        tracing::debug!(status = response.status().as_u16(), "answered");
        response
    };
    let mut response = answer.instrument(span).await;
    unread.drain(&state.config).await;
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    // Answers hold tenants' data, secrets and tokens.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[derive(Debug, thiserror::Error)]
#[error("a handler panicked")]
struct Panicked;

/// The caller's own id, or a new one.
fn request_id(request: &Request) -> HeaderValue {
    let visible = |value: &&HeaderValue| {
        (1..=MAX_REQUEST_ID).contains(&value.len())
            && value.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    match request.headers().get(REQUEST_ID).filter(visible) {
        Some(given) => given.clone(),
        None => HeaderValue::from_str(&format!("{:032x}", rand::random::<u128>()))
            .expect("hexadecimal digits are a header value"),
    }
}
