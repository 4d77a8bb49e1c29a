//! The gateway as a process of its own, on a fresh data directory and a port that it picks, and the tenants to measure
//! with.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderValue;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::client::{Connection, Target};
use crate::error::Failure;
use crate::payload;

/// The first line on the gateway's standard output, before the address.
const ANNOUNCEMENT: &str = "listening on http://";

const ORGANIZATION: &str = "org_23rb8YdGqMT0qIzpgGwdXfHirMu";

const JSON: &str = "application/json";

#[derive(Debug)]
pub(crate) struct Gateway {
    process: Child,
    addr: SocketAddr,
    authorization: HeaderValue,
    /// Removed with the gateway.
    _data: TempDir,
}

/// An application.
#[derive(Debug)]
pub(crate) struct Tenant {
    addr: SocketAddr,
    authorization: HeaderValue,
    id: String,
}

impl Gateway {
    pub(crate) async fn start(binary: &Path, disk: &Path) -> Result<Self, Failure> {
        let data = TempDir::with_prefix_in("hookmill-bench-", disk)
            .map_err(Failure::io("make a data directory"))?;
        let log_file = data.path().join("log");
        let log =
            std::fs::File::create(&log_file).map_err(Failure::io("make a file for the log"))?;
        let data_dir = data.path().join("data");
        let mut process = command(binary)
            .arg("serve")
            .args(["--listen", "127.0.0.1:0", "--allow-subnet", "127.0.0.0/8"])
            .arg("--data-dir")
            .arg(&data_dir)
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(Failure::io("start the gateway"))?;
        let stdout = process.stdout.take().expect("stdout was given a pipe");
        let mut lines = BufReader::new(stdout).lines();
        let first = lines
            .next_line()
            .await
            .map_err(Failure::io("read from the gateway"))?;
        let Some(addr) = first.as_deref().and_then(announced) else {
            let said =
                first.unwrap_or_default() + &std::fs::read_to_string(log_file).unwrap_or_default();
            return Err(Failure::NoGateway { said });
        };
        // Nobody reads the rest, and a full pipe must not stop the gateway.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let authorization = token(binary, &data_dir).await?;
        Ok(Self {
            process,
            addr,
            authorization,
            _data: data,
        })
    }

    /// A new application, without endpoints.
    pub(crate) async fn tenant(&self) -> Result<Tenant, Failure> {
        let mut tenant = Tenant {
            addr: self.addr,
            authorization: self.authorization.clone(),
            id: String::new(),
        };
        let created = tenant
            .call(
                Method::POST,
                "/api/v1/app",
                JSON,
                json!({ "name": "bench" }),
            )
            .await?;
        tenant.id = text(&created, "id")?;
        Ok(tenant)
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        let pid = self
            .process
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // One that has ended already needs no signal.
            let _ = kill_process(pid, Signal::TERM);
        }
        self.process
            .wait()
            .await
            .map_err(Failure::io("wait for the gateway's end"))
            .map(drop)
    }
}

impl Tenant {
    /// Where its messages are posted.
    pub(crate) fn messages(&self) -> Target {
        self.target(format!("/api/v1/app/{}/msg", self.id))
    }

    /// A new endpoint at this receiver, with this plugin in its chain if one is given.
    pub(crate) async fn endpoint(
        &self,
        receiver: SocketAddr,
        redact: Option<&Bytes>,
    ) -> Result<(), Failure> {
        let endpoints = format!("/api/v1/app/{}/endpoint", self.id);
        let created = self
            .call(
                Method::POST,
                &endpoints,
                JSON,
                json!({ "url": format!("http://{receiver}/") }),
            )
            .await?;
        let Some(wasm) = redact else {
            return Ok(());
        };
        let upload = self.target("/api/v1/plugin?name=redact".to_owned());
        Connection::open(self.addr)
            .await?
            .send(Method::POST, &upload, "application/wasm", wasm.clone())
            .await?;
        let config: Value =
            serde_json::from_str(payload::REDACT_CONFIG).expect("a constant of ours is JSON");
        let chain =
            json!({ "chain": [{ "plugin": "redact", "version": "latest", "config": config }] });
        let path = format!("{endpoints}/{}/plugin-chain", text(&created, "id")?);
        self.call(Method::PUT, &path, JSON, chain).await.map(drop)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Value,
    ) -> Result<(String, Value), Failure> {
        let asked = format!("{method} {path}");
        let target = self.target(path.to_owned());
        let mut connection = Connection::open(self.addr).await?;
        let answer = connection
            .send(method, &target, content_type, Bytes::from(body.to_string()))
            .await?;
        match serde_json::from_slice(&answer) {
            Ok(json) => Ok((asked, json)),
            Err(_) => Err(Failure::Unexpected {
                asked,
                missing: "JSON",
                body: String::from_utf8_lossy(&answer).into_owned(),
            }),
        }
    }

    fn target(&self, path: String) -> Target {
        Target {
            addr: self.addr,
            path,
            authorization: Some(self.authorization.clone()),
        }
    }
}

/// A text field of an answer.
fn text((asked, json): &(String, Value), field: &'static str) -> Result<String, Failure> {
    json[field]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::Unexpected {
            asked: asked.clone(),
            missing: field,
            body: json.to_string(),
        })
}

/// The binary with its default settings, whatever this program's environment says.
fn command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    command.env_clear().stdin(Stdio::null());
    command
}

fn announced(line: &str) -> Option<SocketAddr> {
    line.strip_prefix(ANNOUNCEMENT)?.trim().parse().ok()
}

/// The organization's token, from the command line as a user gets it.
async fn token(binary: &Path, data_dir: &Path) -> Result<HeaderValue, Failure> {
    let output = command(binary)
        .args(["token", "--org", ORGANIZATION, "--data-dir"])
        .arg(data_dir)
        .output()
        .await
        .map_err(Failure::io("run `hookmill token`"))?;
    let said = || String::from_utf8_lossy(&output.stderr).into_owned();
    let token = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || token.is_empty() {
        return Err(Failure::NoGateway { said: said() });
    }
    let mut value =
        HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| Failure::NoGateway {
            said: "a token that is no header".to_owned(),
        })?;
    value.set_sensitive(true);
    Ok(value)
}
