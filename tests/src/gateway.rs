//! One gateway: the real binary as a process, on a port of its own, with a directory of its own. It can be
//! killed, stopped and started again on the same directory; what it logged is printed when a test fails.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::client::Client;
use crate::patience::within;
use crate::settings::hookmill_bin;

/// What announces the address on stdout.
const ANNOUNCEMENT: &str = "listening on ";

/// Retries of a test's gateway: soon, and often enough for a receiver that fails a few times.
const RETRY_SCHEDULE: &str = "50ms,100ms,200ms,400ms,800ms";

/// Says how a gateway is started.
#[derive(Clone, Debug)]
pub struct GatewayBuilder {
    /// Holds configuration, log and, unless another is named, data; removed with the last user.
    home: Arc<TempDir>,
    data_dir: PathBuf,
    config: String,
    retry_schedule: String,
    listen: String,
    allow_subnets: Vec<String>,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
    own_group: bool,
    open_files: Option<u64>,
}

/// A running gateway, or one that was stopped and can be started again.
#[derive(Debug)]
pub struct Gateway {
    how: GatewayBuilder,
    process: Option<Child>,
    url: String,
    org: String,
}

impl Gateway {
    /// A gateway with the settings that most tests want.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// The same, to be changed before it starts.
    ///
    /// # Panics
    /// When no directory can be made.
    pub fn builder() -> GatewayBuilder {
        let home = TempDir::with_prefix("hookmill-test-").expect("a directory for the gateway");
        GatewayBuilder {
            data_dir: home.path().join("data"),
            home: Arc::new(home),
            config: String::new(),
            retry_schedule: RETRY_SCHEDULE.to_owned(),
            listen: "127.0.0.1:0".to_owned(),
            allow_subnets: vec!["127.0.0.0/8".to_owned()],
            args: Vec::new(),
            env: Vec::new(),
            own_group: false,
            open_files: None,
        }
    }

    /// Where it answers: `http://ADDR:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its data lie.
    pub fn data_dir(&self) -> &Path {
        &self.how.data_dir
    }

    /// The organization that a test works in unless it needs several.
    pub fn org(&self) -> &str {
        &self.org
    }

    /// The process id.
    ///
    /// # Panics
    /// When it is not running.
    pub fn pid(&self) -> u32 {
        self.process
            .as_ref()
            .and_then(Child::id)
            .expect("the gateway is running")
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        self.how.log()
    }

    /// A token of an organization, as the command line gives it.
    pub async fn token(&self, org: &str) -> String {
        self.how.token(&["--org", org]).await
    }

    /// A token of an application.
    pub async fn app_token(&self, org: &str, app: &str) -> String {
        self.how.token(&["--org", org, "--app", app]).await
    }

    /// An administrator's token.
    pub async fn admin_token(&self) -> String {
        self.how.token(&["--admin"]).await
    }

    /// Any subcommand of the binary.
    pub async fn command(&self, args: &[&str]) -> Output {
        self.how.command(args, "").await
    }

    /// A subcommand that talks to this gateway (`HOOKMILL_URL`, `HOOKMILL_TOKEN`), with this standard input.
    pub async fn client_command(&self, token: &str, args: &[&str], stdin: &str) -> Output {
        let how = self
            .how
            .clone()
            .env("HOOKMILL_URL", &self.url)
            .env("HOOKMILL_TOKEN", token);
        how.command(args, stdin).await
    }

    /// A client of the test's own organization.
    pub async fn client(&self) -> Client {
        self.client_of(&self.org).await
    }

    /// A client of another organization.
    pub async fn client_of(&self, org: &str) -> Client {
        Client::new(&self.url, Some(&self.token(org).await))
    }

    /// The official client, first generation.
    pub async fn svix1(&self) -> svix1::api::Svix {
        self.svix1_with(self.token(&self.org).await)
    }

    /// The same with a given token.
    pub fn svix1_with(&self, token: String) -> svix1::api::Svix {
        let options = svix1::api::SvixOptions {
            server_url: Some(self.url.clone()),
            num_retries: Some(0),
            ..svix1::api::SvixOptions::default()
        };
        svix1::api::Svix::new(token, Some(options))
    }

    /// The official client, second generation.
    pub async fn svix2(&self) -> svix2::api::Svix {
        self.svix2_with(self.token(&self.org).await)
    }

