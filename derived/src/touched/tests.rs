//! Held against what DataFusion computes: no row that differs is missed, and what cannot be told is said.

use super::{Changes, Unknown, name, touched};
use crate::testing::session;
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::catalog::MemorySchemaProvider;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{LogicalPlan, TableSource};
use datafusion::prelude::{DataFrame, SessionContext};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A row of any of the tables `raw.a`, `raw.b` and `raw.c`: key, and three values, the first of which may be null.
type Row = (i64, Option<i64>, i64, String);
type Table = BTreeMap<i64, Row>;
/// The three tables.
type Tables = [Table; 3];

const NAMES: [&str; 3] = ["raw.a", "raw.b", "raw.c"];

/// Queries, and how many of their first columns are asked for.
const TOLD: [(&str, usize); 31] = [
    ("select k, x, s from raw.a where x > 1", 1),
    ("select s, count(*) as n, sum(x) as x from raw.a group by s", 1),
    ("select s, x, count(*) as n from raw.a where y < 3 group by s, x having count(*) > 1", 2),
    ("select x + 1 as x1, max(y) as y from raw.a group by x + 1", 1),
    ("select a.k, b.s from raw.a a join raw.b b on a.x = b.x", 1),
    ("select a.k, b.k as bk, a.s from raw.a a join raw.b b on a.x = b.x and a.y < b.y", 2),
    ("select a.k, b.y from raw.a a left join raw.b b on a.x = b.k", 1),
    ("select a.k, b.y, b.s from raw.a a left join raw.b b on a.x = b.k", 2),
    ("select b.s, count(*) as n from raw.a a left join raw.b b on a.x = b.k group by b.s", 1),
    ("select coalesce(a.x, b.x) as x, count(*) as n from raw.a a full join raw.b b on a.x = b.x group by 1", 1),
    ("select a.s, b.s as t, count(*) as n from raw.a a full join raw.b b on a.x = b.k group by 1, 2", 2),
    ("select distinct x, y from raw.a where s <> 's1'", 2),
    ("select k, y from raw.a union all select k, y from raw.b where x > 0", 1),
    ("select x, y from raw.a union select y, x from raw.b", 2),
    ("select k, s from raw.a where k not in (select k from raw.b where y > 1)", 1),
    ("select k, s from raw.a a where not exists (select 1 from raw.b b where b.x = a.x and b.y <> a.y)", 1),
    ("select k, s from raw.a a where exists (select 1 from raw.b b where b.x = a.x)", 1),
    ("select k from raw.a where x in (select x from raw.b) or y = 0", 1),
    ("select s, k, row_number() over (partition by s order by y, k) as r from raw.a", 2),
    ("select s, count(*) as n from (select s, y, rank() over (partition by x order by y) as r from raw.a) q where r = 1 group by s", 1),
    ("select s, r from (select s, row_number() over (partition by s order by y desc, k) as r, k from raw.a) q where r <= 2", 1),
    ("select distinct on (s) s, k, y from raw.a order by s, y, k", 1),
    ("select a.k, (select max(b.y) from raw.b b where b.x = a.x) as m from raw.a a", 1),
    ("select a.k, q.n from raw.a a join (select x, count(*) as n from raw.b group by x) q on q.x = a.x", 1),
    (
        "with q as (select x, max(y) as y from raw.a group by x) select b.k, q.y, c.s from raw.b b join q on q.x = b.x left join raw.c c on c.k = b.y",
        1,
    ),
    ("select c.s, count(*) as n from raw.a a join raw.b b on b.k = a.x join raw.c c on c.k = b.y group by c.s", 1),
    ("select a.k, o.k as ok from raw.a a join raw.a o on a.x = o.y", 2),
    ("select k, unnest(make_array(x, y)) as v from raw.a", 2),
    ("select 'all' as one, k, s from raw.a intersect select 'all', k, s from raw.b", 2),
    ("select k, s from raw.a except select k, s from raw.b", 2),
    ("select a.s, b.k from raw.a a, raw.b b where a.y between b.y and b.y + 1 and a.x = 1", 2),
];

