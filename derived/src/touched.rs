//! Which rows of a plan's result changed rows of its inputs can touch: a generated query.
//!
//! Asked for some columns of the result, it gives (at least) their values in every row of the result that a change of
//! inputs adds, removes or alters. For a table without windows these columns are its row key, so that a run computes only
//! those keys; for a table with windows the column is its time, so that a change of a lookup makes only those windows due.
//!
//! Two queries over each node of the plan make it up. `touched` gives the asked columns of rows that differ: changed
//! rows themselves at a scan, their groups at an aggregate, their partitions at a window function, and at a join the rows
//! of either side that differ, with what they meet on the other side. `present` gives the asked columns of all rows, as
//! they were or as they are: the other side of such a join. Both may give too much, never too little; so filters on what
//! only a further join would tell are left out, and a column that an equal join makes equal to one of the changed side is
//! read from there, without the join. What neither can give (an aggregate, a rank over all rows, a limit) is unknown, and
//! with it which rows are touched.
//!
//! The plan is the optimized one: subqueries are joins there.

mod columns;
mod join;
mod node;
mod relation;

use datafusion::common::{Column, DataFusionError};
use datafusion::logical_expr::{Expr, LogicalPlan, TableSource};
use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) use node::table_name;

/// The changed rows of inputs.
pub trait Changes {
    /// Both images of the changed rows of a table; `None`: nothing of it changed. Its columns are at least those that the
    /// plan reads.
    fn changed(&self, table: &str) -> Option<Arc<dyn TableSource>>;
    /// The old images alone.
    fn old(&self, table: &str) -> Option<Arc<dyn TableSource>>;
}

/// Columns of one node's rows.
type Columns = BTreeSet<Column>;

/// Why it cannot be told which rows are touched, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown(pub String);

type Found<T> = Result<T, Unknown>;

impl From<DataFusionError> for Unknown {
    fn from(error: DataFusionError) -> Self {
        Self(format!("its query cannot be generated: {}", error.strip_backtrace()))
    }
}

/// A query that gives, at least, the values of the result's columns at these positions in every row that differs; its
/// columns are those, in order. `None`: no row does.
///
/// # Errors
/// Why it cannot be told.
pub fn touched(plan: &LogicalPlan, positions: &[usize], changes: &dyn Changes) -> Found<Option<LogicalPlan>> {
    if columns::has_subqueries(plan) {
        return Err(Unknown("a subquery of its query cannot be followed".into()));
    }
    let asked: Vec<Column> = positions.iter().map(|at| columns::at(plan.schema(), *at)).collect();
    let walk = node::Walk { changes };
    let Some(found) = walk.touched(plan, &asked.iter().cloned().collect())? else { return Ok(None) };
    let named = asked.iter().enumerate().map(|(at, c)| (Expr::Column(c.clone()), Column::new_unqualified(name(at))));
    Ok(Some(relation::distinct(relation::project(found, named)?)))
}

/// The name of a column of [`touched`]'s query, by its number.
#[must_use]
pub fn name(at: usize) -> String {
    format!("touched_{at}")
}

#[cfg(test)]
mod tests;
