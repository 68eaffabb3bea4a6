//! What blocks must know of the object that they were read from: its name for errors, and its number if it has but one.

use crate::metrics::Metrics;
use common::Error;
use common::ids::Seq;
use object_store::path::Path;
use std::sync::Arc;

/// An object that blocks were read from.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) path: Path,
    pub(crate) metrics: Arc<Metrics>,
    /// The seq of everything inside, if the manifest gives it one: it was written before it was numbered.
    pub(crate) given: Option<Seq>,
}

impl Object {
    /// The error for bytes at `offset` that do not decode. Counts it.
    pub(crate) fn damaged(&self, offset: u64, why: &str) -> Error {
        self.metrics.checksum_errors.add(1);
        Error::corrupt(format!("object '{}' at offset {offset}: {why}", self.path))
    }
}
