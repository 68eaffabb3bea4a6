//! What all parts of one tablet server share.

use crate::lease::LeaseGuard;
use crate::registry::Registry;
use common::rpc::tablet::Target;
use common::time::SharedClock;
use common::{Error, ErrorKind, Result};
use std::sync::Arc;
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
