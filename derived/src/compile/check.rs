//! What a plan must not hold, and what its author should know.

use crate::bounds::{END_FUNCTION, START_FUNCTION};
use common::{Error, Result};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use std::collections::BTreeSet;

/// Functions that depend on when a query runs.
const CLOCKS: [&str; 4] = ["now", "current_date", "current_time", "current_timestamp"];
/// Functions whose answer depends on the order of rows.
const ORDERED: [&str; 8] = ["row_number", "first_value", "last_value", "nth_value", "array_agg", "string_agg", "lag", "lead"];

/// Refuses functions whose result is not decided by the inputs.
///
/// # Errors
/// `InvalidArgument`, naming the function and what to write instead.
pub(super) fn determinism(plan: &LogicalPlan) -> Result<()> {
    let mut fault = None;
    each_expression(plan, &mut |expr| {
        let Expr::ScalarFunction(f) = expr else { return };
        let name = f.func.name();
        if name == START_FUNCTION || name == END_FUNCTION {
            return;
        }
        if CLOCKS.contains(&name) {
            fault = Some(format!(
                "{name}() depends on when the query runs: write now(), which is the window's end or the scheduled time, or a column"
            ));
        } else if f.func.signature().volatility == Volatility::Volatile {
            fault = Some(format!("{name}() gives another result each time: write a hash of key columns, such as md5(user_id || event_id)"));
        }
    });
    fault.map_or(Ok(()), |message| Err(Error::invalid(message)))
}

/// Warns of results that depend on the order of equal rows. `keys`: the names of the key parts of each input.
pub(super) fn warnings(plan: &LogicalPlan, keys: &[Vec<String>]) -> Vec<String> {
    let mut out = BTreeSet::new();
    each_expression(plan, &mut |expr| {
        let (name, by): (String, Vec<&Expr>) = match expr {
            Expr::WindowFunction(w) => {
                (w.fun.name().to_owned(), w.params.partition_by.iter().chain(w.params.order_by.iter().map(|s| &s.expr)).collect())
            }
            Expr::AggregateFunction(a) => (a.func.name().to_owned(), a.params.order_by.iter().map(|s| &s.expr).collect()),
            _ => return,
        };
        if ORDERED.contains(&name.as_str()) && !is_total(&by, keys) {
            out.insert(format!("{name} without a total order: rows that compare equal may come in any order; order by a whole key"));
        }
    });
    let limits = plan.exists(|node| Ok(matches!(node, LogicalPlan::Limit(_))));
    if limits.unwrap_or(false) {
        out.insert("LIMIT: make sure that its ORDER BY is total, or equal rows may come and go".to_owned());
    }
    out.into_iter().collect()
}

/// Whether the columns of `by` name all key parts of some input.
fn is_total(by: &[&Expr], keys: &[Vec<String>]) -> bool {
    let names: BTreeSet<&str> = by.iter().flat_map(|e| e.column_refs()).map(|c| c.name.as_str()).collect();
    keys.iter().any(|key| !key.is_empty() && key.iter().all(|part| names.contains(part.as_str())))
}

fn each_expression(plan: &LogicalPlan, look: &mut dyn FnMut(&Expr)) {
    let walked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|e| {
                look(e);
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    debug_assert!(walked.is_ok(), "a walk that only looks cannot fail");
}