/// Queries of which it cannot be told, with what is said.
const UNKNOWN: [(&str, &str); 9] = [
    ("select k, s from raw.a where k not in (select x from raw.b)", "one null in a NOT IN list"),
    ("select count(*) as n from raw.a", "'n' does not follow"),
    ("select max(s) as s, x from raw.a group by x", "'s' does not follow"),
    ("select k, rank() over (order by y) as r from raw.a", "all rows"),
    ("select k, y from raw.a order by y, k limit 2", "LIMIT"),
    ("select a.k, b.s from raw.b b, raw.a a", "every row"),
    ("select k, y from raw.a where y > (select avg(y) from raw.a)", ""),
    ("select coalesce(x, 0) as x, y, grouping(x) as g from raw.a group by rollup(x, y)", "does not follow"),
    ("with recursive r as (select k, x from raw.a union all select r.k + 10, r.x from r where r.k < 20) select k, x from r", ""),
];

fn batch(rows: &[Row]) -> RecordBatch {
    let text: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.3.clone())));
    let k: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0)));
    let x: ArrayRef = Arc::new(rows.iter().map(|r| r.1).collect::<Int64Array>());
    let y: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2)));
    RecordBatch::try_from_iter_with_nullable([("k", k, false), ("x", x, true), ("y", y, true), ("s", text, true)]).unwrap()
}

fn source(rows: &[Row]) -> MemTable {
    let batch = batch(rows);
    MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap()
}

fn context(tables: &Tables) -> SessionContext {
    let session = session().unwrap();
    session.catalog("datafusion").unwrap().register_schema("raw", Arc::new(MemorySchemaProvider::new())).unwrap();
    for (name, table) in NAMES.iter().zip(tables) {
        session.register_table(*name, Arc::new(source(&table.values().cloned().collect::<Vec<_>>()))).unwrap();
    }
    session
}

async fn rows(session: &SessionContext, plan: LogicalPlan, columns: usize) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for batch in DataFrame::new(session.state(), plan).collect().await.unwrap() {
        let text = |row, n| batch.columns().iter().take(n).map(|c| array_value_to_string(c, row).unwrap()).collect::<Vec<_>>().join("|");
        out.extend((0..batch.num_rows()).map(|row| (text(row, columns), text(row, usize::MAX))));
    }
    out.sort();
    out
}

/// What differs between two states of the tables.
struct Differing {
    both: BTreeMap<&'static str, Arc<dyn TableSource>>,
    old: BTreeMap<&'static str, Arc<dyn TableSource>>,
}

impl Differing {
    fn of(before: &Tables, after: &Tables) -> Self {
        let mut found = Self { both: BTreeMap::new(), old: BTreeMap::new() };
        for (name, (before, after)) in NAMES.into_iter().zip(before.iter().zip(after)) {
            let only = |one: &Table, other: &Table| {
                one.iter().filter(|(k, r)| other.get(k) != Some(r)).map(|(_, r)| r.clone()).collect::<Vec<_>>()
            };
            let (old, new) = (only(before, after), only(after, before));
            if !(old.is_empty() && new.is_empty()) {
                found.both.insert(name, provider_as_source(Arc::new(source(&[old.clone(), new].concat()))));
                found.old.insert(name, provider_as_source(Arc::new(source(&old))));
            }
        }
        found
    }
}

impl Changes for Differing {
    fn changed(&self, table: &str) -> Option<Arc<dyn TableSource>> {
        self.both.get(table).cloned()
    }

    fn old(&self, table: &str) -> Option<Arc<dyn TableSource>> {
        self.old.get(table).cloned()
    }
}

