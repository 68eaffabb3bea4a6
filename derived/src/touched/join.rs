//! The two queries over a join.

use super::columns::{conjuncts, known, of, of_all, within};
use super::node::{Walk, as_column, of_node, reads_of};
use super::relation::{Conditions, keep, project, union, with_nulls};
use super::{Columns, Found, Unknown};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, JoinType};
use datafusion::logical_expr::logical_plan::Join;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use std::collections::BTreeMap;

/// A join seen from one of its sides.
struct Seen<'a> {
    /// The side that it is seen from.
    own: &'a LogicalPlan,
    other: &'a LogicalPlan,
    /// Whose own expressions come first.
    on: Vec<(Expr, Expr)>,
    join: &'a Join,
}

/// The asked columns of a join, by how they are got from one side.
struct Split {
    /// Those of the side itself.
    own: Columns,
    /// Those of the other side that equal an expression over the side's columns.
    equal: BTreeMap<Column, Expr>,
    /// Those of the other side that only its rows tell.
    other: Columns,
}

impl<'a> Seen<'a> {
    fn from_left(join: &'a Join) -> Self {
        Self { own: &join.left, other: &join.right, on: join.on.clone(), join }
    }

    fn from_right(join: &'a Join) -> Self {
        let on = join.on.iter().map(|(left, right)| (right.clone(), left.clone())).collect();
        Self { own: &join.right, other: &join.left, on, join }
    }

    fn split(&self, asked: &Columns) -> Split {
        let mut split = Split { own: of_node(self.own, asked), equal: BTreeMap::new(), other: Columns::new() };
        let known = known(self.own);
        for column in of_node(self.other, asked) {
            let equal =
                self.on.iter().find(|(own, other)| as_column(other) == Some(&column) && within(own, &known) && self.same_type(own, other));
            match equal {
                Some((own, _)) => drop(split.equal.insert(column, own.clone())),
                None => drop(split.other.insert(column)),
            }
        }
        split
    }

    /// Floats that are equal need not be the same.
    fn same_type(&self, own: &Expr, other: &Expr) -> bool {
        let types = (own.get_type(self.own.schema()), other.get_type(self.other.schema()));
        matches!(types, (Ok(a), Ok(b)) if a == b && !matches!(a, DataType::Float16 | DataType::Float32 | DataType::Float64))
    }

    /// What rows of both sides that meet have in common, as far as it can be told.
    fn conditions(&self) -> Option<Conditions> {
        let (own, other) = (known(self.own), known(self.other));
        let on: Vec<_> = self.on.iter().filter(|(a, b)| within(a, &own) && within(b, &other)).cloned().collect();
        let both = own.into_iter().chain(other).collect();
        let filter: Vec<_> =
            self.join.filter.iter().flat_map(conjuncts).filter(|c| !of(c).is_empty() && within(c, &both)).cloned().collect();
        let some = !on.is_empty() || filter.iter().any(|c| !reads_of(self.own, c).is_empty() && !reads_of(self.other, c).is_empty());
        some.then_some(Conditions { on, filter, nulls: self.join.null_equality })
    }
}

/// Whether a null may come up on either side of a join's equalities.
fn seen_nulls(join: &Join) -> bool {
    let nullable = |e: &Expr, side: &LogicalPlan| e.nullable(side.schema()).unwrap_or(true);
    join.on.iter().any(|(a, b)| nullable(a, &join.left) || nullable(b, &join.right))
}

/// Whether rows of the left and of the right side may come without a match, beside nulls.
fn lonely(join: &Join) -> (bool, bool) {
    match join.join_type {
        JoinType::Left => (true, false),
        JoinType::Right => (false, true),
        JoinType::Full => (true, true),
        _ => (false, false),
    }
}

/// The side whose rows alone come out, if there is one.
fn only_side(join: &Join) -> Option<Seen<'_>> {
    match join.join_type {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => Some(Seen::from_left(join)),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => Some(Seen::from_right(join)),
        _ => None,
    }
}

