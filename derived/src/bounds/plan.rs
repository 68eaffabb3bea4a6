//! Follows event times from the scans of a plan up to its result, and finds the filters on them.
//!
//! The plan is the analyzed one: types are resolved, and nothing has been moved.

use super::expr::step;
use super::facts::{Fact, Facts, ScanId, column_at, unnamed};
use super::reach::{Bound, Edge, Span};
use super::time_map::TimeMap;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType};
use datafusion::logical_expr::logical_plan::{Join, Unnest, Window};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, Operator};
use std::collections::BTreeMap;

/// Names of the functions that stand for window ends in the plan; with `()` as long as the placeholders, so that places
/// in SQL stay what they are.
pub(crate) const START_FUNCTION: &str = "__wnd_start";
/// See [`START_FUNCTION`].
pub(crate) const END_FUNCTION: &str = "__wnd_end";

/// What was found about one scan.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    /// `dataset.name`.
    pub table: String,
    /// `lower ≤ map(t)`, for every row that can matter.
    pub lower: Vec<(TimeMap, Bound)>,
    /// `map(t) < upper`.
    pub upper: Vec<(TimeMap, Bound)>,
}

/// A walk over one plan.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    /// The time column of each table that has one.
    pub times: &'a BTreeMap<&'a str, &'a str>,
    /// In the order they were met.
    pub scans: Vec<Scan>,
}

