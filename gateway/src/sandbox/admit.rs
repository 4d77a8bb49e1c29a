//! From uploaded bytes to a component of the world `plugin`. Pure: it reads and re-encodes, compiles nothing and
//! runs nothing.

use bytes::Bytes;
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

use super::AdmitError;
use super::structure::{self, Shape};

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
    check_world(&component)?;
    Ok(component)
}

fn encode(module: &[u8]) -> Result<Vec<u8>, AdmitError> {
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.encode())
        .map_err(|error| AdmitError::NotAPlugin(error.into()))
}

/// By name only: types are checked where the component is linked.
fn check_world(component: &[u8]) -> Result<(), AdmitError> {
    let mut depth = 0usize;
    let mut exported = false;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(structure::StructureError::from)? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 1 => {
                for import in imports {
                    let name = import.map_err(structure::StructureError::from)?.name.name;
                    if !IMPORTS.contains(&name) {
                        return Err(AdmitError::Import(name.to_owned()));
                    }
                }
            }
            Payload::ComponentExportSection(exports) if depth == 1 => {
                for export in exports {
                    let name = export.map_err(structure::StructureError::from)?.name.name;
                    if name != EXPORT {
                        return Err(AdmitError::Export(name.to_owned()));
                    }
                    exported = true;
                }
            }
            _ => {}
        }
    }
    if exported {
        Ok(())
    } else {
        Err(AdmitError::NoTransformer)
    }
}
