//! Modules that are small and dear to compile, written byte by byte.

use super::structure::{Shape, check};
use super::*;

const BLOCK: u8 = 0x02;
const LOOP: u8 = 0x03;
const END: u8 = 0x0b;
const EMPTY: u8 = 0x40;

fn leb(mut number: u64, to: &mut Vec<u8>) {
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            return to.push(byte);
        }
        to.push(byte | 0x80);
    }
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    let mut to = Vec::new();
    leb(bytes.len() as u64, &mut to);
    to.extend(bytes);
    to
}

/// A module of `count` functions without parameters, with these locals and this body each.
fn module(count: u64, locals: u64, body: &[u8]) -> Vec<u8> {
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    wasm.extend([1, 4, 1, 0x60, 0, 0]);
    let mut types = Vec::new();
    leb(count, &mut types);
    types.extend(vec![0; count as usize]);
    wasm.push(3);
    wasm.extend(sized(&types));
    let mut function = Vec::new();
    if locals == 0 {
        function.push(0);
    } else {
        function.push(1);
        leb(locals, &mut function);
        function.push(0x7f);
    }
    function.extend(body);
    function.push(END);
    let mut code = Vec::new();
    leb(count, &mut code);
    for _ in 0..count {
        code.extend(sized(&function));
    }
    wasm.push(10);
    wasm.extend(sized(&code));
    wasm
}

/// `count` blocks or loops, each in the one before.
fn nested(opener: u8, count: usize) -> Vec<u8> {
    [[opener, EMPTY].repeat(count), vec![END; count]].concat()
}

/// `count` blocks one after the other.
fn in_a_row(count: usize) -> Vec<u8> {
    [BLOCK, EMPTY, END].repeat(count)
}

/// One `br_table` of this many targets, all of them the function's end.
fn br_table(targets: usize) -> Vec<u8> {
    let mut body = vec![0x41, 0, 0x0e];
    leb(targets as u64, &mut body);
    body.extend(vec![0; targets + 1]);
    body
}

fn refusal(wasm: &[u8]) -> Option<String> {
    check(wasm, &Shape::DEFAULT)
        .err()
        .map(|error| error.to_string())
}

#[test]
fn shapes_up_to_the_bound_pass_and_past_it_do_not() {
    for (fits, does_not, refused) in [
        (
            module(1, 0, &nested(LOOP, 500)),
            module(1, 0, &nested(LOOP, 501)),
            "nests loops",
        ),
        (
            module(1, 0, &in_a_row(8_000)),
            module(1, 0, &in_a_row(8_001)),
            "8000 blocks",
        ),
        (module(1, 5_000, &[]), module(1, 5_001, &[]), "5000 locals"),
        (
            module(20_000, 0, &[]),
            module(20_001, 0, &[]),
            "20000 functions",
        ),
        (
            module(4, 0, &br_table(50_000)),
            module(4, 0, &br_table(50_001)),
            "200000 targets",
        ),
    ] {
        assert_eq!(refusal(&fits), None);
        let error = refusal(&does_not).unwrap();
        assert!(error.contains(refused), "{error}");
    }
    // Loops in a row are no depth.
    assert_eq!(
        refusal(&module(1, 0, &[LOOP, EMPTY, END].repeat(5_000))),
        None
    );
}

#[test]
fn known_bombs_are_refused() {
    for wasm in [
        module(1, 0, &nested(LOOP, 5_000)),
        module(1, 0, &in_a_row(50_000)),
        module(1, 40_000, &nested(LOOP, 200)),
        module(30, 0, &br_table(60_000)),
        module(50_000, 0, &[]),
    ] {
        assert!(refusal(&wasm).is_some());
    }
}

#[test]
fn cut_off_and_unbalanced_code_is_an_error() {
    let whole = module(3, 7, &nested(BLOCK, 9));
    for end in 9..whole.len() {
        // Some cuts leave a valid module of fewer sections; none may panic.
        let _ = refusal(&whole[..end]);
    }
    assert!(refusal(&module(1, 0, &[END, END, END])).is_some());
}

#[tokio::test]
async fn a_bomb_is_refused_before_anything_is_built_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let digests = Arc::new(MemoryDigests::default());
    let sandbox = Sandbox::new(config(), dir.path().into(), digests).unwrap();
    let error = sandbox
        .admit(module(1, 0, &nested(LOOP, 5_000)).into())
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            AdmitError::Structure(StructureError::LoopDepth(500, 1))
        ),
        "{error:?}"
    );
}
