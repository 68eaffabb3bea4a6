//! The bytes of each format, as released. A difference means that stored data would no longer be read: a new
//! version number, a reader for both, and a further golden file.

use crate::format::{
    CellKind, LogBody, LogName, LogPart, LogRecord, Manifest, Outcome, Remembered, Rows, Slice, SliceKey, SstableName, SstableRef,
    StagedRef, StoredRow,
};
use crate::raw::{RawCell, RawDelete, RawRow};
use crate::sstable::{BlockCache, Kind, Layout, Reader, ReaderContext, Writer};
use bytes::Bytes;
use common::envelope::AsJson;
use common::ids::{Epoch, FamilyId, Incarnation, RunId, SchemaVersion, Seq, ServerId, TableId, TabletId};
use common::key::KeyRange;
use common::row::{Mutation, RowMutation};
use common::store::{DurableLocal, SharedStore};
use common::time::{Micros, TimeRange};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use std::path::PathBuf;
use std::sync::Arc;

/// Compares with the golden file, or writes it when `STELE_WRITE_GOLDEN` is set.
pub(crate) fn golden(name: &str, bytes: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    if std::env::var_os("STELE_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, bytes).unwrap();
    }
    assert!(std::fs::read(&path).unwrap() == bytes, "the bytes of {name} have changed");
}

const LOG: LogName = LogName { server: ServerId(2), incarnation: Incarnation(7) };

fn row() -> StoredRow {
    let set = |q: &'static str, t: Option<i64>, v: &'static str| Mutation::Set {
        family: FamilyId(1),
        qualifier: Bytes::from_static(q.as_bytes()),
        timestamp: t.map(Micros),
        value: Bytes::from_static(v.as_bytes()),
    };
    let timestamps = TimeRange { start: Micros(-5), end: Micros(5) };
    let mutations = vec![
        Mutation::DeleteRow,
        Mutation::DeleteFamily { family: FamilyId(2) },
        Mutation::DeleteColumn { family: FamilyId(1), qualifier: Bytes::from_static(b"old"), timestamps },
        set("name", None, "Ada"),
        set("name", Some(3), "Eve"),
    ];
    StoredRow::reduce(RowMutation { key: Bytes::from_static(b"user1"), mutations }, Micros(1_700_000_000_000_000))
}

fn ingested() -> SstableRef {
    let reference = SstableRef {
        name: SstableName { home: TabletId(9), epoch: Epoch(4), number: 13 },
        level: 0,
        slice: SliceKey::default(),
        families: vec![FamilyId(1)],
        range: KeyRange::new("a", None),
        keys: Some((Bytes::from_static(b"b"), Bytes::from_static(b"x"))),
        delete_keys: None,
        range_deletes: None,
        seqs: (Seq(1), Seq(1)),
        delete_seqs: None,
        given: None,
        timestamps: (Micros(3), Micros(4)),
        event_times: None,
        size: 8192,
        rows: 70,
        puts: 200,
        deletes: 0,
    };
    reference.numbered(Seq(9))
}

fn records() -> Vec<LogRecord> {
    let (timestamp, refused) = (Micros(1_700_000_000_000_000), vec![(1, AsJson(common::Error::invalid("no")))]);
    let record = |first, last, body| LogRecord { tablet: TabletId(9), epoch: Epoch(4), first: Seq(first), last: Seq(last), body };
    let remembered =
        Remembered { request: [1; 16], first: Seq(11), rows: 2, timestamp, refused: refused.clone(), outcome: Outcome::Written };
    let modified = Remembered { outcome: Outcome::Modified(row().cells), refused: Vec::new(), rows: 1, ..remembered.clone() };
    let joined = Remembered { outcome: Outcome::Joined(vec![remembered.clone()]), refused: Vec::new(), ..remembered.clone() };
    let conditional = |matched, row| LogBody::Conditional { request: Some([2; 16]), timestamp, matched, row };
    vec![
        record(11, 11, LogBody::Write { request: Some([1; 16]), timestamp, refused, rows: Rows::of(&[row()], timestamp) }),
        record(0, 0, LogBody::Stage { run: RunId(5), part: 2, timestamp, rows: Rows::of(&[row()], timestamp) }),
        record(12, 12, LogBody::Apply { runs: vec![RunId(5)] }),
        record(0, 0, LogBody::DropStaged { run: RunId(6) }),
        record(0, 0, LogBody::ClosedTablet),
        record(0, 0, LogBody::Restart),
        record(0, 0, LogBody::Requests(vec![remembered, modified, joined])),
        record(13, 13, conditional(None, Some(row()))),
        record(0, 0, conditional(Some(true), None)),
        record(14, 14, LogBody::Ingest { request: Some([3; 16]), timestamp, sstables: vec![ingested()] }),
    ]
}

