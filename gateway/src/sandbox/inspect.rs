//! Looks at an upload as a gateway would, for its author: the same checks, with what they found beside what they
//! allow. Keeps nothing.

use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmparser::{Parser, Payload};

use super::admit::{self, World};
use super::structure::{self, Shape, StructureError};
use super::{AdmitError, Manifest, Sandbox, SandboxError, UPLOADS};
use crate::domain::Digest;

/// Bytes of a page of linear memory, unless it says otherwise. Specified by WebAssembly.
const PAGE: u64 = 64 << 10;

/// What an upload is, and what a gateway with these settings would make of it.
#[derive(Debug)]
pub struct Inspection {
    /// The version that it would be.
    pub version: Digest,
    /// None if it is no WebAssembly at all.
    pub form: Option<Form>,
    /// Interfaces, or of a module that holds no plugin what the module imports.
    pub imports: Vec<String>,
    /// Interfaces.
    pub exports: Vec<String>,
    /// What it has of everything bounded, so far as it can be read.
    pub bounds: Vec<Bound>,
    /// How long checking and compiling took, if it compiles.
    pub taken_in: Option<Duration>,
    /// What it says of itself, if it can.
    pub manifest: Option<Manifest>,
    /// Why it would not be taken; none if it would.
    pub refusal: Option<AdmitError>,
}

/// In which form an upload comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A core module, which the gateway makes a component of.
    Module,
    /// A component.
    Component,
}

/// Something of which an upload may have only so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// What it is, for people.
    pub name: &'static str,
    /// What is counted.
    pub unit: Unit,
    /// How much it has.
    pub used: u64,
    /// How much it may have.
    pub limit: u64,
    /// The setting that decides the limit; none if it is part of the gateway.
    pub setting: Option<&'static str>,
}

/// What a [`Bound`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    Pieces,
}

impl Bound {
    /// Whether the upload has more than it may.
    pub fn is_exceeded(&self) -> bool {
        self.used > self.limit
    }
}

/// What can be read from an upload without compiling it.
#[derive(Debug, Default)]
struct Look {
    form: Option<Form>,
    world: World,
    /// None if not all of it can be read.
    found: Option<Found>,
}

#[derive(Debug)]
struct Found {
    shape: Shape,
    /// Bytes of all memories before the first call.
    memory: u64,
    /// Elements of all tables then.
    elements: u64,
}

impl Sandbox {
    /// Says what an upload is and whether it would be taken. Compiles it, and asks it to describe itself, as taking
    /// it in does.
    ///
    /// # Errors
    /// When the sandbox can not do its part; an upload that would be refused is none.
    pub async fn inspect(&self, upload: Bytes) -> Result<Inspection, SandboxError> {
        let version = Digest::of(&upload);
        let (looked, size) = (upload.clone(), upload.len() as u64);
        let look = tokio::task::spawn_blocking(move || look(&looked))
            .await
            .map_err(SandboxError::Stopped)?;
        let started = Instant::now();
        let (pool, limits) = (&self.chains.pool, self.usual_limits());
        let (mut code, mut taken_in) = (None, None);
        let described = match pool.take(upload, &limits).await {
            Ok(plugin) => {
                taken_in = Some(started.elapsed());
                code = Some(pool.code_size(version).await?);
                let described = self.describe(&UPLOADS.into(), &limits, plugin).await;
                pool.discard(version).await?;
                described
            }
            Err(error) => Err(error),
        };
        let (manifest, refusal) = match described {
            Ok(manifest) => (Some(manifest), None),
            Err(AdmitError::Sandbox(error)) => return Err(error),
            Err(refusal) => (None, Some(refusal)),
        };
        Ok(Inspection {
            version,
            form: look.form,
            bounds: self.bounds(size, look.found.as_ref(), code),
            imports: look.world.imports,
            exports: look.world.exports,
            taken_in,
            manifest,
            refusal,
        })
    }

