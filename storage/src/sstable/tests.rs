//! What was written is read back by every kind of scan, in both directions; damage is an error.

use super::*;
use crate::format::{CellKind, Delete, SliceKey, SstableName, SstableRef};
use crate::raw::{RawCell, RawDelete, RawRow, Scan};
use ::bytes::Bytes;
use common::ids::{Epoch, FamilyId, Seq, TabletId};
use common::key::KeyRange;
use common::row::{ColumnRange, Columns};
use common::store::SharedStore;
use common::time::Micros;
use object_store::memory::InMemory;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const NAME: SstableName = SstableName { home: TabletId(9), epoch: Epoch(3), number: 12 };

/// Opens a finished SSTable.
pub(crate) fn open(store: &SharedStore, finished: &Finished, cache_bytes: u64) -> Arc<Reader> {
    let context = ReaderContext { store: store.clone(), cache: Arc::new(BlockCache::new(cache_bytes, 4096)), metrics: Arc::default() };
    Arc::new(Reader::new(context, reference(finished)))
}

fn reference(finished: &Finished) -> SstableRef {
    let p = &finished.properties;
    SstableRef {
        name: finished.name,
        level: 0,
        slice: SliceKey::default(),
        families: p.families.clone(),
        range: KeyRange::ALL,
        keys: p.keys.clone(),
        delete_keys: p.delete_keys.clone(),
        range_deletes: p.range_deletes.clone(),
        seqs: p.seqs,
        delete_seqs: p.delete_seqs,
        given: None,
        timestamps: p.timestamps,
        event_times: p.event_times,
        size: finished.size,
        rows: p.rows,
        puts: p.puts,
        deletes: p.deletes,
    }
}

async fn write(store: &SharedStore, rows: &[RawRow], layout: Layout) -> Finished {
    let mut writer = Writer::new(store.clone(), NAME, Arc::new(layout));
    for row in rows {
        writer.add(row).await.unwrap();
    }
    writer.finish().await.unwrap()
}

fn column(n: u8) -> (FamilyId, Bytes) {
    (FamilyId(u32::from(n % 2) + 1), Bytes::from(format!("q{n:02}")))
}

/// Columns 0 to 3 are declared.
fn kinds() -> Vec<((FamilyId, Bytes), Kind)> {
    [Kind::Int, Kind::Float, Kind::Bool, Kind::Bytes].into_iter().enumerate().map(|(n, kind)| (column(n as u8), kind)).collect()
}

fn value(n: u8) -> BoxedStrategy<Vec<u8>> {
    let fits = match n {
        0 | 1 => any::<i64>().prop_map(|v| v.to_be_bytes().to_vec()).boxed(),
        2 => (0u8..2).prop_map(|b| vec![b]).boxed(),
        4 => prop::collection::vec(any::<u8>(), 60..200).boxed(),
        _ => prop_oneof![Just(b"same".to_vec()), prop::collection::vec(any::<u8>(), 0..20)].boxed(),
    };
    prop_oneof![20 => fits, 1 => prop::collection::vec(any::<u8>(), 0..12)].boxed()
}

fn cell() -> impl Strategy<Value = RawCell> {
    // Most cells lie in the first columns.
    let place = prop_oneof![8 => 0u8..5, 1 => 5u8..40];
    let kind = prop_oneof![30 => Just(CellKind::Value), 1 => Just(CellKind::Sum)];
    let time = prop_oneof![6 => Just((50i64, 7u64)), 1 => (0i64..100, 1u64..20)];
    (place, time, kind).prop_flat_map(|(n, (timestamp, seq), kind)| {
        value(n).prop_map(move |value| {
            let (family, qualifier) = column(n);
            RawCell { family, qualifier, timestamp: Micros(timestamp), seq: Seq(seq), kind, value: value.into() }
        })
    })
}

fn delete() -> impl Strategy<Value = RawDelete> {
    let what = prop_oneof![
        Just(Delete::Row),
        Just(Delete::Family(FamilyId(1))),
        (0u8..6).prop_map(|n| {
            let (family, qualifier) = column(n);
            Delete::Column { family, qualifier, start: Micros(-3), end: Micros(60) }
        })
    ];
    (what, 1u64..20).prop_map(|(what, seq)| RawDelete { what, seq: Seq(seq) })
}

