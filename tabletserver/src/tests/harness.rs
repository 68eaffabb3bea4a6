use crate::TabletServer;
use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use bytes::Bytes;
use common::changes::{Changes, Replica};
use common::config::{LogKind, TabletServerConfig};
use common::ids::{Epoch, Seq, ServerId, TableId, TabletId};
use common::key::KeyRange;
use common::row::{Mutation, ReadSpec, Row, RowMutation};
use common::rpc::master::{Command, Desired, Orders, Reply, Report, TabletReport, TabletState};
use common::rpc::master_service::master_server::{Master, MasterServer};
use common::rpc::net::Tcp;
use common::rpc::tablet::{ArrowChunk, ChangesRequest, ReadAt, ReadRequest, RowResult, ScanRequest, Target, WriteRequest};
use common::rpc::tablets_service::tablets_client::TabletsClient;
use common::rpc::{Json, channel};
use common::schema::{Table, TableKind};
use common::time::{Micros, SharedClock, SystemClock};
use common::value::Value;
use common::{Error, Result};
use futures::StreamExt;
use futures::stream::BoxStream;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status, Streaming};

/// A test that waits longer than this for something has failed.
const DEADLINE: Duration = Duration::from_secs(20);

pub(super) type Client = TabletsClient<Channel>;

/// What the master tells every server.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    pub(super) version: u64,
    pub(super) desired: Vec<Desired>,
    pub(super) tables: Vec<Table>,
    pub(super) fenced: bool,
    /// Reports are not answered.
    pub(super) silent: bool,
}

/// A master that gives id 1, grants leases of 2.5 s and orders what the test says.
#[derive(Clone, Debug)]
pub(super) struct FakeMaster {
    said: Arc<watch::Sender<Said>>,
    heard: Arc<watch::Sender<Option<Heard>>>,
}

/// A report with all tablets as reported up to it.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    report: Report,
    pub(super) tablets: Vec<TabletReport>,
}

impl std::ops::Deref for Heard {
    type Target = Report;

    fn deref(&self) -> &Report {
        &self.report
    }
}

impl FakeMaster {
    fn orders(&self, answers: u64, heard: Option<u64>) -> Orders {
        let Said { version, desired, tables, fenced, .. } = self.said.borrow().clone();
        let desired = Changes::whole(version, desired);
        let tables = Changes::whole(version, tables.into_iter().map(Arc::new).collect());
        Orders { answers, lease_ms: 2500, term: 1, applied: version, heard, desired, tables, fenced, others: false }
    }

    async fn answer(self, mut reports: Streaming<Json>, down: tokio::sync::mpsc::Sender<Result<Json, Status>>) {
        let (mut said, mut answers, mut tablets) = (self.said.subscribe(), 0, Replica::<TabletReport>::default());
        loop {
            tokio::select! {
                report = reports.next() => {
                    let Some(Ok(report)) = report else { return };
                    let report: Report = report.parse().unwrap();
                    answers = report.sequence;
                    tablets.take(report.tablets.clone()).unwrap();
                    self.heard.send_replace(Some(Heard { report, tablets: tablets.iter().cloned().collect() }));
                }
                _ = said.changed() => {}
            }
            if said.borrow_and_update().silent {
                continue;
            }
            if down.send(Ok(Json::of(&self.orders(answers, tablets.version())).unwrap())).await.is_err() {
                return;
            }
        }
    }
}

#[tonic::async_trait]
impl Master for FakeMaster {
    type HeartbeatStream = BoxStream<'static, Result<Json, Status>>;
    type WatchStream = BoxStream<'static, Result<Json, Status>>;

    async fn submit(&self, request: Request<Json>) -> Result<Response<Json>, Status> {
        assert_eq!(request.into_inner().parse::<Command>()?, Command::RegisterServer);
        Ok(Response::new(Json::of(&Reply::Registered { server: ServerId(1) })?))
    }

    async fn heartbeat(&self, request: Request<Streaming<Json>>) -> Result<Response<Self::HeartbeatStream>, Status> {
        let (down, stream) = tokio::sync::mpsc::channel(4);
        tokio::spawn(self.clone().answer(request.into_inner(), down));
        Ok(Response::new(tokio_stream::wrappers::ReceiverStream::new(stream).boxed()))
    }

