//! Naming a stored object in errors: what is damaged, and where.

use crate::metrics::Metrics;
use common::Error;
use object_store::path::Path;
use std::sync::Arc;

/// An object that blocks were read from.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) path: Path,
    pub(crate) metrics: Arc<Metrics>,
}

impl Object {
    /// The error for bytes at `offset` that do not decode. Counts it.
    pub(crate) fn damaged(&self, offset: u64, why: &str) -> Error {
        self.metrics.checksum_errors.add(1);
        Error::corrupt(format!("object '{}' at offset {offset}: {why}", self.path))
    }
}
