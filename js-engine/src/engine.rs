//! The one engine of an instance: a context with the prelude in it, and the script if this is a plugin.

use std::cell::RefCell;

use rquickjs::context::EvalOptions;
use rquickjs::{Context, Ctx, Function, Runtime, Value};

use crate::bindings::hookmill::plugin::log::{self, Level};
use crate::error::{Error, FILE, Result};
use crate::{ambient, script};

/// Bytes of objects after which the engine first looks for cycles. Chosen: a call is short and its memory goes with it,
/// so only a script that makes garbage in earnest should pay for collecting it.
const COLLECT_AT: usize = 8 << 20;

/// Bytes that the allocator has in hand when a call starts. Growing a memory takes a lock that all instances of the
/// gateway share, so calls should not; 1 MiB holds an event of 100 KiB, its values and its answer.
const IN_HAND: usize = 1 << 20;

pub(crate) struct Engine {
    pub(crate) context: Context,
    pub(crate) script: Option<script::Script>,
    // Kept while the context is.
    _runtime: Runtime,
}

thread_local! {
    static ENGINE: RefCell<Option<Engine>> = const { RefCell::new(None) };
}

/// Starts the engine. Called once, before the snapshot.
pub(crate) fn start() -> Result<()> {
    let runtime = Runtime::new()?;
    // QuickJS measures its stack by addresses, which tells nothing in WebAssembly; the sandbox bounds it.
    runtime.set_max_stack_size(0);
    runtime.set_gc_threshold(COLLECT_AT);
    let context = Context::full(&runtime)?;
    context.with(|ctx| prelude(&ctx))?;
    ENGINE.with_borrow_mut(|engine| {
        *engine = Some(Engine {
            context,
            script: None,
            _runtime: runtime,
        });
    });
    reserve();
    Ok(())
}

/// Leaves the allocator with memory for a call.
pub(crate) fn reserve() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(IN_HAND)));
}

/// Works with the engine.
pub(crate) fn with<T>(work: impl FnOnce(&Engine) -> T) -> T {
    ENGINE.with_borrow(|engine| work(engine.as_ref().expect("the engine is snapshotted started")))
}

/// Puts a script into the engine, for good.
pub(crate) fn install(script: script::Script) {
    ENGINE.with_borrow_mut(|engine| {
        if let Some(engine) = engine {
            engine.script = Some(script);
        }
    });
}

fn prelude(ctx: &Ctx<'_>) -> Result<()> {
    let prelude: Function = evaluate(ctx, include_str!("prelude.js"), "prelude.js")?;
    let write = Function::new(ctx.clone(), |level: u8, text: String| {
        let level = match level {
            0 => Level::Debug,
            1 => Level::Info,
            2 => Level::Warn,
            _ => Level::Error,
        };
        log::write(level, &text);
    })?;
    let random = Function::new(ctx.clone(), ambient::random)?;
    Ok(prelude.call((write, random))?)
}

fn evaluate<'js, T: rquickjs::FromJs<'js>>(ctx: &Ctx<'js>, code: &str, file: &str) -> Result<T> {
    let mut options = EvalOptions::default();
    options.strict = false;
    options.filename = Some(file.to_owned());
    Ok(ctx.eval_with_options(code, options)?)
}

/// Runs a script and gives the function of this name that it leaves behind, declared in whichever way.
pub(crate) fn function<'js>(ctx: &Ctx<'js>, code: &str, name: &str) -> Result<Function<'js>> {
    evaluate::<Value>(ctx, code, FILE)?;
    let found: Value = ctx.globals().get(name)?;
    if let Some(function) = found.into_function() {
        return Ok(function);
    }
    // A `const` or `let` is no property of the global object.
    let found: Value = evaluate(
        ctx,
        &format!("typeof {name} === 'function' ? {name} : undefined"),
        name,
    )?;
    found
        .into_function()
        .ok_or_else(|| Error::said(format!("the script has no function `{name}`")))
}

/// What a function returned, waited for where it is a promise. There is nothing that it could wait for but other
/// promises.
pub(crate) fn settled<'js>(returned: Value<'js>) -> Result<Value<'js>> {
    match returned.as_promise() {
        Some(promise) => match promise.finish() {
            Err(rquickjs::Error::WouldBlock) => {
                Err(Error::said("the returned promise is never settled"))
            }
            other => Ok(other?),
        },
        None => Ok(returned),
    }
}
