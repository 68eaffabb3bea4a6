//! What a run is given.

use common::ids::Seq;
use common::schema::Table;
use common::version::{RangeSet, VersionMap};
use derived::document::Artifact;
use derived::due::PlannedRun;
use std::sync::Arc;

/// A run to do, with everything fixed that it depends on.
#[derive(Clone)]
pub struct Work {
    /// The definition.
    pub artifact: Arc<Artifact>,
    /// Its fingerprint in the catalog.
    pub fingerprint: String,
    /// The table it makes.
    pub table: Arc<Table>,
    /// The version that the decision saw.
    pub seen: Seq,
    /// What to compute; `None`: the table has no windows.
    pub ranges: Option<RangeSet>,
    /// Why, and how; its range is one of those.
    pub plan: PlannedRun,
    /// The inputs at fixed versions.
    pub inputs: Vec<PinnedInput>,
}

/// An input at a fixed version.
#[derive(Clone)]
pub struct PinnedInput {
    /// The input.
    pub table: Arc<Table>,
    /// What the run reads of it.
    pub version: VersionMap,
    /// Windows that changes from the published cursor up to this version reach.
    pub pending: RangeSet,
    /// The version that all of the table was computed from, but for changes since; `None`: parts of it are due anyway.
    pub since: Option<VersionMap>,
    /// The columns whose changes count.
    pub columns: Vec<String>,
}

impl Work {
    /// The windows it computes; everything for a table without windows.
    #[must_use]
    pub fn windows(&self) -> RangeSet {
        self.ranges.clone().unwrap_or_else(RangeSet::all)
    }
}