fn row() -> impl Strategy<Value = (u16, RawRow)> {
    let cells = prop_oneof![6 => prop::collection::vec(cell(), 1..9), 1 => prop::collection::vec(cell(), 20..60)];
    let deletes = prop_oneof![6 => Just(Vec::new()), 1 => prop::collection::vec(delete(), 1..4)];
    (0u16..600, cells, deletes).prop_map(|(key, mut cells, mut deletes)| {
        cells.sort_by(RawCell::order);
        cells.dedup_by(|a, b| a.order(b).is_eq());
        deletes.sort();
        deletes.dedup();
        if key.is_multiple_of(17) && !deletes.is_empty() {
            cells.clear();
        }
        (key, RawRow { key: Bytes::from(format!("user{key:04}")), cells, deletes, ..RawRow::default() })
    })
}

fn key_range() -> impl Strategy<Value = KeyRange> {
    let key = |k: u16| Bytes::from(format!("user{k:04}"));
    prop_oneof![
        Just(KeyRange::ALL),
        (0u16..600).prop_map(move |k| KeyRange::single(&key(k))),
        (0u16..600, 0u16..100).prop_map(move |(a, n)| KeyRange::new(key(a), Some(key(a + n)))),
    ]
}

fn columns() -> impl Strategy<Value = Columns> {
    prop_oneof![
        2 => Just(Columns::All),
        1 => prop::collection::vec(0u8..40, 0..4).prop_map(|list| {
            Columns::Some(list.into_iter().map(column).map(|(f, q)| (f, Some(q))).collect())
        }),
        1 => Just(Columns::Some(vec![(FamilyId(2), None)])),
        1 => (0u8..40, 0u8..40).prop_map(|(a, b)| {
            let ((family, start), (_, end)) = (column(a), column(b));
            Columns::Ranges(vec![ColumnRange { family, start, end: Some(end) }])
        }),
    ]
}

fn scan() -> impl Strategy<Value = Scan> {
    let ranges = prop::collection::vec(key_range(), 1..4).prop_map(|list| crate::raw::normalize(&list, &KeyRange::ALL));
    let at = prop_oneof![Just(Seq::MAX), (1u64..20).prop_map(Seq)];
    (ranges, any::<bool>(), columns(), any::<bool>(), at, -10i64..110, -10i64..110).prop_map(
        |(ranges, reverse, columns, others, at, oldest, newest)| Scan {
            reverse,
            columns,
            others,
            oldest: if oldest < 50 { Micros::MIN } else { Micros(oldest) },
            newest: if newest > 50 { Micros::MAX } else { Micros(newest) },
            ..Scan::all(ranges, at)
        },
    )
}

/// What `scan` wants of a row, with its deletes. Cells outside the times may be given: they are left out here and there.
fn wanted(row: &RawRow, scan: &Scan) -> RawRow {
    let mut row = row.clone();
    row.deletes.retain(|d| d.seq <= scan.at);
    row.cells.retain_mut(|c| {
        let asked = scan.columns.wants(c.family, &c.qualifier);
        if !asked {
            c.value = Bytes::new();
        }
        c.seq <= scan.at && (asked || scan.others) && scan.oldest <= c.timestamp && c.timestamp <= scan.newest
    });
    row
}

