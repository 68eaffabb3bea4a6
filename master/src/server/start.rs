use super::forward::Others;
use super::node::{Node, stopped};
use super::peers::PeerService;
use super::service::Service;
use super::{join, leader};
use crate::copy;
use crate::identity::{self, Standing};
use crate::raft::{self, Disk, Started};
use common::config::MasterConfig;
use common::limits::MAX_RPC_MESSAGE_BYTES;
use common::rpc::master_service::master_server::MasterServer;
use common::rpc::net::Listening;
use common::rpc::raft_service::raft_server::RaftServer;
use common::surroundings::Surroundings;
use common::{Error, Result, store};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::Server;

/// How long a shutdown waits for what is under way, each time it waits.
const DRAIN: Duration = Duration::from_secs(5);

/// A running master node on the runtime that started it.
pub struct Running {
    pub(super) address: SocketAddr,
    pub(super) cluster: String,
    node: Arc<Node>,
    disk: Disk,
    /// Why it must end, once it must.
    over: watch::Receiver<Option<Error>>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Running {
    /// As [`super::Master::start`], on this disk instead of the folder in `config`, in these surroundings.
    ///
    /// # Errors
    /// As there.
    pub async fn start(config: MasterConfig, disk: Disk, around: Surroundings) -> Result<Self> {
        let store = around.open_store(&config.store)?;
        let Surroundings { clock, net, .. } = around;
        store::prove_create_if_absent(&store).await?;
        let others = Others::new(net.clone());
        let (identity, id) = match identity::settle(&disk, &store, !config.masters.is_empty()).await? {
            Standing::Member(identity, id) => (identity, id),
            Standing::New(identity) => {
                let id = join::number(&disk, &identity, &config.masters, &others).await?;
                (identity, id)
            }
        };
        let taken = |e| Error::unavailable(format!("cannot listen on {}: {e}", config.listen));
        let listening = net.listen(config.listen).await.map_err(taken)?;
        let bound = listening.address;
        let address = advertised(&config, bound)?;
        let founds = identity::is_founder(id).then_some(address.as_str());
        let Started { raft, machine, alone } = raft::start(&disk, id, founds, net).await?;
        let (copier, copying) = copy::open(store.clone(), raft.clone(), id, machine.watch(), alone).await?;
        let over = copying.watch_over();
        let (stop, stopping) = watch::channel(false);
        let (watch, cluster) = (machine.watch(), identity.cluster.clone());
        let node = Node::new(id, raft, watch, clock, copier, store, config.clone(), cluster, others, stopping.clone());
        let node = Arc::new(node);
        leader::look(&node).await;
        let tasks = vec![
            tokio::spawn(leader::run(node.clone())),
            tokio::spawn(copying.run(stopping)),
            tokio::spawn(serve(node.clone(), listening)),
            tokio::spawn(join::group(node.clone(), address, config.masters)),
        ];
        tracing::info!(address = %bound, cluster = %identity.cluster, node = id, "master started");
        Ok(Self { address: bound, cluster: identity.cluster, node, disk, over, stop, tasks })
    }

    /// See [`super::Master::failed`].
    pub async fn failed(&self) -> Error {
        let mut over = self.over.clone();
        tokio::select! {
            Ok(why) = over.wait_for(Option::is_some) => why.clone().unwrap_or_else(|| Error::fenced("this group of masters is over")),
            why = self.raft_failed() => why,
        }
    }

    async fn raft_failed(&self) -> Error {
        let mut metrics = self.node.raft.metrics();
        let why = match metrics.wait_for(|m| m.running_state.is_err()).await {
            Ok(m) => m.running_state.as_ref().err().map(ToString::to_string),
            Err(_) => None,
        };
        Error::unavailable(format!("Raft has stopped ({}): start the master again", why.unwrap_or_default()))
    }

    /// See [`super::Master::shutdown`].
    ///
    /// # Errors
    /// As there.
    pub async fn shutdown(self) -> Result<()> {
        self.stop.send_replace(true);
        for mut task in self.tasks {
            if tokio::time::timeout(DRAIN, &mut task).await.is_err() {
                task.abort();
            }
        }
        self.node.raft.shutdown().await.map_err(|e| Error::internal(format!("Raft has panicked: {e}")))?;
        drop(self.node);
        wait_free(self.disk).await;
        Ok(())
    }
}

/// Where the other masters reach this one.
fn advertised(config: &MasterConfig, bound: SocketAddr) -> Result<String> {
    match &config.advertise {
        Some(address) => Ok(address.clone()),
        None if bound.ip().is_unspecified() => {
            Err(Error::invalid(format!("listen {bound} is not an address that others can reach: set advertise to host:port")))
        }
        None => Ok(bound.to_string()),
    }
}

async fn serve(node: Arc<Node>, listening: Listening) {
    let mut stop = node.stop.clone();
    let peers = RaftServer::new(PeerService { id: node.id, raft: node.raft.clone() })
        .max_decoding_message_size(MAX_RPC_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_RPC_MESSAGE_BYTES);
    let service = MasterServer::new(Service { node })
        .max_decoding_message_size(MAX_RPC_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_RPC_MESSAGE_BYTES);
    let ended = async move { stopped(&mut stop).await };
    let server = Server::builder().add_service(service).add_service(peers);
    if let Err(e) = server.serve_with_incoming_shutdown(listening.incoming, ended).await {
        tracing::error!(error = %e, "the master's RPC has ended");
    }
}

/// Raft's tasks drop the folder a moment after they were told to; a master that starts on it next must not find it locked.
async fn wait_free(disk: Disk) {
    let free = async {
        while !disk.is_last() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    if tokio::time::timeout(DRAIN, free).await.is_err() {
        tracing::warn!("the data folder is still in use after the shutdown");
    }
}
