//! The hosts of a run, and what they share that is not the cluster's.

use crate::checks::Last;
use crate::clients::Client;
use crate::clock::SimClock;
use crate::net::SimNet;
use crate::operator;
use crate::plan::{Plan, host};
use crate::store::{StoreClient, StoreHost};
use crate::trace::Trace;
use crate::volume::Volume;
use crate::witness::Witness;
use common::config::{LogKind, MasterConfig, TabletServerConfig};
use common::surroundings::Surroundings;
use common::threads::Threads;
use gateway::cluster::Cluster;
use master::raft::Disk;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tabletserver::TabletServer;
use tempfile::TempDir;
use tokio::sync::watch;

/// Where masters and tablet servers listen.
const PORT: u16 = 7700;
/// Bytes of blocks that a tablet server keeps in memory: less than it has, so that it reads the store.
const CACHE_BYTES: u64 = 64 << 10;
/// Wall clocks differ by less than this.
const SKEW_MS: u64 = 3_000;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The cluster comes up.
    Begin,
    /// Clients work, faults befall hosts.
    Run,
    /// No more faults; clients end what they are at, and all must become well.
    Settle,
}

/// What all of a run shares.
pub struct World {
    /// What it consists of.
    pub plan: Plan,
    /// What happens.
    pub trace: Trace,
    /// What is seen.
    pub witness: Witness,
    /// Numbers for values that nobody else writes.
    pub unique: AtomicU64,
    stage: watch::Sender<Stage>,
    store: StoreHost,
    stores: BTreeMap<String, Arc<StoreClient>>,
    clocks: BTreeMap<String, common::time::SharedClock>,
    volumes: BTreeMap<String, Volume>,
    /// Tablet servers' folders.
    folder: TempDir,
    /// Clients that are at something.
    busy: AtomicUsize,
    leader: Mutex<Option<String>>,
    /// Hosts whose process has ended by itself.
    ended: Mutex<Vec<String>>,
    /// What is waited for.
    awaited: Mutex<String>,
    last: Mutex<Option<Last>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// The world of a plan; `seed` draws what the plan leaves open.
    ///
    /// # Errors
    /// If there is no room for tablet servers' folders.
    pub fn new(plan: Plan, seed: u64, trace: Trace) -> std::io::Result<Arc<Self>> {
        let random = &mut StdRng::seed_from_u64(seed);
        let (store, witness) = (StoreHost::new(plan.forgetful), Witness::default());
        let hosts: Vec<String> = plan.hosts().into_iter().chain([operator::HOST.to_owned()]).collect();
        let stores = hosts.iter().map(|h| (h.clone(), store.client(h, random.random(), &trace, &witness))).collect();
        let clock = |h: &String, random: &mut StdRng| (h.clone(), SimClock::ahead(Duration::from_millis(random.random_range(0..SKEW_MS))));
        let clocks = hosts.iter().map(|h| clock(h, random)).collect();
        let volumes = (1..=plan.masters).map(|n| (host("master", n), Volume::new(random.random()))).collect();
        Ok(Arc::new(Self {
            plan,
            trace,
            witness,
            unique: AtomicU64::new(1),
            stage: watch::Sender::new(Stage::Begin),
            store,
            stores,
            clocks,
            volumes,
            folder: tempfile::tempdir()?,
            busy: AtomicUsize::new(0),
            leader: Mutex::default(),
            ended: Mutex::default(),
            awaited: Mutex::default(),
            last: Mutex::default(),
        }))
    }

    /// An event of `host`.
    pub fn note(&self, host: &str, what: std::fmt::Arguments<'_>) {
        self.trace.note(host, what);
    }

    /// How far the run is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// The run is so far.
    pub fn enter(&self, stage: Stage) {
        self.note("run", format_args!("{stage:?}"));
        self.stage.send_replace(stage);
    }

    /// The masters' addresses.
    #[must_use]
    pub fn master_addresses(&self) -> Vec<String> {
        (1..=self.plan.masters).map(|n| format!("{}:{PORT}", host("master", n))).collect()
    }

    /// What a role on this host finds around it.
    #[must_use]
    pub fn surroundings(&self, host: &str) -> Surroundings {
        let store = self.stores.get(host).map(|store| store.shared());
        let clock = self.clocks.get(host).cloned().unwrap_or_else(|| SimClock::ahead(Duration::ZERO));
        Surroundings { clock, net: SimNet::shared(host, &self.trace), threads: Threads::Callers, store }
    }

    /// The host's way to the store.
    #[must_use]
    pub fn store_of(&self, host: &str) -> Option<&Arc<StoreClient>> {
        self.stores.get(host)
    }

    /// What is on the host's disk without being synced may be lost.
    pub fn lose_unsynced(&self, host: &str) {
        if let Some(volume) = self.volumes.get(host) {
            volume.crash();
        }
    }

    /// Whether clients are at something.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    /// Who leads, as far as the operator knows.
    pub fn leads(&self, leader: Option<String>) {
        *lock(&self.leader) = leader;
    }

    /// Who leads, as far as the operator knows.
    #[must_use]
    pub fn leader(&self) -> Option<String> {
        lock(&self.leader).clone()
    }