impl Walk<'_> {
    /// What is known of a node's rows; finds scans and filters on the way.
    pub fn facts(&mut self, plan: &LogicalPlan) -> Facts {
        self.subqueries(plan);
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(&scan.table_name.to_string(), plan.schema()),
            LogicalPlan::SubqueryAlias(alias) => {
                let facts = self.facts(&alias.input);
                by_position(&facts, alias.input.schema(), plan.schema())
            }
            LogicalPlan::Projection(p) => {
                let facts = self.facts(&p.input);
                project(&facts, p.input.schema(), &p.expr, plan.schema())
            }
            LogicalPlan::Filter(f) => {
                let facts = self.facts(&f.input);
                self.filtered(facts, f.input.schema(), &f.predicate)
            }
            LogicalPlan::Aggregate(a) => {
                let facts = self.facts(&a.input);
                if a.group_expr.iter().any(|e| matches!(unnamed(e), Expr::GroupingSet(_))) {
                    return Facts::default();
                }
                project(&facts, a.input.schema(), &a.group_expr, plan.schema())
            }
            LogicalPlan::Window(w) => {
                let facts = self.facts(&w.input);
                partitioned(&facts, w)
            }
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(u) => {
                let branches = u.inputs.iter().map(|i| by_position(&self.facts(i), i.schema(), plan.schema()));
                Facts(branches.flat_map(|f| f.0).collect())
            }
            LogicalPlan::Distinct(Distinct::All(input)) => self.facts(input),
            LogicalPlan::Distinct(Distinct::On(d)) => {
                let facts = self.facts(&d.input);
                let kept = Facts(
                    d.on_expr.iter().flat_map(|e| facts.restate(e, d.input.schema(), e, d.input.schema()).collect::<Vec<_>>()).collect(),
                );
                project(&kept, d.input.schema(), &d.select_expr, plan.schema())
            }
            LogicalPlan::Sort(s) if s.fetch.is_none() => self.facts(&s.input),
            LogicalPlan::Repartition(r) => self.facts(&r.input),
            LogicalPlan::Unnest(u) => {
                let facts = self.facts(&u.input);
                unnested(&facts, u, plan.schema())
            }
            // What a row of these depends on is not known: a limit looks at all rows, a recursion at its own.
            other => {
                for input in other.inputs() {
                    let _ = self.facts(input);
                }
                Facts::default()
            }
        }
    }

    /// Subqueries in expressions: their filters count, but the rows outside depend on them as a whole.
    fn subqueries(&mut self, plan: &LogicalPlan) {
        let mut found = Vec::new();
        let walked = plan.apply_expressions(|expr| {
            expr.apply(|e| {
                match e {
                    Expr::ScalarSubquery(s) => found.push(s.subquery.clone()),
                    Expr::Exists(e) => found.push(e.subquery.subquery.clone()),
                    Expr::InSubquery(i) => found.push(i.subquery.subquery.clone()),
                    Expr::SetComparison(s) => found.push(s.subquery.subquery.clone()),
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        });
        debug_assert!(walked.is_ok(), "a walk that only looks cannot fail");
        for subquery in found {
            let _ = self.facts(&subquery);
        }
    }

    fn scan(&mut self, table: &str, schema: &DFSchema) -> Facts {
        let id: ScanId = self.scans.len();
        self.scans.push(Scan { table: table.to_owned(), lower: Vec::new(), upper: Vec::new() });
        let time = self.times.get(table).and_then(|t| (0..schema.fields().len()).find(|i| schema.field(*i).name() == t));
        Facts(time.map(|at| Fact { expr: column_at(schema, at), scan: id, map: TimeMap::identity() }).into_iter().collect())
    }

    fn filtered(&mut self, facts: Facts, schema: &DFSchema, predicate: &Expr) -> Facts {
        let mut out = facts.clone();
        for conjunct in conjuncts(predicate) {
            self.bound(&facts, schema, conjunct);
            if let Some((a, b)) = equality(conjunct) {
                out.0.extend(facts.restate(a, schema, b, schema));
                out.0.extend(facts.restate(b, schema, a, schema));
            }
        }
        out
    }

    fn join(&mut self, join: &Join) -> Facts {
        let (left, right) = (self.facts(&join.left), self.facts(&join.right));
        let (ls, rs) = (join.left.schema(), join.right.schema());
        let (keeps_left, keeps_right) = kept(join.join_type);
        let mut out = Facts::default();
        if keeps_left {
            out.0.extend(left.0.iter().cloned());
        }
        if keeps_right {
            out.0.extend(right.0.iter().cloned());
        }
        let conditions = join.filter.iter().flat_map(conjuncts);
        for (a, b) in join.on.iter().map(|(a, b)| (a, b)).chain(conditions.clone().filter_map(equality)) {
            // Written in either order; `a` is to be the left one.
            let (a, b) = if belongs(a, ls) && belongs(b, rs) { (a, b) } else { (b, a) };
            if !(belongs(a, ls) && belongs(b, rs)) {
                continue;
            }
            if keeps_left {
                out.0.extend(right.restate(b, rs, a, ls));
            }
            if keeps_right {
                out.0.extend(left.restate(a, ls, b, rs));
            }
        }
        // A condition removes rows of a side for good unless that side's rows come through unmatched.
        for conjunct in conditions {
            if matches!(join.join_type, JoinType::Inner | JoinType::Right | JoinType::LeftSemi | JoinType::RightSemi | JoinType::RightAnti)
            {
                self.bound(&left, ls, conjunct);
            }
            if matches!(join.join_type, JoinType::Inner | JoinType::Left | JoinType::LeftSemi | JoinType::RightSemi | JoinType::LeftAnti) {
                self.bound(&right, rs, conjunct);
            }
        }
        out
    }

    /// Takes note of a comparison of an event time with a window end.
    fn bound(&mut self, facts: &Facts, schema: &DFSchema, conjunct: &Expr) {
        for (expr, op, edge, map) in comparisons(conjunct) {
            for (scan, time) in facts.trace(expr, schema) {
                let bound = |after| Bound { edge, local: false, map: map.clone(), after };
                let found = &mut self.scans[scan];
                match op {
                    Operator::GtEq => found.lower.push((time, bound(false))),
                    Operator::Gt => found.lower.push((time, bound(true))),
                    Operator::Lt => found.upper.push((time, bound(false))),
                    Operator::LtEq => found.upper.push((time, bound(true))),
                    Operator::Eq => {
                        found.lower.push((time.clone(), bound(false)));
                        found.upper.push((time, bound(true)));
                    }
                    _ => {}
                }
            }
        }
    }
}

impl Scan {
    /// The narrowest range that one event time's filters give; `None` if there are none.
    pub fn span(&self) -> Option<Span> {
        let both = self.lower.iter().find_map(|(map, lower)| {
            let upper = self.upper.iter().find(|(m, _)| m == map)?;
            Some(Span { map: map.clone(), lower: Some(lower.clone()), upper: Some(upper.1.clone()) })
        });
        let from = || self.lower.first().map(|(map, b)| Span { map: map.clone(), lower: Some(b.clone()), upper: None });
        let until = || self.upper.first().map(|(map, b)| Span { map: map.clone(), lower: None, upper: Some(b.clone()) });
        both.or_else(from).or_else(until)
    }
}

/// Whether the rows of the left and the right side come through with their own values, never as nulls
/// for want of a match.
fn kept(join: JoinType) -> (bool, bool) {
    match join {
        JoinType::Inner => (true, true),
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => (true, false),
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti => (false, true),
        _ => (false, false),
    }
}

/// Whether all columns of an expression, and at least one, are of a schema.
fn belongs(expr: &Expr, schema: &DFSchema) -> bool {
    let columns = expr.column_refs();
    !columns.is_empty() && columns.into_iter().all(|c: &Column| schema.has_column(c))
}

fn by_position(facts: &Facts, from: &DFSchema, to: &DFSchema) -> Facts {
    let columns = |schema: &DFSchema| (0..schema.fields().len()).map(|i| column_at(schema, i)).collect::<Vec<_>>();
    if from.fields().len() != to.fields().len() {
        return Facts::default();
    }
    facts.rename(&columns(from), &columns(to))
}

/// The facts of `exprs` as columns of `to`, which begins with them.
fn project(facts: &Facts, from: &DFSchema, exprs: &[Expr], to: &DFSchema) -> Facts {
    let columns: Vec<_> = (0..exprs.len().min(to.fields().len())).map(|i| column_at(to, i)).collect();
    let mut out = facts.rename(&exprs[..columns.len()], &columns);
    for (expr, column) in exprs.iter().zip(&columns) {
        out.0.extend(facts.restate(expr, from, column, to));
    }
    out
}

/// A row depends on all of its partition: only what all partitions are made by is still known.
fn partitioned(facts: &Facts, window: &Window) -> Facts {
    let partitions = window.window_expr.iter().map(|e| match unnamed(e) {
        Expr::WindowFunction(f) => f.params.partition_by.as_slice(),
        _ => &[],
    });
    let mut partitions = partitions.collect::<Vec<_>>().into_iter();
    let first = partitions.next().unwrap_or_default();
    let common = first.iter().filter(|e| partitions.as_slice().iter().all(|p| p.iter().any(|o| unnamed(o) == unnamed(e))));
    Facts(common.flat_map(|e| facts.restate(e, window.input.schema(), e, window.input.schema()).collect::<Vec<_>>()).collect())
}

/// Each row becomes some rows that keep its other columns.
fn unnested(facts: &Facts, unnest: &Unnest, schema: &DFSchema) -> Facts {
    let stays = |fact: &&Fact| {
        let columns = fact.expr.column_refs();
        columns.iter().all(|c| schema.has_column(c) && !unnest.exec_columns.contains(c))
    };
    Facts(facts.0.iter().filter(stays).cloned().collect())
}

fn conjuncts(expr: &Expr) -> Vec<&Expr> {
    match unnamed(expr) {
        Expr::BinaryExpr(b) if b.op == Operator::And => [conjuncts(&b.left), conjuncts(&b.right)].concat(),
        other => vec![other],
    }
}

fn equality(expr: &Expr) -> Option<(&Expr, &Expr)> {
    match expr {
        Expr::BinaryExpr(b) if b.op == Operator::Eq => Some((&b.left, &b.right)),
        _ => None,
    }
}

/// A conjunct as comparisons of an expression with a window end: expression, operator, end, steps on it.
fn comparisons(expr: &Expr) -> Vec<(&Expr, Operator, Edge, TimeMap)> {
    let one = |expr, op, end| edge(end).map(|(edge, map)| (expr, op, edge, map));
    match expr {
        Expr::BinaryExpr(b) => {
            let swapped = b.op.swap().and_then(|op| one(&*b.right, op, &*b.left));
            one(&*b.left, b.op, &*b.right).or(swapped).into_iter().collect()
        }
        Expr::Between(b) if !b.negated => {
            [one(&*b.expr, Operator::GtEq, &*b.low), one(&*b.expr, Operator::LtEq, &*b.high)].into_iter().flatten().collect()
        }
        _ => Vec::new(),
    }
}

/// An expression that is a window end, moved or rounded.
fn edge(expr: &Expr) -> Option<(Edge, TimeMap)> {
    if let Expr::ScalarFunction(f) = unnamed(expr) {
        match f.name() {
            START_FUNCTION => return Some((Edge::Start, TimeMap::identity())),
            END_FUNCTION => return Some((Edge::End, TimeMap::identity())),
            _ => {}
        }
    }
    let (of, step) = step(expr)?;
    let (edge, map) = edge(of)?;
    Some((
        edge,
        match step {
            Some(step) => map.then(step),
            None => map,
        },
    ))
}