#[tokio::test]
async fn log_segment_bytes_are_as_released() {
    let mut encoded = crate::log::EncodedRecords::default();
    records().iter().for_each(|r| encoded.push(r).unwrap());
    let bytes = crate::log::segment_for_tests(LOG, 3, encoded);
    golden("log-segment-v2", &bytes);
    let dir = tempfile::tempdir().unwrap();
    let folder = crate::format::names::log_folder(dir.path(), LOG);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(crate::format::names::segment(3)), bytes).unwrap();
    let store: SharedStore = Arc::new(DurableLocal::open(dir.path()).unwrap());
    let reader = Arc::new(crate::log::LogReader::files(store, LOG).await.unwrap());
    let read: Vec<_> = reader.records((TabletId(9), Epoch(4))).map_ok(|(_, r)| r).try_collect().await.unwrap();
    assert_eq!((reader.oldest(), read), (Some(3), records()));
}

#[test]
fn manifest_bytes_are_as_released() {
    let sstable = SstableRef {
        name: SstableName { home: TabletId(9), epoch: Epoch(3), number: 12 },
        level: 1,
        slice: SliceKey { max_age: 3600, slice: Some(Slice::Day(-2)) },
        families: vec![FamilyId(1), FamilyId(3)],
        range: KeyRange::new("a", Some(Bytes::from_static(b"z"))),
        keys: Some((Bytes::from_static(b"b"), Bytes::from_static(b"x"))),
        delete_keys: Some((Bytes::from_static(b"c"), Bytes::from_static(b"d"))),
        range_deletes: Some(KeyRange::new("e", Some(Bytes::from_static(b"f")))),
        seqs: (Seq(1), Seq(10)),
        delete_seqs: Some((Seq(2), Seq(4))),
        given: None,
        timestamps: (Micros(-1), Micros(1_700_000_000_000_000)),
        event_times: Some((Micros(0), Micros(5))),
        size: 4096,
        rows: 7,
        puts: 20,
        deletes: 1,
    };
    let manifest = Manifest {
        table: TableId(5),
        tablet: TabletId(9),
        range: KeyRange::new("a", None),
        epoch: Epoch(4),
        owner: LogName { server: ServerId(1), incarnation: Incarnation(8) },
        log: LOG,
        log_epoch: Epoch(3),
        log_from: 2,
        requests_from: vec![LogPart { log: LOG, tablet: TabletId(8), epoch: Epoch(2) }],
        flushed: Seq(10),
        floor: Seq(3),
        points: vec![Seq(1)],
        highest_timestamp: Micros(1_700_000_000_000_000),
        schema_version: SchemaVersion(1),
        applied: Seq(10),
        applied_runs: vec![(RunId(4), Seq(10))],
        staged: vec![StagedRef { run: RunId(5), log_from: 3, sstables: Vec::new() }],
        next_sstable: 13,
        sstables: vec![sstable, ingested()],
    };
    let bytes = manifest.encode().unwrap();
    golden("manifest-v4", &bytes);
    assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
}

#[test]
fn a_manifest_of_another_version_is_refused_by_its_number() {
    for version in ['1', '2', '3'] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/manifest-v{version}"));
        let e = Manifest::decode(&std::fs::read(path).unwrap()).unwrap_err();
        assert!(e.message.contains(version) && e.message.contains('4'), "{e}");
    }
}

