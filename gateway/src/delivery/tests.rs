//! The room with real parts: memory store, sandbox, sockets. Each test says what a receiver does and looks at
//! what it got and what the store says.

mod endpoints;
pub(crate) mod faulty;
mod paths;
mod pending;
mod plugins;
mod policies;
mod recovery;
pub(crate) mod rig;
