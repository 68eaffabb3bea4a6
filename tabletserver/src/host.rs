//! What all parts of one tablet server share.

use crate::lease::LeaseGuard;
use crate::registry::Registry;
use common::ids::{RunId, Seq};
use common::rpc::tablet::Target;
use common::time::SharedClock;
use common::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use storage::{Engine, Tablet};

/// Engine, tablets, lease and clock of one server.
#[derive(Debug)]
pub struct Host {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Its tablets.
    pub registry: Registry,
    /// Whether requests may be served.
    pub lease: LeaseGuard,
    /// Time.
    pub clock: SharedClock,
    /// It is about to end: the master is asked to give its tablets to others.
    pub leaving: AtomicBool,
    /// Whether there are others, as the master last said.
    pub others: AtomicBool,
}

impl Host {
    /// The tablet that a request names, if this server may serve it now.
    ///
    /// # Errors
    /// `NotMine` without a lease or the tablet, `InvalidArgument` without a target.
    pub fn tablet(&self, target: Option<Target>) -> Result<Tablet> {
        self.lease.check()?;
        self.registry.open(&common::rpc::tablet::required(target, "target")?)
    }

    /// Applies published runs to a derived table's tablet, oldest first; the master is told at once how far it is.
    ///
    /// # Errors
    /// `Unavailable` if a version between the applied one and the last of `runs` is missing, else as the engine.
    pub async fn publish(&self, tablet: &Tablet, runs: &[(RunId, Seq)]) -> Result<()> {
        if runs.iter().all(|(_, version)| *version <= tablet.visible()) {
            return Ok(());
        }
        no_gap(tablet.visible(), runs).map_err(|e| e.context(format!("tablet {}", tablet.id())))?;
        tablet.apply(runs).await.map_err(|e| self.refuse(tablet, e))?;
        self.registry.reportable.notify_one();
        Ok(())
    }

    /// The answer to a client whose request failed so: a tablet that was fenced off is dropped at once
    /// and is somebody else's for the client.
    pub fn refuse(&self, tablet: &Tablet, e: Error) -> Error {
        if e.kind != ErrorKind::Fenced {
            return e;
        }
        tracing::warn!(tablet = tablet.id().0, epoch = tablet.epoch().0, error = %e, "tablet was fenced off");
        self.registry.lost(tablet);
        Error::not_mine(format!("tablet {} has a newer owner: {e}", tablet.id()))
    }
}

/// A table's versions count by one, so a gap is a run that its sender does not know of: applying the later ones
/// would pass over that run's rows for ever.
fn no_gap(applied: Seq, runs: &[(RunId, Seq)]) -> Result<()> {
    let mut at = applied;
    for &(run, version) in runs.iter().filter(|(_, version)| *version > applied) {
        if version > at.next() {
            return Err(Error::unavailable(format!(
                "run {run} made version {version}, but nobody says which run made {}: read again",
                at.next()
            )));
        }
        at = at.max(version);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_applied_without_gaps() {
        let runs = |versions: &[u64]| versions.iter().map(|v| (RunId(100 + v), Seq(*v))).collect::<Vec<_>>();
        for whole in [&[3, 4][..], &[1, 2, 3], &[1], &[], &[2, 3, 3, 4]] {
            assert!(no_gap(Seq(2), &runs(whole)).is_ok(), "{whole:?}");
        }
        for gap in [&[4][..], &[3, 5], &[1, 2, 4]] {
            assert_eq!(no_gap(Seq(2), &runs(gap)).unwrap_err().kind, ErrorKind::Unavailable, "{gap:?}");
        }
    }
}