    async fn watch(&self, _: Request<Json>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Error::unimplemented("watch").into())
    }
}

/// A master, a folder for the object store and one for the server.
pub(super) struct World {
    pub(super) master: FakeMaster,
    address: String,
    pub(super) dir: TempDir,
    pub(super) log: LogKind,
}

impl World {
    pub(super) async fn new() -> Self {
        let master = FakeMaster { said: Arc::new(watch::channel(Said::default()).0), heard: Arc::new(watch::channel(None).0) };
        let listener = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(Server::builder().add_service(MasterServer::new(master.clone())).serve_with_incoming(listener));
        Self { master, address, dir: tempfile::tempdir().unwrap(), log: LogKind::Disk }
    }

    pub(super) fn config(&self) -> TabletServerConfig {
        let folder = |name: &str| Path::new(self.dir.path()).join(name);
        TabletServerConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            advertise: None,
            data_dir: folder("server"),
            store: folder("store").display().to_string(),
            // The first one is nobody: a server tries all.
            masters: vec!["127.0.0.1:1".into(), self.address.clone()],
            memtable_bytes: 64 << 20,
            log: self.log,
            cache_bytes: 64 << 20,
            disk_cache_bytes: None,
        }
    }

    pub(super) async fn start(&self) -> TabletServer {
        self.start_with(SystemClock::shared()).await
    }

    pub(super) async fn start_with(&self, clock: SharedClock) -> TabletServer {
        TabletServer::start(self.config(), clock).await.unwrap()
    }

    /// Starts a server and opens `tables`, each as one tablet of the table's number, at `epoch`.
    pub(super) async fn serve(&self, tables: &[&Table], epoch: u64) -> (TabletServer, Client) {
        let server = self.start().await;
        self.order(|said| {
            said.tables = tables.iter().copied().cloned().collect();
            said.desired = tables.iter().map(|t| desired(t, epoch)).collect();
        });
        for table in tables {
            self.until_tablet(table.id.0, |epoch_is, state| epoch_is == epoch && *state == TabletState::Open).await;
        }
        let client = client(&server).await;
        (server, client)
    }

    /// Says something new; the version it has.
    pub(super) fn order(&self, change: impl FnOnce(&mut Said)) -> u64 {
        self.master.said.send_modify(|said| {
            change(said);
            said.version += 1;
        });
        self.master.said.borrow().version
    }

    /// Waits for a report that `is` what the test wants.
    pub(super) async fn until(&self, is: impl Fn(&Heard) -> bool) -> Heard {
        let mut heard = self.master.heard.subscribe();
        let found = tokio::time::timeout(DEADLINE, heard.wait_for(|r| r.as_ref().is_some_and(&is))).await;
        found
            .unwrap_or_else(|_| panic!("the report waited for does not come; last: {:?}", self.master.heard.borrow()))
            .unwrap()
            .clone()
            .unwrap()
    }

    /// Waits until tablet `id` is as it should be.
    pub(super) async fn until_tablet(&self, id: u64, is: impl Fn(u64, &TabletState) -> bool) -> Heard {
        self.until(|r| r.tablets.iter().any(|t| t.tablet == TabletId(id) && is(t.epoch.0, &t.state))).await
    }

    /// Waits until the server has taken the orders of `version`.
    pub(super) async fn until_taken(&self, version: u64) {
        self.until(|r| r.order_version >= version).await;
    }
}

pub(super) async fn client(server: &TabletServer) -> Client {
    Client::new(channel::connect(&Tcp::shared(), &server.local_addr().to_string()).await.unwrap())
}

pub(super) fn desired(table: &Table, epoch: u64) -> Desired {
    Desired {
        tablet: TabletId(table.id.0),
        range: KeyRange::ALL,
        epoch: Epoch(epoch),
        table: table.id,
        pin: Some(Seq::ZERO),
        runs: Vec::new(),
        aborted: Vec::new(),
        fences: Vec::new(),
        split: None,
        flush: None,
    }
}

