//! Scans against batches built from the rows of a plain read, with conditions applied one value at a time.

use super::harness::{World, ingest, without_cache_at_times};
use crate::arrow::{BatchBuilder, Comparison, Predicate, Projection, ScanSpec, Test};
use crate::{Engine, Tablet, TabletOpen};
use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use bytes::Bytes;
use common::ids::{Seq, TableId};
use common::key::KeyRange;
use common::row::{Aggregate, Mutation, ReadSpec, Row, RowMutation};
use common::schema::{StoredQualifier, Table, TableKind, TableSpec};
use common::time::{Micros, TimeRange};
use common::value::{Value, ValueType};
use futures::TryStreamExt;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const SECOND: i64 = 1_000_000;
/// The undeclared attributes: the first is in every row of a fill, the others are rare.
const ATTRIBUTES: [&str; 4] = ["aa", "b", "c", "d"];

/// Every type, a family whose cells age, one with versions, undeclared attributes.
fn table() -> Arc<Table> {
    static TABLE: OnceLock<Arc<Table>> = OnceLock::new();
    TABLE
        .get_or_init(|| {
            let spec: TableSpec = serde_json::from_value(serde_json::json!({
                "name": "test.scans",
                "key": [{"user": "string"}, {"at": "timestamp desc"}, {"tie": "int64 nullable"}],
                "columns": [
                    {"name": "n", "type": "int64"}, {"name": "f", "type": "float64"}, {"name": "s", "type": "string"},
                    {"name": "b", "type": "bool"}, {"name": "t", "type": "timestamp"}, {"name": "d", "type": "date"},
                    {"name": "raw", "type": "bytes"}, {"name": "j", "type": "json"},
                    {"name": "y", "type": "int64", "family": "young"}, {"name": "v", "type": "string", "family": "versions"},
                ],
                "families": {
                    "young": {"gc": {"max_age_seconds": 100}},
                    "versions": {"gc": {"union": [{"max_versions": 2}, {"max_age_seconds": 1000}]}},
                },
                "time_column": "at",
            }))
            .unwrap();
            Arc::new(Table::create(TableId(5), TableKind::Raw, spec).unwrap())
        })
        .clone()
}

fn names() -> Vec<String> {
    table().full_arrow_schema().fields().iter().map(|f| f.name().clone()).collect()
}

fn key_of(user: &str, at: i64, tie: Option<i64>) -> Bytes {
    let values = [Some(Value::String(user.into())), Some(Value::Timestamp(Micros(at))), tie.map(Value::Int64)];
    table().key_schema().encode(&values).unwrap()
}

fn users() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "ann", "b\0b", "zoé"])
}

fn key() -> impl Strategy<Value = Bytes> {
    (users(), 0i64..60, prop::option::weighted(0.1, 0i64..2)).prop_map(|(user, at, tie)| key_of(user, at, tie))
}

fn value(ty: ValueType) -> BoxedStrategy<Value> {
    match ty {
        ValueType::Int64 => prop_oneof![4 => 0i64..5, 1 => any::<i64>()].prop_map(Value::Int64).boxed(),
        ValueType::Float64 => prop::sample::select(vec![0.0, -0.0, 1.5, -2.0, f64::NAN, f64::INFINITY]).prop_map(Value::Float64).boxed(),
        ValueType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        ValueType::Timestamp => (0i64..60).prop_map(|t| Value::Timestamp(Micros(t))).boxed(),
        ValueType::Date => (-2i32..3).prop_map(Value::Date).boxed(),
        ValueType::String => prop_oneof![4 => "[a-cé]{0,2}", 1 => "[a-z]{60,90}"].prop_map(Value::String).boxed(),
        ValueType::Json => (0i64..4).prop_map(|n| Value::Json(n.to_string())).boxed(),
        ValueType::Bytes => prop::collection::vec(0u8..3, 0..3).prop_map(|b| Value::Bytes(b.into())).boxed(),
    }
}

/// Server-given, or around the clock's.
fn timestamp() -> impl Strategy<Value = Option<Micros>> {
    prop::option::weighted(0.3, (900i64..1200).prop_map(|s| Micros(s * SECOND)))
}

