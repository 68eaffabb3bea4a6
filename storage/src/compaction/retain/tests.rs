//! A row's history, cut into sources at random, some of them merged at random, read everywhere.

use super::*;
use crate::read::View;
use bytes::Bytes;
use common::row::Row;
use common::schema::{FamilySpec, TableKind, TableSpec};
use common::time::TimeRange;
use proptest::prelude::*;

const NOW: Micros = Micros(10_000_000_000);
const SECOND: i64 = 1_000_000;

/// One family for each kind of rule.
fn table() -> Table {
    let young = GcRule::MaxAgeSeconds(100);
    let rules = [
        GcRule::KeepAll,
        GcRule::MaxVersions(1),
        GcRule::MaxVersions(2),
        young.clone(),
        GcRule::Union(vec![GcRule::MaxVersions(2), young.clone()]),
        GcRule::Intersection(vec![GcRule::MaxVersions(1), young.clone()]),
        GcRule::Union(vec![GcRule::Intersection(vec![GcRule::MaxVersions(1), young]), GcRule::MaxVersions(3)]),
    ];
    let mut spec: TableSpec = serde_json::from_value(serde_json::json!({"name": "test.rows", "undeclared": "none"})).unwrap();
    spec.families = (0..).zip(rules).map(|(i, gc)| (format!("f{i}"), FamilySpec { gc: Some(gc), hidden: false })).collect();
    Table::create(common::ids::TableId(1), TableKind::Raw, spec).unwrap()
}

fn family(rule: usize) -> FamilyId {
    table().family(&format!("f{rule}")).unwrap().id
}

#[derive(Clone, Debug)]
enum Change {
    Set(FamilyId, u8, Micros),
    Combine(FamilyId, u8, Micros, CellKind),
    Delete(Delete),
    Cover,
}

/// Changes in seq order from 1, each with the source that holds it.
type History = Vec<(Change, usize)>;

fn qualifier(q: u8) -> Bytes {
    Bytes::from(vec![b'a' + q])
}

fn change() -> impl Strategy<Value = Change> {
    let time = prop_oneof![(0i64..5), (600i64..640), (690i64..710)].prop_map(|s| Micros(NOW.0 - s * SECOND));
    let times = (time.clone(), time.clone()).prop_map(|(a, b)| TimeRange { start: a.min(b), end: Micros(a.max(b).0 + 1) });
    let aggregate = prop::sample::select(vec![CellKind::Sum, CellKind::Sum, CellKind::Min, CellKind::Max]);
    let any_family = (0usize..7).prop_map(family);
    let column = (0usize..7, 0u8..2, prop_oneof![Just(TimeRange::ALL), times]).prop_map(|(rule, q, times)| {
        // What a delete of a time range lets show again depends on what was condemned before: the one open case.
        let TimeRange { start, end } = if matches!(rule, 0 | 3) { times } else { TimeRange::ALL };
        Change::Delete(Delete::Column { family: family(rule), qualifier: qualifier(q), start, end })
    });
    prop_oneof![
        10 => (any_family.clone(), 0u8..2, time).prop_map(|(f, q, at)| Change::Set(f, q, at)),
        8 => (any_family.clone(), 0u8..2, prop::sample::select(vec![0, 1, 620]), aggregate)
            .prop_map(|(f, q, s, kind)| Change::Combine(f, q, Micros(NOW.0 - s * SECOND), kind)),
        2 => column,
        1 => any_family.prop_map(|f| Change::Delete(Delete::Family(f))),
        1 => Just(Change::Delete(Delete::Row)),
        1 => Just(Change::Cover),
    ]
}

/// Every other plain value is an integer, and every aggregate.
fn cell((family, q, timestamp): (FamilyId, u8, Micros), seq: Seq, kind: CellKind) -> RawCell {
    let value = match kind {
        CellKind::Value if seq.0.is_multiple_of(2) => Bytes::from(seq.0.to_string()),
        _ => Bytes::copy_from_slice(&(1i64 << seq.0).to_be_bytes()),
    };
    RawCell { family, qualifier: qualifier(q), timestamp, seq, kind, value }
}

fn sources(history: &History, count: usize) -> Vec<RawRow> {
    let mut rows = vec![RawRow { key: Bytes::from_static(b"k"), ..RawRow::default() }; count];
    for (seq, (change, source)) in (1..).map(Seq).zip(history) {
        let row = &mut rows[*source];
        match change {
            Change::Set(family, q, timestamp) => row.cells.push(cell((*family, *q, *timestamp), seq, CellKind::Value)),
            Change::Combine(family, q, timestamp, kind) => row.cells.push(cell((*family, *q, *timestamp), seq, *kind)),
            Change::Delete(what) => row.deletes.push(RawDelete { what: what.clone(), seq }),
            // Row-range deletes are not the row's to keep: they are seen by every source.
            Change::Cover => rows.iter_mut().for_each(|r| r.covers.push(seq)),
        }
    }
    rows.iter_mut().for_each(|r| r.cells.sort_by(RawCell::order));
    rows
}

fn whole(sources: &[RawRow]) -> RawRow {
    let mut row = RawRow { key: sources[0].key.clone(), ..RawRow::default() };
    sources.iter().for_each(|s| row.join(s.clone()));
    row
}

/// The lowest seq in these sources.
fn lowest(sources: &[&RawRow]) -> Seq {
    let seqs = sources.iter().flat_map(|r| r.cells.iter().map(|c| c.seq).chain(r.deletes.iter().map(|d| d.seq)));
    seqs.min().unwrap_or(Seq::MAX)
}

