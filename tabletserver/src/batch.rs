//! Rows of cells into Arrow: which cells an output column comes from ([`Projection`]), one builder a
//! column ([`column`]), whole batches ([`BatchBuilder`]) and their bytes on the wire ([`IpcEncoder`]).
//!
//! A value that does not decode as its column's type is an error that names table, column and key, never null.

mod builder;
mod column;
mod ipc;
mod projection;
#[cfg(test)]
mod tests;

pub use builder::BatchBuilder;
pub use ipc::IpcEncoder;
pub use projection::Projection;
