use bytes::Bytes;

use super::*;
use crate::cli::plugin::local::tests::rules;
use crate::sandbox::tests::hostile;

fn inspect(upload: impl Into<Bytes>) -> Inspection {
    let upload = upload.into();
    block_on(async { Local::open(rules()).unwrap().inspect(upload).await })
        .unwrap()
        .unwrap()
}

fn bound<'a>(json: &'a Value, name: &str) -> &'a Value {
    let bounds = json["limits"].as_array().unwrap();
    bounds.iter().find(|bound| bound["name"] == name).unwrap()
}

#[test]
fn a_plugin_is_told_in_full() {
    let inspection = inspect(hostile());
    let json = as_json(&inspection);
    assert_eq!(json["taken"], true);
    assert_eq!(json["form"], "module");
    assert_eq!(json["manifest"]["name"], "hostile");
    assert_eq!(
        json["manifest"]["configSchema"]["properties"]["mode"]["type"],
        "string"
    );
    assert_eq!(
        json["exports"],
        json!(["hookmill:plugin/transformer@0.1.0"])
    );
    let imports = json["imports"].to_string();
    assert!(imports.contains("hookmill:plugin/log@0.1.0"), "{imports}");
    let upload = bound(&json, "upload");
    assert_eq!(upload["used"], hostile().len());
    assert_eq!(upload["limit"], 4 << 20);
    assert_eq!(upload["setting"], "sandbox.upload_bytes");
    for name in [
        "machine code",
        "memory at start",
        "functions",
        "blocks of a function",
    ] {
        let bound = bound(&json, name);
        assert!(bound["used"].as_u64().unwrap() > 0, "{bound}");
        assert_eq!(bound["exceeded"], false, "{bound}");
    }
    let text = as_text(&inspection);
    assert!(text.contains("name      hostile\n"), "{text}");
    assert!(
        text.ends_with("a gateway with these limits takes it\n"),
        "{text}"
    );
}

#[test]
fn what_would_be_refused_shows_why_and_how_much_it_has() {
    // A module with a function of 9,000 blocks.
    let mut code = vec![0u8];
    for _ in 0..9_000 {
        code.extend([0x02, 0x40, 0x0b]);
    }
    code.push(0x0b);
    let mut module = wasm_encoder::Module::new();
    let mut types = wasm_encoder::TypeSection::new();
    types.ty().function([], []);
    let mut functions = wasm_encoder::FunctionSection::new();
    functions.function(0);
    let mut bodies = wasm_encoder::CodeSection::new();
    bodies.raw(&code);
    module.section(&types).section(&functions).section(&bodies);

    let inspection = inspect(module.finish());
    let json = as_json(&inspection);
    assert_eq!(json["taken"], false);
    let blocks = bound(&json, "blocks of a function");
    assert_eq!(
        (&blocks["used"], &blocks["limit"]),
        (&json!(9_000), &json!(8_000))
    );
    assert_eq!(blocks["exceeded"], true);
    assert_eq!(
        json["refusal"],
        "the plugin has more than 8000 blocks in function 1"
    );
    assert!(as_text(&inspection).contains("fixed  TOO MUCH\n"));
}

#[test]
fn what_a_module_of_another_world_imports_is_shown() {
    let mut module = wasm_encoder::Module::new();
    let mut types = wasm_encoder::TypeSection::new();
    types.ty().function([], []);
    let mut imports = wasm_encoder::ImportSection::new();
    imports.import(
        "wasi_snapshot_preview1",
        "fd_write",
        wasm_encoder::EntityType::Function(0),
    );
    module.section(&types).section(&imports);
    let json = as_json(&inspect(module.finish()));
    assert_eq!(json["imports"], json!(["wasi_snapshot_preview1.fd_write"]));
    let refusal = json["refusal"].as_str().unwrap();
    assert!(
        refusal.starts_with("the module does not hold a plugin"),
        "{refusal}"
    );
}

#[test]
fn other_bytes_are_told_as_such() {
    let json = as_json(&inspect(&b"hello world"[..]));
    assert_eq!(json["form"], "not WebAssembly");
    assert_eq!(
        json["refusal"].as_str().unwrap().split(':').next(),
        Some("the plugin is not valid WebAssembly")
    );
    assert_eq!(bound(&json, "upload")["used"], 11);
}

#[test]
fn the_settings_decide() {
    let rules = crate::sandbox::Config {
        upload_bytes: 1_000,
        ..rules()
    };
    let inspection = block_on(async { Local::open(rules).unwrap().inspect(hostile()).await })
        .unwrap()
        .unwrap();
    let json = as_json(&inspection);
    assert_eq!(bound(&json, "upload")["exceeded"], true);
    assert_eq!(json["refusal"], "the plugin is larger than 1000 bytes");
}
