//! The black-box tests: one binary, a file per topic. Each test starts a gateway of its own.

mod sdk_v1;
mod sdk_v2;
