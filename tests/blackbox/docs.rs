//! What the documents tell a newcomer to type works as it stands there.

use std::process::Stdio;

use hookmill_tests::settings::{hookmill_bin, newcomers_shell, repository};
use hookmill_tests::{Gateway, Receiver, Tenant};
use tokio::process::Command;

/// The shell block of the README behind these words, with the gateway's binary of the tests.
fn block_behind(words: &str) -> String {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let (_, rest) = readme.split_once(words).unwrap();
    let (_, rest) = rest.split_once("```sh\n").unwrap();
    let (block, _) = rest.split_once("```").unwrap();
    block.replace("target/release/hookmill", &hookmill_bin().to_string_lossy())
}

/// The one that talks to a running gateway, for this gateway.
fn second_terminal(gateway: &Gateway) -> String {
    let data = format!("--data-dir {}", gateway.data_dir().display());
    block_behind("In another terminal:")
        .replace("http://127.0.0.1:8080", gateway.url())
        .replace("--data-dir data", &data)
}

#[tokio::test]
async fn the_readmes_first_message_is_accepted() {
    let gateway = Gateway::start().await;
    let output = newcomers_shell(&second_terminal(&gateway))
        .env("HOOKMILL_URL", gateway.url())
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

#[tokio::test]
async fn the_readmes_way_out_of_a_damaged_store_works() {
    let mut gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let secret = tenant.secret(&endpoint).await;
    assert!(gateway.terminate().await.success());
    let home = gateway.data_dir().parent().unwrap();
    let output = Command::new("sh")
        .args(["-eu", "-c", &block_behind("### When the store is damaged")])
        // Where its `data` is.
        .current_dir(home)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complaint}");
    assert!(said.ends_with("the store is whole\n"), "{said}");
    let new = Gateway::builder().data_dir(home.join("new-data"));
    let new = new.start().await;
    let there = tenant.with_client(new.client_of(gateway.org()).await);
    assert_eq!(there.secret(&endpoint).await, secret);
}
