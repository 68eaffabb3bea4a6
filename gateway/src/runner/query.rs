//! A definition's SQL as the plan of some of its windows.

use crate::sql::from_datafusion;
use common::schema::Table;
use common::time::{Micros, TimeRange};
use common::{Error, Result};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::TableReference;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableScan, lit};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// µs of a day.
const DAY: i64 = 86_400_000_000;

/// The event times of an input that a run reads: values of its time column, a date as its midnight.
#[derive(Clone, Debug)]
pub struct Restriction {
    /// The input's time column.
    pub column: String,
    /// Its type: timestamp or date.
    pub date: bool,
    /// Rows may be without a time; those are always read.
    pub nullable: bool,
    /// What is read.
    pub times: TimeRange,
}

impl Restriction {
    /// `column >= start and column < end`; `None` if nothing is left out.
    fn predicate(&self, column: Expr) -> Option<Expr> {
        let bound = |t: Micros| match self.date {
            // A date lies at its midnight, so the first one at or after an instant is the next full day.
            true => ScalarValue::Date32(i32::try_from(t.0.div_euclid(DAY) + i64::from(t.0.rem_euclid(DAY) != 0)).ok()),
            false => ScalarValue::TimestampMicrosecond(Some(t.0), None),
        };
        let from = (self.times.start != Micros::MIN).then(|| column.clone().gt_eq(lit(bound(self.times.start))));
        let until = (self.times.end != Micros::MAX).then(|| column.clone().lt(lit(bound(self.times.end))));
        let within = match (from, until) {
            (Some(from), Some(until)) => from.and(until),
            (one, other) => one.or(other)?,
        };
        Some(if self.nullable { within.or(column.is_null()) } else { within })
    }
}

/// A query with how much it read.
pub struct Output {
    /// What it gave.
    pub batches: Vec<RecordBatch>,
    /// Rows that its scans gave.
    pub rows_read: u64,
}

/// Plans `sql` as it stands.
///
/// # Errors
/// `InvalidArgument` if it does not resolve.
pub async fn plan(context: &SessionContext, sql: &str) -> Result<LogicalPlan> {
    context.state().create_logical_plan(sql).await.map_err(refused)
}

/// Restricts the scans of inputs, by table name, to the event times that the windows can need.
///
/// # Errors
/// `Internal` if the plan cannot be rewritten.
pub fn restrict_inputs(plan: LogicalPlan, inputs: &HashMap<String, Restriction>) -> Result<LogicalPlan> {
    if inputs.is_empty() {
        return Ok(plan);
    }
    let restrict = |node: LogicalPlan| match &node {
        LogicalPlan::TableScan(scan) => match predicate_of(scan, inputs) {
            None => Ok(Transformed::no(node)),
            Some(predicate) => Ok(Transformed::yes(LogicalPlanBuilder::from(node).filter(predicate)?.build()?)),
        },
        _ => Ok(Transformed::no(node)),
    };
    plan.transform_up_with_subqueries(restrict).map(|t| t.data).map_err(|e| Error::internal(format!("a query cannot be restricted: {e}")))
}

fn predicate_of(scan: &TableScan, inputs: &HashMap<String, Restriction>) -> Option<Expr> {
    let restriction = inputs.get(&name_of(&scan.table_name))?;
    let column = datafusion::common::Column::new(Some(scan.table_name.clone()), restriction.column.clone());
    restriction.predicate(Expr::Column(column))
}

/// The name of a table as the catalog has it.
#[must_use]
pub fn name_of(table: &TableReference) -> String {
    match table.schema() {
        Some(schema) => format!("{schema}.{}", table.table()),
        None => table.table().to_owned(),
    }
}

/// Runs a plan to its end.
///
/// # Errors
/// `InvalidArgument` for what the query itself does wrong, else as the cluster's reads.
pub async fn run(context: &SessionContext, plan: LogicalPlan) -> Result<Output> {
    let plan = DataFrame::new(context.state(), plan).create_physical_plan().await.map_err(refused)?;
    let stream = execute_stream(Arc::clone(&plan), context.task_ctx()).map_err(refused)?;
    let batches = stream.try_collect().await.map_err(refused)?;
    Ok(Output { batches, rows_read: rows_read(&plan) })
}

/// Rows that the leaves of a plan gave.
fn rows_read(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    match plan.children().as_slice() {
        [] => plan.metrics().and_then(|m| m.output_rows()).unwrap_or_default() as u64,
        children => children.iter().map(|c| rows_read(c)).sum(),
    }
}

/// The columns that a plan reads of each table, by table name.
///
/// # Errors
/// `InvalidArgument` if it cannot be planned.
pub fn columns_read(context: &SessionContext, plan: &LogicalPlan) -> Result<HashMap<String, BTreeSet<String>>> {
    let plan = context.state().optimize(plan).map_err(refused)?;
    let mut read: HashMap<String, BTreeSet<String>> = HashMap::new();
    let visited = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let columns = read.entry(name_of(&scan.table_name)).or_default();
            columns.extend(scan.projected_schema.fields().iter().map(|f| f.name().clone()));
            columns.extend(scan.filters.iter().flat_map(Expr::column_refs).map(|c| c.name.clone()));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    visited.map_err(refused)?;
    Ok(read)
}

/// The earliest event time of a table, a date as its midnight; `None` if it is empty.
///
/// # Errors
/// As [`run`].
pub async fn earliest(context: &SessionContext, table: &Table) -> Result<Option<Micros>> {
    let Some(column) = &table.time_column else { return Ok(None) };
    let sql = format!("select min(\"{column}\") as earliest from {}", table.name);
    let output = run(context, plan(context, &sql).await?).await?;
    let Some(batch) = output.batches.first().filter(|b| b.num_rows() > 0) else { return Ok(None) };
    Ok(match ScalarValue::try_from_array(batch.column(0), 0).map_err(refused)? {
        ScalarValue::TimestampMicrosecond(t, _) => t.map(Micros),
        ScalarValue::Date32(d) => d.map(|d| Micros(i64::from(d).saturating_mul(DAY))),
        other => return Err(Error::internal(format!("time column '{column}' of '{}' is a {}", table.name, other.data_type()))),
    })
}

fn refused(error: DataFusionError) -> Error {
    from_datafusion(&error)
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
