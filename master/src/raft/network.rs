//! The way to other nodes: `stele.v1.Raft`, each message a bincode record in its envelope.

use super::TypeConfig;
use common::envelope;
use common::limits::MAX_RPC_MESSAGE_BYTES;
use common::rpc::net::SharedNet;
use common::rpc::raft_service::raft_client::RaftClient;
use common::rpc::{Frame, channel};
use openraft::BasicNode;
use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest, VoteResponse,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tonic::transport::Channel;
use tonic::{Request, Status};

const MESSAGE: envelope::Magic = *b"STRN";
const FORMAT: u16 = 2;

type Failure<E = RaftError<u64>> = RPCError<u64, BasicNode, E>;

/// Reaches every node by the address that the membership has of it.
#[derive(Clone, Debug)]
pub(super) struct Peers {
    net: SharedNet,
}

/// The way to one node; a lost connection is made again at the next message.
#[derive(Debug)]
pub(super) struct Peer {
    id: u64,
    /// `Err`: its address is none.
    client: common::Result<RaftClient<Channel>>,
}

/// A question to one node. Another one that has come to be at its address must not answer in its place: it would be counted
/// twice.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Addressed<T> {
    /// The node.
    pub(crate) to: u64,
    /// What it is asked.
    pub(crate) question: T,
}

/// What a node answers.
pub(crate) type Answer<T, E = RaftError<u64>> = Result<T, E>;

/// # Errors
/// `Internal` if it has no form in bytes.
pub(crate) fn frame<T: Serialize>(message: &T) -> common::Result<Frame> {
    Ok(Frame { record: envelope::encode(MESSAGE, FORMAT, message)?.into() })
}

/// # Errors
/// `Corrupt`.
pub(crate) fn read<T: DeserializeOwned>(frame: &Frame) -> common::Result<T> {
    envelope::decode(MESSAGE, FORMAT, &frame.record)
}

impl Peers {
    pub(super) fn new(net: SharedNet) -> Self {
        Self { net }
    }
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Peer {
        let client = channel::lazy(&self.net, &node.addr).map(RaftClient::new);
        let sized =
            |c: RaftClient<Channel>| c.max_decoding_message_size(MAX_RPC_MESSAGE_BYTES).max_encoding_message_size(MAX_RPC_MESSAGE_BYTES);
        Peer { id: target, client: client.map(sized) }
    }
}

/// Which of the three calls.
#[derive(Clone, Copy)]
enum Call {
    Append,
    Vote,
    Snapshot,
}

impl Peer {
    async fn ask<Q, A, E>(&self, call: Call, question: &Q, option: &RPCOption) -> Result<A, RPCError<u64, BasicNode, E>>
    where
        Q: Serialize,
        A: DeserializeOwned,
        E: DeserializeOwned + std::error::Error,
    {
        let mut client = self.client.clone().map_err(|e| Unreachable::new(&e))?;
        let addressed = Addressed { to: self.id, question };
        let mut request = Request::new(frame(&addressed).map_err(|e| NetworkError::new(&e))?);
        request.set_timeout(option.hard_ttl());
        let answered = match call {
            Call::Append => client.append(request).await,
            Call::Vote => client.vote(request).await,
            Call::Snapshot => client.snapshot(request).await,
        };
        let answer: Answer<A, E> = read(answered.map_err(lost)?.get_ref()).map_err(|e| NetworkError::new(&e))?;
        answer.map_err(|e| RemoteError::new(self.id, e).into())
    }
}

/// A node that cannot be reached is left alone for a while; other failures are tried again at once.
fn lost<E: std::error::Error>(status: Status) -> RPCError<u64, BasicNode, E> {
    let unreachable = status.code() == tonic::Code::Unavailable;
    if unreachable { Unreachable::new(&status).into() } else { NetworkError::new(&status).into() }
}

impl RaftNetwork<TypeConfig> for Peer {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Failure> {
        self.ask(Call::Append, &request, &option).await
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Failure<RaftError<u64, InstallSnapshotError>>> {
        self.ask(Call::Snapshot, &request, &option).await
    }

    async fn vote(&mut self, request: VoteRequest<u64>, option: RPCOption) -> Result<VoteResponse<u64>, Failure> {
        self.ask(Call::Vote, &request, &option).await
    }
}
