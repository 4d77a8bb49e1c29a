//! What the documents tell a newcomer to type works as it stands there.

use std::process::Stdio;

use hookmill_tests::Gateway;
use hookmill_tests::settings::{hookmill_bin, repository};
use tokio::process::Command;

/// The shell block of the README that talks to a running gateway, for this gateway.
fn second_terminal(gateway: &Gateway) -> String {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("In another terminal:").unwrap();
    let (_, rest) = rest.split_once("```sh\n").unwrap();
    let (block, _) = rest.split_once("```").unwrap();
    let data = format!("--data-dir {}", gateway.data_dir().display());
    block
        .replace("target/release/hookmill", &hookmill_bin().to_string_lossy())
        .replace("http://127.0.0.1:8080", gateway.url())
        .replace("--data-dir data", &data)
}

#[tokio::test]
async fn the_readmes_first_message_is_accepted() {
    let gateway = Gateway::start().await;
    let output = Command::new("sh")
        .args(["-eu", "-c", &second_terminal(&gateway)])
        .env("HOOKMILL_URL", gateway.url())
        // Of the tests, not of a newcomer, whose gateway would take them for settings.
        .env_remove("HOOKMILL_BIN")
        .env_remove("HOOKMILL_TEST_PLUGINS")
        .env_remove("HOOKMILL_ROUNDS")
        .env_remove("HOOKMILL_FAULT_TABLE")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complaint}");
    for id in ["\"id\":\"app_", "\"id\":\"ep_", "\"id\":\"msg_"] {
        assert!(said.contains(id), "no {id} in\n{said}\n{complaint}");
    }
}
