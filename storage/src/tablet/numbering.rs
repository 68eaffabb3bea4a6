//! Seqs and timestamps are given here.

use super::requests::Requests;
use common::ids::Seq;
use common::time::Micros;
use common::{Error, Result};

/// A tablet's counters.
#[derive(Debug)]
pub(super) struct Numbering {
    /// The next seq; one above the highest version of a derived table.
    pub(super) next: Seq,
    /// The highest timestamp given. A given timestamp never falls, whatever the clock does.
    pub(super) highest: Micros,
    pub(super) requests: Requests,
    /// The log has failed: what was appended last may be durable or not, so nothing more is numbered.
    pub(super) broken: Option<Error>,
}

impl Numbering {
    /// The timestamp of a write that begins at `now`.
    pub(super) fn timestamp(&mut self, now: Micros) -> Micros {
        self.highest = self.highest.max(now);
        self.highest
    }

    pub(super) fn check(&self) -> Result<()> {
        self.broken.clone().map_or(Ok(()), Err)
    }
}
