//! The gateway as a process of its own, on a fresh data directory and a port that it picks. It can be ended and started
//! again on what it left.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use hyper::header::HeaderValue;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::error::Failure;
use crate::tenant::Tenant;
use crate::usage::{CpuTime, Memory};

/// The first line on the gateway's standard output, before the address.
const ANNOUNCEMENT: &str = "listening on http://";

/// Who the measured tenants belong to.
const ORGANIZATION: &str = "org_23rb8YdGqMT0qIzpgGwdXfHirMu";

/// Who the tenants beside them belong to.
const OTHER_ORGANIZATION: &str = "org_23rb8YdGqMT0qIzpgGwdXfHirMv";

#[derive(Debug)]
pub(crate) struct Gateway {
    binary: PathBuf,
    /// Given to `serve` beside the usual.
    arguments: Vec<String>,
    process: Child,
    id: u32,
    addr: SocketAddr,
    /// Removed with the gateway.
    data: TempDir,
}

/// How a gateway ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// It is asked to, and finishes what is under way.
    Clean,
    /// It has no say in it.
    Killed,
}

impl Gateway {
    pub(crate) async fn start(binary: &Path, disk: &Path) -> Result<Self, Failure> {
        Self::start_with(binary, disk, &[]).await
    }

    pub(crate) async fn start_with(
        binary: &Path,
        disk: &Path,
        arguments: &[&str],
    ) -> Result<Self, Failure> {
        let data = TempDir::with_prefix_in("hookmill-bench-", disk)
            .map_err(Failure::io("make a data directory"))?;
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let arguments: Vec<_> = arguments.iter().map(|&text| text.to_owned()).collect();
        let (process, id, addr) = serve(binary, &arguments, any_port, data.path()).await?;
        Ok(Self {
            binary: binary.to_path_buf(),
            arguments,
            process,
            id,
            addr,
            data,
        })
    }

    /// A new application of the organization that is measured, without endpoints.
    pub(crate) async fn tenant(&self) -> Result<Tenant, Failure> {
        let token = self.token(ORGANIZATION).await?;
        Tenant::create(self.addr, token).await
    }

    /// For tenants of another organization.
    pub(crate) async fn other_token(&self) -> Result<HeaderValue, Failure> {
        self.token(OTHER_ORGANIZATION).await
    }

    async fn token(&self, organization: &str) -> Result<HeaderValue, Failure> {
        token(&self.binary, &data_dir(self.data.path()), organization).await
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits until it has ended.
    pub(crate) async fn stop(&mut self, how: End) -> Result<(), Failure> {
        let signal = match how {
            End::Clean => Signal::TERM,
            End::Killed => Signal::KILL,
        };
        if let Some(pid) = i32::try_from(self.id).ok().and_then(Pid::from_raw) {
            // One that has ended already needs no signal.
            let _ = kill_process(pid, signal);
        }
        self.process
            .wait()
            .await
            .map_err(Failure::io("wait for the gateway's end"))
            .map(drop)
    }

    /// Starts one that was stopped, on its data and at its address.
    pub(crate) async fn start_again(&mut self) -> Result<(), Failure> {
        let (process, id, _) =
            serve(&self.binary, &self.arguments, self.addr, self.data.path()).await?;
        (self.process, self.id) = (process, id);
        Ok(())
    }

    pub(crate) fn cpu(&self) -> Result<CpuTime, Failure> {
        CpuTime::of(self.id)
    }

    pub(crate) fn memory(&self) -> Result<Memory, Failure> {
        Memory::of(self.id)
    }
}

/// Runs until it says where it listens.
async fn serve(
    binary: &Path,
    arguments: &[String],
    listen: SocketAddr,
    folder: &Path,
) -> Result<(Child, u32, SocketAddr), Failure> {
    let log_file = folder.join("log");
    let log = std::fs::File::create(&log_file).map_err(Failure::io("make a file for the log"))?;
    let mut process = command(binary)
        .arg("serve")
        .args(["--allow-subnet", "127.0.0.0/8", "--listen"])
        .arg(listen.to_string())
        .arg("--data-dir")
        .arg(data_dir(folder))
        .args(arguments)
        // A neighbour whose plugin loops is to go on looping.
        .env("HOOKMILL_DELIVERY__SUSPEND_PLUGIN_AFTER", "0")
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
    let (Some(addr), Some(id)) = (first.as_deref().and_then(announced), process.id()) else {
        let said =
            first.unwrap_or_default() + &std::fs::read_to_string(log_file).unwrap_or_default();
        return Err(Failure::NoGateway { said });
    };
    // Nobody reads the rest, and a full pipe must not stop the gateway.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok((process, id, addr))
}

fn data_dir(folder: &Path) -> PathBuf {
    folder.join("data")
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

/// An organization's token, from the command line as a user gets it.
async fn token(binary: &Path, data_dir: &Path, organization: &str) -> Result<HeaderValue, Failure> {
    let output = command(binary)
        .args(["token", "--org", organization, "--data-dir"])
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