    /// The same with a given token.
    pub fn svix2_with(&self, token: String) -> svix2::api::Svix {
        let options = svix2::api::SvixOptions {
            server_url: Some(self.url.clone()),
            num_retries: Some(0),
            ..svix2::api::SvixOptions::default()
        };
        svix2::api::Svix::new(token, Some(options))
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        process.start_kill().expect("our own child can be killed");
        within("the killed gateway to end", process.wait())
            .await
            .expect("our own child can be awaited");
    }

    /// Sends SIGTERM and waits for the end.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait().await
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it is not running.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.process_id(), signal).expect("our own child can be signalled");
    }

    /// How many descriptors it has open.
    ///
    /// # Panics
    /// When it is not running.
    pub fn open_files(&self) -> u64 {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.pid()));
        let count = entries
            .expect("our own child shows its descriptors")
            .count();
        u64::try_from(count).expect("a number of files")
    }

    /// From now on it may have this many descriptors open; those that it has stay open. None: as many as the
    /// system allows.
    ///
    /// # Panics
    /// When it is not running.
    pub fn limit_open_files(&self, most: Option<u64>) {
        let allowed = getrlimit(Resource::Nofile);
        let wanted = Rlimit {
            current: most.or(allowed.maximum),
            ..allowed
        };
        prlimit(Some(self.process_id()), Resource::Nofile, wanted)
            .expect("our own child can be limited");
    }

    fn process_id(&self) -> Pid {
        i32::try_from(self.pid())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id")
    }

    /// Waits for it to end by itself.
    ///
    /// # Panics
    /// When it does not.
    pub async fn wait(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("the gateway is running");
        within("the gateway to end", process.wait())
            .await
            .expect("our own child can be awaited")
    }

    /// Starts it on the same directory and kills it so soon that it may not have finished starting.
    pub async fn kill_while_starting(&mut self, after: Duration) {
        self.kill().await;
        self.process = Some(self.how.spawn());
        tokio::time::sleep(after).await;
        self.kill().await;
    }

    /// Starts it again on the same directory with the same settings, after it has ended. Its address changes.
    pub async fn restart(&mut self) {
        self.kill().await;
        let (process, url) = self.how.launch().await;
        self.process = Some(process);
        self.url = url;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the gateway's log ---\n{}--- end ---", self.how.log());
        }
    }
}

impl GatewayBuilder {
    /// Lines of `hookmill.toml`.
    pub fn config(mut self, toml: &str) -> Self {
        self.config.push_str(toml);
        self.config.push('\n');
        self
    }

    /// The delays before the retries.
    pub fn retry_schedule(mut self, steps: &str) -> Self {
        steps.clone_into(&mut self.retry_schedule);
        self
    }

    /// An address other than a free port.
    pub fn listen(mut self, addr: &str) -> Self {
        addr.clone_into(&mut self.listen);
        self
    }

    /// Nothing private is reachable, not even a receiver of this machine.
    pub fn strict(mut self) -> Self {
        self.allow_subnets.clear();
        self
    }

    /// One more argument of `serve`.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// An environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A process group of its own: Ctrl-C in the terminal reaches who started the gateway, who then ends it.
    pub fn own_group(mut self) -> Self {
        self.own_group = true;
        self
    }

    /// It can not have more descriptors than this, whatever it asks for.
    pub fn open_files(mut self, most: u64) -> Self {
        self.open_files = Some(most);
        self
    }

