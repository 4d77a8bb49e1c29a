//! From uploaded bytes to a component of the world `plugin`. Pure: it reads and re-encodes, compiles nothing and
//! runs nothing.

use bytes::Bytes;
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

use super::AdmitError;
use super::structure::{self, Shape, StructureError};

/// What a plugin may import; a subset will do. The contract's version is part of each name.
const IMPORTS: [&str; 2] = ["hookmill:plugin/types@0.1.0", "hookmill:plugin/log@0.1.0"];

/// What a plugin must export, and nothing else.
const EXPORT: &str = "hookmill:plugin/transformer@0.1.0";

/// The component that an upload is, or that the core module in it encodes.
pub(super) fn component_of(upload: &Bytes, limit: usize) -> Result<Bytes, AdmitError> {
    if upload.len() > limit {
        return Err(AdmitError::TooLarge { limit });
    }
    // Before encoding, which itself walks what is uploaded.
    structure::check(upload, &Shape::DEFAULT)?;
    let component = if Parser::is_core_wasm(upload) {
        let component = encode(upload)?;
        structure::check(&component, &Shape::DEFAULT)?;
        component.into()
    } else if Parser::is_component(upload) {
        upload.clone()
    } else {
        return Err(AdmitError::NotWasm);
    };
    check_world(&world_of(&component)?)?;
    Ok(component)
}

/// What is at the border of a component, by name.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) imports: Vec<String>,
    pub(super) exports: Vec<String>,
}

pub(super) fn encode(module: &[u8]) -> Result<Vec<u8>, AdmitError> {
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.encode())
        .map_err(|error| AdmitError::NotAPlugin(error.into()))
}

/// The outermost imports and exports.
pub(super) fn world_of(component: &[u8]) -> Result<World, StructureError> {
    let mut depth = 0usize;
    let mut world = World::default();
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 1 => {
                for import in imports {
                    world.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(exports) if depth == 1 => {
                for export in exports {
                    world.exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(world)
}

/// By name only: types are checked where the component is linked.
fn check_world(world: &World) -> Result<(), AdmitError> {
    if let Some(import) = (world.imports.iter()).find(|name| !IMPORTS.contains(&name.as_str())) {
        return Err(AdmitError::Import(import.clone()));
    }
    if let Some(export) = world.exports.iter().find(|name| *name != EXPORT) {
        return Err(AdmitError::Export(export.clone()));
    }
    if world.exports.is_empty() {
        return Err(AdmitError::NoTransformer);
    }
    Ok(())
}
