//! Tables without windows that are appended to: one insert for each new row of the one input that drives them.

use super::Known;
use super::output::Fault;
use common::schema::TableSpec;
use datafusion::common::JoinType;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::logical_plan::Join;

/// The input whose new rows are appended, as the optimized plan shows it.
///
/// # Errors
/// A refusal: the SQL is not row-wise, or no input may drive it.
pub(super) fn driver(plan: &LogicalPlan, reads: &[&Known]) -> Result<String, Fault> {
    let may = |name: &str| reads.iter().any(|k| k.table.name == name && k.is_appended());
    let found = walk(plan, &may).map_err(|why| {
        (
            "strategy",
            format!("strategy: append without a window inserts one row for each new input row, and {why}; add a window, or use replace"),
        )
    })?;
    let scans = scans(plan).into_iter().filter(|name| *name == found).count();
    match scans {
        1 => Ok(found),
        _ => {
            Err(("strategy", format!("strategy: append without a window reads {found} {scans} times: its new rows would meet older ones")))
        }
    }
}

/// Refuses a unique key that is only a part of the row key: rows that were appended before are found by their row key alone.
pub(super) fn check_key(spec: &TableSpec, unique: &[String]) -> Result<(), Fault> {
    match spec.key.iter().find(|p| !unique.is_empty() && !unique.contains(&p.name)) {
        None => Ok(()),
        Some(part) => Err((
            "key",
            format!(
                "key: where rows are appended without windows, unique names all columns of the row key: add '{}', or leave it out of the key",
                part.name
            ),
        )),
    }
}

fn walk(plan: &LogicalPlan, may: &dyn Fn(&str) -> bool) -> Result<String, String> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let name = crate::touched::table_name(scan);
            match (may(&name), scan.fetch) {
                (true, None) => Ok(name),
                (true, Some(_)) => Err("a LIMIT looks at all rows".into()),
                (false, _) => {
                    Err(format!("{name} may change: only a source with append_only: true, or another such table, may be what is appended"))
                }
            }
        }
        LogicalPlan::Projection(p) => walk(&p.input, may),
        LogicalPlan::Filter(f) => walk(&f.input, may),
        LogicalPlan::SubqueryAlias(a) => walk(&a.input, may),
        LogicalPlan::Unnest(u) => walk(&u.input, may),
        LogicalPlan::Repartition(r) => walk(&r.input, may),
        LogicalPlan::Sort(s) if s.fetch.is_none() => walk(&s.input, may),
        LogicalPlan::Join(join) => lookup(join, may),
        LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => Err("a LIMIT looks at all rows".into()),
        LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) | LogicalPlan::Window(_) => {
            Err("the SQL looks at several rows at once".into())
        }
        other => Err(format!("{} is not row-wise", other.display())),
    }
}

/// The side whose rows come out, each by itself; the other is looked up in.
fn lookup(join: &Join, may: &dyn Fn(&str) -> bool) -> Result<String, String> {
    match join.join_type {
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => walk(&join.left, may),
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => walk(&join.right, may),
        JoinType::Inner => walk(&join.left, may).or_else(|why| walk(&join.right, may).map_err(|_| why)),
        JoinType::Full => Err("a full join gives rows of its own for each side".into()),
    }
}

fn scans(plan: &LogicalPlan) -> Vec<String> {
    let mut out = Vec::new();
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            out.push(crate::touched::table_name(scan));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "a walk that only looks cannot fail");
    out
}