async fn plan(session: &SessionContext, sql: &str) -> LogicalPlan {
    let plan = session.state().create_logical_plan(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    session.state().optimize(&plan).unwrap()
}

async fn check(sql: &str, columns: usize, before: &Tables, after: &Tables) {
    let (old, new) = (context(before), context(after));
    let was = rows(&old, plan(&old, sql).await, columns).await;
    let is_planned = plan(&new, sql).await;
    let is = rows(&new, is_planned.clone(), columns).await;
    let asked: Vec<_> = (0..columns).collect();
    let found = touched(&is_planned, &asked, &Differing::of(before, after)).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    let found = match found {
        Some(query) => rows(&new, query, columns).await,
        None => Vec::new(),
    };
    let count = |rows: &[(String, String)]| {
        let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
        rows.iter().for_each(|r| *counts.entry(r.clone()).or_default() += 1);
        counts
    };
    let (was, is) = (count(&was), count(&is));
    for row in was.keys().chain(is.keys()).filter(|r| was.get(r) != is.get(r)) {
        assert!(found.iter().any(|(key, _)| *key == row.0), "{sql}\nmisses {row:?} of {before:?} → {after:?}: only {found:?}");
    }
}

fn table() -> impl Strategy<Value = Table> {
    let row = (0i64..6, prop::option::weighted(0.8, 0i64..4), 0i64..4, 0u8..3);
    prop::collection::vec(row, 0..6).prop_map(|rows| rows.into_iter().map(|(k, x, y, s)| (k, (k, x, y, format!("s{s}")))).collect())
}

fn tables() -> impl Strategy<Value = Tables> {
    (table(), table(), table()).prop_map(|(a, b, c)| [a, b, c])
}

/// Another state: some tables with some rows of another.
fn changed(before: &Tables, other: &Tables, mask: u16) -> Tables {
    let mut after = before.clone();
    for (at, (table, other)) in after.iter_mut().zip(other).enumerate() {
        for key in (0..6).filter(|k| mask >> (at * 5 + *k as usize % 5) & 1 == 1) {
            match other.get(&key) {
                Some(row) => drop(table.insert(key, row.clone())),
                None => drop(table.remove(&key)),
            }
        }
    }
    after
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn changed_rows_give_every_key_that_they_can_touch(
        query in any::<prop::sample::Index>(), before in tables(), other in tables(), mask in any::<u16>(),
    ) {
        let after = changed(&before, &other, mask);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        // In a debug build a query takes its time, so each case is a few of them.
        for at in 0..4 {
            let (sql, columns) = TOLD[(query.index(TOLD.len()) + at * 8) % TOLD.len()];
            runtime.block_on(check(sql, columns, &before, &after));
        }
    }
}

fn one_row(k: i64, x: i64) -> Table {
    BTreeMap::from([(k, (k, Some(x), 1, "s".to_owned()))])
}

#[tokio::test]
async fn what_cannot_be_told_is_said() {
    let before = [one_row(1, 1), one_row(1, 1), one_row(1, 1)];
    let after = [one_row(1, 2), one_row(1, 2), one_row(1, 2)];
    let session = context(&after);
    for (sql, why) in UNKNOWN {
        let plan = plan(&session, sql).await;
        match touched(&plan, &[0], &Differing::of(&before, &after)) {
            Err(Unknown(said)) => assert!(said.contains(why), "{sql}: {said}"),
            Ok(found) => panic!("{sql}: {}", found.unwrap().display_indent()),
        }
    }
}

#[tokio::test]
async fn a_key_that_equals_one_of_the_changed_side_is_read_from_there() {
    let (before, after) = ([one_row(1, 1), one_row(1, 1), Table::new()], [one_row(1, 1), one_row(1, 2), Table::new()]);
    let session = context(&after);
    for sql in [
        "select a.k, b.s from raw.a a join raw.b b on b.k = a.k",
        "select a.k, b.s from raw.a a left join raw.b b on b.k = a.k",
        "select a.k, count(*) as n from raw.a a where not exists (select 1 from raw.b b where b.k = a.k) group by a.k",
        "select q.k, q.n from (select k, count(*) as n from raw.a group by k) q join raw.b b on b.k = q.k",
    ] {
        let found = touched(&plan(&session, sql).await, &[0], &Differing::of(&before, &after)).unwrap().unwrap();
        assert_eq!(found.schema().field(0).name(), &name(0));
        let text = found.display_indent().to_string();
        assert!(!text.contains("Join") && !text.contains("raw.a"), "{sql}: {text}");
    }
}

#[tokio::test]
async fn without_changes_nothing_is_touched() {
    let tables = [one_row(1, 1), one_row(1, 1), Table::new()];
    let session = context(&tables);
    for (sql, _) in TOLD {
        assert_eq!(touched(&plan(&session, sql).await, &[0], &Differing::of(&tables, &tables)), Ok(None), "{sql}");
    }
}