    /// Another place for the data.
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.data_dir = dir.into();
        self
    }

    /// A directory for whatever the test puts beside the gateway.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Starts it and waits for its address.
    ///
    /// # Panics
    /// When it ends instead, with what it said.
    pub async fn start(self) -> Gateway {
        let (process, url) = self.launch().await;
        Gateway {
            org: random_org(),
            how: self,
            process: Some(process),
            url,
        }
    }

    /// Starts it where it must refuse to start, and returns how it ended and what it said.
    ///
    /// # Panics
    /// When it does start.
    pub async fn refuse(self) -> Refusal {
        match self.start_or_refuse().await {
            Ok(gateway) => panic!("it started at {}", gateway.url),
            Err(refusal) => refusal,
        }
    }

    /// Starts it where it may refuse to start.
    ///
    /// # Errors
    /// How it ended and what it said, if it refused.
    pub async fn start_or_refuse(self) -> Result<Gateway, Refusal> {
        let mut process = self.spawn();
        if let Some(url) = announced(&mut process).await {
            return Ok(Gateway {
                org: random_org(),
                how: self,
                process: Some(process),
                url,
            });
        }
        let status = within("the refusing gateway to end", process.wait())
            .await
            .expect("our own child can be awaited");
        Err(Refusal {
            code: status.code(),
            message: self.log(),
        })
    }

    /// A token from the command line.
    async fn token(&self, scope: &[&str]) -> String {
        let dir = self.data_dir.to_string_lossy();
        let args = [&["token", "--data-dir", &dir], scope].concat();
        let output = self.command(&args, "").await;
        assert!(
            output.status.success(),
            "hookmill token {scope:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).expect("a token is text");
        assert_eq!(text.trim().lines().count(), 1, "just the token: {text:?}");
        text.trim().to_owned()
    }

    /// Any subcommand, with this standard input.
    async fn command(&self, args: &[&str], stdin: &str) -> Output {
        let mut process = self
            .bare_command()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut pipe = process.stdin.take().expect("stdin is a pipe");
        // Who does not read its input may be gone before it is written.
        let _ = pipe.write_all(stdin.as_bytes()).await;
        drop(pipe);
        within(&format!("hookmill {args:?}"), process.wait_with_output())
            .await
            .expect("the binary runs")
    }

    /// The binary in an environment of the test's own making: what the tests themselves are told by must not
    /// reach the gateway.
    fn bare_command(&self) -> Command {
        let mut command = match self.open_files {
            None => Command::new(hookmill_bin()),
            Some(most) => {
                // The limit is a process's own, so the shell sets it and becomes the gateway.
                let mut shell = Command::new("/bin/sh");
                shell
                    .arg("-c")
                    .arg(format!("ulimit -n {most} && exec \"$0\" \"$@\""));
                shell.arg(hookmill_bin());
                shell
            }
        };
        command
            .env_clear()
            // Where no other settings file lies about.
            .current_dir(self.home.path())
            .env("RUST_BACKTRACE", "1")
            .envs(self.env.iter().cloned())
            .kill_on_drop(true);
        if self.own_group {
            command.process_group(0);
        }
        command
    }

    fn spawn(&self) -> Child {
        let config = self.home.path().join("hookmill.toml");
        std::fs::write(&config, &self.config).expect("the configuration can be written");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .expect("the log can be opened");
        let mut command = self.bare_command();
        command
            .arg("serve")
            .args(["--listen", &self.listen])
            .arg("--data-dir")
            .arg(&self.data_dir)
            .arg("--config")
            .arg(config)
            .args(
                self.allow_subnets
                    .iter()
                    .flat_map(|subnet| ["--allow-subnet", subnet]),
            )
            .args(["--retry-schedule", &self.retry_schedule])
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        command.spawn().expect("the binary runs")
    }

    async fn launch(&self) -> (Child, String) {
        let mut process = self.spawn();
        match announced(&mut process).await {
            Some(url) => (process, url),
            None => panic!("the gateway did not start; it logged:\n{}", self.log()),
        }
    }

    fn log_file(&self) -> PathBuf {
        self.home.path().join("log")
    }

    fn log(&self) -> String {
        std::fs::read(self.log_file())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

/// The address in the first line of its output; none if it ends without a line.
async fn announced(process: &mut Child) -> Option<String> {
    let stdout = process.stdout.take().expect("stdout is a pipe");
    let mut lines = BufReader::new(stdout).lines();
    let first = within("the gateway's address", lines.next_line())
        .await
        .expect("its stdout can be read")?;
    let url = first.strip_prefix(ANNOUNCEMENT);
    let url = url.unwrap_or_else(|| panic!("the gateway's first line is {first:?}"));
    // Nobody reads the rest, and a full pipe must not stop the gateway.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Some(url.trim().to_owned())
}

/// How a gateway that refused to start ended.
#[derive(Debug)]
pub struct Refusal {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to stderr.
    pub message: String,
}

/// An identifier of a new organization.
pub fn random_org() -> String {
    random_id("org_")
}

/// A well-formed identifier that nobody has: `prefix` and 27 digits of base 62, the first small enough that
/// twenty bytes hold it.
pub fn random_id(prefix: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let tail = (0..26).map(|_| char::from(DIGITS[rand::random_range(0..DIGITS.len())]));
    format!("{prefix}2{}", tail.collect::<String>())
}
