//! What a role finds around it: handed in at its start, so that a simulation can put its own there.

use crate::Result;
use crate::rpc::net::{SharedNet, Tcp};
use crate::store::{self, SharedStore};
use crate::threads::Threads;
use crate::time::SharedClock;

/// Time, network, object store and threads of a role.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Time.
    pub clock: SharedClock,
    /// The way to other roles.
    pub net: SharedNet,
    /// Whose threads it uses.
    pub threads: Threads,
    /// The object store, instead of the one that the role's settings name.
    pub store: Option<SharedStore>,
}

impl Surroundings {
    /// A process on its machine, by this clock.
    #[must_use]
    pub fn machine(clock: SharedClock) -> Self {
        Self { clock, net: Tcp::shared(), threads: Threads::Own, store: None }
    }

    /// The object store: the one at `url`, unless there is another one.
    ///
    /// # Errors
    /// As [`store::open`].
    pub fn open_store(&self, url: &str) -> Result<SharedStore> {
        self.store.as_ref().map_or_else(|| store::open(url), |store| Ok(store.clone()))
    }
}
