//! Routing against an in-memory tablet service.

use super::Cluster;
use common::catalog::{Catalog, CatalogChanges, Server, Tablet};
use common::changes::{Keyed, Part};
use common::conditional::{CheckAndMutate, Predicate};
use common::ids::{Epoch, ServerId, TableId, TabletId};
use common::key::KeyRange;
use common::row::{Cell, Mutation, ReadSpec, Row, RowMutation};
use common::rpc::Json;
use common::rpc::master_service::master_server::{Master, MasterServer};
use common::rpc::tablet::*;
use common::rpc::tablets_service::tablets_server::{Tablets, TabletsServer};
use common::schema::{Table, TableKind, TableSpec};
use common::surroundings::Surroundings;
use common::time::{Micros, SystemClock};
use common::version::cut;
use common::{Error, ErrorKind};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tonic::{Request, Response, Status, Streaming};

type Answer<T> = Result<Response<T>, Status>;

/// What a tablet does with the next calls, one entry a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    NotMine,
    Exhausted,
    /// Writes, and then breaks the connection.
    Lost,
    /// Writes, then breaks the connection, and the tablet is split in two that know of the write.
    LostAndSplit,
    /// Breaks the connection without having written, and the tablet is split in two.
    DroppedAndSplit,
    /// Sends one row, and then fails.
    Broken,
    /// Never answers.
    Stuck,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Requests by tablet.
    seen: HashSet<(u64, Vec<u8>)>,
    /// Conditional writes.
    decided: u64,
    catalog: Option<watch::Sender<Catalog>>,
    faults: Vec<Fault>,
    writes: usize,
    ranges: BTreeMap<u64, KeyRange>,
}

#[derive(Clone, Default)]
struct Fake {
    state: Arc<Mutex<State>>,
}

impl State {
    /// Two tablets with new ids in place of one, which have what it had.
    fn split(&mut self, tablet: u64, at: &str) {
        let range = self.ranges.remove(&tablet).unwrap();
        let parts = [KeyRange { end: Some(at.to_owned().into()), ..range.clone() }, KeyRange { start: at.to_owned().into(), ..range }];
        let ids = [10 * tablet, 10 * tablet + 1];
        for (id, range) in ids.into_iter().zip(parts) {
            self.ranges.insert(id, range);
            let known: Vec<_> = self.seen.iter().filter(|(of, _)| *of == tablet).map(|(_, request)| (id, request.clone())).collect();
            self.seen.extend(known);
        }
        self.catalog.as_ref().unwrap().send_modify(|catalog| {
            let was = catalog.tablets.get(TabletId(tablet)).unwrap();
            let part = |id: u64| Tablet { id: TabletId(id), range: self.ranges[&id].clone(), ..was.clone() };
            let others = catalog.tablets.iter().filter(|t| t.id != was.id).cloned();
            catalog.tablets = Arc::new(others.chain(ids.map(part)).collect::<Vec<_>>().into());
            catalog.version += 1;
        });
    }
}

impl Fake {
    fn fault(&self) -> Option<Fault> {
        self.state.lock().unwrap().faults.pop()
    }
}

#[tonic::async_trait]
impl Tablets for Fake {
    type ReadStream = BoxStream<'static, Result<ReadResponse, Status>>;
    type ScanStream = BoxStream<'static, Result<ArrowChunk, Status>>;
    type ChangesStream = BoxStream<'static, Result<ArrowChunk, Status>>;

    async fn write(&self, request: Request<WriteRequest>) -> Answer<WriteResponse> {
        let (request, fault) = (request.into_inner(), self.fault());
        match fault {
            Some(Fault::NotMine) => return Err(Error::not_mine("moved").into()),
            Some(Fault::Exhausted) => return Err(Error::exhausted("full", Duration::from_millis(1)).into()),
            _ => {}
        }
        let mut state = self.state.lock().unwrap();
        let tablet = request.target.unwrap().tablet;
        let Some(range) = state.ranges.get(&tablet).cloned() else { return Err(Error::not_mine("no more").into()) };
        if fault == Some(Fault::DroppedAndSplit) {
            state.split(tablet, "c");
            return Err(Status::unavailable("connection lost"));
        }
        let first = state.seen.insert((tablet, request.request_id.to_vec()));
        state.writes += 1;
        let write = |row: WireRowMutation| {
            if first && !range.contains(&row.key) {
                return RowResult::refused(&Error::not_mine("a key of another tablet"));
            }
            let row = RowMutation::try_from(row).unwrap();
            let Mutation::Set { value, .. } = &row.mutations[0] else { panic!("no set") };
            if value.as_ref() == b"bad" {
                return RowResult::refused(&Error::invalid("bad value"));
            }
            if first {
                state.rows.entry(row.key.to_vec()).or_default().extend_from_slice(value);
            }
            RowResult { seq: tablet, timestamp: 5, error: bytes::Bytes::new() }
        };
        let results = request.rows.into_iter().map(write).collect();
        if fault == Some(Fault::LostAndSplit) {
            state.split(tablet, "c");
        }
        if matches!(fault, Some(Fault::Lost | Fault::LostAndSplit)) {
            return Err(Status::unavailable("connection lost"));
        }
        Ok(Response::new(WriteResponse { results }))
    }

