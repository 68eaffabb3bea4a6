//! One tablet server: starts its parts in order and ends them in the opposite one.

use crate::converge;
use crate::heartbeat::{self, Heartbeat, Mailbox, Reporter};
use crate::host::Host;
use crate::identity::{DataDir, Identity};
use crate::lease::LeaseGuard;
use crate::pins::ClusterPins;
use crate::plan::WantedList;
use crate::registry::Registry;
use crate::service::TabletsService;
use common::config::{LogKind, TabletServerConfig};
use common::rpc::net::Listening;
use common::rpc::tablets_service::tablets_server::TabletsServer;
use common::store::{self, SharedStore};
use common::surroundings::Surroundings;
use common::threads::Threads;
use common::time::SharedClock;
use common::{Error, Result, limits};
use object_store::path::Path;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use storage::{CompactionConfig, DiskCacheConfig, Engine, EngineConfig};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

/// At a shutdown, tablets are handed over, or memtables flushed, for so long while everything still serves: little is left to do
/// without.
const AHEAD: Duration = Duration::from_secs(8);
/// Tablets that are being opened or closed at a shutdown get this long to get there.
const SETTLE: Duration = Duration::from_secs(2);
/// Requests under way at a shutdown get this long to end.
const DRAIN: Duration = Duration::from_secs(4);
/// All tablets together get this long to be flushed at a shutdown.
const CLOSE_WITHIN: Duration = Duration::from_secs(9);
/// The last report, that all tablets are closed, is waited for this long.
const LAST_WORD: Duration = Duration::from_secs(1);
/// The log gets this long to put what it has.
const END_LOG: Duration = Duration::from_secs(3);
/// Who supervises a process kills it after this time.
const END_WITHIN: Duration = Duration::from_secs(30);
const _: () = {
    let steps = AHEAD.as_secs() + SETTLE.as_secs() + DRAIN.as_secs() + CLOSE_WITHIN.as_secs() + LAST_WORD.as_secs() + END_LOG.as_secs();
    assert!(steps < END_WITHIN.as_secs());
};
/// A client that answers no ping for this long is gone; its scans end.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Bytes that all writes of one connection may have in flight.
const CONNECTION_WINDOW: u32 = 64 << 20;
/// How often a shutdown looks whether other servers have taken the tablets.
const LOOK: Duration = Duration::from_millis(20);
/// How often a shutdown tries to close a tablet whose flush fails.
const CLOSE_TRIES: u32 = 3;

/// A running tablet server. Dropped, it ends as by [`TabletServer::shutdown`], but nobody waits for that.
#[derive(Debug)]
pub struct TabletServer {
    local_addr: SocketAddr,
    identity: Identity,
    /// Cancelled: end cleanly.
    stop: CancellationToken,
    /// How it ended, once it has.
    ended: watch::Receiver<Option<Result<()>>>,
}

/// All that runs, in the hands of the task that ends it.
struct Parts {
    host: Arc<Host>,
    /// Another process may take the folder once this is dropped.
    data: DataDir,
    /// Stops convergence.
    converging: CancellationToken,
    converger: JoinHandle<()>,
    /// Stops the heartbeat.
    beating: CancellationToken,
    heart: oneshot::Receiver<Result<()>>,
    progress: watch::Receiver<(u64, u64)>,
    drain: oneshot::Sender<()>,
    rpc: JoinHandle<Result<()>>,
}

impl TabletServer {
    /// Starts a life on the configured folder: listens, and holds what the master orders as soon as it does.
    /// On an empty folder it first waits for a master to give it an id.
    ///
    /// # Errors
    /// `FailedPrecondition` if the folder is in use or the object store is not sound, `InvalidArgument` for a
    /// configuration that cannot work, `Unavailable` if store, folder, address or masters are out of reach.
    pub async fn start(config: TabletServerConfig, clock: SharedClock) -> Result<Self> {
        Self::start_in(config, Surroundings::machine(clock)).await
    }

