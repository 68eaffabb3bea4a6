//! The engine against a sorted map that keeps every mutation for ever.

use super::harness::{World, changes, family, spec as spec_of_families, without_cache_at_times};
use crate::Tablet;
use crate::compaction::AGE_SLACK;
use crate::format::{CellKind, Delete, StoredRow};
use bytes::Bytes;
use common::ErrorKind;
use common::conditional::{CellTest, CheckAndMutate, Checked, Modified, Modify, ModifyRule, Predicate, ReadModifyWrite, ValueTest};
use common::ids::{FamilyId, Seq, TableId};
use common::key::KeyRange;
use common::row::{Aggregate, Cell, ColumnRange, Columns, Committed, Mutation, ReadSpec, Row, RowChange, RowMutation};
use common::schema::{CompactionKind, Table, TableKind, TableSpec};
use common::time::{Clock, Micros, TimeRange};
use common::value::Value;
use futures::TryStreamExt;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

/// Something written to a cell.
type Part = (Seq, CellKind, Bytes);

/// What a cell holds after all of these; `None` if there are none.
fn value_of(written: &[Part]) -> Option<Bytes> {
    written.iter().fold(None, |held: Option<Bytes>, (_, kind, value)| {
        let integer = |b: &Bytes| <[u8; 8]>::try_from(b.as_ref()).ok().map(i64::from_be_bytes);
        let combined = match (kind, held.as_ref().and_then(integer), integer(value)) {
            (CellKind::Sum, Some(a), Some(b)) => a.wrapping_add(b),
            (CellKind::Min, Some(a), Some(b)) => a.min(b),
            (CellKind::Max, Some(a), Some(b)) => a.max(b),
            _ => return Some(value.clone()),
        };
        Some(Bytes::copy_from_slice(&combined.to_be_bytes()))
    })
}

/// Every mutation of each row in seq order.
struct Model {
    table: Arc<Table>,
    rows: BTreeMap<Bytes, Vec<(Seq, StoredRow)>>,
}

impl Model {
    fn row(&self, key: &Bytes, spec: &ReadSpec, at: Seq, now: Micros) -> Option<Row> {
        let history: Vec<_> = self.rows.get(key)?.iter().filter(|(seq, _)| *seq <= at).collect();
        // Of each cell what was written to it, lowest seq first.
        let mut parts: BTreeMap<(FamilyId, Bytes, std::cmp::Reverse<Micros>), Vec<Part>> = BTreeMap::new();
        for (seq, row) in &history {
            for c in &row.cells {
                let cell = parts.entry((c.family, c.qualifier.clone(), std::cmp::Reverse(c.timestamp))).or_default();
                cell.push((*seq, c.kind, c.value.clone()));
            }
        }
        let hidden = |f: FamilyId, q: &[u8], t: Micros, seq: Seq| {
            history.iter().any(|(later, row)| *later > seq && row.deletes.iter().any(|d: &Delete| d.covers(f, q, t)))
        };
        let table = &self.table;
        let (mut live, mut shown): (BTreeMap<_, u64>, BTreeMap<_, u32>) = Default::default();
        let (mut cells, mut exists) = (Vec::new(), false);
        for ((f, q, t), mut written) in parts {
            written.retain(|(seq, ..)| !hidden(f, &q, t.0, *seq));
            let Some(value) = value_of(&written) else { continue };
            let newer = live.entry((f, q.clone())).or_default();
            let condemned = table.family_by_id(f).unwrap().gc.condemns(*newer, now.0 - t.0.0);
            *newer += 1;
            if condemned || !spec.timestamps.contains(t.0) {
                continue;
            }
            exists = true;
            if !spec.columns.wants(f, &q) {
                continue;
            }
            let shown = shown.entry((f, q.clone())).or_default();
            *shown += 1;
            if spec.cells_per_column == 0 || *shown <= spec.cells_per_column {
                cells.push(Cell { family: f, qualifier: q, timestamp: t.0, value });
            }
        }
        cells.drain(..cells.len().min(spec.cell_offset as usize));
        if spec.cell_limit > 0 {
            cells.truncate(spec.cell_limit as usize);
        }
        (!cells.is_empty() || (exists && spec.keep_empty_rows)).then(|| Row { key: key.clone(), cells })
    }