fn set_column() -> impl Strategy<Value = Mutation> {
    let columns = table().columns.clone();
    (prop::sample::select(columns), timestamp()).prop_flat_map(|(c, timestamp)| {
        value(c.ty).prop_map(move |v| Mutation::Set { family: c.family, qualifier: c.stored(), timestamp, value: v.to_cell() })
    })
}

fn set_attribute(name: &'static str, timestamp: Option<Micros>, value: i64) -> Mutation {
    let qualifier = StoredQualifier::Named(Bytes::from_static(name.as_bytes())).encode();
    Mutation::Set { family: table().family("attrs").unwrap().id, qualifier, timestamp, value: Bytes::from(value.to_string()) }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let attribute = (prop::sample::select(ATTRIBUTES.to_vec()), timestamp(), 0i64..3).prop_map(|(name, t, v)| set_attribute(name, t, v));
    let column = prop::sample::select(table().columns.clone());
    let delete =
        column.clone().prop_map(|c| Mutation::DeleteColumn { family: c.family, qualifier: c.stored(), timestamps: TimeRange::ALL });
    let integers: Vec<_> = table().columns.iter().filter(|c| c.ty == ValueType::Int64).cloned().collect();
    let at = (0i64..2).prop_map(|s| Micros((1100 + s) * SECOND));
    let combine = (prop::sample::select(integers), at, 0i64..5).prop_map(|(c, timestamp, value)| Mutation::Combine {
        family: c.family,
        qualifier: c.stored(),
        timestamp,
        aggregate: Aggregate::Sum,
        value,
    });
    prop_oneof![
        12 => set_column(),
        3 => combine,
        3 => attribute,
        1 => delete,
        1 => column.prop_map(|c| Mutation::DeleteFamily { family: c.family }),
        1 => Just(Mutation::DeleteRow),
    ]
}

fn row() -> impl Strategy<Value = RowMutation> {
    (key(), prop::collection::vec(mutation(), 1..6)).prop_map(|(key, mutations)| RowMutation { key, mutations })
}

/// Rows as a loader writes them: one user's, of one kind, all cells of a row of one timestamp.
fn fill() -> impl Strategy<Value = Vec<RowMutation>> {
    let columns = prop::sample::subsequence(table().columns.clone(), 1..=10);
    let values = columns.prop_flat_map(|columns| {
        let row: Vec<_> = columns.into_iter().map(|c| (Just(c.clone()), prop::option::weighted(0.8, value(c.ty)))).collect();
        prop::collection::vec(row, 1..60)
    });
    (users(), 0i64..60, 1i64..3, any::<bool>(), values).prop_map(|(user, from, step, attributes, rows)| {
        let row = |(i, values): (usize, Vec<(common::schema::Column, Option<Value>)>)| {
            let set = |(c, v): (common::schema::Column, Option<Value>)| {
                v.map(|v| Mutation::Set { family: c.family, qualifier: c.stored(), timestamp: None, value: v.to_cell() })
            };
            let mut mutations: Vec<_> = values.into_iter().filter_map(set).collect();
            if attributes || mutations.is_empty() {
                mutations.push(set_attribute(ATTRIBUTES[0], None, i as i64));
            }
            RowMutation { key: key_of(user, from + step * i as i64, None), mutations }
        };
        rows.into_iter().enumerate().map(row).collect()
    })
}

fn range() -> impl Strategy<Value = KeyRange> {
    prop_oneof![key().prop_map(|k| KeyRange::single(&k)), (key(), prop::option::of(key())).prop_map(|(a, b)| KeyRange::new(a, b)),]
}

fn test(ty: ValueType) -> impl Strategy<Value = Test> {
    use Comparison::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    let comparison = prop::sample::select(vec![Eq, NotEq, Lt, LtEq, Gt, GtEq]);
    prop_oneof![
        6 => (comparison, value(ty)).prop_map(|(c, v)| Test::Compare(c, v)),
        2 => prop::collection::vec(value(ty), 0..3).prop_map(Test::In),
        1 => Just(Test::IsNull),
        1 => Just(Test::IsNotNull),
    ]
}

