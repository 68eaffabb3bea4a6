//! Object pins for the leader's own procedures: entries of the Raft log.

use super::node::Node;
use crate::entry::What;
use common::Result;
use common::envelope::AsJson;
use common::ids::{Epoch, TabletId};
use common::objects::{Referrer, SstableName};
use common::rpc::master::Command;
use std::fmt;
use std::sync::{Arc, Weak};
use storage::procedures::ObjectPins;

/// The pins of a master's state. Weak: a task that outlives the node ends.
pub(super) struct NodePins(Weak<Node>);

impl NodePins {
    pub(super) fn new(node: &Arc<Node>) -> Arc<Self> {
        Arc::new(Self(Arc::downgrade(node)))
    }

    fn node(&self) -> Result<Arc<Node>> {
        self.0.upgrade().ok_or_else(|| common::Error::unavailable("this master is shutting down"))
    }

    async fn commit(&self, command: Command) -> Result<()> {
        self.node()?.propose(What::Command(AsJson(command))).await.map(|_| ())
    }
}

impl fmt::Debug for NodePins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodePins")
    }
}

#[async_trait::async_trait]
impl ObjectPins for NodePins {
    async fn pin_home(&self, home: TabletId, referrer: &Referrer) -> Result<()> {
        self.commit(Command::PinHome { home, referrer: referrer.clone() }).await
    }

    async fn narrow(&self, referrer: &Referrer, objects: &[SstableName]) -> Result<()> {
        let node = self.node()?;
        if node.state().state.pins.is_narrow(referrer, objects) {
            return Ok(());
        }
        self.commit(Command::NarrowPins { referrer: referrer.clone(), objects: objects.to_vec() }).await
    }

    async fn release(&self, referrer: &Referrer, objects: &[SstableName]) -> Result<()> {
        self.commit(Command::ReleasePins { referrer: referrer.clone(), objects: objects.to_vec() }).await
    }

    async fn deletable(&self, home: TabletId, epoch: Epoch, objects: &[SstableName]) -> Result<Vec<SstableName>> {
        let node = self.node()?;
        node.confirm.leadership().await?;
        node.state().state.deletable(home, epoch, objects)
    }
}
