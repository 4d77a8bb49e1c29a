//! What is taken in, in which form, and what becomes of its files.

use super::*;
use wit_component::ComponentEncoder;

fn bare(config: Config) -> (Sandbox, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::new(
        config,
        dir.path().into(),
        Arc::new(MemoryDigests::default()),
    );
    (sandbox.unwrap(), dir)
}

fn component() -> Bytes {
    ComponentEncoder::default()
        .module(&hostile())
        .unwrap()
        .encode()
        .unwrap()
        .into()
}

#[tokio::test]
async fn a_module_and_its_component_are_both_plugins() {
    let (sandbox, dir) = bare(config());
    for upload in [hostile(), component()] {
        let admitted = sandbox.admit(upload.clone()).await.unwrap();
        assert_eq!(admitted.digest, Digest::of(&upload));
        assert_eq!(admitted.size, upload.len() as u64);
        assert_eq!(admitted.manifest.name, "hostile");
        let config = serde_json::json!({"mode": 1});
        let problems =
            Sandbox::validate_config(&admitted.manifest.config_schema, &config).unwrap_err();
        assert_eq!(problems[0].pointer, "/mode");
        let kept = dir
            .path()
            .join(format!("plugins/{}.wasm", admitted.digest.to_hex()));
        assert_eq!(std::fs::read(kept).unwrap(), upload);
    }
}

#[tokio::test]
async fn other_bytes_are_refused() {
    let (sandbox, dir) = bare(Config {
        upload_bytes: 1 << 20,
        ..config()
    });
    let refusal = async |upload: &[u8]| {
        sandbox
            .admit(Bytes::copy_from_slice(upload))
            .await
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refusal(&vec![0; (1 << 20) + 1]).await,
        "the plugin is larger than 1048576 bytes"
    );
    for junk in [&b""[..], b"\0asm", b"hello world", &hostile()[..1000]] {
        assert_eq!(refusal(junk).await, "the plugin is not valid WebAssembly");
    }
    let none = "the plugin does not export hookmill:plugin/transformer@0.1.0";
    for empty in [b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"] {
        assert_eq!(refusal(empty).await, none);
    }
    // Nothing of all this is kept.
    let kept = std::fs::read_dir(dir.path().join("plugins"))
        .unwrap()
        .count();
    assert_eq!(kept, 0);
}

#[tokio::test]
async fn machine_code_from_outside_is_not_taken() {
    let (sandbox, _dir) = bare(config());
    let code = engine::for_compiling()
        .unwrap()
        .precompile_component(&component())
        .unwrap();
    let error = sandbox.admit(code.into()).await.unwrap_err();
    assert!(
        matches!(error, AdmitError::Structure(StructureError::Invalid(_))),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_plugin_of_another_world_is_refused() {
    let (sandbox, _dir) = bare(config());
    // The same length, so that the component stays whole.
    let other = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let (mut wasm, from) = (component().to_vec(), from.as_bytes());
        let mut at = 0;
        while let Some(found) = wasm[at..].windows(from.len()).position(|w| w == from) {
            at += found;
            wasm[at..at + from.len()].copy_from_slice(to.as_bytes());
        }
        Bytes::from(wasm)
    };
    let error = sandbox
        .admit(other("hookmill:plugin/log@", "hookmill:plugin/lag@"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, AdmitError::Import(name) if name.starts_with("hookmill:plugin/lag")),
        "{error:?}"
    );
    let error = sandbox
        .admit(other("/transformer@0.1.0", "/transformer@0.2.0"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, AdmitError::Export(name) if name.ends_with("@0.2.0")),
        "{error:?}"
    );
}

#[tokio::test]
async fn tampered_code_is_compiled_again() {
    let room = Room::new(config()).await;
    let path = code_path(&room);
    let whole = std::fs::read(&path).unwrap();
    for damaged in [&whole[..whole.len() / 2], &b"junk"[..], &flipped(&whole)] {
        // As another file: the old one is mapped.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, damaged).unwrap();
        let sandbox = Sandbox::new(config(), room.dir.path().into(), room.digests.clone()).unwrap();
        let result = sandbox
            .run_chain(chain_of("app_1", [room.step("pass")]))
            .await;
        assert_eq!(result.outcome, ChainOutcome::Pass);
        assert!(
            std::fs::read(&path).unwrap() == whole,
            "the file was not written anew"
        );
    }
}

#[tokio::test]
async fn code_whose_digest_is_forgotten_is_compiled_again() {
    let room = Room::new(config()).await;
    room.digests.0.lock().clear();
    let sandbox = Sandbox::new(config(), room.dir.path().into(), room.digests.clone()).unwrap();
    let result = sandbox
        .run_chain(chain_of("app_1", [room.step("pass")]))
        .await;
    assert_eq!(result.outcome, ChainOutcome::Pass);
    assert_eq!(room.digests.0.lock().len(), 1);
}

#[tokio::test]
async fn a_forgotten_version_leaves_no_files() {
    let room = Room::new(config()).await;
    let code = code_path(&room);
    assert!(code.exists());
    room.sandbox.forget(room.version).await.unwrap();
    assert!(!code.exists());
    assert!(matches!(
        room.run("pass").await.outcome,
        ChainOutcome::Failed { .. }
    ));
}

#[tokio::test]
async fn versions_that_do_not_fit_in_memory_are_loaded_when_called() {
    let room = Room::new(Config {
        loaded_plugins: 1,
        ..config()
    })
    .await;
    let other = room.sandbox.admit(component()).await.unwrap().digest;
    for version in [room.version, other, room.version, other] {
        let step = Step {
            version,
            ..room.step("pass")
        };
        assert_eq!(room.run_steps([step]).await.outcome, ChainOutcome::Pass);
    }
}

fn code_path(room: &Room) -> PathBuf {
    let engine = engine::fingerprint(&engine::for_compiling().unwrap());
    room.dir
        .path()
        .join(engine)
        .join(format!("{}.cwasm", room.version.to_hex()))
}

/// One bit of the machine code is other than it was.
fn flipped(code: &[u8]) -> Vec<u8> {
    let mut code = code.to_vec();
    let middle = code.len() / 2;
    code[middle] ^= 1;
    code
}

#[tokio::test]
async fn asking_an_upload_what_it_is_is_charged_to_its_tenant_alone() {
    let room = Room::new(config()).await;
    let limits = [(PluginLimit::CpuPercent, 1)].into_iter().collect();
    let (tenant, turns) = (Arc::from("app_7"), &room.sandbox.chains.turns);
    assert!(!turns.has_used(&tenant));
    let admitted = room.sandbox.admit_for(&tenant, &limits, hostile()).await;
    assert_eq!(admitted.unwrap().digest, room.version);
    assert!(turns.has_used(&tenant) && !turns.has_used("app_8"));
}

#[tokio::test]
async fn what_a_tenant_may_upload_is_its_own_affair() {
    let room = Room::new(config()).await;
    let limits = [(PluginLimit::ModuleBytes, 100)].into_iter().collect();
    let refused = room
        .sandbox
        .admit_for(&"app_7".into(), &limits, hostile())
        .await;
    assert!(matches!(refused, Err(AdmitError::TooLarge { limit: 100 })));
}
