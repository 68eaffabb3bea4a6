use super::leader;
use super::node::{Node, stopped};
use super::service::Service;
use crate::raft::{self, Disk};
use crate::{copy, identity};
use common::config::MasterConfig;
use common::limits::MAX_RPC_MESSAGE_BYTES;
use common::rpc::master_service::master_server::MasterServer;
use common::time::SharedClock;
use common::{Error, Result, store};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

/// How long a shutdown waits for what is under way, each time it waits.
const DRAIN: Duration = Duration::from_secs(5);

/// A running master node on the runtime that started it.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    pub(super) cluster: String,
    node: Arc<Node>,
    disk: Disk,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Running {
    /// See [`super::Master::start`].
    pub(super) async fn start(config: MasterConfig, clock: SharedClock) -> Result<Self> {
        let disk = Disk::open(&config.data_dir)?;
        let store = store::open(&config.store)?;
        store::prove_create_if_absent(&store).await?;
        let (identity, id) = identity::settle(&disk, &store).await?;
        let taken = |e| Error::unavailable(format!("cannot listen on {}: {e}", config.listen));
        let listener = TcpListener::bind(config.listen).await.map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        let (raft, machine) = raft::start(&disk, id, &address.to_string()).await?;
        let (copier, copying) = copy::open(store, machine.watch()).await?;
        let (stop, stopping) = watch::channel(false);
        let node = Arc::new(Node::new(id, raft, machine.watch(), clock, copier, stopping.clone()));
        leader::look(&node).await;
        let tasks =
            vec![tokio::spawn(leader::run(node.clone())), tokio::spawn(copying.run(stopping)), tokio::spawn(serve(node.clone(), listener))];
        tracing::info!(%address, cluster = %identity.cluster, node = id, "master started");
        Ok(Self { address, cluster: identity.cluster, node, disk, stop, tasks })
    }

    /// See [`super::Master::failed`].
    pub(super) async fn failed(&self) -> Error {
        let mut metrics = self.node.raft.metrics();
        let why = match metrics.wait_for(|m| m.running_state.is_err()).await {
            Ok(m) => m.running_state.as_ref().err().map(ToString::to_string),
            Err(_) => None,
        };
        Error::unavailable(format!("Raft has stopped ({}): start the master again", why.unwrap_or_default()))
    }

    /// See [`super::Master::shutdown`].
    pub(super) async fn shutdown(self) -> Result<()> {
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

async fn serve(node: Arc<Node>, listener: TcpListener) {
    let mut stop = node.stop.clone();
    let service = MasterServer::new(Service { node })
        .max_decoding_message_size(MAX_RPC_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_RPC_MESSAGE_BYTES);
    let ended = async move { stopped(&mut stop).await };
    let incoming = TcpListenerStream::new(listener);
    if let Err(e) = Server::builder().tcp_nodelay(true).add_service(service).serve_with_incoming_shutdown(incoming, ended).await {
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