async fn all(reader: &Arc<Reader>, section: Section, scan: &Scan) -> Vec<RawRow> {
    let mut cursor = BlockCursor::new(reader.clone(), section, Arc::new(scan.clone()));
    let mut rows = Vec::new();
    while let Some(row) = cursor.next().await.unwrap() {
        rows.push(row);
    }
    rows
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

async fn check(rows: &[RawRow], layout: Layout, scans: &[Scan], cache_bytes: u64) {
    let store: SharedStore = Arc::new(InMemory::new());
    let finished = write(&store, rows, layout).await;
    let reader = open(&store, &finished, cache_bytes);
    for scan in scans {
        let inside = |row: &&RawRow| scan.ranges.iter().any(|r| r.contains(&row.key));
        let mut expected: Vec<RawRow> = rows.iter().filter(inside).map(|row| wanted(row, scan)).collect();
        if scan.reverse {
            expected.reverse();
        }
        let of_cells = |row: &RawRow| RawRow { deletes: Vec::new(), ..row.clone() };
        let of_deletes = |row: &RawRow| RawRow { cells: Vec::new(), ..row.clone() };
        let some = |rows: Vec<RawRow>| -> Vec<RawRow> { rows.into_iter().filter(|r| !r.is_empty()).collect() };
        let cells = all(&reader, Section::Cells, scan).await.iter().map(|row| wanted(row, scan)).collect();
        assert_eq!(some(cells), some(expected.iter().map(of_cells).collect()), "{scan:?}");
        let deletes = all(&reader, Section::Deletes, scan).await;
        assert_eq!(deletes, some(expected.iter().map(of_deletes).collect()), "{scan:?}");
        for row in rows {
            let found = reader.row(&row.key, KeyHash::of_row(&row.key), scan).await.unwrap().unwrap_or_default();
            let found = RawRow { key: row.key.clone(), ..found };
            assert_eq!(wanted(&found, scan), wanted(row, scan), "{scan:?}");
        }
        let absent = reader.row(b"user0000x", KeyHash::of_row(b"user0000x"), scan).await.unwrap();
        assert_eq!(absent, None);
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(64)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn rows_come_back_by_every_scan(
        rows in prop::collection::vec(row(), 0..150),
        scans in prop::collection::vec(scan(), 1..6),
        block_bytes in prop::sample::select(vec![100usize, 700, 20_000]),
        tiny_cache in any::<bool>(),
    ) {
        let rows: BTreeMap<_, _> = rows.into_iter().collect();
        let rows: Vec<_> = rows.into_values().filter(|r| !r.is_empty()).collect();
        let layout = Layout::small(block_bytes).with_kinds(kinds());
        runtime().block_on(check(&rows, layout, &scans, if tiny_cache { 0 } else { 1 << 20 }));
    }
}

fn plain(key: String, cells: impl IntoIterator<Item = (u8, i64, Vec<u8>)>) -> RawRow {
    let cell = |(n, timestamp, value): (u8, i64, Vec<u8>)| {
        let (family, qualifier) = column(n);
        RawCell { family, qualifier, timestamp: Micros(timestamp), seq: Seq(7), kind: CellKind::Value, value: value.into() }
    };
    let mut cells: Vec<_> = cells.into_iter().map(cell).collect();
    cells.sort_by(RawCell::order);
    RawRow { key: key.into(), cells, ..RawRow::default() }
}

#[tokio::test]
async fn a_row_of_very_many_columns_is_read_in_parts() {
    const COLUMNS: u32 = 1_000_000;
    let cell = |n: u32| RawCell {
        family: FamilyId(1),
        qualifier: Bytes::from(format!("{n:08}")),
        timestamp: Micros(i64::from(n)),
        seq: Seq(1),
        kind: CellKind::Value,
        value: Bytes::from(format!("value {n}")),
    };
    let giant = RawRow { key: Bytes::from_static(b"giant"), cells: (0..COLUMNS).map(cell).collect(), ..RawRow::default() };
    let rows = [plain("a".into(), [(0, 1, vec![1])]), giant.clone(), plain("z".into(), [(0, 1, vec![2])])];
    let store: SharedStore = Arc::new(InMemory::new());
    let finished = write(&store, &rows, Layout { block_bytes: 32 << 10, ..Layout::small(1024) }).await;
    let range =
        |a: u32, b: u32| ColumnRange { family: FamilyId(1), start: format!("{a:08}").into(), end: Some(Bytes::from(format!("{b:08}"))) };
    let single = Scan::all(vec![KeyRange::single(b"giant")], Seq::MAX);
    let by_column = Scan { columns: Columns::Ranges(vec![range(500_000, 500_010)]), ..single.clone() };
    let by_time = Scan { oldest: Micros(500_000), newest: Micros(500_009), ..single.clone() };
    for scan in [by_column, by_time] {
        for reverse in [false, true] {
            let reader = open(&store, &finished, 1 << 20);
            let scan = Scan { reverse, ..scan.clone() };
            let row = all(&reader, Section::Cells, &scan).await.pop().unwrap();
            let row = wanted(&row, &scan);
            assert_eq!(row.cells, giant.cells[500_000..500_010]);
            let read = reader.bytes_read_for_tests();
            assert!(read < finished.size / 50, "{read} of {} bytes", finished.size);
        }
    }
    let reader = open(&store, &finished, 1 << 20);
    assert_eq!(all(&reader, Section::Cells, &Scan::all(vec![KeyRange::ALL], Seq::MAX)).await, rows);
}

#[tokio::test]
async fn a_scan_of_narrow_columns_reads_no_wide_ones() {
    let row = |i: u32| {
        let noise: Vec<u8> = (0..400u32).map(|n| (n.wrapping_mul(2_654_435_761).wrapping_add(i * 40_503) >> 13) as u8).collect();
        plain(format!("user{i:05}"), [(0, 1, u64::from(i).to_be_bytes().to_vec()), (4, 1, noise)])
    };
    let rows: Vec<_> = (0..5000).map(row).collect();
    let store: SharedStore = Arc::new(InMemory::new());
    let layout = Layout { block_rows: 4096, stripe_bytes: 1 << 20, ..Layout::small(16 << 10) }.with_kinds(kinds());
    let finished = write(&store, &rows, layout).await;
    let reader = open(&store, &finished, 8 << 20);
    let narrow = Scan { columns: Columns::Some(vec![(column(0).0, Some(column(0).1))]), ..Scan::all(vec![KeyRange::ALL], Seq::MAX) };
    let read = all(&reader, Section::Cells, &narrow).await;
    assert!(read.iter().map(|row| &row.cells[..]).eq(rows.iter().map(|row| &row.cells[..1])));
    assert!(reader.bytes_read_for_tests() < 400_000, "{} bytes", reader.bytes_read_for_tests());
    let reverse = Scan { reverse: true, ..Scan::all(vec![KeyRange::ALL], Seq::MAX) };
    let mut read = all(&reader, Section::Cells, &reverse).await;
    read.reverse();
    assert_eq!(read, rows);
    // Once in memory, a row needs no wait.
    for row in &rows {
        let found = reader.row_now(&row.key, KeyHash::of_row(&row.key), &narrow);
        if reader.row(&row.key, KeyHash::of_row(&row.key), &narrow).await.unwrap().is_none() {
            panic!("{:?} is lost: {found:?}", row.key);
        }
        assert!(matches!(reader.row_now(&row.key, KeyHash::of_row(&row.key), &narrow).unwrap(), Found::Row(Some(_))));
    }
}

#[tokio::test]
async fn blocks_say_what_values_they_hold() {
    let int = |n: i64| n.to_be_bytes().to_vec();
    let float = |n: f64| n.to_be_bytes().to_vec();
    let mut rows: Vec<_> = (0..40i64).map(|i| plain(format!("{i:03}"), [(0, 1, int(i - 20)), (1, 1, float(-(i as f64)))])).collect();
    rows[7] = plain("007".into(), [(2, 1, vec![1]), (3, 1, b"a text of more than sixteen bytes".to_vec())]);
    let store: SharedStore = Arc::new(InMemory::new());
    let finished = write(&store, &rows, Layout::small(1 << 20).with_kinds(kinds())).await;
    let reader = open(&store, &finished, 1 << 20);
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let into = seen.clone();
    let skip: Skip = Arc::new(move |entry, _| {
        into.lock().unwrap().extend(entry.values.clone());
        false
    });
    let mut cursor = BlockCursor::new(reader.clone(), Section::Cells, Arc::new(Scan::all(vec![KeyRange::ALL], Seq::MAX)));
    cursor.set_skip(skip);
    let window = cursor.window().await.unwrap().expect("rows of a columnar block");
    assert_eq!((window.rows, window.block.rows()), (0..40, 40));
    cursor.skip(40);
    assert!(cursor.window().await.unwrap().is_none());
    let dictionary = &reader.meta().await.unwrap().dictionary;
    let of = |n: u8| {
        let (family, qualifier) = column(n);
        let place = dictionary.place(family, &qualifier).unwrap();
        let found = seen.lock().unwrap().iter().find(|b| b.place == place).cloned().unwrap();
        (found.nulls, found.values)
    };
    use super::index::ValueBounds::{Bool, Float, Int, Prefix};
    assert_eq!(of(0), (1, Int(-20, 19)));
    assert_eq!(of(1), (1, Float(-39.0, -0.0)));
    assert_eq!(of(2), (39, Bool(true, true)));
    let text = Bytes::from_static(b"a text of more t");
    assert_eq!(of(3), (39, Prefix(text.clone(), text)));
}

#[tokio::test]
async fn range_deletes_come_back_clipped() {
    let store: SharedStore = Arc::new(InMemory::new());
    let mut writer = Writer::new(store.clone(), NAME, Arc::new(Layout::small(300)));
    let key = |s: &'static str| Bytes::from_static(s.as_bytes());
    writer.add_range_delete(KeyRange::new(key("m"), None), Seq(9));
    writer.add_range_delete(KeyRange::new(key("a"), Some(key("c"))), Seq(3));
    let finished = writer.finish().await.unwrap();
    let p = &finished.properties;
    assert_eq!(
        (p.range_deletes.clone(), p.delete_seqs, p.seqs),
        (Some(KeyRange::new(key("a"), None)), Some((Seq(3), Seq(9))), (Seq(3), Seq(9)))
    );
    let whole = open(&store, &finished, 1 << 20);
    let entry = SstableRef { range: KeyRange::new(key("b"), Some(key("n"))), ..whole.entry().clone() };
    let context = ReaderContext { store, cache: Arc::new(BlockCache::new(1 << 20, 4096)), metrics: Arc::default() };
    let clipped = Reader::new(context, entry).range_deletes().await.unwrap();
    let expected = [(KeyRange::new(key("m"), Some(key("n"))), Seq(9)), (KeyRange::new(key("b"), Some(key("c"))), Seq(3))];
    assert!(clipped.iter().map(|d| (d.range.clone(), d.seq)).eq(expected));
}
