//! Which columns of a node's rows can be told, and which an expression needs.

use super::Columns;
use crate::bounds::unnamed;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchema, JoinType};
use datafusion::logical_expr::{Aggregate, Distinct, Expr, LogicalPlan, Operator};

/// The column of a schema at a position.
pub(super) fn at(schema: &DFSchema, at: usize) -> Column {
    let (qualifier, field) = schema.qualified_field(at);
    Column::new(qualifier.cloned(), field.name())
}

pub(super) fn all(schema: &DFSchema) -> impl Iterator<Item = Column> + '_ {
    (0..schema.fields().len()).map(|i| at(schema, i))
}

/// The columns that an expression reads.
pub(super) fn of(expr: &Expr) -> Columns {
    expr.column_refs().into_iter().cloned().collect()
}

/// The columns that some expressions read.
pub(super) fn of_all<'a>(exprs: impl IntoIterator<Item = &'a Expr>) -> Columns {
    exprs.into_iter().flat_map(of).collect()
}

/// Whether an expression can be evaluated over rows of these columns alone.
pub(super) fn within(expr: &Expr, known: &Columns) -> bool {
    !expr.is_volatile() && of(expr).is_subset(known)
}

/// Whether some expression of a plan still holds a query of its own: optimized plans have joins instead, where they can.
pub(super) fn has_subqueries(plan: &LogicalPlan) -> bool {
    let is_query = |e: &Expr| {
        matches!(
            e,
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) | Expr::OuterReferenceColumn(..)
        )
    };
    plan.exists(|node| Ok(node.expressions().iter().any(|e| e.exists(|e| Ok(is_query(e))).unwrap_or(true)))).unwrap_or(true)
}

/// The parts of a condition that all must hold.
pub(super) fn conjuncts(expr: &Expr) -> Vec<&Expr> {
    match unnamed(expr) {
        Expr::BinaryExpr(b) if b.op == Operator::And => [conjuncts(&b.left), conjuncts(&b.right)].concat(),
        other => vec![other],
    }
}

/// The columns of a node's rows that can be told of rows that differ and of rows that are there.
pub(super) fn known(plan: &LogicalPlan) -> Columns {
    let same_place = |inputs: &[&LogicalPlan]| {
        let inputs: Vec<_> = inputs.iter().map(|i| (i.schema(), known(i))).collect();
        let in_all = |i: &usize| inputs.iter().all(|(schema, known)| known.contains(&at(schema, *i)));
        (0..plan.schema().fields().len()).filter(in_all).map(|i| at(plan.schema(), i)).collect()
    };
    let given = |input: &LogicalPlan, exprs: &[Option<Expr>]| {
        let known = known(input);
        let told = exprs.iter().enumerate().filter(|(_, e)| e.as_ref().is_some_and(|e| within(e, &known)));
        told.map(|(i, _)| at(plan.schema(), i)).collect()
    };
    match plan {
        LogicalPlan::TableScan(_) | LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => all(plan.schema()).collect(),
        LogicalPlan::SubqueryAlias(a) => same_place(&[&a.input]),
        LogicalPlan::Union(u) => same_place(&u.inputs.iter().map(AsRef::as_ref).collect::<Vec<_>>()),
        LogicalPlan::Projection(p) => given(&p.input, &p.expr.iter().cloned().map(Some).collect::<Vec<_>>()),
        LogicalPlan::Aggregate(a) => given(&a.input, &of_groups(a)),
        LogicalPlan::Filter(f) => known(&f.input),
        LogicalPlan::Sort(s) => known(&s.input),
        LogicalPlan::Limit(l) => known(&l.input),
        LogicalPlan::Repartition(r) => known(&r.input),
        LogicalPlan::Distinct(Distinct::All(input)) => known(input),
        LogicalPlan::Window(w) => known(&w.input),
        LogicalPlan::Unnest(u) => match all(u.input.schema()).collect::<Columns>() == known(&u.input) {
            true => all(plan.schema()).collect(),
            false => Columns::new(),
        },
        LogicalPlan::Join(j) => match j.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => known(&j.left),
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => known(&j.right),
            _ => known(&j.left).into_iter().chain(known(&j.right)).collect(),
        },
        _ => Columns::new(),
    }
}

/// What the columns of an aggregate are, over its input, as far as they are the same in all rows of a group.
pub(super) fn of_groups(aggregate: &Aggregate) -> Vec<Option<Expr>> {
    let groups = &aggregate.group_expr;
    if groups.iter().any(|e| matches!(unnamed(e), Expr::GroupingSet(_))) {
        return vec![None; aggregate.schema.fields().len()];
    }
    let of_group = |expr: &Expr| match unnamed(expr) {
        Expr::AggregateFunction(f) if ["min", "max", "first_value", "last_value"].contains(&f.func.name()) && f.params.filter.is_none() => {
            f.params.args.first().filter(|arg| groups.iter().any(|g| unnamed(g) == unnamed(arg))).cloned()
        }
        _ => None,
    };
    groups.iter().cloned().map(Some).chain(aggregate.aggr_expr.iter().map(of_group)).collect()
}

/// Whether telling more columns of a node's rows takes no more joins than there are.
pub(super) fn joins_nothing(plan: &LogicalPlan) -> bool {
    !plan.exists(|node| Ok(matches!(node, LogicalPlan::Join(_)))).unwrap_or(true)
}
