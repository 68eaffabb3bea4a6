//! Calls over a real socket, to a gateway with a cluster of one behind it.

use super::BigtableClient;
use super::messages::*;
use crate::cluster::Cluster;
use crate::rest::{App, router};
use crate::sql::Sql;
use crate::writes::Admission;
use axum::body::Body;
use bytes::Bytes;
use common::config::{LogKind, MasterConfig, TabletServerConfig};
use common::row::{ReadSpec, Row};
use common::rpc::master::Command;
use common::schema::{StoredQualifier, TableSpec};
use common::time::SystemClock;
use futures::TryStreamExt;
use prost::Message;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use tempfile::TempDir;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tower::ServiceExt;

const TABLE: &str = "projects/p/instances/i/tables/raw.t";

/// A cluster with a table `raw.t` of raw keys and the family `f`, and the port that REST and gRPC share.
struct World {
    cluster: Arc<Cluster>,
    admission: Arc<Admission>,
    address: SocketAddr,
    client: BigtableClient<Channel>,
    _serving: AbortOnDropHandle<()>,
    _tabletserver: tabletserver::TabletServer,
    _master: master::Master,
    _dir: TempDir,
}

impl World {
    /// That may hold so many bytes of rows on their way.
    async fn with_room(bytes: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listen: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let (store, clock) = (dir.path().join("bucket").display().to_string(), SystemClock::shared());
        let master =
            master::Master::start(MasterConfig::new(listen, dir.path().join("master"), store.clone()), clock.clone()).await.unwrap();
        let masters = vec![master.local_addr().to_string()];
        let config = TabletServerConfig {
            listen,
            advertise: None,
            data_dir: dir.path().join("server"),
            store,
            masters: masters.clone(),
            memtable_bytes: 16 << 20,
            log: LogKind::Disk,
            cache_bytes: 64 << 20,
            disk_cache_bytes: None,
        };
        let tabletserver = tabletserver::TabletServer::start(config, clock.clone()).await.unwrap();
        let cluster = Cluster::connect(&masters, clock).await.unwrap();
        let columns = json!([{ "name": "n", "type": "int64", "family": "f" }]);
        let spec: TableSpec = serde_json::from_value(
            json!({ "name": "raw.t", "families": { "f": { "gc": "keep_all" } }, "columns": columns, "split_at": [["m"]] }),
        )
        .unwrap();
        cluster.submit(Command::CreateTable { spec }).await.unwrap();
        let admission = Arc::new(Admission::of(bytes));
        let grpc = super::routes(cluster.clone(), admission.clone());
        let held = admission.clone();
        let app = App { sql: Sql::new(cluster.clone()).unwrap(), cluster: cluster.clone(), runner: None, admission };
        let listener = tokio::net::TcpListener::bind(listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = axum::serve(listener, router(Arc::new(app)).merge(grpc));
        let serving = AbortOnDropHandle::new(tokio::spawn(async move { server.await.unwrap() }));
        let client = BigtableClient::connect(format!("http://{address}")).await.unwrap();
        Self { cluster, admission: held, address, client, _serving: serving, _tabletserver: tabletserver, _master: master, _dir: dir }
    }

    async fn new() -> Self {
        Self::with_room(64 << 20).await
    }

    async fn mutate_row(&self, table: &str, entry: RowEntry) -> Result<(), Status> {
        let request =
            MutateRowRequest { table_name: table.into(), row_key: entry.row_key, mutations: entry.mutations, ..Default::default() };
        self.client.clone().mutate_row(request).await.map(drop)
    }

    /// The code and the message of each row's outcome, in the order of the rows.
    async fn mutate_rows(&self, table: &str, entries: Vec<RowEntry>) -> Result<Vec<(i32, String)>, Status> {
        let request = MutateRowsRequest { table_name: table.into(), entries, ..Default::default() };
        let messages: Vec<_> = self.client.clone().mutate_rows(request).await?.into_inner().try_collect().await?;
        let outcomes = messages.into_iter().flat_map(|m| m.entries);
        let told = |(at, outcome): (usize, RowOutcome)| {
            assert_eq!(outcome.index, at as i64);
            let status = outcome.status.unwrap();
            (status.code, status.message)
        };
        Ok(outcomes.enumerate().map(told).collect())
    }

    async fn row(&self, key: &str) -> Option<Row> {
        let table = self.cluster.table("raw.t").unwrap();
        let spec = ReadSpec { cells_per_column: 0, ..ReadSpec::row(key.as_bytes()) };
        let rows: Vec<Vec<Row>> = self.cluster.read(&table, spec, None).try_collect().await.unwrap();
        rows.into_iter().flatten().next()
    }

    /// Timestamps and values of the column `f:q`, newest first.
    async fn cells(&self, key: &str) -> Vec<(i64, String)> {
        let qualifier = StoredQualifier::Named("q".into()).encode();
        let cells = self.row(key).await.map_or_else(Vec::new, |row| row.cells);
        let cells = cells.into_iter().filter(|c| c.qualifier == qualifier);
        cells.map(|c| (c.timestamp.0, String::from_utf8(c.value.to_vec()).unwrap())).collect()
    }
}

fn entry(key: &str, changes: Vec<Change>) -> RowEntry {
    RowEntry { row_key: key.to_owned().into(), mutations: changes.into_iter().map(|c| Mutation { mutation: Some(c) }).collect() }
}

fn set(timestamp_micros: i64, value: &str) -> Change {
    let (family_name, column_qualifier) = ("f".to_owned(), "q".into());
    Change::SetCell(SetCell { family_name, column_qualifier, timestamp_micros, value: value.to_owned().into() })
}

#[tokio::test]
async fn a_row_is_changed_as_bigtable_changes_it() {
    let world = World::new().await;
    world.mutate_row(TABLE, entry("a", vec![set(1000, "old"), set(2000, "new")])).await.unwrap();
    assert_eq!(world.cells("a").await, [(2000, "new".into()), (1000, "old".into())]);
    world.mutate_row("projects/other/instances/any/tables/raw.t", entry("a", vec![set(1000, "again")])).await.unwrap();
    assert_eq!(world.cells("a").await, [(2000, "new".into()), (1000, "again".into())]);

    let range = TimestampRange { start_timestamp_micros: 2000, end_timestamp_micros: 0 };
    let delete = DeleteFromColumn { family_name: "f".into(), column_qualifier: "q".into(), time_range: Some(range) };
    world.mutate_row(TABLE, entry("a", vec![Change::DeleteFromColumn(delete)])).await.unwrap();
    assert_eq!(world.cells("a").await, [(1000, "again".into())]);

    // In order: what is set after a delete stays, whatever its timestamp.
    world.mutate_row(TABLE, entry("a", vec![Change::DeleteFromRow(DeleteFromRow {}), set(500_000, "stays")])).await.unwrap();
    assert_eq!(world.cells("a").await, [(500_000, "stays".into())]);
    world.mutate_row(TABLE, entry("a", vec![set(-1, "now")])).await.unwrap();
    let cells = world.cells("a").await;
    assert!(cells.len() == 2 && cells[0].1 == "now" && cells[0].0 > 1_700_000_000_000_000, "{cells:?}");
    let family = DeleteFromFamily { family_name: "f".into() };
    world.mutate_row(TABLE, entry("a", vec![Change::DeleteFromFamily(family)])).await.unwrap();
    assert_eq!(world.row("a").await, None);
}

#[tokio::test]
async fn each_row_of_a_batch_has_its_own_outcome() {
    let world = World::new().await;
    let elsewhere = Change::SetCell(SetCell { family_name: "nope".into(), ..Default::default() });
    let mistyped =
        Change::SetCell(SetCell { family_name: "f".into(), column_qualifier: "n".into(), timestamp_micros: -1, value: "seven".into() });
    let entries = vec![
        entry("a", vec![set(-1, "1")]),
        entry("b", vec![set(-1, "2"), elsewhere]),
        entry("", vec![set(-1, "3")]),
        entry("c", vec![]),
        entry("d", vec![Change::AddToCell(Aggregated {})]),
        entry("e", vec![set(1001, "4")]),
        entry("f", vec![mistyped]),
        entry("x", vec![set(-1, "5")]),
    ];
    let outcomes = world.mutate_rows(TABLE, entries).await.unwrap();
    let codes: Vec<i32> = outcomes.iter().map(|(code, _)| *code).collect();
    let wrong = Code::InvalidArgument as i32;
    assert_eq!(codes, [0, Code::NotFound as i32, wrong, wrong, Code::Unimplemented as i32, wrong, wrong, 0], "{outcomes:?}");
    assert!(outcomes[1].1.contains("column family not found"), "{outcomes:?}");
    for (key, found) in [("a", 1), ("b", 0), ("c", 0), ("d", 0), ("x", 1)] {
        assert_eq!(world.cells(key).await.len(), found, "row {key}");
    }
}

#[tokio::test]
async fn a_large_batch_is_answered_in_parts_that_clients_take() {
    let world = World::new().await;
    let entries = (0..5_000).map(|i| entry(&format!("{:02}-{i}", i % 100), vec![set(-1, "v")])).collect();
    let outcomes = world.mutate_rows(TABLE, entries).await.unwrap();
    assert!(outcomes.len() == 5_000 && outcomes.iter().all(|(code, _)| *code == 0));
    assert_eq!(world.cells("99-4999").await.len(), 1);
}

#[tokio::test]
async fn a_wrong_request_is_refused_as_a_whole() {
    let world = World::new().await;
    let rows = || vec![entry("a", vec![set(-1, "1")])];
    let code = async |table: &str, rows| world.mutate_rows(table, rows).await.unwrap_err().code();
    assert_eq!(code("projects/p/instances/i/tables/raw.none", rows()).await, Code::NotFound);
    assert_eq!(code("projects/p/instances/i/tables/system.runs", rows()).await, Code::FailedPrecondition);
    assert_eq!(code("raw.t", rows()).await, Code::InvalidArgument);
    assert_eq!(code(TABLE, Vec::new()).await, Code::InvalidArgument);
    let many = vec![entry("a", vec![set(-1, ""); 100_001])];
    assert_eq!(code(TABLE, many).await, Code::InvalidArgument);
    let view = MutateRowRequest { authorized_view_name: format!("{TABLE}/authorizedViews/v"), ..Default::default() };
    assert_eq!(world.client.clone().mutate_row(view).await.unwrap_err().code(), Code::Unimplemented);
    assert_eq!(world.mutate_row(TABLE, entry("", vec![set(-1, "")])).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(world.row("a").await, None);
}

#[tokio::test]
async fn rows_beyond_what_the_gateway_may_hold_are_refused_with_the_time_to_wait() {
    let world = World::with_room(64 << 10).await;
    let large = || entry("a", vec![set(-1, &"x".repeat(300 << 10))]);
    let others = world.admission.admit(0).await.unwrap();
    let refused = world.mutate_row(TABLE, large()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let status = RpcStatus::decode(refused.details()).unwrap();
    assert_eq!(status.details[0].type_url, RetryInfo::TYPE);
    assert_eq!(world.row("a").await, None);
    drop(others);
    world.mutate_row(TABLE, large()).await.unwrap();
    assert_eq!(world.cells("a").await.len(), 1);
}

#[tokio::test]
async fn a_call_ends_with_its_time() {
    let world = World::new().await;
    // A client that waits itself would not see what the server says.
    let code = async |timeout: &str| {
        let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        let call = axum::http::Request::post("/google.bigtable.v2.Bigtable/MutateRows").header("grpc-timeout", timeout);
        let call = call.header("content-type", "application/grpc").body(never).unwrap();
        let answer = super::routes(world.cluster.clone(), world.admission.clone()).oneshot(call).await.unwrap();
        Status::from_header_map(answer.headers()).unwrap().code()
    };
    assert_eq!(code("10m").await, Code::DeadlineExceeded);
    assert_eq!(code("soon").await, Code::InvalidArgument);
}

#[tokio::test]
async fn other_methods_name_those_that_are_there_and_rest_shares_the_port() {
    let world = World::new().await;
    let channel = Channel::from_shared(format!("http://{}", world.address)).unwrap().connect().await.unwrap();
    for method in ["/google.bigtable.v2.Bigtable/ReadRows", "/google.bigtable.admin.v2.BigtableTableAdmin/CreateTable"] {
        let mut grpc = tonic::client::Grpc::new(channel.clone());
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<MutateRowRequest, MutateRowResponse>::default();
        let refused = grpc.unary(Request::new(MutateRowRequest::default()), method.parse().unwrap(), codec).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented);
        assert!(refused.message().contains(&method[1..]) && refused.message().contains("MutateRows"), "{refused:?}");
    }
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut http1 = tokio::net::TcpStream::connect(world.address).await.unwrap();
    http1.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    http1.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
