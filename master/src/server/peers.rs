//! `stele.v1.Raft`: what the other nodes of the group say.

use crate::raft::{Addressed, NodeId, Raft, frame, read};
use common::rpc::Frame;
use common::rpc::raft_service::raft_server::Raft as Rpc;
use serde::de::DeserializeOwned;
use tonic::{Request, Response, Status};

/// Hands messages on to the local node.
#[derive(Clone)]
pub(super) struct PeerService {
    pub(super) id: NodeId,
    pub(super) raft: Raft,
}

impl PeerService {
    /// What this node is asked.
    ///
    /// # Errors
    /// `Unavailable` if another one is: who was at this address before is out of reach.
    fn question<T: DeserializeOwned>(&self, frame: &Frame) -> Result<T, Status> {
        let Addressed { to, question } = read(frame)?;
        if to == self.id { Ok(question) } else { Err(Status::unavailable(format!("this is master node {}, not {to}", self.id))) }
    }
}

#[async_trait::async_trait]
impl Rpc for PeerService {
    async fn append(&self, request: Request<Frame>) -> Result<Response<Frame>, Status> {
        Ok(Response::new(frame(&self.raft.append_entries(self.question(request.get_ref())?).await)?))
    }

    async fn vote(&self, request: Request<Frame>) -> Result<Response<Frame>, Status> {
        Ok(Response::new(frame(&self.raft.vote(self.question(request.get_ref())?).await)?))
    }

    async fn snapshot(&self, request: Request<Frame>) -> Result<Response<Frame>, Status> {
        Ok(Response::new(frame(&self.raft.install_snapshot(self.question(request.get_ref())?).await)?))
    }
}
