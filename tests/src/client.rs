//! A thin JSON client. It checks on every reply that an error has the shape that the API promises, so that no
//! test has to, and none can forget.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// Speaks to one gateway with one token.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// A reply, read to its end and checked for its shape.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status code.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// What was asked, for messages.
    asked: String,
}

impl Client {
    /// A client of the gateway at `base` (`http://ADDR:PORT`).
    pub fn new(base: &str, token: Option<&str>) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client without special settings builds");
        Self {
            http,
            base: base.to_owned(),
            token: token.map(str::to_owned),
        }
    }

    /// The same client with another token.
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// The same client without a token.
    pub fn anonymous(&self) -> Self {
        Self {
            token: None,
            ..self.clone()
        }
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, None).await
    }

    /// `POST path` with a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(Method::POST, path, Some(body)).await
    }

    /// `PUT path` with a JSON body.
    pub async fn put(&self, path: &str, body: Value) -> Reply {
        self.send(Method::PUT, path, Some(body)).await
    }

    /// `PATCH path` with a JSON body.
    pub async fn patch(&self, path: &str, body: Value) -> Reply {
        self.send(Method::PATCH, path, Some(body)).await
    }

    /// `DELETE path`.
    pub async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, None).await
    }

    /// Any method, with a JSON body or none.
    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        let headers: &[(&str, &str)] = match body {
            Some(_) => &[("content-type", "application/json")],
            None => &[],
        };
        let bytes = body.map(|body| Bytes::from(body.to_string()));
        self.raw(method, path, headers, bytes).await
    }

    /// Posts a wasm file.
    pub async fn upload(&self, path: &str, wasm: Bytes) -> Reply {
        let headers = [("content-type", "application/wasm")];
        self.raw(Method::POST, path, &headers, Some(wasm)).await
    }

    /// Any request at all, headers and bytes as given.
    ///
    /// # Panics
    /// When no reply comes, or an error without the promised shape.
    pub async fn raw(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Reply {
        match self.try_raw(method, path, headers, body).await {
            Ok(reply) => reply,
            Err(error) => panic!("no reply: {error:?}"),
        }
    }

    /// As [`Client::raw`], for tests in which the gateway may die under the request.
    ///
    /// # Errors
    /// When no whole reply comes.
    pub async fn try_raw(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Result<Reply, reqwest::Error> {
        let asked = format!("{method} {path}");
        let url = format!("{}{path}", self.base);
        let mut request = self.http.request(method, url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request.send().await?;
        let reply = Reply {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: answer.bytes().await?,
            asked,
        };
        reply.check_shape();
        Ok(reply)
    }
}

impl Reply {
    /// Itself, if it has this status.
    ///
    /// # Panics
    /// When it has another.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status,
            status,
            "{}: {}",
            self.asked,
            String::from_utf8_lossy(&self.body)
        );
        self
    }

    /// Itself, if it is an error of this status and code.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Self {
        let reply = self.expect(status);
        assert_eq!(reply.json()["code"], code, "{}", reply.asked);
        reply
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!(
                "{}: {} is no JSON: {error}",
                self.asked,
                String::from_utf8_lossy(&self.body)
            )
        })
    }

    /// A text field of the body.
    ///
    /// # Panics
    /// When it is missing.
    #[track_caller]
    pub fn text(&self, field: &str) -> String {
        match &self.json()[field] {
            Value::String(text) => text.clone(),
            other => panic!("{}: `{field}` is {other}", self.asked),
        }
    }

    /// The `data` of a page.
    ///
    /// # Panics
    /// When the body is no page.
    #[track_caller]
    pub fn data(&self) -> Vec<Value> {
        let json = self.json();
        let page = json["data"].as_array().cloned();
        assert!(
            json["done"].is_boolean() && page.is_some(),
            "{}: not a page: {json}",
            self.asked
        );
        page.unwrap_or_default()
    }

    /// What the API promises of every error: `code` and `detail`, the latter a list of places on 422.
    #[track_caller]
    fn check_shape(&self) {
        if self.status < 400 {
            assert!(
                self.status != 204 || self.body.is_empty(),
                "{}: 204 with a body",
                self.asked
            );
            return;
        }
        let json = self.json();
        assert!(
            json["code"].as_str().is_some_and(|code| !code.is_empty()),
            "{}: {} without a code: {json}",
            self.asked,
            self.status
        );
        if self.status == 422 {
            let places = json["detail"]
                .as_array()
                .unwrap_or_else(|| panic!("{}: the detail of a 422 is a list: {json}", self.asked));
            assert!(!places.is_empty(), "{}: no place named: {json}", self.asked);
            for place in places {
                assert!(
                    place["loc"].is_array()
                        && place["msg"].is_string()
                        && place["type"].is_string(),
                    "{}: not a place: {place}",
                    self.asked
                );
            }
        } else {
            assert!(
                json["detail"].as_str().is_some_and(|text| !text.is_empty()),
                "{}: {} without a detail: {json}",
                self.asked,
                self.status
            );
        }
        if matches!(self.status, 429 | 503) {
            assert!(
                self.headers.contains_key("retry-after"),
                "{}: {} without Retry-After",
                self.asked,
                self.status
            );
        }
    }
}
