//! Refuses what is small to upload and dear to compile. Pure: reads bytes, in one pass and linear time, before
//! anything is built from them. What it lets through is bounded by the compile child's limits.

use wasmparser::{Operator, Parser, Payload};

/// Bounds of shape, or what was found of each. The compile times are of wasmtime 48 on one core of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    /// Lets everything through, so that it is only counted.
    pub(super) const ANY: Self = Self {
        loop_depth: usize::MAX,
        blocks: usize::MAX,
        locals: u64::MAX,
        functions: usize::MAX,
        table_targets: usize::MAX,
        parts: usize::MAX,
    };

    const NONE: Self = Self {
        loop_depth: 0,
        blocks: 0,
        locals: 0,
        functions: 0,
        table_targets: 0,
        parts: 0,
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

/// Reads all functions of a module or component, at any depth. Answers with what it found, of what is bounded a
/// function that of the function with most.
pub(super) fn check(wasm: &[u8], most: &Shape) -> Result<Shape, StructureError> {
    let mut found = Shape::NONE;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::Version { .. } => {
                found.parts += 1;
                if found.parts > most.parts {
                    return Err(StructureError::Parts(most.parts));
                }
            }
            Payload::CodeSectionEntry(body) => {
                found.functions += 1;
                if found.functions > most.functions {
                    return Err(StructureError::Functions(most.functions));
                }
                let one = function(&body, found.functions, most)?;
                found.loop_depth = found.loop_depth.max(one.loop_depth);
                found.blocks = found.blocks.max(one.blocks);
                found.locals = found.locals.max(one.locals);
                found.table_targets += one.table_targets;
                if found.table_targets > most.table_targets {
                    return Err(StructureError::TableTargets(most.table_targets));
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Checks one function, and answers with what it has.
fn function(
    body: &wasmparser::FunctionBody<'_>,
    number: usize,
    most: &Shape,
) -> Result<Shape, StructureError> {
    let mut found = Shape::NONE;
    for group in body.get_locals_reader()? {
        found.locals += u64::from(group?.0);
    }
    if found.locals > most.locals {
        return Err(StructureError::Locals(most.locals, number));
    }
    let mut loops = 0;
    // Whether each open block is a loop. The parser has refused an `end` too many.
    let mut open: Vec<bool> = Vec::new();
    for operator in body.get_operators_reader()? {
        match operator? {
            Operator::Loop { .. } => {
                open.push(true);
                loops += 1;
                found.blocks += 1;
            }
            Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                open.push(false);
                found.blocks += 1;
            }
            Operator::End => loops -= usize::from(open.pop() == Some(true)),
            Operator::BrTable { targets } => found.table_targets += targets.len() as usize,
            _ => {}
        }
        found.loop_depth = found.loop_depth.max(loops);
        if loops > most.loop_depth {
            return Err(StructureError::LoopDepth(most.loop_depth, number));
        }
        if found.blocks > most.blocks {
            return Err(StructureError::Blocks(most.blocks, number));
        }
    }
    Ok(found)
}