fn predicate() -> impl Strategy<Value = Predicate> {
    let table = table();
    let parts = table.key.iter().map(|p| (p.name.clone(), p.codec.ty));
    let all: Vec<_> = parts.chain(table.columns.iter().map(|c| (c.name.clone(), c.ty))).collect();
    prop::sample::select(all).prop_flat_map(|(column, ty)| test(ty).prop_map(move |test| Predicate { column: column.clone(), test }))
}

fn scan_spec() -> impl Strategy<Value = ScanSpec> {
    let ranges = prop_oneof![2 => Just(vec![KeyRange::ALL]), 1 => prop::collection::vec(range(), 0..4)];
    let times = prop_oneof![
        3 => Just(TimeRange::ALL),
        1 => (900i64..1200, 0i64..200).prop_map(|(from, long)| TimeRange { start: Micros(from * SECOND), end: Micros((from + long) * SECOND) }),
    ];
    let event_time =
        prop::option::weighted(0.2, (0i64..60, 0i64..60).prop_map(|(a, b)| TimeRange { start: Micros(a), end: Micros(a + b) }));
    let columns = prop::sample::subsequence(names(), 0..=names().len()).prop_shuffle();
    let predicates = prop_oneof![Just(Vec::new()), prop::collection::vec(predicate(), 1..3)];
    let size = (prop_oneof![3 => Just(0u64), 1 => 1u64..30], prop_oneof![Just(8192usize), 1usize..40]);
    (ranges, any::<bool>(), times, event_time, columns, predicates, any::<bool>(), size).prop_map(
        |(ranges, reverse, timestamps, event_time, columns, mut predicates, ordered, (row_limit, batch_rows))| {
            // The hint alone leaves open which rows come.
            if let Some(TimeRange { start, end }) = event_time {
                let test = |comparison, t| Predicate { column: "at".into(), test: Test::Compare(comparison, Value::Timestamp(t)) };
                predicates.extend([test(Comparison::GtEq, start), test(Comparison::Lt, end)]);
            }
            ScanSpec { ranges, reverse, timestamps, event_time, row_limit, columns, predicates, ordered, batch_rows, ..ScanSpec::default() }
        },
    )
}

#[derive(Clone, Debug)]
enum Op {
    Write(Vec<RowMutation>),
    /// Of rows of one key the last is ingested.
    Ingest(Vec<RowMutation>),
    /// Deletes the rows between two of those there are, given in percent.
    DeleteRange(usize, usize),
    Flush,
    CompactSome(usize, usize),
    Advance(u64),
    Scan(Box<ScanSpec>, u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => fill().prop_map(Op::Write),
        4 => prop::collection::vec(row(), 1..6).prop_map(Op::Write),
        2 => prop_oneof![fill(), prop::collection::vec(row(), 1..6)].prop_map(Op::Ingest),
        1 => (0usize..100, 0usize..100).prop_map(|(a, b)| Op::DeleteRange(a.min(b), a.max(b))),
        4 => Just(Op::Flush),
        2 => (0usize..100, 0usize..100).prop_map(|(a, b)| Op::CompactSome(a, b)),
        1 => prop_oneof![0u64..20, 50u64..150].prop_map(Op::Advance),
        8 => (scan_spec(), prop_oneof![2 => Just(100u64), 1 => 0u64..=100]).prop_map(|(spec, at)| Op::Scan(Box::new(spec), at)),
    ]
}

fn order(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a, b) {
        (Value::Int64(a), Value::Int64(b)) => a.cmp(b),
        (Value::Float64(a), Value::Float64(b)) => a.total_cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::String(a) | Value::Json(a), Value::String(b) | Value::Json(b)) => a.as_bytes().cmp(b.as_bytes()),
        other => unreachable!("{other:?}"),
    }
}

fn holds(test: &Test, value: Option<&Value>) -> bool {
    match (test, value) {
        (Test::IsNull, v) => v.is_none(),
        (Test::IsNotNull, v) => v.is_some(),
        (_, None) => false,
        (Test::In(list), Some(v)) => list.iter().any(|item| order(v, item).is_eq()),
        (Test::Compare(Comparison::Eq, x), Some(v)) => order(v, x).is_eq(),
        (Test::Compare(Comparison::NotEq, x), Some(v)) => order(v, x).is_ne(),
        (Test::Compare(Comparison::Lt, x), Some(v)) => order(v, x).is_lt(),
        (Test::Compare(Comparison::LtEq, x), Some(v)) => order(v, x).is_le(),
        (Test::Compare(Comparison::Gt, x), Some(v)) => order(v, x).is_gt(),
        (Test::Compare(Comparison::GtEq, x), Some(v)) => order(v, x).is_ge(),
    }
}