/// `k: string` → `n: int64`, `s: string`, undeclared `attrs`.
pub(super) fn table(id: u64, name: &str, kind: TableKind) -> Table {
    let spec = serde_json::json!({"name": name, "key": [{"k": "string"}], "columns": {"n": "int64", "s": "string"}});
    Table::create(TableId(id), kind, serde_json::from_value(spec).unwrap()).unwrap()
}

pub(super) fn target(table: &Table) -> Option<Target> {
    Some(Target::new(table.id, TabletId(table.id.0)))
}

pub(super) fn key(table: &Table, k: &str) -> Bytes {
    table.key_schema().encode(&[Some(Value::String(k.into()))]).unwrap()
}

/// Sets `n` of row `k`.
pub(super) fn set(table: &Table, k: &str, n: i64) -> RowMutation {
    let column = table.column("n").unwrap();
    let set =
        Mutation::Set { family: column.family, qualifier: column.stored(), timestamp: Some(Micros(1)), value: Value::Int64(n).to_cell() };
    RowMutation { key: key(table, k), mutations: vec![set] }
}

/// A row of key parts only.
pub(super) fn mark(table: &Table, k: &str) -> RowMutation {
    let set = Mutation::Set { family: table.marker_family(), qualifier: Bytes::new(), timestamp: None, value: Bytes::new() };
    RowMutation { key: key(table, k), mutations: vec![set] }
}

pub(super) fn write_request(table: &Table, rows: Vec<RowMutation>) -> WriteRequest {
    WriteRequest { target: target(table), request_id: Bytes::new(), rows: rows.into_iter().map(Into::into).collect(), internal: false }
}

pub(super) async fn write(client: &mut Client, table: &Table, rows: Vec<RowMutation>) -> Result<Vec<RowResult>> {
    Ok(client.write(write_request(table, rows)).await?.into_inner().results)
}

pub(super) async fn read(client: &mut Client, table: &Table, spec: ReadSpec, at: ReadAt) -> Result<Vec<Row>> {
    let request = ReadRequest { target: target(table), spec: Some(spec.into()), at: Some(at) };
    let mut answers = client.read(request).await?.into_inner();
    let mut rows = Vec::new();
    while let Some(answer) = answers.message().await? {
        rows.extend(answer.rows.into_iter().map(Row::from));
    }
    Ok(rows)
}

async fn collect(mut chunks: Streaming<ArrowChunk>) -> Result<Vec<RecordBatch>> {
    let mut stream = Vec::new();
    while let Some(chunk) = chunks.message().await? {
        stream.extend_from_slice(&chunk.ipc);
    }
    Ok(StreamReader::try_new(Cursor::new(stream), None).unwrap().map(|b| b.unwrap()).collect())
}

pub(super) fn names(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|c| (*c).to_owned()).collect()
}

/// The scanned rows as text, one line a row.
pub(super) async fn scan(client: &mut Client, table: &Table, columns: &[&str], at: ReadAt) -> Result<Vec<String>> {
    let (target, spec) = (target(table), Some(ReadSpec::default().into()));
    let request = ScanRequest { target, spec, at: Some(at), columns: names(columns), batch_rows: 2 };
    Ok(lines(&collect(client.scan(request).await?.into_inner()).await?))
}

/// The changed rows as text, one line an image.
pub(super) async fn changes(client: &mut Client, table: &Table, columns: &[&str], from: Seq, to: ReadAt) -> Result<Vec<String>> {
    let request = ChangesRequest { target: target(table), from: from.0, to: Some(to), columns: names(columns), range: None };
    Ok(lines(&collect(client.changes(request).await?.into_inner()).await?))
}

fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let line = |batch: &RecordBatch, row: usize| {
        let value = |column: &arrow::array::ArrayRef| arrow::util::display::array_value_to_string(column, row).unwrap();
        batch.columns().iter().map(value).collect::<Vec<_>>().join(" ")
    };
    batches.iter().flat_map(|b| (0..b.num_rows()).map(|row| line(b, row))).collect()
}