    async fn delete_range(&self, request: Request<DeleteRangeRequest>) -> Answer<DeleteRangeResponse> {
        let (request, fault) = (request.into_inner(), self.fault());
        if fault == Some(Fault::NotMine) {
            return Err(Error::not_mine("moved").into());
        }
        let mut state = self.state.lock().unwrap();
        let (tablet, range) = (request.target.unwrap().tablet, KeyRange::from(request.range.unwrap()));
        assert!(state.ranges[&tablet].covers(&range), "rows of another tablet");
        if state.seen.insert((tablet, request.request_id.to_vec())) {
            state.rows.retain(|key, _| !range.contains(key));
        }
        if fault == Some(Fault::LostAndSplit) {
            state.split(tablet, "c");
        }
        if matches!(fault, Some(Fault::Lost | Fault::LostAndSplit)) {
            return Err(Status::unavailable("connection lost"));
        }
        Ok(Response::new(DeleteRangeResponse { seq: tablet, timestamp: 5 }))
    }

    /// Counts what comes; a lost answer was carried out.
    async fn conditional(&self, request: Request<ConditionalRequest>) -> Answer<ConditionalResponse> {
        let (request, fault) = (request.into_inner(), self.fault());
        if fault == Some(Fault::NotMine) {
            return Err(Error::not_mine("moved").into());
        }
        let mut state = self.state.lock().unwrap();
        let tablet = request.target.unwrap().tablet;
        state.decided += u64::from(state.seen.insert((tablet, request.request_id.to_vec())));
        let seq = Some(state.decided);
        if fault == Some(Fault::LostAndSplit) {
            state.split(tablet, "c");
        }
        if matches!(fault, Some(Fault::Lost | Fault::LostAndSplit)) {
            return Err(Status::unavailable("connection lost"));
        }
        Ok(Response::new(ConditionalResponse { matched: true, seq, timestamp: 5, row: None }))
    }

    async fn read(&self, request: Request<ReadRequest>) -> Answer<Self::ReadStream> {
        let (request, fault) = (request.into_inner(), self.fault());
        if fault == Some(Fault::NotMine) {
            return Err(Error::not_mine("moved").into());
        }
        if fault == Some(Fault::Stuck) {
            std::future::pending::<()>().await;
        }
        let spec: ReadSpec = request.spec.unwrap().into();
        let state = self.state.lock().unwrap();
        let range = &state.ranges[&request.target.unwrap().tablet];
        let wanted = |key: &[u8]| range.contains(key) && spec.ranges.iter().any(|r| r.contains(key));
        let row = |(key, value): (&Vec<u8>, &Vec<u8>)| {
            let cell = Cell { family: 1.into(), qualifier: "q".into(), timestamp: Micros(1), value: value.clone().into() };
            WireRow::from(Row { key: key.clone().into(), cells: vec![cell] })
        };
        let mut rows: Vec<_> = state.rows.iter().filter(|(k, _)| wanted(k)).map(row).collect();
        if spec.reverse {
            rows.reverse();
        }
        rows.truncate(if spec.row_limit == 0 { usize::MAX } else { spec.row_limit as usize });
        let mut messages: Vec<_> = rows.into_iter().map(|r| Ok(ReadResponse { rows: vec![r] })).collect();
        if fault == Some(Fault::Broken) {
            messages.truncate(1);
            messages.push(Err(Status::unavailable("connection lost")));
        }
        Ok(Response::new(stream::iter(messages).boxed()))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Answer<StatusResponse> {
        let tablet = request.into_inner().target.unwrap().tablet;
        let range = self.state.lock().unwrap().ranges[&tablet].clone();
        Ok(Response::new(StatusResponse { visible_seq: tablet * 10, range: Some(range.into()), ..StatusResponse::default() }))
    }

    async fn scan(&self, _: Request<ScanRequest>) -> Answer<Self::ScanStream> {
        Err(Status::unimplemented("scan"))
    }

    async fn changes(&self, _: Request<ChangesRequest>) -> Answer<Self::ChangesStream> {
        Err(Status::unimplemented("changes"))
    }

    async fn stage(&self, request: Request<StageRequest>) -> Answer<Done> {
        let request = request.into_inner();
        let mut state = self.state.lock().unwrap();
        let call = format!("{} {} {}", request.target.unwrap().tablet, request.run, request.part);
        assert!(state.seen.insert((0, call.into_bytes())), "a part number came twice");
        Ok(Response::new(Done {}))
    }

    async fn apply(&self, _: Request<ApplyRequest>) -> Answer<Done> {
        Ok(Response::new(Done {}))
    }

    async fn drop_staged(&self, _: Request<DropStagedRequest>) -> Answer<Done> {
        Ok(Response::new(Done {}))
    }
}

fn whole(catalog: Catalog) -> CatalogChanges {
    let Catalog { version, tables, tablets, servers, .. } = catalog;
    fn put<T: Keyed>(items: impl IntoIterator<Item = T>) -> Part<T> {
        Part { put: items.into_iter().collect(), gone: Vec::new() }
    }
    let (tables, tablets) = (put(tables.iter().cloned()), put(tablets.iter().cloned()));
    let servers = put(servers.values().map(|s| Server::clone(s)));
    CatalogChanges { version, tables, tablets, servers, ..CatalogChanges::default() }
}

/// A master that only shows a catalog, without definitions and what belongs to them.
struct Shower(watch::Receiver<Catalog>);

#[tonic::async_trait]
impl Master for Shower {
    type HeartbeatStream = BoxStream<'static, Result<Json, Status>>;
    type WatchStream = BoxStream<'static, Result<Json, Status>>;