impl Walk<'_> {
    pub(super) fn touched_join(&self, join: &Join, plan: &LogicalPlan, asked: &Columns) -> Found<Option<LogicalPlan>> {
        if let Some(side) = only_side(join) {
            let mut all: Vec<_> = self.touched(side.own, asked)?.into_iter().collect();
            let matched = if std::ptr::eq(side.own, join.left.as_ref()) { Seen::from_right(join) } else { Seen::from_left(join) };
            if join.null_aware && seen_nulls(join) && self.touched(matched.own, &Columns::new())?.is_some() {
                return Err(Unknown("one null in a NOT IN list hides all rows".into()));
            }
            all.extend(self.meeting(&matched, asked)?);
            return union(all, asked);
        }
        let mut all = Vec::new();
        let (left, right) = (Seen::from_left(join), Seen::from_right(join));
        for seen in [&left, &right] {
            let Some(pairs) = self.meeting(seen, asked)? else { continue };
            self.lonely_rows(join, seen, &pairs, plan, asked, &mut all)?;
            all.push(pairs);
        }
        union(all, asked)
    }

    /// The asked columns of what rows that differ on one side make with the other side.
    fn meeting(&self, seen: &Seen<'_>, asked: &Columns) -> Found<Option<LogicalPlan>> {
        let split = seen.split(asked);
        if split.other.is_empty() {
            let needed = split.own.iter().cloned().chain(of_all(split.equal.values())).collect();
            let Some(rows) = self.touched(seen.own, &needed)? else { return Ok(None) };
            return told(rows, &split, asked).map(Some);
        }
        // Whether anything differs at all is asked before what it meets.
        let own_asked = of_node(seen.own, asked);
        let Some(conditions) = seen.conditions() else {
            return match self.touched(seen.own, &own_asked)? {
                None => Ok(None),
                Some(_) => Err(Unknown("a changed row meets every row of another input".into())),
            };
        };
        let Some(rows) = self.touched(seen.own, &needed(seen.own, own_asked, &conditions, true))? else { return Ok(None) };
        let others = self.present(seen.other, &needed(seen.other, of_node(seen.other, asked), &conditions, false))?;
        keep(conditions.join(super::relation::distinct(rows), others)?, asked).map(Some)
    }

    /// Rows that a change on the `seen` side leaves without a match, or gives their first one.
    fn lonely_rows(
        &self,
        join: &Join,
        seen: &Seen<'_>,
        pairs: &LogicalPlan,
        plan: &LogicalPlan,
        asked: &Columns,
        all: &mut Vec<LogicalPlan>,
    ) -> Found<()> {
        let (left, right) = lonely(join);
        for (may_be_lonely, own, other) in [(left, &join.left, &join.right), (right, &join.right, &join.left)] {
            let null = of_node(other, asked);
            if !may_be_lonely || null.is_empty() {
                continue;
            }
            all.push(with_nulls(pairs.clone(), asked, &null, plan)?);
            // Those that differ themselves may meet nothing.
            if std::ptr::eq(seen.own, own.as_ref())
                && let Some(rows) = self.touched(own, &of_node(own, asked))?
            {
                all.push(with_nulls(rows, asked, &null, plan)?);
            }
        }
        Ok(())
    }

    pub(super) fn present_join(&self, join: &Join, plan: &LogicalPlan, asked: &Columns) -> Found<LogicalPlan> {
        if let Some(side) = only_side(join) {
            return self.present(side.own, asked);
        }
        let mut all = vec![self.pairs(join, asked)?];
        let (left, right) = lonely(join);
        for (may_be_lonely, own, other) in [(left, &join.left, &join.right), (right, &join.right, &join.left)] {
            let null = of_node(other, asked);
            if may_be_lonely && !null.is_empty() {
                let rows = self.present(own, &of_node(own, asked))?;
                all.push(with_nulls(rows, asked, &null, plan)?);
            }
        }
        union(all, asked)?.ok_or_else(|| Unknown("a join of nothing".into()))
    }

    fn pairs(&self, join: &Join, asked: &Columns) -> Found<LogicalPlan> {
        let (left, right) = (Seen::from_left(join), Seen::from_right(join));
        for seen in [&left, &right] {
            let split = seen.split(asked);
            if split.other.is_empty() {
                let needed = split.own.iter().cloned().chain(of_all(split.equal.values())).collect();
                return told(self.present(seen.own, &needed)?, &split, asked);
            }
        }
        let conditions = left.conditions().ok_or_else(|| Unknown("each row of an input meets every row of another".into()))?;
        let rows = self.present(left.own, &needed(left.own, of_node(left.own, asked), &conditions, true))?;
        let others = self.present(left.other, &needed(left.other, of_node(left.other, asked), &conditions, false))?;
        keep(conditions.join(rows, others)?, asked)
    }
}

/// The asked columns from one side's rows alone.
fn told(rows: LogicalPlan, split: &Split, asked: &Columns) -> Found<LogicalPlan> {
    let expr = |c: &Column| split.equal.get(c).cloned().unwrap_or_else(|| Expr::Column(c.clone()));
    project(rows, asked.iter().map(|c| (expr(c), c.clone())))
}

/// What a side must tell for it to be joined.
fn needed(side: &LogicalPlan, mut asked: Columns, conditions: &Conditions, first: bool) -> Columns {
    let on = conditions.on.iter().map(|(a, b)| if first { a } else { b });
    asked.extend(of_all(on));
    asked.extend(conditions.filter.iter().flat_map(|c| reads_of(side, c)));
    asked
}