    fn read(&self, spec: &ReadSpec, at: Seq, now: Micros) -> Vec<Row> {
        let in_time = |key: &Bytes| {
            let time = self.table.key_schema().event_time(key);
            spec.event_time.is_none_or(|times| time.is_none_or(|t| times.contains(t)))
        };
        let wanted = |key: &&Bytes| spec.ranges.iter().any(|r| r.contains(key)) && in_time(key);
        let mut rows: Vec<_> = self.rows.keys().filter(wanted).filter_map(|key| self.row(key, spec, at, now)).collect();
        if spec.reverse {
            rows.reverse();
        }
        if spec.row_limit > 0 {
            rows.truncate(spec.row_limit as usize);
        }
        rows
    }

    /// Whether all that was written to a row in between are cells of a family with a maximum age, long past it.
    fn is_expired(&self, key: &Bytes, (from, to): (Seq, Seq), now: Micros) -> bool {
        let age = Duration::from_secs(10) + AGE_SLACK;
        let expired = |row: &StoredRow| {
            row.deletes.is_empty() && row.cells.iter().all(|c| c.family == family("young") && c.timestamp < now.before(age))
        };
        self.rows.get(key).is_some_and(|history| history.iter().all(|(seq, row)| *seq <= from || *seq > to || expired(row)))
    }

    fn changes(&self, from: Seq, to: Seq, now: Micros) -> Vec<RowChange> {
        let all = ReadSpec { cells_per_column: 0, ..ReadSpec::default() };
        let touched = self.rows.iter().filter(|(_, history)| history.iter().any(|(seq, _)| from < *seq && *seq <= to));
        let change = |key: &Bytes| RowChange { key: key.clone(), old: self.row(key, &all, from, now), new: self.row(key, &all, to, now) };
        touched.map(|(key, _)| change(key)).filter(|c| c.old.is_some() || c.new.is_some()).collect()
    }
}

/// A write of any kind.
#[derive(Clone, Debug)]
enum Step {
    Write(Vec<RowMutation>),
    Check(CheckAndMutate),
    Modify(ReadModifyWrite),
    Ingest(Vec<RowMutation>),
}

/// What became of it.
#[derive(Debug)]
enum Done {
    Written(Vec<Committed>),
    Checked(Checked),
    Modified(common::Result<Modified>),
    Ingested(Committed),
}

impl Model {
    fn push(&mut self, seq: Seq, row: StoredRow) {
        self.rows.entry(row.key.clone()).or_default().push((seq, row));
    }

    fn matches(&self, request: &CheckAndMutate, at: Seq, now: Micros) -> bool {
        request.predicate.holds(&mut |test| {
            let (columns, timestamps, cells_per_column) = (test.columns.clone(), test.timestamps, test.cells_per_column);
            let spec = ReadSpec { columns, timestamps, cells_per_column, ..ReadSpec::default() };
            self.row(&request.key, &spec, at, now).is_some_and(|row| row.cells.iter().any(|c| test.value.holds(&c.value)))
        })
    }

    /// The new cells, `given` being the timestamp for columns without a newer one.
    fn modify(&self, request: &ReadModifyWrite, (at, now): (Seq, Micros), given: Micros) -> common::Result<Vec<Cell>> {
        let mut cells: BTreeMap<(FamilyId, Bytes), Cell> = BTreeMap::new();
        let old = self.row(&request.key, &ReadSpec::default(), at, now).map_or_else(Vec::new, |row| row.cells);
        for ModifyRule { family, qualifier, modify } in &request.rules {
            let newest = old.iter().find(|c| c.family == *family && c.qualifier == *qualifier);
            let place = (*family, qualifier.clone());
            let value = modify.apply(cells.get(&place).or(newest).map(|c| &c.value))?;
            let timestamp = newest.map_or(given, |c| c.timestamp.max(given));
            cells.insert(place, Cell { family: *family, qualifier: qualifier.clone(), timestamp, value });
        }
        Ok(cells.into_values().collect())
    }
}

