//! Refuses what is small to upload and dear to compile. Pure: reads bytes, in one pass and linear time, before
//! anything is built from them. What it lets through is bounded by the compile child's limits.

use wasmparser::{Operator, Parser, Payload};

/// Bounds of shape. The compile times are of wasmtime 48 on one core of a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Loops within loops. Measured: cubic; 500 take 0.15 s, 1,000 take 0.9 s, 5,000 (60 KB) over a minute.
    pub(super) loop_depth: usize,
    /// Blocks, loops and conditions of a function. Measured: 5,000 take 0.4 s, 10,000 take 1.25 s, 50,000 42 s.
    pub(super) blocks: usize,
    /// Locals of a function, parameters aside. Measured: 40,000 under 2,000 loops take 4.3 GB.
    pub(super) locals: u64,
    /// Functions of an upload. Measured: 50,000 take 2 s and 300 MB.
    pub(super) functions: usize,
    /// Targets of all `br_table` of an upload. Measured: 1.8 million take 1 GB.
    pub(super) table_targets: usize,
    /// Modules and components within an upload. Chosen: several times what an encoded plugin has.
    pub(super) parts: usize,
}

impl Shape {
    pub(super) const DEFAULT: Self = Self {
        loop_depth: 500,
        blocks: 8_000,
        locals: 5_000,
        functions: 20_000,
        table_targets: 200_000,
        parts: 32,
    };
}

/// Why a module or component is refused.
#[derive(Debug, thiserror::Error)]
pub enum StructureError {
    #[error("is not valid WebAssembly")]
    Invalid(#[from] wasmparser::BinaryReaderError),
    #[error("nests loops more than {0} deep in function {1}")]
    LoopDepth(usize, usize),
    #[error("has more than {0} blocks in function {1}")]
    Blocks(usize, usize),
    #[error("has more than {0} locals in function {1}")]
    Locals(u64, usize),
    #[error("has more than {0} functions")]
    Functions(usize),
    #[error("has more than {0} targets of br_table")]
    TableTargets(usize),
    #[error("has more than {0} modules and components")]
    Parts(usize),
}

/// Reads all functions of a module or component, at any depth.
pub(super) fn check(wasm: &[u8], shape: &Shape) -> Result<(), StructureError> {
    let (mut functions, mut parts, mut targets) = (0, 0, 0);
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::Version { .. } => {
                parts += 1;
                if parts > shape.parts {
                    return Err(StructureError::Parts(shape.parts));
                }
            }
            Payload::CodeSectionEntry(body) => {
                functions += 1;
                if functions > shape.functions {
                    return Err(StructureError::Functions(shape.functions));
                }
                targets += function(&body, functions, shape)?;
                if targets > shape.table_targets {
                    return Err(StructureError::TableTargets(shape.table_targets));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks one function; answers with its number of `br_table` targets.
fn function(
    body: &wasmparser::FunctionBody<'_>,
    number: usize,
    shape: &Shape,
) -> Result<usize, StructureError> {
    let mut locals = 0u64;
    for group in body.get_locals_reader()? {
        locals += u64::from(group?.0);
    }
    if locals > shape.locals {
        return Err(StructureError::Locals(shape.locals, number));
    }
    let (mut blocks, mut loops, mut targets) = (0, 0, 0);
    // Whether each open block is a loop. The parser has refused an `end` too many.
    let mut open: Vec<bool> = Vec::new();
    for operator in body.get_operators_reader()? {
        match operator? {
            Operator::Loop { .. } => {
                open.push(true);
                loops += 1;
                blocks += 1;
            }
            Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                open.push(false);
                blocks += 1;
            }
            Operator::End => loops -= usize::from(open.pop() == Some(true)),
            Operator::BrTable { targets: table } => targets += table.len() as usize,
            _ => {}
        }
        if loops > shape.loop_depth {
            return Err(StructureError::LoopDepth(shape.loop_depth, number));
        }
        if blocks > shape.blocks {
            return Err(StructureError::Blocks(shape.blocks, number));
        }
    }
    Ok(targets)
}