    /// As [`Self::start`], in these surroundings.
    ///
    /// # Errors
    /// As there.
    pub async fn start_in(config: TabletServerConfig, around: Surroundings) -> Result<Self> {
        let data = DataDir::take(&config.data_dir)?;
        let store = around.open_store(&config.store)?;
        let Surroundings { clock, net, threads, .. } = around;
        store::prove_create_if_absent(&store).await?;
        let taken = |e| Error::unavailable(format!("cannot listen on {}: {e}", config.listen));
        let listening = net.listen(config.listen).await.map_err(taken)?;
        let local_addr = listening.address;
        let address = advertised(&config, local_addr)?;
        let server = match data.identity()? {
            Some(known) => known.server,
            None => heartbeat::register(&net, &config.masters).await?,
        };
        let identity = data.begin_life(server, cluster_of(&store).await?)?;
        tracing::info!(server = server.0, incarnation = identity.incarnation.0, %local_addr, "tablet server starts");
        let pins = Arc::new(ClusterPins::new(net.clone(), config.masters.clone()));
        let engine = open_engine(&config, &identity, store, &data, &clock, pins, threads).await?;
        let (lease, registry) = (LeaseGuard::new(clock.clone()), Registry::default());
        let host = Arc::new(Host { engine, registry, lease, clock, leaving: AtomicBool::new(false), others: AtomicBool::new(false) });
        let reporter = Reporter { identity: identity.clone(), address, log: config.log, masters: config.masters, net };
        let parts = Parts::start(host, data, reporter, listening, threads)?;
        let (stop, (tell, ended)) = (CancellationToken::new(), watch::channel(None));
        tokio::spawn(supervise(parts, stop.clone(), tell));
        Ok(Self { local_addr, identity, stop, ended })
    }

    /// Where its RPC listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Closes all tablets, reports them closed and ends. Tablets that cannot be flushed stay in the log.
    ///
    /// # Errors
    /// As the engine's shutdown; `Fenced` if it had ended by itself.
    pub async fn shutdown(self) -> Result<()> {
        self.stop.cancel();
        self.wait().await
    }

    /// Resolves when it has ended, which without [`TabletServer::shutdown`] it does only if it must.
    ///
    /// # Errors
    /// `Fenced` if the master has ended this life: start another one. Else why a part of it failed.
    pub async fn wait(&self) -> Result<()> {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(how) => how.clone().unwrap_or(Ok(())),
            Err(_) => Err(Error::internal("the tablet server's supervisor has failed")),
        }
    }
}

impl Drop for TabletServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn advertised(config: &TabletServerConfig, local: SocketAddr) -> Result<String> {
    match &config.advertise {
        Some(address) => Ok(address.clone()),
        None if local.ip().is_unspecified() => {
            Err(Error::invalid(format!("listen {local} is not an address that others can reach: set advertise to host:port")))
        }
        None => Ok(local.to_string()),
    }
}

