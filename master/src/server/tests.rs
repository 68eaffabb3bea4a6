//! A real master in this process, over gRPC, on a folder.

use super::Master;
use common::catalog::Catalog;
use common::changes::{Changes, Replica};
use common::config::{LogKind, MasterConfig};
use common::ids::{Incarnation, Seq, ServerId};
use common::rpc::Json;
use common::rpc::master::{Command, Orders, Reply, Report, TabletReport, TabletState, WatchRequest};
use common::rpc::master_service::master_client::MasterClient;
use common::schema::TableSpec;
use common::time::SystemClock;
use common::{Error, ErrorKind, Result};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

type Client = MasterClient<Channel>;

fn config(folder: &Path, data: &str, store: &str) -> MasterConfig {
    let store = folder.join(store).to_str().unwrap().to_owned();
    MasterConfig::new("127.0.0.1:0".parse().unwrap(), folder.join(data), store)
}

async fn start(folder: &Path) -> (Master, Client) {
    let master = Master::start(config(folder, "master", "store"), SystemClock::shared()).await.unwrap();
    let client = MasterClient::connect(format!("http://{}", master.local_addr())).await.unwrap();
    (master, client)
}

async fn submit(client: &mut Client, command: Command) -> Result<Reply> {
    let reply = client.submit(Json::of(&command).unwrap()).await.map_err(Error::from)?;
    reply.into_inner().parse()
}

async fn catalog(client: &mut Client) -> Catalog {
    match submit(client, Command::GetCatalog).await.unwrap() {
        Reply::Catalog(catalog) => *catalog,
        other => panic!("{other:?}"),
    }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.unwrap()
}

/// A tablet server that opens at once whatever it should hold.
struct Fake {
    server: ServerId,
    incarnation: Incarnation,
    sequence: u64,
    list: Replica<common::rpc::master::Desired>,
    tables: Replica<Arc<common::schema::Table>>,
    held: Vec<TabletReport>,
    up: mpsc::Sender<Json>,
    down: Streaming<Json>,
}

impl Fake {
    async fn join(client: &mut Client, server: ServerId, incarnation: u64) -> Self {
        let (up, reports) = mpsc::channel(8);
        let down = client.heartbeat(ReceiverStream::new(reports)).await.unwrap().into_inner();
        let incarnation = Incarnation(incarnation);
        let mut fake =
            Self { server, incarnation, sequence: 0, list: Replica::default(), tables: Replica::default(), held: Vec::new(), up, down };
        fake.report().await;
        fake
    }

    async fn report(&mut self) {
        self.sequence += 1;
        let report = Report {
            server: self.server,
            incarnation: self.incarnation,
            address: "127.0.0.1:9".into(),
            log: LogKind::Disk,
            sequence: self.sequence,
            order_version: self.list.version().unwrap_or(0),
            tablets: Changes::whole(self.sequence, self.held.clone()),
            requests: 0,
            wall: SystemClock::shared().now(),
            leaving: false,
        };
        self.up.send(Json::of(&report).unwrap()).await.unwrap();
    }

    async fn next(&mut self) -> Result<Orders> {
        let json = within(self.down.message()).await.map_err(Error::from)?;
        json.ok_or_else(|| Error::unavailable("ended"))?.parse()
    }

    /// Follows orders until it holds `count` tablets, and says so.
    async fn hold(&mut self, count: usize) -> Orders {
        loop {
            let orders = self.next().await.unwrap();
            self.list.take(orders.desired.clone()).unwrap();
            self.tables.take(orders.tables.clone()).unwrap();
            let open = |d: &common::rpc::master::Desired| TabletReport {
                tablet: d.tablet,
                epoch: d.epoch,
                state: TabletState::Open,
                visible_seq: Seq(0),
                floor: Seq(0),
                bytes: 0,
                load: Default::default(),
                split: None,
                flushed: None,
            };
            self.held = self.list.iter().map(open).collect();
            self.report().await;
            if self.held.len() == count {
                return orders;
            }
        }
    }
}

/// Follows the catalog until it is as wanted.
async fn until(client: &mut Client, is: impl Fn(&Catalog) -> bool) -> Catalog {
    let mut stream = client.watch(Json::of(&WatchRequest { known: 0 }).unwrap()).await.unwrap().into_inner();
    within(async {
        let mut catalog = Catalog::default();
        loop {
            catalog = catalog.after(stream.message().await.unwrap().unwrap().parse().unwrap()).unwrap();
            if is(&catalog) {
                return catalog;
            }
        }
    })
    .await
}

async fn register(client: &mut Client) -> ServerId {
    match submit(client, Command::RegisterServer).await.unwrap() {
        Reply::Registered { server } => server,
        other => panic!("{other:?}"),
    }
}