fn wanted(row: &Row, Predicate { column, test }: &Predicate) -> bool {
    let table = table();
    if let Some((at, _)) = table.key_part(column) {
        return holds(test, table.key_schema().decode(&row.key).unwrap()[at].as_ref());
    }
    let c = table.column(column).unwrap();
    let cell = row.cells.iter().find(|cell| cell.family == c.family && cell.qualifier == c.stored());
    holds(test, cell.map(|cell| Value::from_cell(c.ty, &cell.value).unwrap()).as_ref())
}

/// Rows as text, for batches whose order is open.
fn lines(batch: &RecordBatch) -> Vec<String> {
    let mut lines: Vec<_> = (0..batch.num_rows()).map(|i| format!("{:?}", batch.slice(i, 1).columns())).collect();
    lines.sort();
    lines
}

struct Run {
    world: World,
    engine: Arc<Engine>,
    tablet: Tablet,
}

impl Run {
    async fn new() -> Self {
        let mut world = World::new();
        world.tune = |config| {
            without_cache_at_times(config);
            config.block_bytes = 1500;
        };
        let engine = world.engine().await;
        let tablet = engine.open_tablet(TabletOpen { table: table(), ..world.opening() }).await.unwrap();
        Self { world, engine, tablet }
    }

    fn seq(&self, percent: u64) -> Seq {
        let (floor, visible) = (self.tablet.floor().0, self.tablet.visible().0);
        Seq(floor + (visible - floor) * percent / 100)
    }

    async fn step(&mut self, op: Op) {
        match op {
            Op::Write(rows) => {
                self.tablet.write(rows, None).await.unwrap();
            }
            Op::Ingest(rows) => {
                let rows: BTreeMap<_, _> = rows.into_iter().map(|row| (row.key.clone(), row)).collect();
                ingest(&self.tablet, rows.into_values().collect()).await;
            }
            Op::DeleteRange(from, to) => {
                let rows: Vec<Row> = self.tablet.read(ReadSpec::default(), Seq::MAX).unwrap().try_concat().await.unwrap();
                let key = |percent: usize| rows.get(rows.len() * percent / 100).map(|r| r.key.clone());
                if let (Some(from), Some(to)) = (key(from), key(to))
                    && from < to
                {
                    self.tablet.delete_range(KeyRange::new(from, Some(to)), None).await.unwrap();
                }
            }
            Op::Flush => self.tablet.flush().await.unwrap(),
            Op::CompactSome(from, count) => self.tablet.inner_for_tests().compact_some_for_tests(from, count).await.unwrap(),
            Op::Advance(seconds) => self.world.clock.advance(Duration::from_secs(seconds)),
            Op::Scan(spec, percent) => self.compare(*spec, self.seq(percent)).await,
        }
    }

    async fn expected(&self, spec: &ScanSpec, at: Seq) -> RecordBatch {
        let ScanSpec { ranges, reverse, timestamps, .. } = spec.clone();
        let read = ReadSpec { ranges, reverse, timestamps, keep_empty_rows: true, ..ReadSpec::default() };
        let rows: Vec<Row> = self.tablet.read(read, at).unwrap().try_concat().await.unwrap();
        let mut builder = BatchBuilder::new(Arc::new(Projection::new(table(), &spec.columns).unwrap()));
        for row in rows.iter().filter(|row| spec.predicates.iter().all(|p| wanted(row, p))) {
            builder.push(row).unwrap();
        }
        builder.finish().unwrap()
    }

