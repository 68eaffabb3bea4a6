//! `stele.v1.Raft`: what the other nodes of the group say.

use crate::raft::{Raft, frame, read};
use common::rpc::Frame;
use common::rpc::raft_service::raft_server::Raft as Rpc;
use tonic::{Request, Response, Status};

/// Hands messages on to the local node.
#[derive(Clone)]
pub(super) struct PeerService {
    pub(super) raft: Raft,
}

#[async_trait::async_trait]
impl Rpc for PeerService {
    async fn append(&self, request: Request<Frame>) -> Result<Response<Frame>, Status> {
        Ok(Response::new(frame(&self.raft.append_entries(read(request.get_ref())?).await)?))
    }

    async fn vote(&self, request: Request<Frame>) -> Result<Response<Frame>, Status> {
        Ok(Response::new(frame(&self.raft.vote(read(request.get_ref())?).await)?))
    }

    async fn snapshot(&self, request: Request<Frame>) -> Result<Response<Frame>, Status> {
        Ok(Response::new(frame(&self.raft.install_snapshot(read(request.get_ref())?).await)?))
    }
}