#[derive(Clone, Debug)]
enum Op {
    Write(Vec<RowMutation>),
    /// At once: each sees what is numbered before it, durable or not.
    Together(Vec<Step>),
    DeleteRange(KeyRange),
    /// Rows ingested, and what is written while their SSTables are; whether it is flushed then too.
    Ingest(Vec<RowMutation>, Vec<RowMutation>, bool),
    Flush,
    Compact,
    /// Merges neighbours: first and how many, in percent.
    CompactSome(usize, usize),
    /// As the strategy chooses.
    CompactChosen,
    Restart,
    Advance(u64),
    /// Pins a seq and all above, in percent of what is readable; above 100: none.
    Pin(u64),
    /// Pins single seqs.
    Pins(Vec<u64>),
    Read(Box<ReadSpec>, u64),
    Changes(u64, u64),
}

/// Hours from the clock's start at which typed keys have their times.
const HOURS: [i64; 9] = [-2000, -100, -50, -49, -3, 0, 1, 30, 1500];

/// As tables with a time in their key encode it; to others it is any key.
fn typed_key(user: &str, hours: i64) -> Bytes {
    let table = Table::create(TableId(5), TableKind::Raw, timed(None)).unwrap();
    let at = Micros(1_000_000_000 + hours * 3_600_000_000);
    table.key_schema().encode(&[Some(Value::String(user.into())), Some(Value::Timestamp(at))]).unwrap()
}

fn timed(compaction: Option<CompactionKind>) -> TableSpec {
    let key = serde_json::from_value(serde_json::json!([{"user": "string"}, {"at": "timestamp desc"}])).unwrap();
    TableSpec { key, time_column: Some("at".into()), compaction, ..spec_of_families() }
}

fn key() -> impl Strategy<Value = Bytes> {
    let typed =
        (prop::sample::select(vec!["a", "bb"]), prop::sample::select(HOURS.to_vec())).prop_map(|(user, hours)| typed_key(user, hours));
    prop_oneof![2 => raw_key(), 1 => typed]
}

fn raw_key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["a", "a\0", "ab", "b", "bbbbbbbbbbbbbbbb", "bbbbbbbbbbbbbbbc", "c", "zz"]).prop_map(Bytes::from)
}

fn qualifier() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["", "p", "q", "qq"]).prop_map(Bytes::from)
}

/// Times around the clock's, which moves on from 1,000 s.
fn time() -> impl Strategy<Value = Micros> {
    prop_oneof![(0i64..6).prop_map(Micros), (990i64..1100).prop_map(|s| Micros(s * 1_000_000))]
}

fn times() -> impl Strategy<Value = TimeRange> {
    prop_oneof![
        2 => Just(TimeRange::ALL),
        1 => (time(), time()).prop_map(|(a, b)| TimeRange { start: a.min(b), end: Micros(a.max(b).0 + 1) }),
    ]
}

fn any_family() -> impl Strategy<Value = FamilyId> {
    prop::sample::select(vec!["all", "two", "young"]).prop_map(family)
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let value = prop_oneof![4 => "[a-z]{0,8}", 1 => "[a-z]{100,300}"].prop_map(Bytes::from);
    let set = (any_family(), qualifier(), prop::option::of(time()), value)
        .prop_map(|(family, qualifier, timestamp, value)| Mutation::Set { family, qualifier, timestamp, value });
    // A partial delete of a column with max-versions may let a condemned version show again: the one open case.
    let delete = (any_family(), qualifier(), times()).prop_map(|(f, qualifier, timestamps)| {
        let timestamps = if f == family("two") { TimeRange::ALL } else { timestamps };
        Mutation::DeleteColumn { family: f, qualifier, timestamps }
    });
    let at = prop_oneof![4 => Just(Micros(3)), 1 => time()];
    let number = prop_oneof![6 => -3i64..3, 1 => Just(i64::MIN), 1 => Just(i64::MAX)];
    let combine = (any_family(), qualifier(), at, number).prop_map(|(family, qualifier, timestamp, value)| Mutation::Combine {
        family,
        qualifier,
        timestamp,
        aggregate: Aggregate::Sum,
        value,
    });
    prop_oneof![
        12 => set,
        4 => combine,
        2 => delete,
        1 => any_family().prop_map(|family| Mutation::DeleteFamily { family }),
        1 => Just(Mutation::DeleteRow),
    ]
}

