//! The engine: one a tablet server process.

use crate::{EngineConfig, MetricsSnapshot, Tablet, TabletOpen};
use common::ids::TabletId;
use common::{Error, Result};
use std::sync::Arc;

/// One log, one memory budget, one block cache, many tablets.
#[derive(Debug)]
pub struct Engine {
    metrics: crate::metrics::Metrics,
}

impl Engine {
    /// Begins this incarnation's log and finds those of earlier incarnations.
    ///
    /// # Errors
    /// `AlreadyExists` if this incarnation has a log already, `Unavailable` if its folder cannot be written.
    pub async fn open(config: EngineConfig) -> Result<Arc<Self>> {
        let _ = config;
        Err(Error::unimplemented("engine"))
    }

    /// Takes over a tablet: recovers what its last owner logged and did not flush.
    ///
    /// # Errors
    /// `Fenced` if the tablet has an owner of the same or a higher epoch, `AlreadyExists` if it is open here,
    /// `Corrupt` if its log or manifest is damaged, `Unavailable` if the store or the log is out of reach.
    pub async fn open_tablet(&self, open: TabletOpen) -> Result<Tablet> {
        let _ = open;
        Err(Error::unimplemented("open_tablet"))
    }

    /// Ends a tablet here: waits for its writes, flushes, refuses everything after. Not open: done already.
    ///
    /// # Errors
    /// `Unavailable` if the store does not answer; the tablet then stays closed for writes, and the call can be repeated.
    pub async fn close_tablet(&self, id: TabletId) -> Result<()> {
        let _ = id;
        Err(Error::unimplemented("close_tablet"))
    }

    /// Ends cleanly: waits for writes and closes the log. Unflushed rows stay in the log.
    ///
    /// # Errors
    /// `Unavailable` if the log cannot be closed.
    pub async fn shutdown(&self) -> Result<()> {
        Ok(())
    }

    /// The counters now.
    #[must_use]
    pub fn metrics(&self) -> MetricsSnapshot {
        self.metrics.snapshot()
    }
}
