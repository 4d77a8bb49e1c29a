//! Makes the JavaScript engine, and plugins of it: a module is run up to where calls should start, and its memory then
//! is what the new module starts with. This runs on the machine of a plugin's author, and where the engine is built;
//! a gateway never runs anything here but the finished module, as a plugin like any other.

use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wasmtime::{Caller, Engine, Instance, Linker, Module, OptLevel, Store, Val};
use wasmtime_wizer::{InstanceState, SnapshotVal, ValType, Wizer};

use super::javascript::ENGINE;

/// Its exports for whoever makes a snapshot (`js-engine/src/preparing.rs`).
const START: &str = "hookmill-js-start";
const ROOM: &str = "hookmill-js-room";
const LOAD: &str = "hookmill-js-load";

/// Its one import.
const LOG: (&str, &str) = ("hookmill:plugin/log@0.1.0", "write");

/// Instructions for one of these calls, some seconds: a script that does not come to an end is told so.
const FUEL: u64 = 5_000_000_000;

/// A plugin in JavaScript: what its manifest says, and its script.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Project {
    /// As in [`Manifest`](super::Manifest).
    pub name: String,
    /// As above.
    pub version: String,
    /// As above.
    #[serde(default)]
    pub summary: String,
    /// As above; without it the plugin takes no config.
    #[serde(default = "no_config")]
    pub config_schema: Value,
    /// JavaScript with a function `transform(event, config)`.
    #[serde(default)]
    pub script: String,
}

/// Why no module comes of it.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The script's own fault.
    #[error("{0}")]
    Script(String),
    #[error("the script does not come to an end where it is loaded")]
    Endless,
    #[error("the JavaScript engine does not run")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<wasmtime::Error> for SnapshotError {
    fn from(error: wasmtime::Error) -> Self {
        match error.downcast_ref::<wasmtime::Trap>() {
            Some(wasmtime::Trap::OutOfFuel) => Self::Endless,
            _ => Self::Engine(error.into()),
        }
    }
}

fn no_config() -> Value {
    serde_json::json!({ "type": "object", "additionalProperties": false })
}

/// The engine as it was built, started.
pub fn started_engine(built: &[u8]) -> Result<Vec<u8>, SnapshotError> {
    snapshot(built, Some(START), |run| run.call(START))
}

/// A plugin: the started engine with a script in it. What the script wrote to its console meanwhile goes to `said`.
pub fn plugin_of(project: &Project, said: &mut Vec<String>) -> Result<Vec<u8>, SnapshotError> {
    let project =
        serde_json::to_vec(project).map_err(|error| SnapshotError::Engine(error.into()))?;
    snapshot(ENGINE, None, |run| {
        run.hand_in(&project)?;
        let loaded = run.call(LOAD);
        said.append(run.store.data_mut());
        loaded
    })
}

/// A module under way to its snapshot.
struct Run {
    store: Store<Vec<String>>,
    instance: Instance,
}

/// The module with the memory that it has after `work`, without the export of this name.
fn snapshot(
    module: &[u8],
    dropped: Option<&str>,
    work: impl FnOnce(&mut Run) -> Result<(), SnapshotError>,
) -> Result<Vec<u8>, SnapshotError> {
    let mut wizer = Wizer::new();
    if let Some(name) = dropped {
        wizer.init_func(name);
    }
    let (context, instrumented) = wizer.instrument(module)?;
    let mut run = Run::start(&instrumented)?;
    work(&mut run)?;
    let snapshot = wizer.snapshot(&context, &mut run).now_or_never();
    // The state is at hand, so there is nothing to wait for.
    let module = snapshot.ok_or_else(|| wasmtime::Error::msg("the snapshot waits"))??;
    Ok(module)
}

impl Run {
    fn start(module: &[u8]) -> Result<Self, SnapshotError> {
        let mut config = wasmtime::Config::new();
        // It runs for milliseconds, and compiling is what one waits for.
        config
            .cranelift_opt_level(OptLevel::None)
            .consume_fuel(true)
            .concurrency_support(false);
        let engine = Engine::new(&config)?;
        let module = Module::new(&engine, module)?;
        let mut linker = Linker::new(&engine);
        linker.func_wrap(LOG.0, LOG.1, keep_line)?;
        let mut store = Store::new(&engine, Vec::new());
        store.set_fuel(FUEL)?;
        let instance = linker.instantiate(&mut store, &module)?;
        Ok(Self { store, instance })
    }

    /// Calls what answers with 0 if it went well, and else has written why not.
    fn call(&mut self, name: &str) -> Result<(), SnapshotError> {
        let call = self
            .instance
            .get_typed_func::<(), u32>(&mut self.store, name)?;
        if call.call(&mut self.store, ())? == 0 {
            return Ok(());
        }
        let why = self.store.data_mut().pop();
        Err(SnapshotError::Script(why.unwrap_or_default()))
    }

    fn hand_in(&mut self, project: &[u8]) -> Result<(), SnapshotError> {
        let missing = || wasmtime::Error::msg("the engine gives no room");
        let room = self
            .instance
            .get_typed_func::<u32, u32>(&mut self.store, ROOM)?;
        let length = u32::try_from(project.len()).map_err(|_| missing())?;
        let start = room.call(&mut self.store, length)? as usize;
        let memory = self
            .instance
            .get_memory(&mut self.store, "memory")
            .ok_or_else(missing)?;
        memory
            .write(&mut self.store, start, project)
            .map_err(|error| SnapshotError::Engine(error.into()))
    }
}

/// The engine's log while it is prepared: kept as text.
fn keep_line(
    mut caller: Caller<'_, Vec<String>>,
    _level: u32,
    start: u32,
    length: u32,
) -> wasmtime::Result<()> {
    let memory = caller
        .get_export("memory")
        .and_then(wasmtime::Extern::into_memory);
    let (start, length) = (start as usize, length as usize);
    let line = memory
        .as_ref()
        .and_then(|memory| memory.data(&caller).get(start..)?.get(..length))
        .ok_or_else(|| wasmtime::Error::msg("a line lies outside of the memory"))?;
    let line = String::from_utf8_lossy(line).into_owned();
    caller.data_mut().push(line);
    Ok(())
}

impl InstanceState for Run {
    async fn global_get(&mut self, name: &str, _: ValType) -> SnapshotVal {
        let global = self.instance.get_global(&mut self.store, name);
        match global.map(|global| global.get(&mut self.store)) {
            Some(Val::I32(value)) => SnapshotVal::I32(value),
            Some(Val::I64(value)) => SnapshotVal::I64(value),
            Some(Val::F32(value)) => SnapshotVal::F32(value),
            Some(Val::F64(value)) => SnapshotVal::F64(value),
            // Instrumenting exports what the module has, and refuses references.
            other => unreachable!("the global {name} is {other:?}"),
        }
    }

    async fn memory_contents(&mut self, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        if let Some(memory) = self.instance.get_memory(&mut self.store, name) {
            contents(memory.data(&self.store));
        }
    }
}