    async fn compare(&self, spec: ScanSpec, at: Seq) {
        let expected = self.expected(&spec, at).await;
        let batches: Vec<_> = self.tablet.scan(spec.clone(), at).unwrap().try_collect().await.unwrap();
        for batch in &batches {
            assert!((1..=spec.batch_rows).contains(&batch.num_rows()), "a batch of {} rows: {spec:?}", batch.num_rows());
        }
        let got = concat_batches(&expected.schema(), &batches).unwrap();
        let limit = if spec.row_limit == 0 { usize::MAX } else { spec.row_limit as usize };
        if spec.ordered {
            assert_eq!(got, expected.slice(0, expected.num_rows().min(limit)), "{spec:?} at {at}");
            return;
        }
        assert_eq!(got.num_rows(), expected.num_rows().min(limit), "{spec:?} at {at}");
        let (got, mut expected) = (lines(&got), lines(&expected).into_iter());
        assert!(got.iter().all(|line| expected.any(|e| e == *line)), "{spec:?} at {at}");
    }
}

/// `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_scan_gives_what_a_read_gives(ops in prop::collection::vec(op(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new().await;
            for op in ops {
                run.step(op).await;
            }
            let all = ScanSpec { batch_rows: 100, ..ScanSpec::columns(names()) };
            run.compare(all.clone(), run.tablet.visible()).await;
            run.tablet.flush().await.unwrap();
            run.tablet.compact().await.unwrap();
            run.compare(ScanSpec { ordered: false, ..all.clone() }, run.tablet.visible()).await;
            run.compare(all, run.tablet.visible()).await;
        });
    }
}

/// Rows of ann, one an instant, with `n` rising and `s` as it is declared; `b` is rare.
fn rising(count: i64) -> Vec<RowMutation> {
    let set = |name: &str, v: Value| {
        let c = table().column(name).unwrap().clone();
        Mutation::Set { family: c.family, qualifier: c.stored(), timestamp: None, value: v.to_cell() }
    };
    let row = |i: i64| {
        let mut mutations = vec![set("n", Value::Int64(i)), set("s", Value::String(format!("text {}", i % 7)))];
        if i % 20 == 0 {
            mutations.push(set("b", Value::Bool(true)));
        }
        RowMutation { key: key_of("ann", -i, None), mutations }
    };
    (0..count).map(row).collect()
}

fn at_least(n: i64) -> Predicate {
    Predicate { column: "n".into(), test: Test::Compare(Comparison::GtEq, Value::Int64(n)) }
}

#[tokio::test]
async fn clean_blocks_are_scanned_by_column() {
    let run = Run::new().await;
    run.tablet.write(rising(1000), None).await.unwrap();
    run.tablet.flush().await.unwrap();
    let by_column = || run.engine.metrics().rows_scanned_by_column;
    for ordered in [true, false] {
        let before = by_column();
        run.compare(ScanSpec { ordered, ..ScanSpec::columns(["at", "n", "s", "b", "attrs"]) }, run.tablet.visible()).await;
        assert_eq!(by_column() - before, 1000);
    }
    let before = by_column();
    run.tablet.write(vec![rising(500).pop().unwrap()], None).await.unwrap();
    run.compare(ScanSpec { predicates: vec![at_least(400)], ..ScanSpec::columns(["n", "s"]) }, run.tablet.visible()).await;
    assert_eq!(by_column() - before, 599, "but for the one that the memtable has too");
}

#[tokio::test]
async fn blocks_are_left_out_only_where_no_other_source_has_rows() {
    let run = Run::new().await;
    run.tablet.write(rising(1000), None).await.unwrap();
    run.tablet.flush().await.unwrap();
    let skipped = || run.engine.metrics().blocks_skipped;
    let spec = || ScanSpec { predicates: vec![at_least(900)], ..ScanSpec::columns(["at", "n", "s"]) };
    run.compare(spec(), run.tablet.visible()).await;
    let alone = skipped();
    assert!(alone > 3, "{alone} blocks");
    // Newer values that pass, in rows of blocks that have none: once from the memtable, once from an SSTable.
    let mut changed = rising(500);
    changed.truncate(300);
    for row in &mut changed {
        row.mutations.truncate(1);
        let Mutation::Set { value, .. } = &mut row.mutations[0] else { unreachable!() };
        *value = Value::Int64(5000).to_cell();
    }
    run.tablet.write(changed, None).await.unwrap();
    for _ in 0..2 {
        let before = skipped();
        run.compare(spec(), run.tablet.visible()).await;
        assert!((1..alone).contains(&(skipped() - before)), "{} of {alone} blocks", skipped() - before);
        run.tablet.flush().await.unwrap();
    }
}