/// Whether some seq in these sources lies from `from` to `to`.
fn any_between(sources: &[RawRow], from: Seq, to: Seq) -> bool {
    let inside = |seq: Seq| from <= seq && seq <= to;
    sources.iter().any(|r| r.cells.iter().any(|c| inside(c.seq)) || r.deletes.iter().any(|d| inside(d.seq)))
}

fn merge(sources: &mut Vec<RawRow>, chosen: &[bool], table: &Table, points: &Points) {
    let (mut merged, mut others) = (Vec::new(), Vec::new());
    for (i, source) in sources.drain(..).enumerate() {
        if chosen.get(i).copied().unwrap_or(false) { merged.push(source) } else { others.push(source) }
    }
    if !merged.is_empty() {
        let below = lowest(&others.iter().collect::<Vec<_>>());
        let outside = others.clone();
        let between: Between = Arc::new(move |_, from, to| any_between(&outside, from, to));
        let rule = Retention::new(table, NOW, points.clone(), Arc::new(move |_| below), between);
        let mut row = whole(&merged);
        row.covers.sort_unstable();
        row.covers.dedup();
        others.push(rule.apply(row));
    }
    *sources = others;
}

fn images(sources: &[RawRow], view: &View, at: &[Seq]) -> Vec<Option<Row>> {
    let row = whole(sources);
    at.iter().map(|at| view.peek(&row, *at)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn merges_of_any_part_change_no_read_at_a_point_or_above_the_floor(
        history in prop::collection::vec((change(), 0usize..5), 1..40),
        merges in prop::collection::vec((prop::collection::vec(any::<bool>(), 5), 0u64..42, prop::collection::vec(0u64..42, 0..5)), 1..5),
    ) {
        let (table, mut sources) = (table(), sources(&history, 5));
        let view = View::whole(crate::read::rules(&table), NOW);
        let original = sources.clone();
        let mut points = Points::default();
        for (chosen, floor, pins) in merges {
            points = points.advance(Seq(floor.min(history.len() as u64)), pins.into_iter().map(Seq));
            merge(&mut sources, &chosen, &table, &points);
            let readable: Vec<_> = (0..=history.len() as u64).map(Seq).filter(|at| points.is_readable(*at)).collect();
            let (got, expected) = (images(&sources, &view, &readable), images(&original, &view, &readable));
            prop_assert_eq!(&got, &expected, "{:?}", points);
            let row = whole(&sources);
            for (i, from) in readable.iter().enumerate() {
                for (j, to) in readable.iter().enumerate().skip(i) {
                    prop_assert!(got[i] == got[j] || row.touched(*from, *to), "a change in ({}, {}] is not seen", from, to);
                }
            }
        }
    }
}

#[test]
fn at_the_bottom_deletes_go_with_all_that_they_hide_and_with_nothing_less() {
    let table = table();
    let set = |at| (Change::Set(family(0), 0, Micros(at)), 0);
    let history = vec![set(1), set(2), (Change::Delete(Delete::Row), 0)];
    let kept = |points: Points| {
        let mut sources = sources(&history, 1);
        merge(&mut sources, &[true], &table, &points);
        (sources[0].cells.len(), sources[0].deletes.len())
    };
    assert_eq!(kept(Points::new(vec![], Seq(3))), (0, 0));
    assert_eq!(kept(Points::new(vec![Seq(2)], Seq(3))), (2, 1), "the reader at 2 still sees what the delete hides from others");
    assert_eq!(kept(Points::new(vec![], Seq(2))), (2, 1));
    assert_eq!(kept(Points::new(vec![Seq(1)], Seq(3))), (1, 1), "between the points nobody sees the second");
}

#[test]
fn parts_of_an_aggregate_become_one_where_no_reader_can_tell() {
    let table = table();
    let sum = |source| (Change::Combine(family(0), 0, Micros(1), CellKind::Sum), source);
    let kept = |history: &History, points: Points| {
        let mut sources = sources(history, 2);
        merge(&mut sources, &[true, false], &table, &points);
        let parts = sources.pop().unwrap().cells;
        parts.iter().map(|c| (c.seq.0, c.kind, i64::from_be_bytes(c.value.as_ref().try_into().unwrap()))).collect::<Vec<_>>()
    };
    let three = vec![sum(0), sum(0), sum(0)];
    assert_eq!(kept(&three, Points::new(vec![], Seq(3))), [(3, CellKind::Value, 2 + 4 + 8)]);
    assert_eq!(kept(&three, Points::new(vec![Seq(1)], Seq(3))), [(3, CellKind::Sum, 4 + 8), (1, CellKind::Value, 2)]);
    assert_eq!(kept(&three, Points::new(vec![], Seq(2))), [(3, CellKind::Sum, 8), (2, CellKind::Value, 2 + 4)], "above the floor all stay");
    let over_value = vec![(Change::Set(family(0), 0, Micros(1)), 0), sum(0), sum(0)];
    assert_eq!(kept(&over_value, Points::new(vec![], Seq(3))), [(3, CellKind::Value, 2 + 4 + 8)]);
    let other_below = vec![sum(1), sum(0), sum(0)];
    assert_eq!(kept(&other_below, Points::new(vec![], Seq(3))), [(3, CellKind::Sum, 4 + 8)]);
    let other_between = vec![sum(0), (Change::Delete(Delete::Row), 1), sum(0)];
    assert_eq!(kept(&other_between, Points::new(vec![], Seq(3))), [(3, CellKind::Sum, 8), (1, CellKind::Value, 2)]);
    let mixed = vec![sum(0), (Change::Combine(family(0), 0, Micros(1), CellKind::Min), 0), sum(1)];
    assert_eq!(kept(&mixed, Points::new(vec![], Seq(3))), [(2, CellKind::Value, 2)]);
}
