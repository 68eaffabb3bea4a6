//! Steps that fail: failpoints belong to the whole process, so these tests have a process of their own and take turns.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

use bytes::Bytes;
use common::ErrorKind;
use common::ids::{Epoch, FamilyId, Incarnation, Seq, ServerId, TableId, TabletId};
use common::key::KeyRange;
use common::row::{Mutation, ReadSpec, Row, RowMutation};
use common::schema::{Table, TableKind, TableSpec};
use common::store::DurableLocal;
use common::time::SystemClock;
use futures::TryStreamExt;
use std::sync::Arc;
use storage::{Engine, EngineConfig, Tablet, TabletOpen};

async fn open(folder: &std::path::Path) -> (Arc<Engine>, Tablet) {
    let spec: TableSpec =
        serde_json::from_value(serde_json::json!({"name": "test.rows", "undeclared": "none", "families": {"f": {}}})).unwrap();
    let table = Arc::new(Table::create(TableId(1), TableKind::Raw, spec).unwrap());
    let store = Arc::new(DurableLocal::open(&folder.join("store")).unwrap());
    let clock = SystemClock::shared();
    let mut config = EngineConfig::new(ServerId(1), Incarnation(1), store, folder.join("disk"), clock);
    config.background = false;
    let engine = Engine::open(config).await.unwrap();
    let open = TabletOpen { tablet: TabletId(1), range: KeyRange::ALL, epoch: Epoch(1), table, pin: None, log_fence: None };
    let tablet = engine.open_tablet(open).await.unwrap();
    (engine, tablet)
}

fn set(key: &'static str) -> RowMutation {
    let set = Mutation::Set { family: FamilyId(1), qualifier: Bytes::from_static(b"q"), timestamp: None, value: Bytes::from_static(b"v") };
    RowMutation { key: Bytes::from_static(key.as_bytes()), mutations: vec![set] }
}

async fn keys(tablet: &Tablet) -> Vec<Bytes> {
    let rows: Vec<Row> = tablet.read(ReadSpec::default(), Seq::MAX).unwrap().try_concat().await.unwrap();
    rows.into_iter().map(|r| r.key).collect()
}

#[tokio::test]
async fn a_log_that_fails_acknowledges_nothing_more_and_still_reads() {
    for point in ["log-append", "log-sync"] {
        let scenario = fail::FailScenario::setup();
        let folder = tempfile::tempdir().unwrap();
        let (_engine, tablet) = open(folder.path()).await;
        tablet.write(vec![set("a")], None).await.unwrap();
        fail::cfg(point, "return").unwrap();
        assert_eq!(tablet.write(vec![set("b")], None).await.unwrap_err().kind, ErrorKind::Unavailable);
        fail::remove(point);
        assert_eq!(tablet.write(vec![set("c")], None).await.unwrap_err().kind, ErrorKind::Unavailable);
        assert_eq!(keys(&tablet).await, ["a"]);
        scenario.teardown();
    }
}

#[tokio::test]
async fn a_manifest_that_cannot_be_put_leaves_everything_in_memory_and_log() {
    let scenario = fail::FailScenario::setup();
    let folder = tempfile::tempdir().unwrap();
    let (_engine, tablet) = open(folder.path()).await;
    tablet.write(vec![set("a")], None).await.unwrap();
    for point in ["sstable-put", "manifest-put"] {
        fail::cfg(point, "return").unwrap();
        assert_eq!(tablet.flush().await.unwrap_err().kind, ErrorKind::Unavailable, "{point}");
        fail::remove(point);
    }
    tablet.write(vec![set("b")], None).await.unwrap();
    assert_eq!(keys(&tablet).await, ["a", "b"]);
    tablet.flush().await.unwrap();
    assert_eq!((tablet.stats().memtable_bytes, keys(&tablet).await.len()), (0, 2));
    scenario.teardown();
}

/// The SSTables of the tablet, once there are no more than so many.
async fn objects(folder: &std::path::Path, most: usize) -> usize {
    let folder = folder.join("store/tablets/1/sst");
    let count = || std::fs::read_dir(&folder).map_or(0, Iterator::count);
    for _ in 0..100_000 {
        if count() <= most {
            break;
        }
        tokio::task::yield_now().await;
    }
    count()
}

#[tokio::test]
async fn an_ingest_that_fails_before_it_is_logged_leaves_nothing() {
    let scenario = fail::FailScenario::setup();
    let folder = tempfile::tempdir().unwrap();
    let (_engine, tablet) = open(folder.path()).await;
    tablet.write(vec![set("a")], None).await.unwrap();
    for point in ["sstable-put", "ingest-built"] {
        fail::cfg(point, "return").unwrap();
        let mut ingest = tablet.ingest(Some([1; 16])).await.unwrap();
        ingest.add(vec![set("b"), set("c")]).await.unwrap();
        let e = ingest.commit().await.unwrap_err();
        assert!(e.kind == ErrorKind::Unavailable && e.message.contains(point), "{e}");
        fail::remove(point);
        assert_eq!((keys(&tablet).await.len(), objects(folder.path(), 0).await), (1, 0), "{point}");
    }
    let mut ingest = tablet.ingest(Some([1; 16])).await.unwrap();
    ingest.add(vec![set("b"), set("c")]).await.unwrap();
    ingest.commit().await.unwrap();
    assert_eq!(keys(&tablet).await, ["a", "b", "c"]);
    scenario.teardown();
}

#[tokio::test]
async fn an_ingest_whose_log_record_has_an_unknown_outcome_keeps_its_objects() {
    let scenario = fail::FailScenario::setup();
    let folder = tempfile::tempdir().unwrap();
    let (_engine, tablet) = open(folder.path()).await;
    let mut ingest = tablet.ingest(None).await.unwrap();
    ingest.add(vec![set("b")]).await.unwrap();
    fail::cfg("log-sync", "return").unwrap();
    assert_eq!(ingest.commit().await.unwrap_err().kind, ErrorKind::Unavailable);
    fail::remove("log-sync");
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!((keys(&tablet).await.len(), objects(folder.path(), 1).await), (0, 1));
    scenario.teardown();
}