/// Changes to one row; its aggregates are of one kind, as one row mutation must have them for one cell.
fn mutations(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Mutation>> {
    let aggregates = prop::sample::select(vec![Aggregate::Sum, Aggregate::Sum, Aggregate::Min, Aggregate::Max]);
    (prop::collection::vec(mutation(), count), aggregates).prop_map(|(mut mutations, kind)| {
        for m in &mut mutations {
            if let Mutation::Combine { aggregate, .. } = m {
                *aggregate = kind;
            }
        }
        mutations
    })
}

fn row() -> impl Strategy<Value = RowMutation> {
    (key(), mutations(1..5)).prop_map(|(key, mutations)| RowMutation { key, mutations })
}

fn rising_rows() -> impl Strategy<Value = Vec<RowMutation>> {
    let rows = prop::collection::btree_map(key(), mutations(1..5), 1..7);
    rows.prop_map(|rows| rows.into_iter().map(|(key, mutations)| RowMutation { key, mutations }).collect())
}

fn range() -> impl Strategy<Value = KeyRange> {
    prop_oneof![
        Just(KeyRange::ALL),
        key().prop_map(|k| KeyRange::single(&k)),
        (key(), prop::option::of(key())).prop_map(|(a, b)| KeyRange::new(a, b)),
    ]
}

fn columns() -> impl Strategy<Value = Columns> {
    let some = prop::collection::vec((any_family(), prop::option::of(qualifier())), 0..3);
    let range =
        (any_family(), qualifier(), prop::option::of(qualifier())).prop_map(|(family, start, end)| ColumnRange { family, start, end });
    let ranges = prop::collection::vec(range, 0..3);
    prop_oneof![3 => Just(Columns::All), 1 => some.prop_map(Columns::Some), 1 => ranges.prop_map(Columns::Ranges)]
}

fn step() -> impl Strategy<Value = Step> {
    let mutations = || prop_oneof![1 => Just(Vec::new()), 3 => mutations(1..3)];
    let value = prop_oneof![
        Just(ValueTest::Any),
        "[a-z]{0,1}".prop_map(|s| ValueTest::StartsWith(s.into())),
        ("[a-z]{0,2}", "[a-z]{0,2}").prop_map(|(a, b)| ValueTest::Between(Bound::Included(a.into()), Bound::Excluded(b.into()))),
        (-3i64..3, -3i64..3).prop_map(|(a, b)| ValueTest::Int64(a, b)),
    ];
    let test = (columns(), times(), 0u32..3, value).prop_map(|(columns, timestamps, cells_per_column, value)| {
        Predicate::Cell(CellTest { columns, timestamps, cells_per_column, value })
    });
    let predicate = test.prop_recursive(2, 4, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Predicate::All),
            prop::collection::vec(inner.clone(), 0..3).prop_map(Predicate::OneOf),
            inner.prop_map(|p| Predicate::Not(Box::new(p))),
        ]
    });
    let check = (key(), predicate, mutations(), mutations()).prop_filter_map("both are empty", |(key, predicate, then, otherwise)| {
        let check = CheckAndMutate { key, predicate, then, otherwise };
        (!check.then.is_empty() || !check.otherwise.is_empty()).then_some(Step::Check(check))
    });
    let modify = prop_oneof![2 => (-2i64..3).prop_map(Modify::Increment), 1 => "[a-z]{0,2}".prop_map(|s| Modify::Append(s.into()))];
    let column = prop_oneof![3 => Just((family("all"), Bytes::from("n"))), 1 => (any_family(), qualifier())];
    let rule = (column, modify).prop_map(|((family, qualifier), modify)| ModifyRule { family, qualifier, modify });
    let rules = (key(), prop::collection::vec(rule, 1..4), prop::option::of(time()));
    let modify = rules.prop_map(|(key, rules, timestamp)| Step::Modify(ReadModifyWrite { key, rules, timestamp }));
    let write = prop::collection::vec(row(), 1..3).prop_map(Step::Write);
    prop_oneof![3 => write, 6 => check, 9 => modify, 1 => rising_rows().prop_map(Step::Ingest)]
}