/// The cluster that the object store belongs to, as text; `None` before its birth.
async fn cluster_of(store: &SharedStore) -> Result<Option<String>> {
    let content = store::get_opt(store, &Path::from("cluster/identity")).await?;
    Ok(content.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

async fn open_engine(
    config: &TabletServerConfig,
    who: &Identity,
    store: SharedStore,
    data: &DataDir,
    clock: &SharedClock,
    pins: Arc<ClusterPins>,
    threads: Threads,
) -> Result<Arc<Engine>> {
    let defaults = match config.log {
        LogKind::Disk => EngineConfig::new(who.server, who.incarnation, store, data.log_dir(), clock.clone()),
        LogKind::Object => EngineConfig::with_object_log(who.server, who.incarnation, store, clock.clone()),
    };
    let disk_cache = config.disk_cache().map(|bytes| DiskCacheConfig { folder: data.cache_dir(), bytes });
    let (memtable_bytes, cache_bytes) = (config.memtable_bytes, config.cache_bytes);
    let compaction = CompactionConfig { concurrent: threads.half(1), ..CompactionConfig::default() };
    Engine::open(EngineConfig { memtable_bytes, cache_bytes, disk_cache, pins, compaction, threads, ..defaults }).await
}

impl Parts {
    fn start(host: Arc<Host>, data: DataDir, reporter: Reporter, listening: Listening, threads: Threads) -> Result<Self> {
        let (desired, orders) = watch::channel::<Option<Arc<WantedList>>>(None);
        let (progress, progressed) = watch::channel((0, 0));
        let (drain, drained) = oneshot::channel();
        let (converging, beating) = (CancellationToken::new(), CancellationToken::new());
        let service = TabletsServer::new(TabletsService::new(host.clone(), threads)?)
            .max_decoding_message_size(limits::MAX_RPC_MESSAGE_BYTES)
            .max_encoding_message_size(limits::MAX_RPC_MESSAGE_BYTES);
        let rpc = tokio::spawn(async move {
            let mut server = Server::builder()
                .http2_keepalive_interval(Some(KEEP_ALIVE))
                .http2_keepalive_timeout(Some(KEEP_ALIVE))
                .initial_connection_window_size(CONNECTION_WINDOW);
            let served = server.add_service(service).serve_with_incoming_shutdown(listening.incoming, async {
                // A dropped sender says the same.
                let _ = drained.await;
            });
            served.await.map_err(|e| Error::unavailable(format!("rpc listener: {e}")))
        });
        let heart = Heartbeat::new(host.clone(), reporter, Mailbox::new(desired, progress));
        Ok(Self {
            converger: tokio::spawn(converge::run(host.clone(), orders, converging.clone())),
            heart: heart.spawn(threads, beating.clone())?,
            progress: progressed,
            host,
            data,
            converging,
            beating,
            drain,
            rpc,
        })
    }

    /// Ends without the right to anything: nothing more is served, flushed or reported.
    async fn abandon(self) -> Result<()> {
        self.host.lease.revoke();
        self.rpc.abort();
        self.beating.cancel();
        self.converger.abort();
        let ended = self.end_engine().await;
        drop(self.data);
        ended
    }

    async fn end_engine(&self) -> Result<()> {
        let ended = tokio::time::timeout(END_LOG, self.host.engine.shutdown()).await;
        ended.unwrap_or_else(|_| Err(Error::unavailable("the log could not be closed; what was acknowledged is in it")))
    }

    /// Ends cleanly: tablets flushed, no new requests, tablets closed and reported so, log closed. Each step has its time.
    async fn finish(mut self) -> Result<()> {
        // Others take the tablets while this one still serves them; without others, little is left to flush afterwards.
        let ahead = async {
            if self.host.others.load(Ordering::Acquire) {
                hand_over(&self.host).await;
            } else {
                converge::flush_all(&self.host).await;
            }
        };
        if tokio::time::timeout(AHEAD, ahead).await.is_err() {
            let left = self.host.registry.unclosed().len();
            tracing::warn!(left, "not all tablets were handed over or flushed within {} s; the log has their rows", AHEAD.as_secs());
        }
        self.converging.cancel();
        if tokio::time::timeout(SETTLE, &mut self.converger).await.is_err() {
            self.converger.abort();
        }
        let _ = std::mem::replace(&mut self.drain, oneshot::channel().0).send(());
        if tokio::time::timeout(DRAIN, &mut self.rpc).await.is_err() {
            self.rpc.abort();
        }
        // A store that does not answer must not keep the process from ending: the log has all rows.
        let _ = tokio::time::timeout(CLOSE_WITHIN, converge::close_all(&self.host, CLOSE_TRIES)).await;
        let open = self.host.registry.unclosed();
        if !open.is_empty() {
            tracing::warn!(tablets = ?open, "tablets could not be flushed; their rows stay in the log");
        }
        last_word(&self.host, self.progress.clone()).await;
        self.beating.cancel();
        let _ = (&mut self.heart).await;
        self.host.lease.revoke();
        let ended = self.end_engine().await;
        drop(self.data);
        ended
    }
}

/// Asks for other owners of all tablets, and waits until they are elsewhere.
async fn hand_over(host: &Host) {
    host.leaving.store(true, Ordering::Release);
    host.registry.reportable.notify_one();
    while !host.registry.unclosed().is_empty() && host.others.load(Ordering::Acquire) {
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until a report sent from now on is answered: the master then knows that all tablets are closed.
async fn last_word(host: &Host, mut progress: watch::Receiver<(u64, u64)>) {
    let sent = progress.borrow_and_update().0;
    host.registry.reportable.notify_one();
    let _ = tokio::time::timeout(LAST_WORD, progress.wait_for(|(_, answered)| *answered > sent)).await;
}

/// Runs until told to stop or until a part ends by itself; then ends the others. The folder is free afterwards.
async fn supervise(mut parts: Parts, stop: CancellationToken, tell: watch::Sender<Option<Result<()>>>) {
    let why = tokio::select! {
        () = stop.cancelled() => Ok(()),
        ended = &mut parts.heart => Err(reason(ended)),
        ended = &mut parts.rpc => Err(reason(ended)),
    };
    let how = match why {
        Ok(()) => parts.finish().await,
        Err(e) => {
            tracing::error!(error = %e, "tablet server ends itself");
            if let Err(e) = parts.abandon().await {
                tracing::warn!(error = %e, "the log was not closed cleanly");
            }
            Err(e)
        }
    };
    tell.send_replace(Some(how));
}

fn reason(ended: Result<Result<()>, impl std::fmt::Display>) -> Error {
    match ended {
        Ok(Err(e)) => e,
        Ok(Ok(())) => Error::internal("a part of the tablet server ended without being told to"),
        Err(e) => Error::internal(format!("a part of the tablet server failed: {e}")),
    }
}