    /// Hosts whose process has ended by itself since this was asked last.
    #[must_use]
    pub fn ended(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.ended))
    }

    /// What the operator waits for.
    pub fn awaits(&self, what: String) {
        self.note(operator::HOST, format_args!("waits: {what}"));
        *lock(&self.awaited) = what;
    }

    /// What the operator waits for.
    #[must_use]
    pub fn awaited(&self) -> String {
        lock(&self.awaited).clone()
    }

    /// What the rows hold at the end.
    pub fn finish(&self, last: Last) {
        *lock(&self.last) = Some(last);
    }

    /// What the rows hold at the end, once it is known.
    #[must_use]
    pub fn last(&self) -> Option<Last> {
        lock(&self.last).clone()
    }

    /// The process of `host` is over; it must be started anew.
    async fn end(&self, host: &str, why: &common::Error) -> turmoil::Result {
        self.note(host, format_args!("ends: {why}"));
        tracing::info!(host, error = %why, "a process ends by itself");
        lock(&self.ended).push(host.to_owned());
        std::future::pending().await
    }
}

const fn anywhere() -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT)
}

async fn master(world: Arc<World>, n: usize) -> turmoil::Result {
    let me = host("master", n);
    world.witness.begins(&me);
    let own = format!("{me}:{PORT}");
    // The first one founds the cluster, the others join it.
    let masters = if n == 1 { Vec::new() } else { world.master_addresses().into_iter().filter(|a| *a != own).collect() };
    let config = MasterConfig {
        advertise: Some(own),
        masters,
        automatic: world.plan.automatic,
        split_bytes: world.plan.split_bytes,
        ..MasterConfig::new(anywhere(), world.folder.path().join(&me), String::new())
    };
    let volume = world.volumes[&me].open();
    let started = async {
        let disk = Disk::in_memory(volume)?;
        master::Running::start(config, disk, world.surroundings(&me)).await
    };
    match started.await {
        Ok(running) => {
            let why = running.failed().await;
            world.end(&me, &why).await
        }
        Err(e) => world.end(&me, &e).await,
    }
}

async fn tablet_server(world: Arc<World>, n: usize) -> turmoil::Result {
    let me = host("server", n);
    world.witness.begins(&me);
    let config = TabletServerConfig {
        listen: anywhere(),
        advertise: Some(format!("{me}:{PORT}")),
        data_dir: world.folder.path().join(&me),
        store: String::new(),
        masters: world.master_addresses(),
        log: LogKind::Object,
        memtable_bytes: world.plan.memtable_bytes,
        cache_bytes: CACHE_BYTES,
        disk_cache_bytes: Some(0),
    };
    match TabletServer::start_in(config, world.surroundings(&me)).await {
        Ok(server) => {
            let why = server.wait().await.err().unwrap_or_else(|| common::Error::internal("it was not told to end"));
            world.end(&me, &why).await
        }
        Err(e) => world.end(&me, &e).await,
    }
}

/// Counts clients that are at something, also those that end with their host.
struct Busy(Arc<World>);

impl Busy {
    fn new(world: &Arc<World>) -> Self {
        world.busy.fetch_add(1, Ordering::Relaxed);
        Self(world.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn gateway(world: Arc<World>, n: usize, seed: u64) -> turmoil::Result {
    let me = host("gateway", n);
    world.witness.begins(&me);
    let mut random = StdRng::seed_from_u64(seed ^ world.witness.life(&me));
    let mut stage = world.stage.subscribe();
    let cluster = loop {
        match Cluster::connect_in(&world.master_addresses(), &world.surroundings(&me), world.plan.hedge).await {
            Ok(cluster) => break cluster,
            Err(e) => world.note(&me, format_args!("no cluster yet: {e}")),
        }
    };
    tokio::spawn(watch_catalogs(world.clone(), cluster.clone()));
    stage.wait_for(|stage| *stage >= Stage::Run).await?;
    while cluster.table(crate::clients::TABLE).is_err() {
        cluster.catalog_after(cluster.catalog().version).await;
    }
    for _ in 0..world.plan.clients {
        let client = Client::new(&world, &me, &cluster, random.random())?;
        let busy = Busy::new(&world);
        tokio::spawn(async move {
            client.run().await;
            drop(busy);
        });
    }
    std::future::pending().await
}

async fn watch_catalogs(world: Arc<World>, cluster: Arc<Cluster>) {
    let mut catalog = cluster.catalog();
    loop {
        world.witness.shown(catalog.clone());
        catalog = cluster.catalog_after(catalog.version).await;
    }
}

/// Puts all hosts of a world into a simulation.
pub fn populate(sim: &mut turmoil::Sim<'_>, world: &Arc<World>, seed: u64) {
    let random = &mut StdRng::seed_from_u64(seed);
    let shared = world.clone();
    sim.host("store", move || {
        let world = shared.clone();
        async move {
            world.store.run().await;
            Ok(())
        }
    });
    for n in 1..=world.plan.masters {
        let world = world.clone();
        sim.host(host("master", n), move || master(world.clone(), n));
    }
    for n in 1..=world.plan.servers {
        let world = world.clone();
        sim.host(host("server", n), move || tablet_server(world.clone(), n));
    }
    for n in 1..=world.plan.gateways {
        let (world, seed) = (world.clone(), random.random());
        sim.host(host("gateway", n), move || gateway(world.clone(), n, seed));
    }
    let (world, seed) = (world.clone(), random.random());
    sim.client(operator::HOST, async move { Ok(operator::run(world, seed).await?) });
}
