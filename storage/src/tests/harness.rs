//! An engine on a temporary folder, driven by a manual clock.

use crate::procedures::PinBook;
use crate::{Engine, EngineConfig, Tablet, TabletOpen};
use bytes::Bytes;
use common::ids::{Epoch, FamilyId, Incarnation, Seq, ServerId, TableId, TabletId};
use common::key::KeyRange;
use common::row::{Mutation, ReadSpec, Row, RowChange, RowMutation};
use common::schema::{FamilySpec, GcRule, Table, TableKind, TableSpec};
use common::store::{DurableLocal, SharedStore};
use common::time::{ManualClock, Micros};
use futures::TryStreamExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Families of test tables, in order of their ids from 1: keep all, two versions, ten seconds.
pub(super) const FAMILIES: [&str; 3] = ["all", "two", "young"];

pub(super) fn spec() -> TableSpec {
    let rules = [GcRule::KeepAll, GcRule::MaxVersions(2), GcRule::MaxAgeSeconds(10)];
    let families = FAMILIES.iter().zip(rules).map(|(name, gc)| ((*name).to_owned(), FamilySpec { gc: Some(gc), hidden: false }));
    let mut spec: TableSpec = serde_json::from_value(serde_json::json!({"name": "test.rows", "undeclared": "none"})).unwrap();
    spec.families = families.collect();
    spec
}

pub(super) fn table(kind: TableKind) -> Arc<Table> {
    Arc::new(Table::create(TableId(5), kind, spec()).unwrap())
}

pub(super) fn family(name: &str) -> FamilyId {
    table(TableKind::Raw).family(name).unwrap().id
}

/// Every other life reads everything from the store: what was just written is in memory else.
pub(super) fn without_cache_at_times(config: &mut EngineConfig) {
    if config.incarnation.0.is_multiple_of(2) {
        config.cache_bytes = 0;
    }
}

/// The family `all` of a table.
pub(super) fn family_of(table: &Table) -> FamilyId {
    table.family("all").unwrap().id
}

/// A server's folder and store over several lives.
pub(super) struct World {
    pub(super) dir: tempfile::TempDir,
    pub(super) store: SharedStore,
    pub(super) clock: Arc<ManualClock>,
    pub(super) kind: TableKind,
    pub(super) spec: TableSpec,
    life: u64,
    pub(super) tune: fn(&mut EngineConfig),
    pub(super) pins: Arc<PinBook>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::of(TableKind::Raw)
    }

    pub(super) fn of(kind: TableKind) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store: SharedStore = Arc::new(DurableLocal::open(&dir.path().join("store")).unwrap());
        Self { dir, store, clock: ManualClock::at(Micros(1_000_000_000)), kind, spec: spec(), life: 0, tune: |_| {}, pins: Arc::default() }
    }

    pub(super) fn log_dir(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    /// The next life of the server.
    pub(super) async fn engine(&mut self) -> Arc<Engine> {
        let config = self.config();
        Engine::open(config).await.unwrap()
    }

    /// The settings of the server's next life.
    pub(super) fn config(&mut self) -> EngineConfig {
        self.life += 1;
        let (server, incarnation) = (ServerId(1), Incarnation(self.life));
        let mut config = EngineConfig::new(server, incarnation, self.store.clone(), self.log_dir(), self.clock.clone());
        config.background = false;
        config.block_bytes = 256;
        config.snapshot_retention = Duration::ZERO;
        config.memtable_bytes = 16 << 20;
        config.pins = self.pins.clone();
        (self.tune)(&mut config);
        config
    }

    /// The epoch of the server's life.
    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.life)
    }

    pub(super) fn opening(&self) -> TabletOpen {
        TabletOpen { tablet: TabletId(9), range: KeyRange::ALL, epoch: self.epoch(), table: self.table(), pin: None, log_fence: None }
    }

    pub(super) fn table(&self) -> Arc<Table> {
        Arc::new(Table::create(TableId(5), self.kind, self.spec.clone()).unwrap())
    }

    /// A new life with the tablet open.
    pub(super) async fn start(&mut self) -> (Arc<Engine>, Tablet) {
        let engine = self.engine().await;
        let tablet = engine.open_tablet(self.opening()).await.unwrap();
        (engine, tablet)
    }

    /// The objects under a prefix of the store.
    pub(super) async fn objects(&self, prefix: &str) -> Vec<object_store::path::Path> {
        let prefix = object_store::path::Path::from(prefix);
        let mut all: Vec<_> = self.store.list(Some(&prefix)).map_ok(|o| o.location).try_collect().await.unwrap();
        all.sort();
        all
    }
}

/// Another tablet of the same table.
pub(super) fn opening_of(world: &World, tablet: u64) -> TabletOpen {
    TabletOpen { tablet: TabletId(tablet), ..world.opening() }
}

pub(super) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Sets `all:q` to a value.
pub(super) fn set(key: &str, value: &str) -> RowMutation {
    set_at(key, "all", None, value)
}

pub(super) fn set_at(key: &str, in_family: &str, timestamp: Option<i64>, value: &str) -> RowMutation {
    let set = Mutation::Set { family: family(in_family), qualifier: bytes("q"), timestamp: timestamp.map(Micros), value: bytes(value) };
    RowMutation { key: bytes(key), mutations: vec![set] }
}

pub(super) fn delete_row(key: &str) -> RowMutation {
    RowMutation { key: bytes(key), mutations: vec![Mutation::DeleteRow] }
}

pub(super) async fn write(tablet: &Tablet, row: RowMutation) -> Seq {
    tablet.write(vec![row], None).await.unwrap().remove(0).unwrap().seq
}

/// Ingests rows in key order.
pub(super) async fn ingest(tablet: &Tablet, rows: Vec<RowMutation>) -> Seq {
    let mut ingest = tablet.ingest(None).await.unwrap();
    ingest.add(rows).await.unwrap();
    ingest.commit().await.unwrap().seq
}

pub(super) async fn read(tablet: &Tablet, spec: ReadSpec, at: Seq) -> Vec<Row> {
    tablet.read(spec, at).unwrap().try_concat().await.unwrap()
}

pub(super) async fn changes(tablet: &Tablet, from: Seq, to: Seq) -> Vec<RowChange> {
    tablet.changes(from, to, KeyRange::ALL).unwrap().try_concat().await.unwrap()
}

/// `key=value` of the newest cell of each row.
pub(super) async fn values(tablet: &Tablet, at: Seq) -> Vec<String> {
    let rows = read(tablet, ReadSpec::default(), at).await;
    let text = |b: &Bytes| String::from_utf8(b.to_vec()).unwrap();
    rows.iter().map(|r| format!("{}={}", text(&r.key), text(&r.cells[0].value))).collect()
}
