//! Joins of few rows in memory with a table: the few run first, and what they hold of the join's columns goes to the table
//! as lists of values, from which its scan makes key ranges.

use super::query;
use common::Result;
use datafusion::arrow::datatypes::Schema;
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, JoinType, NullEquality, ScalarValue};
use datafusion::datasource::{MemTable, provider_as_source, source_as_provider};
use datafusion::logical_expr::logical_plan::{Filter, Join, Projection, TableScanBuilder};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};
use datafusion::prelude::SessionContext;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::sync::Arc;

/// Values of one list at most; beyond it the table is read without.
const MOST_VALUES: usize = 1_000;

/// The same rows, once each where it does not matter how often. Only for plans in which it does not.
///
/// # Errors
/// As [`query::run`].
pub fn narrow(context: &SessionContext, plan: LogicalPlan) -> BoxFuture<'_, Result<LogicalPlan>> {
    async move {
        let mut inputs = Vec::new();
        for input in plan.inputs() {
            inputs.push(narrow(context, input.clone()).await?);
        }
        let plan = match inputs.is_empty() {
            true => plan,
            false => plan.with_new_exprs(plan.expressions(), inputs).map_err(refused)?,
        };
        match &plan {
            LogicalPlan::Projection(p) => match p.input.as_ref() {
                LogicalPlan::Join(join) => match meets_few(context, join).await? {
                    Some(join) => {
                        let rows = Projection::try_new(p.expr.clone(), Arc::new(LogicalPlan::Join(join))).map_err(refused)?;
                        in_memory(context, LogicalPlan::Projection(rows)).await
                    }
                    None => Ok(plan),
                },
                _ => Ok(plan),
            },
            _ => Ok(plan),
        }
    }
    .boxed()
}

/// The join with its table's side narrowed, if one side lies in memory and the other does not.
async fn meets_few(context: &SessionContext, join: &Join) -> Result<Option<Join>> {
    let (left, right) = (is_in_memory(&join.left), is_in_memory(&join.right));
    if left == right || !matches!(join.join_type, JoinType::Inner | JoinType::LeftSemi) {
        return Ok(None);
    }
    let mut narrowed = join.clone();
    let (few, many) = if left { (&join.left, &mut narrowed.right) } else { (&join.right, &mut narrowed.left) };
    for (a, b) in &join.on {
        let (few_expr, many_expr) = if left { (a, b) } else { (b, a) };
        let Some(values) = values(context, few, few_expr).await? else { continue };
        let with_null = join.null_equality == NullEquality::NullEqualsNull && values.iter().any(ScalarValue::is_null);
        let condition = is_one_of(many_expr.clone(), values, with_null);
        *many = Arc::new(LogicalPlan::Filter(Filter::try_new(condition, many.clone()).map_err(refused)?));
    }
    Ok(Some(narrowed))
}

/// `expr IN (values)`, or null.
#[must_use]
pub fn is_one_of(expr: Expr, values: Vec<ScalarValue>, or_null: bool) -> Expr {
    let list: Vec<_> = values.into_iter().filter(|v| !v.is_null()).map(|v| Expr::Literal(v, None)).collect();
    match (list.is_empty(), or_null) {
        (true, true) => expr.is_null(),
        (_, false) => expr.in_list(list, false),
        (false, true) => expr.clone().in_list(list, false).or(expr.is_null()),
    }
}

/// The distinct values of an expression; `None` if they are many.
async fn values(context: &SessionContext, plan: &Arc<LogicalPlan>, expr: &Expr) -> Result<Option<Vec<ScalarValue>>> {
    let one = Projection::try_new(vec![expr.clone().alias("value")], plan.clone()).map_err(refused)?;
    let distinct = LogicalPlan::Distinct(Distinct::All(Arc::new(LogicalPlan::Projection(one))));
    let batches = query::run(context, distinct).await?.batches;
    if batches.iter().map(|b| b.num_rows()).sum::<usize>() > MOST_VALUES {
        return Ok(None);
    }
    let all = batches.iter().flat_map(|b| (0..b.num_rows()).map(|row| ScalarValue::try_from_array(b.column(0), row)));
    all.collect::<std::result::Result<_, _>>().map(Some).map_err(refused)
}

/// Runs a plan and gives its distinct rows from memory, under the same names.
async fn in_memory(context: &SessionContext, plan: LogicalPlan) -> Result<LogicalPlan> {
    let names: Vec<Column> = plan.schema().columns();
    let number = |at: usize| format!("c{at}");
    let numbered: Vec<_> = names.iter().enumerate().map(|(at, c)| Expr::Column(c.clone()).alias(number(at))).collect();
    let numbered = Projection::try_new(numbered, Arc::new(plan)).map_err(refused)?;
    let distinct = LogicalPlan::Distinct(Distinct::All(Arc::new(LogicalPlan::Projection(numbered))));
    let fields: Vec<_> = distinct.schema().fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let batches = query::run(context, distinct).await?.batches;
    let batches = batches.into_iter().map(|b| b.with_schema(schema.clone())).collect::<std::result::Result<Vec<_>, _>>();
    let table = MemTable::try_new(schema, vec![batches.map_err(|e| refused(e.into()))?]).map_err(refused)?;
    let scan = TableScanBuilder::new("few", provider_as_source(Arc::new(table))).build().map_err(refused)?;
    let named =
        names.into_iter().enumerate().map(|(at, c)| Expr::Column(Column::new(Some("few"), number(at))).alias_qualified(c.relation, c.name));
    Projection::try_new(named.collect(), Arc::new(LogicalPlan::TableScan(scan))).map(LogicalPlan::Projection).map_err(refused)
}

/// Whether all that a plan reads lies in memory.
fn is_in_memory(plan: &LogicalPlan) -> bool {
    let reads = plan.exists(|node| {
        let LogicalPlan::TableScan(scan) = node else { return Ok(false) };
        Ok(!source_as_provider(&scan.source).is_ok_and(|p| is_mem_table(p.as_ref())))
    });
    !reads.unwrap_or(true)
}

fn is_mem_table(table: &dyn TableProvider) -> bool {
    table.is::<MemTable>()
}

fn refused(error: datafusion::error::DataFusionError) -> common::Error {
    crate::sql::from_datafusion(&error)
}
