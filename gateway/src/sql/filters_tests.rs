//! Pushed filters against the same query over all rows.

use super::filters::Pushed;
use async_trait::async_trait;
use common::ids::TableId;
use common::schema::{Table, TableKind};
use common::time::Micros;
use common::value::Value;
use datafusion::arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const USERS: [&str; 3] = ["a", "ab", "b"];
const NUMBERS: [Option<i64>; 4] = [Some(-1), Some(0), Some(7), None];

/// A table that gives out the rows within its pushed ranges, as tablets do.
#[derive(Debug)]
struct Ranged {
    table: Table,
    rows: RecordBatch,
    keys: Vec<(bytes::Bytes, Micros)>,
    read: Arc<AtomicUsize>,
    /// One entry a call.
    support: Arc<Mutex<Vec<Vec<TableProviderFilterPushDown>>>>,
}

#[async_trait]
impl TableProvider for Ranged {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = Pushed::of(&self.table, filters).support();
        self.support.lock().unwrap().push(support.clone());
        Ok(support)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let pushed = Pushed::of(&self.table, &filters.iter().collect::<Vec<_>>());
        let ranges = pushed.ranges(&self.table).unwrap();
        let inside = |(key, at): &(bytes::Bytes, Micros)| {
            ranges.iter().any(|r| r.contains(key)) && pushed.event_time().is_none_or(|times| times.contains(*at))
        };
        let rows = filter_record_batch(&self.rows, &self.keys.iter().map(inside).map(Some).collect::<BooleanArray>())?;
        self.read.store(rows.num_rows(), Ordering::SeqCst);
        MemTable::try_new(self.schema(), vec![vec![rows]])?.scan(state, projection, &[], limit).await
    }
}

fn table(order: &str) -> Table {
    let spec = format!(
        r#"{{"name": "raw.e", "key": [{{"user": "string"}}, {{"at": "timestamp {order}"}}, {{"n": "int64 nullable {order}"}}],
            "columns": {{"x": "int64"}}, "time_column": "at", "undeclared": "none"}}"#
    );
    Table::create(TableId(1), TableKind::Derived, serde_json::from_str(&spec).unwrap()).unwrap()
}

fn ranged(order: &str) -> Ranged {
    let table = table(order);
    let all = || USERS.iter().flat_map(|u| (0..5i64).flat_map(move |t| NUMBERS.iter().map(move |n| (*u, t * 1_000_000, *n))));
    let key = |(u, t, n): (&str, i64, Option<i64>)| {
        let values = [Some(Value::String(u.into())), Some(Value::Timestamp(Micros(t))), n.map(Value::Int64)];
        (table.key_schema().encode(&values).unwrap(), Micros(t))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(all().map(|r| Some(r.0)).collect::<StringArray>()),
        Arc::new(all().map(|r| Some(r.1)).collect::<TimestampMicrosecondArray>()),
        Arc::new(all().map(|r| r.2).collect::<Int64Array>()),
        Arc::new(all().map(|r| Some(r.1 % 3)).collect::<Int64Array>()),
    ];
    let rows = RecordBatch::try_new(table.arrow_schema(), columns).unwrap();
    Ranged { keys: all().map(key).collect(), rows, table, read: Arc::default(), support: Arc::default() }
}

async fn answer(session: &SessionContext, sql: &str) -> String {
    let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
    pretty_format_batches(&batches).unwrap().to_string()
}

/// A condition, and how many rows are read for it at most.
const CONDITIONS: [(&str, usize); 24] = [
    ("\"user\" = 'ab'", 20),
    ("\"user\" = 'ab' and at >= timestamp '1970-01-01T00:00:02'", 12),
    ("\"user\" = 'ab' and at > timestamp '1970-01-01T00:00:02' and at <= timestamp '1970-01-01T00:00:03'", 4),
    ("\"user\" = 'ab' and at between timestamp '1970-01-01T00:00:01' and timestamp '1970-01-01T00:00:02'", 8),
    ("\"user\" in ('a', 'b', 'zz') and at < timestamp '1970-01-01T00:00:01'", 8),
    ("\"user\" in ('a', 'b', 'c', 'd', 'e') and at = timestamp '1970-01-01T00:00:01'", 8),
    ("\"user\" = 'a' or \"user\" = 'b'", 40),
    ("\"user\" = 'a' or at = timestamp '1970-01-01T00:00:01'", 60),
    ("\"user\" = 'a' and \"user\" = 'b'", 0),
    ("\"user\" > 'a' and \"user\" < 'b'", 20),
    ("\"user\" >= 'ab'", 40),
    ("'ab' <= \"user\"", 40),
    ("at >= timestamp '1970-01-01T00:00:03'", 24),
    ("at = timestamp '1970-01-01T00:00:03' and n = 7", 12),
    ("\"user\" = 'a' and at = timestamp '1970-01-01T00:00:03' and n is null", 1),
    ("\"user\" = 'a' and at = timestamp '1970-01-01T00:00:03' and n >= 0", 2),
    ("\"user\" = 'a' and at = timestamp '1970-01-01T00:00:03' and n in (0, 7) and n > 0", 1),
    ("\"user\" = 'a' and at = timestamp '1970-01-01T00:00:03' and n < 7 and x = 0", 2),
    ("\"user\" = 'a' and n = 7", 20),
    ("\"user\" <> 'a'", 60),
    ("\"user\" not in ('a', 'b')", 60),
    ("\"user\" like 'a%'", 60),
    ("x = 1 and \"user\" = 'b'", 20),
    ("not (at >= timestamp '1970-01-01T00:00:03') and \"user\" = 'b'", 12),
];

#[tokio::test]
async fn pushed_filters_change_no_answer() {
    for order in ["asc", "desc"] {
        let ranged = ranged(order);
        let session = SessionContext::new();
        let all = MemTable::try_new(ranged.schema(), vec![vec![ranged.rows.clone()]]).unwrap();
        session.register_table("all_rows", Arc::new(all)).unwrap();
        let read = ranged.read.clone();
        session.register_table("ranged", Arc::new(ranged)).unwrap();
        for (condition, most) in CONDITIONS {
            let sql = |table: &str| format!("select * from {table} where {condition} order by \"user\", at, n");
            read.store(0, Ordering::SeqCst);
            assert_eq!(answer(&session, &sql("ranged")).await, answer(&session, &sql("all_rows")).await, "{order}: {condition}");
            assert!(read.load(Ordering::SeqCst) <= most, "{order}: {condition}: {} rows read", read.load(Ordering::SeqCst));
        }
    }
}

#[tokio::test]
async fn what_ranges_do_is_not_done_again() {
    use TableProviderFilterPushDown::{Exact, Inexact, Unsupported};
    let ranged = ranged("desc");
    let support = ranged.support.clone();
    let session = SessionContext::new();
    session.register_table("ranged", Arc::new(ranged)).unwrap();
    for (condition, want) in [
        ("\"user\" = 'a' and at >= timestamp '1970-01-01T00:00:03'", vec![Exact, Exact]),
        ("at >= timestamp '1970-01-01T00:00:03'", vec![Inexact]),
        ("\"user\" = 'a' and n = 7 and x = 1", vec![Exact, Inexact, Unsupported]),
    ] {
        support.lock().unwrap().clear();
        answer(&session, &format!("select count(*) from ranged where {condition}")).await;
        assert_eq!(support.lock().unwrap()[0], want, "{condition}");
    }
}
