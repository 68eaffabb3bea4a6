//! Small plans that the generated query is put together from. Each has exactly the asked columns.

use super::{Columns, Found, Unknown};
use datafusion::common::{Column, ExprSchema, JoinConstraint, JoinType, NullEquality, ScalarValue};
use datafusion::logical_expr::logical_plan::{Filter, Join, Projection, Union};
use datafusion::logical_expr::{Distinct, Expr, ExprSchemable, LogicalPlan};
use std::sync::Arc;

/// Expressions over a plan, each called as the column beside it.
pub(super) fn project(plan: LogicalPlan, exprs: impl IntoIterator<Item = (Expr, Column)>) -> Found<LogicalPlan> {
    let named = exprs.into_iter().map(|(expr, called)| match &expr {
        Expr::Column(column) if *column == called => expr,
        _ => expr.unalias().alias_qualified(called.relation, called.name),
    });
    let named: Vec<_> = named.collect();
    Ok(LogicalPlan::Projection(Projection::try_new(named, Arc::new(plan))?))
}

/// These columns of a plan.
pub(super) fn keep(plan: LogicalPlan, columns: &Columns) -> Found<LogicalPlan> {
    project(plan, columns.iter().map(|c| (Expr::Column(c.clone()), c.clone())))
}

/// These columns of a plan, those of `null` as nulls of their types in `plan`'s original node.
pub(super) fn with_nulls(plan: LogicalPlan, columns: &Columns, null: &Columns, of: &LogicalPlan) -> Found<LogicalPlan> {
    let one = |c: &Column| -> Found<(Expr, Column)> {
        let expr = match null.contains(c) {
            true => Expr::Literal(ScalarValue::try_from(of.schema().field_from_column(c)?.data_type())?, None),
            false => Expr::Column(c.clone()),
        };
        Ok((expr, c.clone()))
    };
    let exprs = columns.iter().map(one).collect::<Found<Vec<_>>>()?;
    project(plan, exprs)
}

/// The rows for which all conditions hold.
pub(super) fn filter<'a>(plan: LogicalPlan, conditions: impl IntoIterator<Item = &'a Expr>) -> Found<LogicalPlan> {
    match conditions.into_iter().cloned().reduce(Expr::and) {
        Some(all) => Ok(LogicalPlan::Filter(Filter::try_new(all, Arc::new(plan))?)),
        None => Ok(plan),
    }
}

/// Each row once.
pub(super) fn distinct(plan: LogicalPlan) -> LogicalPlan {
    LogicalPlan::Distinct(Distinct::All(Arc::new(plan)))
}

/// All rows of all plans, each of which has exactly these columns; `None` for no plans.
pub(super) fn union(plans: Vec<LogicalPlan>, columns: &Columns) -> Found<Option<LogicalPlan>> {
    if plans.len() < 2 {
        return Ok(plans.into_iter().next());
    }
    // A union knows no qualifiers, so its columns are numbered meanwhile.
    let number = |at: usize| Column::new_unqualified(format!("__{at}"));
    let types = columns.iter().map(|c| Expr::Column(c.clone()).get_type(plans[0].schema())).collect::<Result<Vec<_>, _>>()?;
    let numbered = |plan: LogicalPlan| -> Found<Arc<LogicalPlan>> {
        let one = |(at, c): (usize, &Column)| -> Found<(Expr, Column)> {
            Ok((Expr::Column(c.clone()).cast_to(&types[at], plan.schema())?, number(at)))
        };
        let exprs = columns.iter().enumerate().map(one).collect::<Found<Vec<_>>>()?;
        project(plan, exprs).map(Arc::new)
    };
    let inputs = plans.into_iter().map(numbered).collect::<Found<Vec<_>>>()?;
    let all = LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?);
    project(all, columns.iter().enumerate().map(|(at, c)| (Expr::Column(number(at)), c.clone()))).map(Some)
}

/// How two plans meet.
#[derive(Clone, Debug)]
pub(super) struct Conditions {
    /// Expressions over the first and over the second that are equal.
    pub on: Vec<(Expr, Expr)>,
    /// Conditions over both.
    pub filter: Vec<Expr>,
    /// Whether null equals null.
    pub nulls: NullEquality,
}

impl Conditions {
    /// The inner join of two plans whose columns have different names.
    pub fn join(&self, left: LogicalPlan, right: LogicalPlan) -> Found<LogicalPlan> {
        let filter = self.filter.iter().cloned().reduce(Expr::and);
        self.joined(left, right, filter, JoinType::Inner)
    }

    /// The rows of the first plan that meet some of the second, in which the expressions of `on` are the only columns.
    pub fn semi_join(left: LogicalPlan, right: LogicalPlan, on: Vec<Expr>, right_on: &Columns) -> Found<LogicalPlan> {
        let on = on.into_iter().zip(right_on.iter().cloned().map(Expr::Column)).collect();
        let conditions = Self { on, filter: Vec::new(), nulls: NullEquality::NullEqualsNull };
        conditions.joined(left, right, None, JoinType::LeftSemi)
    }

    fn joined(&self, left: LogicalPlan, right: LogicalPlan, filter: Option<Expr>, how: JoinType) -> Found<LogicalPlan> {
        let (left, right) = (Arc::new(left), Arc::new(right));
        let join = Join::try_new(left, right, self.on.clone(), filter, how, JoinConstraint::On, self.nulls, false);
        join.map(LogicalPlan::Join).map_err(Unknown::from)
    }
}
