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
