use super::TypeConfig;
use openraft::BasicNode;
use openraft::error::{InstallSnapshotError, RPCError, RaftError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest, VoteResponse,
};

type Failure<E = RaftError<u64>> = RPCError<u64, BasicNode, E>;

/// The network of a cluster whose only node is this one: nobody else can be reached, and every attempt says so.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Alone;

/// The way to one other node.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoWay(u64);

#[derive(Debug, thiserror::Error)]
#[error("master node {0} cannot be reached: this build runs one master node; masters of 3 or 5 nodes are not built yet")]
struct OneNodeOnly(u64);

impl NoWay {
    fn failure<E: std::error::Error>(self) -> RPCError<u64, BasicNode, E> {
        Unreachable::new(&OneNodeOnly(self.0)).into()
    }
}

impl RaftNetworkFactory<TypeConfig> for Alone {
    type Network = NoWay;

    async fn new_client(&mut self, target: u64, _: &BasicNode) -> NoWay {
        NoWay(target)
    }
}

impl RaftNetwork<TypeConfig> for NoWay {
    async fn append_entries(&mut self, _: AppendEntriesRequest<TypeConfig>, _: RPCOption) -> Result<AppendEntriesResponse<u64>, Failure> {
        Err(self.failure())
    }

    async fn install_snapshot(
        &mut self,
        _: InstallSnapshotRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Failure<RaftError<u64, InstallSnapshotError>>> {
        Err(self.failure())
    }

    async fn vote(&mut self, _: VoteRequest<u64>, _: RPCOption) -> Result<VoteResponse<u64>, Failure> {
        Err(self.failure())
    }
}