    async fn submit(&self, _: Request<Json>) -> Answer<Json> {
        Err(Status::unimplemented("submit"))
    }

    async fn heartbeat(&self, _: Request<Streaming<Json>>) -> Answer<Self::HeartbeatStream> {
        Err(Status::unimplemented("heartbeat"))
    }

    async fn watch(&self, _: Request<Json>) -> Answer<Self::WatchStream> {
        let shown = WatchStream::new(self.0.clone()).map(|c| Json::of(&whole(c)).map_err(Into::into));
        Ok(Response::new(shown.boxed()))
    }
}

struct Setup {
    cluster: Arc<Cluster>,
    fake: Fake,
    catalog: watch::Sender<Catalog>,
    table: Arc<Table>,
}

/// A table cut into tablets 1, 2, 3 at `h` and `p`, all on one server.
async fn setup() -> Setup {
    setup_hedged(None).await
}

async fn setup_hedged(hedge_after: Option<Duration>) -> Setup {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let table = Table::create(TableId(1), TableKind::Raw, TableSpec::named("raw.t")).unwrap();
    let tablet = |(i, range): (usize, KeyRange)| Tablet {
        id: TabletId(i as u64 + 1),
        table: table.id,
        range,
        epoch: Epoch(1),
        server: Some(ServerId(1)),
        open: true,
    };
    let tablets: Vec<_> = cut(&["h".into(), "p".into()]).into_iter().enumerate().map(tablet).collect();
    let fake = Fake::default();
    fake.state.lock().unwrap().ranges = tablets.iter().map(|t| (t.id.0, t.range.clone())).collect();
    let servers = [(ServerId(1), Arc::new(Server { id: ServerId(1), address: address.clone() }))].into_iter().collect();
    let (tables, tablets) = (vec![Arc::new(table.clone())].into(), Arc::new(tablets.into()));
    let shown = Catalog { version: 1, tables, tablets, servers, ..Catalog::default() };
    let (catalog, watched) = watch::channel(shown);
    let server = tonic::transport::Server::builder()
        .add_service(TabletsServer::new(fake.clone()))
        .add_service(MasterServer::new(Shower(watched)))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    fake.state.lock().unwrap().catalog = Some(catalog.clone());
    let cluster = Cluster::connect_in(&[address], &Surroundings::machine(SystemClock::shared()), hedge_after).await.unwrap();
    Setup { cluster, fake, catalog, table: Arc::new(table) }
}

fn set(key: &str, value: &str) -> RowMutation {
    let value = value.to_owned().into();
    let set = Mutation::Set { family: 1.into(), qualifier: "q".into(), timestamp: None, value };
    RowMutation { key: key.to_owned().into(), mutations: vec![set] }
}

async fn keys(setup: &Setup, spec: ReadSpec) -> Vec<String> {
    let rows: Vec<Vec<Row>> = setup.cluster.read(&setup.table, spec, None).try_collect().await.unwrap();
    rows.into_iter().flatten().map(|r| String::from_utf8(r.key.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn a_batch_is_split_and_answered_in_its_order() {
    let setup = setup().await;
    let rows = vec![set("z", "1"), set("a", "bad"), set("", "1"), set("k", "1"), set("b", "1")];
    let results = setup.cluster.write(&setup.table, rows).await.unwrap();
    let seqs: Vec<_> = results.iter().map(|r| r.as_ref().map(|c| c.seq.0).map_err(|e| e.kind)).collect();
    let wrong = Err(ErrorKind::InvalidArgument);
    assert_eq!(seqs, [Ok(3), wrong, wrong, Ok(2), Ok(1)]);
    assert_eq!(setup.fake.state.lock().unwrap().writes, 3);
}

#[tokio::test]
async fn what_was_surely_not_written_is_sent_anew() {
    let setup = setup().await;
    setup.fake.state.lock().unwrap().faults = vec![Fault::NotMine, Fault::Exhausted, Fault::NotMine];
    let results = setup.cluster.write(&setup.table, vec![set("a", "1"), set("z", "1")]).await.unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(keys(&setup, ReadSpec::default()).await, ["a", "z"]);
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_happens_once() {
    let setup = setup().await;
    setup.fake.state.lock().unwrap().faults = vec![Fault::NotMine, Fault::Lost];
    let results = setup.cluster.write(&setup.table, vec![set("a", "1")]).await.unwrap();
    assert!(results[0].is_ok(), "{results:?}");
    assert_eq!(setup.fake.state.lock().unwrap().rows[b"a".as_slice()], b"1");
}

#[tokio::test]
async fn a_write_whose_tablet_was_split_before_its_answer_came_happens_once() {
    for fault in [Fault::LostAndSplit, Fault::DroppedAndSplit] {
        let setup = setup().await;
        setup.fake.state.lock().unwrap().faults = vec![fault];
        let results = setup.cluster.write(&setup.table, ["d", "a", "e", "b"].map(|k| set(k, "1")).into()).await.unwrap();
        assert!(results.iter().all(Result::is_ok), "{fault:?}: {results:?}");
        let state = setup.fake.state.lock().unwrap();
        let rows: Vec<_> = state.rows.values().map(Vec::as_slice).collect();
        assert_eq!(rows, [b"1"; 4], "{fault:?}");
    }
}

#[tokio::test]
async fn a_conditional_write_whose_tablet_was_split_before_its_answer_came_is_decided_once() {
    let setup = setup().await;
    setup.fake.state.lock().unwrap().faults = vec![Fault::LostAndSplit];
    let check = CheckAndMutate { key: "d".into(), predicate: Predicate::All(vec![]), then: set("d", "1").mutations, otherwise: vec![] };
    let answer = super::conditional::write(&setup.cluster, &setup.table, &Conditional::Check(check)).await.unwrap();
    assert_eq!(answer.seq, Some(1), "its new tablet knows of it");
}

#[tokio::test]
async fn a_range_is_deleted_in_all_its_tablets() {
    let setup = setup().await;
    let all = ["a", "d", "h", "k", "p", "z"];
    setup.cluster.write(&setup.table, all.map(|k| set(k, "1")).into()).await.unwrap();
    setup.fake.state.lock().unwrap().faults = vec![Fault::NotMine, Fault::Lost];
    let ranges = vec![KeyRange::new("b", Some("q".into()))];
    assert_eq!(setup.cluster.delete(&setup.table, ranges).await, Ok(3));
    assert_eq!(keys(&setup, ReadSpec::default()).await, ["a", "z"]);
    // Whether the lost part is deleted only its tablet knew.
    setup.cluster.write(&setup.table, all.map(|k| set(k, "1")).into()).await.unwrap();
    setup.fake.state.lock().unwrap().faults = vec![Fault::LostAndSplit];
    let e = setup.cluster.delete(&setup.table, vec![KeyRange::prefix(b"d")]).await.unwrap_err();
    assert!(e.kind == ErrorKind::Unavailable && e.message.contains("send the same again"), "{e}");
    assert_eq!(setup.cluster.delete(&setup.table, vec![KeyRange::prefix(b"d")]).await, Ok(1));
    assert_eq!(keys(&setup, ReadSpec::default()).await, ["a", "h", "k", "p", "z"]);
}

#[tokio::test]
async fn rows_come_in_key_order_across_tablets() {
    let setup = setup().await;
    let all = ["a", "b", "h", "k", "p", "z"];
    setup.cluster.write(&setup.table, all.map(|k| set(k, "1")).into()).await.unwrap();
    assert_eq!(keys(&setup, ReadSpec::default()).await, all);
    assert_eq!(keys(&setup, ReadSpec { reverse: true, ..ReadSpec::default() }).await, ["z", "p", "k", "h", "b", "a"]);
    assert_eq!(keys(&setup, ReadSpec { row_limit: 3, ..ReadSpec::default() }).await, ["a", "b", "h"]);
    assert_eq!(keys(&setup, ReadSpec { row_limit: 3, reverse: true, ..ReadSpec::default() }).await, ["z", "p", "k"]);
    let ranges = vec![KeyRange::new("k", Some("q".into())), KeyRange::new("b", Some("i".into())), KeyRange::single(b"b")];
    assert_eq!(keys(&setup, ReadSpec { ranges: ranges.clone(), ..ReadSpec::default() }).await, ["b", "h", "k", "p"]);
    assert_eq!(keys(&setup, ReadSpec { ranges, reverse: true, ..ReadSpec::default() }).await, ["p", "k", "h", "b"]);
    assert!(keys(&setup, ReadSpec { ranges: vec![], ..ReadSpec::default() }).await.is_empty());
}

#[tokio::test]
async fn a_broken_read_goes_on_behind_its_last_row() {
    let setup = setup().await;
    let all = ["a", "b", "c", "k", "z"];
    setup.cluster.write(&setup.table, all.map(|k| set(k, "1")).into()).await.unwrap();
    for reverse in [false, true] {
        setup.fake.state.lock().unwrap().faults = vec![Fault::Broken, Fault::NotMine, Fault::Broken, Fault::NotMine];
        let mut want = all.map(str::to_owned).to_vec();
        if reverse {
            want.reverse();
        }
        assert_eq!(keys(&setup, ReadSpec { reverse, ..ReadSpec::default() }).await, want);
    }
}

#[tokio::test]
async fn a_read_that_is_stuck_is_answered_by_its_hedge() {
    let setup = setup_hedged(Some(Duration::from_millis(5))).await;
    setup.cluster.write(&setup.table, vec![set("a", "1")]).await.unwrap();
    setup.fake.state.lock().unwrap().faults = vec![Fault::Stuck];
    assert_eq!(keys(&setup, ReadSpec { row_limit: 1, ..ReadSpec::default() }).await, ["a"]);
}

#[tokio::test]
async fn a_tablet_that_has_too_much_to_do_is_not_waited_for_long() {
    let setup = setup().await;
    setup.fake.state.lock().unwrap().faults = vec![Fault::Exhausted; 1000];
    let results = setup.cluster.write(&setup.table, vec![set("a", "1")]).await.unwrap();
    let refused = results[0].as_ref().unwrap_err();
    assert!(refused.kind == ErrorKind::ResourceExhausted && refused.retry_after.is_some(), "{refused}");
    assert!(!setup.fake.state.lock().unwrap().faults.is_empty());
}

#[tokio::test]
async fn a_snapshot_has_one_version_a_tablet() {
    let setup = setup().await;
    let snapshot = setup.cluster.snapshot(&setup.table).await.unwrap();
    let seqs: Vec<_> = snapshot.entries().iter().map(|(_, seq)| seq.0).collect();
    assert_eq!(seqs, [10, 20, 30]);
    let some = setup.cluster.snapshot_in(&setup.table, &[KeyRange::prefix(b"k")]).await.unwrap();
    assert_eq!(some.lowest(&KeyRange::prefix(b"k")).0, 20);
}

#[tokio::test]
async fn stage_calls_are_numbered() {
    let setup = setup().await;
    for _ in 0..3 {
        setup.cluster.stage(&setup.table, 4.into(), vec![set("a", "1"), set("z", "1")]).await.unwrap();
    }
}

#[tokio::test]
async fn a_dropped_table_and_a_misspelt_one_are_named() {
    let setup = setup().await;
    let e = setup.cluster.table("raw.tt").unwrap_err();
    assert!(e.kind == ErrorKind::NotFound && e.message.contains("'raw.t'"), "{e}");
    setup.catalog.send_modify(|c| *c = Catalog { version: 2, ..Catalog::default() });
    assert_eq!(setup.cluster.catalog_at_least(2).await.version, 2);
    assert_eq!(setup.cluster.write(&setup.table, vec![set("a", "1")]).await.unwrap_err().kind, ErrorKind::NotFound);
}