fn event_times() -> impl Strategy<Value = Option<TimeRange>> {
    let hours = || prop::sample::select(HOURS.to_vec()).prop_map(|h| 1_000_000_000 + h * 3_600_000_000);
    prop::option::of((hours(), hours())).prop_map(|two| two.map(|(a, b)| TimeRange { start: Micros(a.min(b)), end: Micros(a.max(b) + 1) }))
}

fn spec() -> impl Strategy<Value = ReadSpec> {
    let ranges = prop_oneof![Just(vec![KeyRange::ALL]), prop::collection::vec(range(), 0..4)];
    let cells = (0u32..3, prop_oneof![2 => Just(0), 1 => 0u32..4], prop_oneof![2 => Just(0), 1 => 0u32..4]);
    (ranges, any::<bool>(), columns(), times(), cells, (0u64..4, event_times()), any::<bool>()).prop_map(
        |(ranges, reverse, columns, timestamps, (cells_per_column, cell_offset, cell_limit), (row_limit, event_time), keep_empty_rows)| {
            ReadSpec {
                ranges,
                reverse,
                columns,
                timestamps,
                cells_per_column,
                cell_offset,
                cell_limit,
                row_limit,
                keep_empty_rows,
                event_time,
            }
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => prop::collection::vec(row(), 1..6).prop_map(Op::Write),
        4 => prop::collection::vec(step(), 1..8).prop_map(Op::Together),
        2 => range().prop_map(Op::DeleteRange),
        3 => (rising_rows(), prop::collection::vec(row(), 0..4), any::<bool>()).prop_map(|(a, b, flush)| Op::Ingest(a, b, flush)),
        3 => Just(Op::Flush),
        1 => Just(Op::Compact),
        2 => (0usize..100, 0usize..100).prop_map(|(a, b)| Op::CompactSome(a, b)),
        2 => Just(Op::CompactChosen),
        1 => Just(Op::Restart),
        1 => prop_oneof![(0u64..20), (600u64..1300), (3600u64..400_000)].prop_map(Op::Advance),
        1 => (0u64..140).prop_map(Op::Pin),
        1 => prop::collection::vec(0u64..=100, 0..12).prop_map(Op::Pins),
        8 => (spec(), 0u64..=100).prop_map(|(spec, at)| Op::Read(Box::new(spec), at)),
        3 => (0u64..=100, 0u64..=100).prop_map(|(from, to)| Op::Changes(from, to)),
    ]
}

struct Run {
    world: World,
    tablet: Tablet,
    model: Model,
}

impl Run {
    fn seq(&self, percent: u64) -> Seq {
        let readable: Vec<_> = (0..=self.tablet.visible().0).map(Seq).filter(|at| self.tablet.is_readable(*at)).collect();
        readable[(readable.len() - 1) * percent as usize / 100]
    }

    async fn step(&mut self, op: Op) {
        match op {
            Op::Write(rows) => self.write(rows).await,
            Op::Together(steps) => self.together(steps).await,
            Op::DeleteRange(range) => self.delete_range(range).await,
            Op::Ingest(rows, meanwhile, flush) => self.ingest(rows, meanwhile, flush).await,
            Op::Flush => self.tablet.flush().await.unwrap(),
            Op::Compact => self.tablet.compact().await.unwrap(),
            Op::CompactChosen => self.tablet.inner_for_tests().compact_as_chosen_for_tests().await.unwrap(),
            Op::CompactSome(from, count) => self.tablet.inner_for_tests().compact_some_for_tests(from, count).await.unwrap(),
            Op::Restart => self.tablet = self.world.start().await.1,
            Op::Advance(seconds) => self.world.clock.advance(Duration::from_secs(seconds)),
            Op::Pin(percent) => self.tablet.set_pin((percent <= 100).then(|| self.seq(percent))),
            Op::Pins(percents) => self.tablet.set_pins(&percents.iter().map(|p| self.seq(*p)).collect::<Vec<_>>()),
            Op::Read(spec, percent) => self.read(*spec, self.seq(percent)).await,
            Op::Changes(a, b) => self.changes(self.seq(a.min(b)), self.seq(a.max(b))).await,
        }
    }

    async fn write(&mut self, rows: Vec<RowMutation>) {
        for (row, result) in rows.clone().into_iter().zip(self.tablet.write(rows, None).await.unwrap()) {
            let committed = result.unwrap();
            let stored = StoredRow::reduce(row, committed.timestamp);
            self.model.rows.entry(stored.key.clone()).or_default().push((committed.seq, stored));
        }
    }

    async fn ingest(&mut self, mut rows: Vec<RowMutation>, meanwhile: Vec<RowMutation>, flush: bool) {
        let mut ingest = self.tablet.ingest(None).await.unwrap();
        let all = rows.clone();
        let second = rows.split_off(rows.len() / 2);
        ingest.add(rows).await.unwrap();
        self.write(meanwhile).await;
        if flush {
            self.tablet.flush().await.unwrap();
        }
        ingest.add(second).await.unwrap();
        let Committed { seq, timestamp } = ingest.commit().await.unwrap();
        all.into_iter().for_each(|row| self.model.push(seq, StoredRow::reduce(row, timestamp)));
    }

    async fn together(&mut self, steps: Vec<Step>) {
        let (tablet, before) = (&self.tablet, self.tablet.visible());
        let done = steps.into_iter().map(|step| async {
            let done = match step.clone() {
                Step::Write(rows) => Done::Written(tablet.write(rows, None).await.unwrap().into_iter().map(Result::unwrap).collect()),
                Step::Check(request) => Done::Checked(tablet.check_and_mutate(request, None).await.unwrap()),
                Step::Modify(request) => Done::Modified(tablet.read_modify_write(request, None).await),
                Step::Ingest(rows) => {
                    let mut ingest = tablet.ingest(None).await.unwrap();
                    ingest.add(rows).await.unwrap();
                    Done::Ingested(ingest.commit().await.unwrap())
                }
            };
            (step, done)
        });
        let mut done = futures::future::join_all(done).await;
        done.sort_by_key(|(_, done)| match done {
            Done::Written(list) => list[0].seq,
            Done::Checked(c) => c.committed.as_ref().map_or(Seq::MAX, |c| c.seq),
            Done::Ingested(c) => c.seq,
            Done::Modified(m) => m.as_ref().map_or(Seq::MAX, |m| m.committed.seq),
        });
        for (step, done) in done {
            self.numbered(step, done, before);
        }
    }

    /// Compares a write with the model as all before it left it, and adds it. What was not numbered must be explained by
    /// some state in between.
    fn numbered(&mut self, step: Step, done: Done, before: Seq) {
        let (now, last) = (self.world.clock.now(), self.tablet.visible());
        let somewhere = |holds: &dyn Fn(Seq) -> bool| (before.0..=last.0).any(|at| holds(Seq(at)));
        match (step, done) {
            (Step::Write(rows), Done::Written(list)) => {
                for (row, Committed { seq, timestamp }) in rows.into_iter().zip(list) {
                    self.model.push(seq, StoredRow::reduce(row, timestamp));
                }
            }
            (Step::Ingest(rows), Done::Ingested(Committed { seq, timestamp })) => {
                rows.into_iter().for_each(|row| self.model.push(seq, StoredRow::reduce(row, timestamp)));
            }
            (Step::Check(request), Done::Checked(Checked { matched, committed })) => {
                let mutations = if matched { &request.then } else { &request.otherwise };
                assert_eq!(committed.is_none(), mutations.is_empty());
                let Some(Committed { seq, timestamp }) = committed else {
                    assert!(somewhere(&|at| self.model.matches(&request, at, now) == matched), "{request:?}");
                    return;
                };
                assert_eq!(self.model.matches(&request, Seq(seq.0 - 1), now), matched, "{request:?} at {seq}");
                let row = RowMutation { key: request.key.clone(), mutations: mutations.clone() };
                self.model.push(seq, StoredRow::reduce(row, timestamp));
            }
            (Step::Modify(request), Done::Modified(Err(e))) => {
                assert_eq!(e.kind, ErrorKind::FailedPrecondition);
                assert!(somewhere(&|at| self.model.modify(&request, (at, now), now).is_err()), "{request:?}: {e}");
            }
            (Step::Modify(request), Done::Modified(Ok(Modified { row, committed: Committed { seq, timestamp } }))) => {
                let given = request.timestamp.unwrap_or(timestamp);
                let cells = self.model.modify(&request, (Seq(seq.0 - 1), now), given).unwrap();
                assert_eq!(row.cells, cells, "{request:?} at {seq}");
                let set =
                    |c: Cell| Mutation::Set { family: c.family, qualifier: c.qualifier, timestamp: Some(c.timestamp), value: c.value };
                let row = RowMutation { key: request.key, mutations: cells.into_iter().map(set).collect() };
                self.model.push(seq, StoredRow::reduce(row, timestamp));
            }
            (step, done) => panic!("{step:?} became {done:?}"),
        }
    }

    /// To the model it is a delete of every row that it has there.
    async fn delete_range(&mut self, range: KeyRange) {
        let result = self.tablet.delete_range(range.clone(), None).await;
        if range.is_empty() {
            assert_eq!(result.unwrap_err().kind, ErrorKind::InvalidArgument);
            return;
        }
        let seq = result.unwrap().seq;
        for (key, history) in self.model.rows.iter_mut().filter(|(key, _)| range.contains(key)) {
            history.push((seq, StoredRow { key: key.clone(), deletes: vec![Delete::Row], cells: Vec::new() }));
        }
    }

    async fn read(&self, spec: ReadSpec, at: Seq) {
        let got: Vec<Row> = self.tablet.read(spec.clone(), at).unwrap().try_concat().await.unwrap();
        let expected = self.model.read(&spec, at, self.world.clock.now());
        assert_eq!(got, expected, "{spec:?} at {at}");
        for key in ["a", "a\0", "b", "bbbbbbbbbbbbbbbb", "none"].map(Bytes::from) {
            let row = self.tablet.read_row(&key, &spec, at).await.unwrap();
            assert_eq!(row, self.model.row(&key, &spec, at, self.world.clock.now()), "{key:?} of {spec:?} at {at}");
        }
    }

    async fn changes(&self, from: Seq, to: Seq) {
        let mut got = changes(&self.tablet, from, to).await;
        let mut expected = self.model.changes(from, to, self.world.clock.now());
        // Of writes that are too old for anyone to see, an SSTable of such alone goes whole, at whichever floor.
        let now = self.world.clock.now();
        let left_nothing = |c: &RowChange| c.old == c.new && self.model.is_expired(&c.key, (from, to), now);
        got.retain(|c| !left_nothing(c));
        expected.retain(|c| !left_nothing(c));
        if from < self.tablet.floor() {
            // Between a point and the floor what changed nothing may have gone.
            got.retain(|c| c.old != c.new);
            expected.retain(|c| c.old != c.new);
        }
        assert_eq!(got, expected, "({from}, {to}]");
        if let Some(lost) = (0..from.0).map(Seq).rev().find(|at| !self.tablet.is_readable(*at)) {
            let below = self.tablet.changes(lost, to, KeyRange::ALL).err().map(|e| e.kind);
            assert_eq!(below, Some(ErrorKind::ChangesLost));
            assert_eq!(self.tablet.read(ReadSpec::default(), lost).err().map(|e| e.kind), Some(ErrorKind::SnapshotTooOld));
        }
    }
}

fn table_spec() -> impl Strategy<Value = TableSpec> {
    let kinds = [CompactionKind::SizeTiered, CompactionKind::Leveled, CompactionKind::TimeWindowed];
    let kind = prop::option::of(prop::sample::select(kinds.to_vec()));
    (any::<bool>(), kind).prop_map(|(by_time, kind)| match by_time {
        true => timed(kind),
        false => TableSpec { compaction: kind, ..spec_of_families() },
    })
}

/// `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_engine_is_a_sorted_map_of_versions(table_spec in table_spec(), ops in prop::collection::vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            world.spec = table_spec;
            world.tune = |config| {
                without_cache_at_times(config);
                // Every third life an ingest holds nothing back.
                if config.incarnation.0.is_multiple_of(3) {
                    config.ingest_bytes = 0;
                }
            };
            let tablet = world.start().await.1;
            let model = Model { table: world.table(), rows: BTreeMap::new() };
            let mut run = Run { world, tablet, model };
            for op in ops {
                run.step(op).await;
            }
            run.tablet = run.world.start().await.1;
            run.read(ReadSpec { cells_per_column: 0, ..ReadSpec::default() }, run.tablet.visible()).await;
        });
    }
}