#[tokio::test]
async fn sstable_bytes_are_as_released() {
    let store: common::store::SharedStore = Arc::new(InMemory::new());
    let name = SstableName { home: TabletId(9), epoch: Epoch(3), number: 12 };
    let column = |q: &'static [u8]| (FamilyId(1), Bytes::from_static(q));
    let kinds = [(column(b"int"), Kind::Int), (column(b"flag"), Kind::Bool), (column(b"name"), Kind::Bytes)];
    let layout = Layout { cell_block_cells: 40, ..Layout::small(300) }.with_kinds(kinds);
    let mut writer = Writer::new(store.clone(), name, Arc::new(layout));
    for row in (0..20u64).map(sstable_row) {
        writer.add(&row).await.unwrap();
    }
    writer.add(&giant_row()).await.unwrap();
    writer.add_range_delete(KeyRange::prefix(b"user1"), Seq(99));
    let finished = writer.finish().await.unwrap();
    let bytes = store.get(&crate::format::names::sstable(&name)).await.unwrap().bytes().await.unwrap();
    assert_eq!(bytes.len() as u64, finished.size);
    golden("sstable-v3", &bytes);
}

fn sstable_row(i: u64) -> RawRow {
    let stored = row();
    let key = Bytes::from(format!("user{i:02}"));
    let cells = stored.cells.into_iter().map(|c| RawCell {
        family: c.family,
        qualifier: c.qualifier,
        timestamp: c.timestamp,
        seq: Seq(100 + i),
        kind: CellKind::Value,
        value: Bytes::from(format!("{}{i}", "x".repeat(10 * i as usize % 70))),
    });
    let set = |q: &'static [u8], value: Vec<u8>| RawCell {
        family: FamilyId(1),
        qualifier: Bytes::from_static(q),
        timestamp: Micros(5 + (i / 19) as i64),
        seq: Seq(100 + i),
        kind: if i == 7 { CellKind::Sum } else { CellKind::Value },
        value: value.into(),
    };
    let mut cells: Vec<_> = cells.collect();
    cells.push(set(b"int", (i * 1000).to_be_bytes().to_vec()));
    cells.push(set(b"wide", (0..100).map(|n| (n * n + i) as u8).collect()));
    if i.is_multiple_of(3) {
        cells.push(set(b"flag", vec![(i % 2) as u8]));
    }
    if i == 11 {
        cells.push(set(b"rare", b"once".to_vec()));
        cells.push(set(b"int2", b"text".to_vec()));
    }
    cells.sort_by(RawCell::order);
    let deletes = stored.deletes.into_iter().filter(|_| i.is_multiple_of(5)).map(|what| RawDelete { what, seq: Seq(100 + i) });
    RawRow { key, cells, deletes: deletes.collect(), ..RawRow::default() }
}

fn giant_row() -> RawRow {
    let cell = |n: i64| RawCell {
        family: FamilyId(1),
        qualifier: Bytes::from(format!("{n:04}")),
        timestamp: Micros(n),
        seq: Seq(200),
        kind: CellKind::Value,
        value: Bytes::from(format!("value {n}")),
    };
    RawRow { key: Bytes::from_static(b"user99"), cells: (0..60).map(cell).collect(), ..RawRow::default() }
}

#[tokio::test]
async fn an_sstable_of_another_version_is_refused_by_its_number() {
    for version in 1..3 {
        let store: common::store::SharedStore = Arc::new(InMemory::new());
        let name = SstableName { home: TabletId(9), epoch: Epoch(3), number: 12 };
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/sstable-v{version}"));
        let bytes = std::fs::read(path).unwrap();
        let size = bytes.len() as u64;
        store.put(&crate::format::names::sstable(&name), bytes.into()).await.unwrap();
        let context = ReaderContext { store, cache: Arc::new(BlockCache::new(1 << 20, 4096)), metrics: Arc::default() };
        let e = Reader::of_object(context, name, size).meta().await.unwrap_err();
        assert!(e.message.contains(&format!("version {version}")) && e.message.contains("reads 3"), "{e}");
    }
}
