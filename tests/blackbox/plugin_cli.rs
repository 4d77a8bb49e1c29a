//! What a plugin's author does: the commands `hookmill plugin …` as the documents show them, and how they end where
//! something is wrong.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Output, Stdio};

use hookmill_tests::settings::{hookmill_bin, newcomers_shell, repository, skipped};
use hookmill_tests::{Gateway, Receiver, Tenant, plugins};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

mod javascript;

/// The smallest component: it exports nothing.
const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

/// A directory with plugins and cases.
struct Desk {
    dir: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self {
            dir: TempDir::with_prefix("hookmill-desk-").unwrap(),
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn with(self, file: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    fn with_plugin(self, name: &str) -> Self {
        let wasm = plugins::wasm(name);
        self.with(&format!("{name}.wasm"), wasm)
    }

    fn with_case(self, name: &str, case: &Value) -> Self {
        self.with(&format!("cases/{name}.json"), case.to_string())
    }

    /// `hookmill plugin` with these arguments, in this directory, and with nothing of the environment.
    async fn plugin(&self, args: &[&str]) -> Ended {
        let output = Command::new(hookmill_bin())
            .arg("plugin")
            .args(args)
            .current_dir(self.path())
            .env_clear()
            // Nothing is found but what the test puts here.
            .env("PATH", self.path())
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        output.into()
    }

    /// Carries out a document's commands, whose programs are `hookmill` and those in `path`.
    async fn walk(
        &self,
        commands: &str,
        path: &str,
        tenant: &Tenant,
        gateway: &Gateway,
        endpoint: &str,
    ) -> Ended {
        let programs = self.path().join("bin");
        std::fs::create_dir(&programs).unwrap();
        symlink(hookmill_bin(), programs.join("hookmill")).unwrap();
        let script = format!("PATH={}:{path}\n{commands}", programs.display());
        let output = newcomers_shell(&script)
            .current_dir(self.path())
            .env("HOOKMILL_URL", gateway.url())
            .env("HOOKMILL_TOKEN", gateway.token(gateway.org()).await)
            .env("APP", &tenant.app)
            .env("ENDPOINT", endpoint)
            .env("CARGO_NET_OFFLINE", "true")
            .output()
            .await
            .unwrap();
        Ended::from(output).well()
    }
}

/// How a command ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ended {
    #[track_caller]
    fn well(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// It failed with a message that has these words.
    #[track_caller]
    fn saying(self, words: &str) -> Self {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert!(
            self.err.starts_with("hookmill: ") || self.err.contains("\nhookmill: "),
            "{self:?}"
        );
        assert!(self.err.contains(words), "{self:?}");
        self
    }
}

/// All shell blocks of a section of the documents, as one script.
fn script_of(document: &str, section: &str) -> String {
    let text = std::fs::read_to_string(repository().join(document)).unwrap();
    let (_, rest) = text.split_once(&format!("\n## {section}\n")).unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let blocks = section.split("```sh\n").skip(1);
    let blocks: Vec<&str> = blocks
        .map(|block| block.split("```").next().unwrap())
        .collect();
    assert!(blocks.len() >= 2, "{section}");
    blocks.concat()
}

/// What a new project is built from and cargo would have to load, in cargo's words; none if it has everything.
async fn missing_crates(desk: &Desk) -> Option<String> {
    desk.plugin(&["new", "probe"]).await.well();
    let fetched = Command::new("cargo")
        .args(["fetch", "--offline", "--target", "wasm32-unknown-unknown"])
        .current_dir(desk.path().join("probe"))
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let ended = Ended::from(fetched);
    if ended.code == Some(0) {
        return None;
    }
    // A project that is wrong in itself is no reason to skip.
    assert!(ended.err.contains("--offline"), "{ended:?}");
    Some(ended.err)
}

#[tokio::test]
async fn the_documents_way_from_nothing_to_a_delivery_works() {
    let desk = Desk::new();
    if let Some(missing) = missing_crates(&desk).await {
        let reason = format!("no network is used, and without one cargo lacks: {missing}");
        return skipped("plugin_cli::the_documents_way", &reason);
    }
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let walk = script_of("docs/plugins.md", "From nothing to a delivery");
    let ended = desk
        .walk(&walk, "$PATH", &tenant, &gateway, &endpoint)
        .await;

    let wasm = desk
        .path()
        .join("only-fields/target/plugin/only-fields.wasm");
    let size = std::fs::metadata(&wasm).unwrap().len();
    assert!((10_000..1_000_000).contains(&size), "{size} bytes");
    for words in [
        "target/plugin/only-fields.wasm\nsize ",
        "imports   hookmill:plugin/log@0.1.0\n          hookmill:plugin/types@0.1.0\n",
        "ok    only the named fields go on (",
        "1 passed, 0 failed",
        "name      only-fields\nversion   sha256:",
    ] {
        assert!(ended.out.contains(words), "no {words:?} in {ended:?}");
    }
    let delivered = &receiver.wait_for(1).await[0];
    assert_eq!(delivered.body, r#"{"id":"order_7","total":250}"#);
    let versions = tenant
        .client
        .get("/api/v1/plugin/only-fields/version")
        .await;
    let version = versions.expect(200).data()[0]["version"].to_string();
    assert!(ended.out.contains(version.trim_matches('"')), "{ended:?}");
}

#[tokio::test]
async fn what_is_no_plugin_is_named_and_not_uploaded() {
    let gateway = Gateway::start().await;
    let token = gateway.token(gateway.org()).await;
    let desk = Desk::new()
        .with("text.wasm", "hello")
        .with("empty.wasm", EMPTY);
    let to = ["--url", gateway.url(), "--token", &token];
    for (file, fault) in [
        ("text.wasm", "the plugin is not valid WebAssembly"),
        (
            "empty.wasm",
            "the plugin does not export hookmill:plugin/transformer@0.1.0",
        ),
    ] {
        desk.plugin(&["inspect", file]).await.saying(fault);
        desk.plugin(&["test", file]).await.saying("cases");
        desk.plugin(&["bench", file]).await.saying(fault);
        // Once refused here, and once by the gateway, whose words are passed on.
        let push = [&["push", file], &to[..]].concat();
        desk.plugin(&push).await.saying(fault);
        let named = [&push[..], &["--name", "bad"]].concat();
        let refused = desk.plugin(&named).await;
        let refused = refused.saying("the gateway answered 422 Unprocessable Entity: {");
        assert!(refused.err.contains(fault), "{refused:?}");
    }
    let client = gateway.client().await;
    client.get("/api/v1/plugin/bad").await.expect(404);
    desk.plugin(&["inspect", "gone.wasm"])
        .await
        .saying("gone.wasm: No such file");
}

#[tokio::test]
async fn a_token_that_is_refused_says_so() {
    let gateway = Gateway::start().await;
    let desk = Desk::new().with_plugin("redact");
    let push = |token| {
        [
            "push",
            "redact.wasm",
            "--url",
            gateway.url(),
            "--token",
            token,
        ]
    };
    let refused = desk.plugin(&push("nonsense")).await;
    let refused = refused.saying("the gateway answered 401 Unauthorized: {\"code\":");
    assert_eq!(refused.out, "");
    let tenant = Tenant::new(&gateway).await;
    let own = gateway.app_token(gateway.org(), &tenant.app).await;
    desk.plugin(&push(&own))
        .await
        .saying("the gateway answered 403");

    let mut to_app = push(&own).to_vec();
    to_app.extend(["--app", &tenant.app]);
    let pushed = desk.plugin(&to_app).await.well();
    assert!(
        pushed
            .out
            .starts_with("name      redact\nversion   sha256:"),
        "{pushed:?}"
    );
    assert!(
        !pushed.err.contains('\u{1b}'),
        "no bar without a terminal: {pushed:?}"
    );
    let path = tenant.path("/plugin/redact");
    let id = tenant.client.get(&path).await.expect(200).text("id");
    assert!(
        pushed.out.ends_with(&format!("id        {id}\n")),
        "{pushed:?}"
    );
}

#[tokio::test]
async fn a_case_that_fails_fails_the_command() {
    let good = json!({
        "name": "a secret is masked",
        "config": {"mask": ["/a"]},
        "event": {"payload": {"a": "secret", "b": 1}},
        "expect": {"outcome": "deliver", "payload": {"a": "[redacted]", "b": 1}},
    });
    let mut bad = good.clone();
    bad["name"] = json!("a wrong hope");
    bad["expect"]["payload"]["b"] = json!(2);
    let desk = Desk::new()
        .with_plugin("redact")
        .with_case("1-good", &good)
        .with_case("2-bad", &bad);
    let ended = desk.plugin(&["test", "redact.wasm"]).await;
    let ended = ended.saying("1 of 2 cases do not come out as expected");
    assert!(
        ended.out.starts_with("ok    a secret is masked ("),
        "{ended:?}"
    );
    for words in [
        "FAIL  a wrong hope in cases/2-bad.json\n",
        "-  \"b\": 2\n",
        "+  \"b\": 1\n",
        "1 passed, 1 failed\n",
    ] {
        assert!(ended.out.contains(words), "no {words:?} in {ended:?}");
    }
    assert!(
        !ended.out.contains('\u{1b}'),
        "no colour without a terminal: {ended:?}"
    );

    // The gateway's limits, from the gateway's settings.
    let desk = desk.with("small.toml", "[sandbox.limits]\noutput_bytes = 10\n");
    let ended = desk
        .plugin(&["test", "redact.wasm", "--config", "small.toml"])
        .await;
    let ended = ended.saying("2 of 2 cases");
    let why = "+reason: the plugin delivers more than 10 bytes of payload";
    assert!(ended.out.contains(why), "{ended:?}");
}

#[tokio::test]
async fn a_broken_case_is_named_with_its_place() {
    let expect = json!({"outcome": "pass"});
    for (case, place) in [
        (
            json!({"name": "a", "expect": {"outcome": "sent"}}),
            "at /expect/outcome: ",
        ),
        (
            json!({"name": "a", "event": {"channels": [1]}, "expect": expect}),
            "at /event/channels/0: ",
        ),
        (
            json!({"name": "a", "config": {"mask": [7]}, "expect": expect}),
            "at /config/mask/0: ",
        ),
    ] {
        let desk = Desk::new().with_plugin("redact").with_case("one", &case);
        let ended = desk.plugin(&["test", ".", "redact.wasm"]).await;
        let ended = ended.saying("cases/one.json is not usable ").saying(place);
        assert_eq!(ended.out, "", "nothing is run");
    }
    let desk = Desk::new()
        .with_plugin("redact")
        .with("cases/notes.txt", "");
    desk.plugin(&["test", "redact.wasm"])
        .await
        .saying("there are no cases");
}

#[tokio::test]
async fn a_plugin_is_inspected_and_measured() {
    let case = json!({
        "name": "a",
        "config": {"mask": ["/a"]},
        "event": {"payload": {"a": "secret"}},
        "expect": {"outcome": "deliver"},
    });
    let desk = Desk::new().with_plugin("redact").with_case("one", &case);
    let ended = desk
        .plugin(&["inspect", "redact.wasm", "--json"])
        .await
        .well();
    let told: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(told["manifest"]["name"], "redact");
    assert_eq!(told["taken"], true);
    assert!(told["manifest"]["configSchema"]["properties"]["mask"].is_object());
    let code = told["limits"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"] == "machine code");
    assert!(code.unwrap()["used"].as_u64().unwrap() > 10_000, "{told}");

    let ended = desk
        .plugin(&["bench", "redact.wasm", "--cases", "cases"])
        .await
        .well();
    let rows: Vec<&str> = ended.out.lines().collect();
    assert_eq!(rows.len(), 6, "{ended:?}");
    for (row, size) in rows[1..5]
        .iter()
        .zip(["300 B", "1.0 KiB", "10.0 KiB", "100.0 KiB"])
    {
        let has_time = row.contains(" us") || row.contains(" ms");
        assert!(row.starts_with(size) && has_time, "{row}");
    }
}

#[tokio::test]
async fn a_project_is_made_once_and_in_languages_that_there_are() {
    let desk = Desk::new().with("taken/notes.txt", "");
    desk.plugin(&["new", "taken"])
        .await
        .saying("taken can not be made");
    desk.plugin(&["new", "Two Words"])
        .await
        .saying("is no name");
    let refused = desk.plugin(&["new", "a", "--lang", "c"]).await;
    refused.saying("projects in c are not offered yet");
    assert!(!desk.path().join("a").exists());
}

#[tokio::test]
async fn a_missing_target_that_can_not_be_added_says_what_to_do() {
    let desk = Desk::new().with("p/Cargo.toml", "[package]\nname = \"p\"\n");
    desk.plugin(&["build", "p"])
        .await
        .saying("https://rustup.rs");
    desk.plugin(&["build"])
        .await
        .saying("Cargo.toml: No such file");

    // A toolchain without the target, and nobody who could add it.
    let rustc = desk.path().join("rustc");
    std::fs::write(&rustc, "#!/bin/sh\necho /nowhere/lib\n").unwrap();
    std::fs::set_permissions(&rustc, Permissions::from_mode(0o755)).unwrap();
    let refused = desk.plugin(&["build", "p"]).await;
    refused.saying("run `rustup target add wasm32-unknown-unknown`");
}
