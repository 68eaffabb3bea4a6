//! Object pins as the master keeps them: one call to whichever master leads.

use crate::heartbeat::Masters;
use common::ids::{Epoch, TabletId};
use common::objects::{Referrer, SstableName};
use common::rpc::master::{Command, Reply};
use common::rpc::net::SharedNet;
use common::{Error, Result};
use std::fmt;
use std::time::Duration;
use storage::procedures::ObjectPins;

/// A tablet that opens tells what it names: it must not wait long for a group of masters without a leader.
const PATIENCE: Duration = Duration::from_secs(3);

/// The pins of the cluster.
pub struct ClusterPins {
    masters: Masters,
}

impl ClusterPins {
    /// Asks these masters.
    #[must_use]
    pub fn new(net: SharedNet, masters: Vec<String>) -> Self {
        Self { masters: Masters::new(net, masters) }
    }

    async fn submit(&self, command: Command) -> Result<Reply> {
        let asked = tokio::time::timeout(PATIENCE, self.masters.submit(&command)).await;
        asked.map_err(|_| Error::deadline("no master answers about object pins"))?
    }
}

impl fmt::Debug for ClusterPins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterPins")
    }
}

#[async_trait::async_trait]
impl ObjectPins for ClusterPins {
    async fn pin_home(&self, home: TabletId, referrer: &Referrer) -> Result<()> {
        self.submit(Command::PinHome { home, referrer: referrer.clone() }).await.map(|_| ())
    }

    async fn narrow(&self, referrer: &Referrer, objects: &[SstableName]) -> Result<()> {
        self.submit(Command::NarrowPins { referrer: referrer.clone(), objects: objects.to_vec() }).await.map(|_| ())
    }

    async fn release(&self, referrer: &Referrer, objects: &[SstableName]) -> Result<()> {
        self.submit(Command::ReleasePins { referrer: referrer.clone(), objects: objects.to_vec() }).await.map(|_| ())
    }

    async fn deletable(&self, home: TabletId, epoch: Epoch, objects: &[SstableName]) -> Result<Vec<SstableName>> {
        match self.submit(Command::Deletable { home, epoch, objects: objects.to_vec() }).await? {
            Reply::Deletable { objects } => Ok(objects),
            other => Err(Error::internal(format!("a question about object pins was answered with {other:?}"))),
        }
    }
}
