//! Messages about runs: staging, publishing and dropping their differences.

use super::{RunVersion, Target, WireRowMutation};

/// Stages a run's difference at one tablet of a derived table. May be called several times for one run; `part` makes
/// a repetition harmless.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StageRequest {
    /// Which tablet.
    #[prost(message, optional, tag = "1")]
    pub target: Option<Target>,
    /// [`crate::ids::RunId`].
    #[prost(uint64, tag = "2")]
    pub run: u64,
    /// Counts this run's stage calls at this tablet, from 0.
    #[prost(uint32, tag = "3")]
    pub part: u32,
    /// What the run writes and deletes.
    #[prost(message, repeated, tag = "4")]
    pub rows: Vec<WireRowMutation>,
}

/// Tells a tablet that runs were published, in version order.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ApplyRequest {
    /// Which tablet.
    #[prost(message, optional, tag = "1")]
    pub target: Option<Target>,
    /// Oldest first.
    #[prost(message, repeated, tag = "2")]
    pub runs: Vec<RunVersion>,
}

/// Tells a tablet that Raft has recorded a run as aborted.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DropStagedRequest {
    /// Which tablet.
    #[prost(message, optional, tag = "1")]
    pub target: Option<Target>,
    /// [`crate::ids::RunId`].
    #[prost(uint64, tag = "2")]
    pub run: u64,
}