fn create(name: &str) -> Command {
    let splits = vec![vec!["m".into()]];
    Command::CreateTable { spec: TableSpec { split_at: splits, ..TableSpec::named(name) } }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_created_assigned_opened_and_still_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (master, mut client) = start(folder.path()).await;
    let server = register(&mut client).await;
    let mut fake = Fake::join(&mut client, server, 1).await;
    fake.hold(1).await;
    assert_eq!(fake.tables.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["system.runs"]);
    let Reply::Table { table, catalog: version } = submit(&mut client, create("raw.a")).await.unwrap() else { panic!() };
    fake.hold(3).await;
    let open = until(&mut client, |c| c.tablets.len() == 3 && c.tablets.iter().all(|t| t.open)).await;
    assert!(open.version > version);
    assert_eq!(open.address_of(&open.tablets[0]), Some("127.0.0.1:9"));
    fake.report().await;
    let answer = fake.next().await.unwrap();
    assert!(answer.lease_ms == 2500 && !answer.fenced && answer.term >= 1);
    master.shutdown().await.unwrap();

    let (master, mut client) = start(folder.path()).await;
    let after = catalog(&mut client).await;
    assert_eq!(after.table("raw.a").map(AsRef::as_ref), Some(&*table));
    assert_eq!(after.tablets, open.tablets);
    let mut fake = Fake::join(&mut client, server, 2).await;
    fake.hold(3).await;
    assert!(fake.list.iter().all(|d| d.epoch.0 == 2), "a new life gets higher epochs");
    until(&mut client, |c| c.tablets.iter().all(|t| t.open && t.epoch.0 == 2)).await;
    let mut old = Fake::join(&mut client, server, 1).await;
    assert!(old.next().await.unwrap().fenced, "an earlier life is told to end");
    let Reply::Table { table: again, .. } = submit(&mut client, create("raw.a")).await.unwrap() else { panic!() };
    assert_eq!(again, table);
    master.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_is_in_the_object_store_before_a_new_table_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let (master, mut client) = start(folder.path()).await;
    let copies = || std::fs::read_dir(folder.path().join("store/cluster/raft")).map_or(0, Iterator::count);
    submit(&mut client, create("raw.a")).await.unwrap();
    assert!(copies() >= 1);
    assert!(folder.path().join("store/cluster/identity").exists());
    master.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_takes_milliseconds_and_a_start_less_than_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let (master, mut client) = start(folder.path()).await;
    let started = begun.elapsed();
    submit(&mut client, create("raw.a")).await.unwrap();
    let begun = Instant::now();
    const COMMANDS: u32 = 20;
    for at in 0..COMMANDS {
        let at = common::time::Micros(i64::from(at));
        submit(&mut client, Command::SetWatermark { name: "raw.a".into(), at }).await.unwrap();
    }
    let each = begun.elapsed() / COMMANDS;
    println!("start {started:?}, command {each:?}");
    // Loose, because tests share the machine; alone it is a few ms.
    assert!(started < Duration::from_secs(5) && each < Duration::from_millis(500), "start {started:?}, command {each:?}");
    master.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_master_does_not_start_on_another_clusters_store() {
    let folder = tempfile::tempdir().unwrap();
    let (master, _) = start(folder.path()).await;
    master.shutdown().await.unwrap();
    let refused = |config| async { Master::start(config, SystemClock::shared()).await.map(|_| ()).unwrap_err() };
    let e = refused(config(folder.path(), "empty", "store")).await;
    assert!(e.kind == ErrorKind::FailedPrecondition && e.message.contains("data folder is empty"), "{e}");
    let e = refused(config(folder.path(), "master", "elsewhere")).await;
    assert!(e.kind == ErrorKind::FailedPrecondition && e.message.contains("no `cluster/identity`"), "{e}");
    let other = Master::start(config(folder.path(), "second", "second-store"), SystemClock::shared()).await.unwrap();
    other.shutdown().await.unwrap();
    let e = refused(config(folder.path(), "master", "second-store")).await;
    assert!(e.message.contains("belongs to cluster"), "{e}");
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_and_ingests_live_in_the_leaders_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (master, mut client) = start(folder.path()).await;
    submit(&mut client, create("raw.a")).await.unwrap();
    let open = Command::OpenIngest { name: "raw.a".into(), ingest: "load".into() };
    let Reply::Done { catalog: first } = submit(&mut client, open.clone()).await.unwrap() else { panic!() };
    assert_eq!(catalog(&mut client).await.ingesting.len(), 1);
    let Reply::Done { catalog: second } = submit(&mut client, open).await.unwrap() else { panic!() };
    assert_eq!(first, second, "keeping an ingest open is no entry");
    submit(&mut client, Command::CloseIngest { ingest: "load".into() }).await.unwrap();
    assert!(catalog(&mut client).await.ingesting.is_empty());
    let gone = submit(&mut client, Command::KeepClaims { claims: vec![common::ids::ClaimId(7)] }).await.unwrap_err();
    assert!(gone.kind == ErrorKind::FailedPrecondition && gone.message.contains('7'), "{gone}");
    let mut stranger = Fake::join(&mut client, ServerId(77), 1).await;
    assert_eq!(stranger.next().await.unwrap_err().kind, ErrorKind::FailedPrecondition);
    master.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_of_the_data_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (master, mut client) = start(folder.path()).await;
    submit(&mut client, create("raw.a")).await.unwrap();
    master.shutdown().await.unwrap();
    std::fs::create_dir(folder.path().join("old")).unwrap();
    std::fs::copy(folder.path().join("master/raft.redb"), folder.path().join("old/raft.redb")).unwrap();
    let (master, mut client) = start(folder.path()).await;
    submit(&mut client, create("raw.b")).await.unwrap();
    master.shutdown().await.unwrap();
    let e = Master::start(config(folder.path(), "old", "store"), SystemClock::shared()).await.map(|_| ()).unwrap_err();
    assert!(e.kind == ErrorKind::FailedPrecondition && e.message.contains("old copy"), "{e}");
    start(folder.path()).await.0.shutdown().await.unwrap();
}