    fn bounds(&self, size: u64, found: Option<&Found>, code: Option<u64>) -> Vec<Bound> {
        let pool = &self.chains.pool;
        let limits = self.chains.runner.limits();
        let bytes = |name, used, limit: usize, setting| Bound {
            name,
            unit: Unit::Bytes,
            used,
            limit: limit as u64,
            setting: Some(setting),
        };
        let pieces = |name, used, limit: u64, setting| Bound {
            name,
            unit: Unit::Pieces,
            used,
            limit,
            setting,
        };
        let mut bounds = vec![bytes(
            "upload",
            size,
            pool.upload_limit(),
            "sandbox.upload_bytes",
        )];
        if let Some(code) = code {
            let setting = "sandbox.compile.output_bytes";
            bounds.push(bytes("machine code", code, pool.code_limit(), setting));
        }
        let Some(found) = found else {
            return bounds;
        };
        bounds.push(bytes(
            "memory at start",
            found.memory,
            limits.memory_bytes,
            "sandbox.limits.memory_bytes",
        ));
        bounds.push(pieces(
            "table elements at start",
            found.elements,
            limits.table_elements as u64,
            Some("sandbox.limits.table_elements"),
        ));
        let (has, most) = (&found.shape, &Shape::DEFAULT);
        let shape = [
            ("functions", has.functions as u64, most.functions as u64),
            (
                "blocks of a function",
                has.blocks as u64,
                most.blocks as u64,
            ),
            (
                "loops within loops",
                has.loop_depth as u64,
                most.loop_depth as u64,
            ),
            ("locals of a function", has.locals, most.locals),
            (
                "targets of br_table",
                has.table_targets as u64,
                most.table_targets as u64,
            ),
            (
                "modules and components",
                has.parts as u64,
                most.parts as u64,
            ),
        ];
        bounds.extend(shape.map(|(name, used, limit)| pieces(name, used, limit, None)));
        bounds
    }
}

/// Reads as far as it goes: who looks wants to know why it does not go further.
fn look(upload: &Bytes) -> Look {
    let form = if Parser::is_core_wasm(upload) {
        Form::Module
    } else if Parser::is_component(upload) {
        Form::Component
    } else {
        return Look::default();
    };
    // What the gateway would not encode is looked at as it came.
    let component = match form {
        Form::Component => Some(upload.to_vec()),
        Form::Module if structure::check(upload, &Shape::DEFAULT).is_err() => None,
        Form::Module => admit::encode(upload).ok(),
    };
    let world = match &component {
        Some(component) => admit::world_of(component),
        None => imports_of(upload),
    };
    Look {
        form: Some(form),
        // A border that can not be read has nothing to show; the checks say what is wrong with it.
        world: world.unwrap_or_default(),
        found: found(component.as_deref().unwrap_or(upload)).ok(),
    }
}

/// What a core module imports, as `module.name`.
fn imports_of(module: &[u8]) -> Result<World, StructureError> {
    let mut world = World::default();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ImportSection(imports) = payload? {
            for import in imports.into_imports() {
                let import = import?;
                world
                    .imports
                    .push(format!("{}.{}", import.module, import.name));
            }
        }
    }
    Ok(world)
}

fn found(wasm: &[u8]) -> Result<Found, StructureError> {
    let mut found = Found {
        shape: structure::check(wasm, &Shape::ANY)?,
        memory: 0,
        elements: 0,
    };
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::MemorySection(memories) => {
                for memory in memories {
                    let memory = memory?;
                    let page = memory.page_size_log2.map_or(PAGE, |log| 1 << log.min(16));
                    let bytes = memory.initial.saturating_mul(page);
                    found.memory = found.memory.saturating_add(bytes);
                }
            }
            Payload::TableSection(tables) => {
                for table in tables {
                    found.elements = found.elements.saturating_add(table?.ty.initial);
                }
            }
            _ => {}
        }
    }
    Ok(found)
}
